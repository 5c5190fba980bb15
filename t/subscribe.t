#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# klaviyo_subscribe: whoever consents is subscribed, to the channels that the
# rule names, by addresses that can be right; nobody else, whatever is typed.

###############################################################################

use warnings;
use strict;

use Test::More;

use Cpanel::JSON::XS ();
use FindBin ();
use MIME::Base64 qw(encode_base64);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;
use Test::Nginx::Klaviyo::Updates;

###############################################################################

my $email = 'list AbC123; channels email; profile email $arg_e;';
my $both = 'list AbC123; channels email sms; profile email $arg_e;'
    . ' profile phone_number $arg_p;';
my $agreed = 'consent $arg_ok = on;';

my ($ana, $phone) = map { '"' . $_->[0] . '":{"marketing":{"consent":'
    . '"SUBSCRIBED"' . $_->[1] . '}}' } [ 'email', '' ], [ 'sms', '' ];
my $then = ',"consented_at":"2026-01-02T03:04:05Z"';

my $one = '{"email":"ana@shop.dev","subscriptions":{' . $ana . '}}';
my $two = '{"email":"ana@shop.dev","phone_number":"+40712345678",'
    . '"subscriptions":{' . "$ana,$phone" . '}}';
my $sms = '{"phone_number":"+40712345678","subscriptions":{' . $phone . '}}';

my @cases = (

    [ "$email $agreed", 'e=ana@shop.dev&ok=on', $one ],
    [ "$both $agreed", 'e=ana@shop.dev&p=%2B40712345678&ok=on', $two ],
    [ "list AbC123; channels sms; profile phone_number \$arg_p; $agreed",
        'p=%2B40712345678&ok=on', $sms ],
    [ 'list AbC123; channels sms; profile phone_number $arg_p | e164 RO;'
        . ' consent $arg_ok;', 'p=0712+345+678&ok=1', $sms ],

    # consent: missing is no, with "not" too; all must hold

    [ "$email $agreed", 'e=ana@shop.dev', 'skipped:consent' ],
    [ "$email $agreed", 'e=ana@shop.dev&ok=', 'skipped:consent' ],
    [ "$email $agreed", 'e=ana@shop.dev&ok=off', 'skipped:consent' ],
    [ "$email consent \$arg_ok;", 'e=ana@shop.dev&ok=false',
        'skipped:consent' ],
    [ "$email consent not \$arg_no;", 'e=ana@shop.dev', 'skipped:consent' ],
    [ "$email consent not \$arg_no;", 'e=ana@shop.dev&no=0', $one ],
    [ "$email $agreed consent \$arg_b;", 'e=ana@shop.dev&ok=on',
        'skipped:consent' ],
    [ "$email $agreed consent \$arg_b;", 'e=ana@shop.dev&ok=on&b=1', $one ],
    [ 'list AbC123; channels email; let f @request.form;
       profile email @f.email; consent @f.newsletter;', '', $one,
        body => '{"form":{"email":"ana@shop.dev","newsletter":true}}' ],
    [ 'list AbC123; channels email; let f @request.form;
       profile email @f.email; consent @f.newsletter;', '', 'skipped:consent',
        body => '{"form":{"email":"ana@shop.dev","newsletter":false}}' ],
    [ 'list AbC123; channels email; let f @request.form;
       profile email @f.email; consent @f.newsletter;', '', 'skipped:consent',
        body => '{"form":{"email":"ana@shop.dev"}}' ],
    [ "$email consent \@response.subscribed;", 'e=ana@shop.dev', $one,
        answer => '{"subscribed":true}' ],
    [ "$email consent \@response.subscribed;", 'e=ana@shop.dev',
        'skipped:consent', answer => '{"subscribed":false}' ],

    # beside it the levels' own

    [ "klaviyo_consent \$cookie_c; R { $email $agreed }",
        'e=ana@shop.dev&ok=on', 'skipped:consent' ],
    [ "klaviyo_consent \$cookie_c; R { $email $agreed }",
        'e=ana@shop.dev&ok=on', $one, headers => { Cookie => 'c=1' } ],
    [ "klaviyo_consent \$cookie_c; R { $email $agreed }", 'e=ana@shop.dev',
        'skipped:consent', headers => { Cookie => 'c=1' } ],

    # the rest of what skips, before it

    [ "$email $agreed when \$arg_a;", 'e=ana@shop.dev', 'skipped:condition' ],
    [ "$email $agreed", 'e=ana@shop.dev', 'skipped:status', status => 422 ],
    [ "$email $agreed ignore optout;", 'e=ana@shop.dev&ok=on',
        'skipped:optout', headers => { Cookie => '__kla_off=true' } ],
    [ "klaviyo off; R { $email $agreed }", 'e=ana@shop.dev&ok=on', '' ],

    # an address is one, or there is none; never whom something else tells of

    (map { [ "$email $agreed", "ok=on&e=$_", 'skipped:unidentified' ] }
        '', 'ana', 'ana@shop', '@shop.dev', 'ana@shop.d', 'ana@shop..dev',
        'ana+b@shop.dev', 'ana@@shop.dev', 'a%00b@shop.dev', 'x' x 99),
    (map { [ "list AbC123; channels sms; profile phone_number \$arg_p;"
        . " $agreed", "ok=on&p=%2B$_", 'skipped:unidentified' ] }
        '', '4071', '0712345678', '9991234567890', '15551234', '407123456x'),
    [ "$both $agreed", 'ok=on&e=ana@shop.dev&p=%2B9991234567890', $one ],
    [ "$both $agreed", 'ok=on&e=ana&p=%2B40712345678', $sms ],
    [ "$both $agreed", 'ok=on&e=ana&p=%2B9991234567890',
        'skipped:unidentified' ],
    [ 'klaviyo_profile email $arg_l; klaviyo_profile external_id 7;'
        . " R { $email $agreed }", 'ok=on&l=bob@shop.dev&_kx=a.b',
        'skipped:unidentified', headers => { Cookie => '__kla_id='
            . encode_base64('{"$email":"eve@shop.dev"}', '') } ],
    [ 'klaviyo_identifiers all; klaviyo_profile phone_number $arg_p;'
        . " klaviyo_profile id 01J; R { $email $agreed }",
        'ok=on&e=ana@shop.dev&p=%2B40712345678', $one ],

    # a consent of the past, if it is one

    [ "$email $agreed consented_at \$arg_t;",
        'ok=on&e=ana@shop.dev&t=2026-01-02T03:04:05Z',
        $one =~ s/("SUBSCRIBED")/$1$then/r ],
    (map { [ "$email $agreed consented_at \$arg_t;",
        "ok=on&e=ana\@shop.dev&t=$_", $one ] } '', 'x', '2999-01-01', '1980'),
);

###############################################################################

for (@cases) {
    $_->[2] = sorted($_->[2]) if $_->[2] =~ /^\{/;
}

my $t = updates('klaviyo_subscribe', 'subscriptions', \@cases);

job();
junk();

Test::Nginx::Klaviyo->done();

###############################################################################

sub sorted {
    my $json = Cpanel::JSON::XS->new->canonical;

    return $json->encode($json->decode($_[0]));
}


# What stands around the profile.

sub job {
    my $t = shop(server => <<'EOC');
        klaviyo_subscribe =/a { list AbC123; channels email;
            consent $arg_ok; source "Footer \"form\""; profile email $arg_e; }
        klaviyo_subscribe =/b { list DeF456; channels email;
            consent $arg_ok; profile email $arg_e;
            consented_at 2026-01-02; }
EOC
    my $k = $t->klaviyo();

    $t->get('/a?e=ana@shop.dev&ok=1');
    $t->get('/b?e=bob@shop.dev&ok=1');
    $k->wait_subscriptions(2);

    my %job = map { $_->{attributes}{email} => $_->{job} }
        $k->subscriptions();

    is_deeply($job{'ana@shop.dev'},
        { list => 'AbC123', custom_source => 'Footer "form"' }, 'a job');
    is_deeply($job{'bob@shop.dev'},
        { list => 'DeF456', historical_import => Cpanel::JSON::XS::true },
        'a job of the past');
    conserved($t, 'jobs: all are counted');
}


# What somebody types a hundred times stops nothing.

sub junk {
    my $t = shop(server => "klaviyo_subscribe =/a { $both $agreed }");
    my $k = $t->klaviyo();

    for my $n (1 .. 50) {
        $t->get("/a?ok=on&e=junk$n\@&p=%2B999$n");
        $t->get("/a?e=no.consent$n\@shop.dev");
    }

    $t->get('/a?ok=on&e=ana@shop.dev');
    $k->wait_subscriptions(1);

    is(join(' ', map { $_->{attributes}{email} } $k->subscriptions()),
        'ana@shop.dev', 'junk: nobody but who consents');
    is(scalar(grep { $_->{path} =~ /subscription/ } $k->requests()), 1,
        'junk: nothing else is asked of Klaviyo');
    conserved($t, 'junk: all are counted');
}

###############################################################################
