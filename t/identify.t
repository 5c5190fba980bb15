#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# klaviyo_identify: a profile update for whom the configuration names, with all
# that rules have: conditions, elements, levels, noise, consent, counters.

###############################################################################

use warnings;
use strict;
use utf8;

use Test::More;

use FindBin ();
use MIME::Base64 qw(encode_base64);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;
use Test::Nginx::Klaviyo::Updates;

###############################################################################

my @cookie = (headers => { Cookie => '__kla_id='
    . encode_base64('{"$exchange_id":"cookie.AbC","$email":"e@shop.dev"}',
        '') });

my $all = 'profile email $arg_e; profile phone_number $arg_p;'
    . ' profile id $arg_i; profile _kx $arg_k; profile external_id $arg_x;';

my @cases = (

    # Who: one identifier, the first there is; an external_id too.

    [ $all, 'e=ana@shop.dev&p=%2B40712345678&i=01J&k=a.b&x=7',
        '{"email":"ana@shop.dev"}' ],
    [ $all, 'p=%2B40712345678&i=01J&k=a.b&x=7',
        '{"phone_number":"+40712345678"}' ],
    [ $all, 'i=01J&k=a.b&x=7', '01J {}' ],
    [ $all, 'k=a.b&x=7', '{"_kx":"a.b"}' ],
    [ $all, 'x=7', '{"external_id":"7"}' ],
    [ $all, '', 'skipped:unidentified' ],
    [ "klaviyo_identifiers all; R { $all }",
        'e=ana@shop.dev&p=%2B40712345678&i=01J&k=a.b&x=7',
        '01J {"_kx":"a.b","email":"ana@shop.dev","external_id":"7",'
        . '"phone_number":"+40712345678"}' ],
    [ "klaviyo_identifiers all; R { $all }", 'e=ana&p=%2B407&x=7',
        '{"external_id":"7"}' ],

    # Never whom a cookie, a link or an anonymous_id tells of.

    [ 'profile external_id $arg_x; profile title Dr;', 'x=7',
        '{"external_id":"7","title":"Dr"}', @cookie ],
    [ 'profile email $arg_e; profile title Dr;', '_kx=query.AbC',
        'skipped:unidentified', @cookie ],
    [ 'klaviyo_identifiers all; R { profile email $arg_e; }',
        'e=ana@shop.dev&_kx=query.AbC', '{"email":"ana@shop.dev"}', @cookie ],
    [ 'klaviyo_profile anonymous_id 17; R { profile email $arg_e; }', '',
        'skipped:unidentified' ],
    [ 'klaviyo_identifiers all; klaviyo_profile anonymous_id 17;'
        . ' R { profile email $arg_e; }', 'e=ana@shop.dev',
        '{"email":"ana@shop.dev"}' ],

    # The levels' fields: an identifier if the rule has none, attributes.

    [ 'klaviyo_profile email $arg_l; klaviyo_profile properties.tier gold;'
        . ' R { profile external_id $arg_x; }', 'l=ana@shop.dev&x=7',
        '{"external_id":"7","properties":{"tier":"gold"}}' ],
    [ 'klaviyo_profile email $arg_l; R { profile external_id $arg_x; }',
        'l=ana@shop.dev', '{"email":"ana@shop.dev"}' ],
    [ 'klaviyo_profile title Mr; R { profile email $arg_e; profile title Dr; }',
        'e=ana@shop.dev', '{"email":"ana@shop.dev","title":"Dr"}' ],

    # What Klaviyo would refuse is missing: twenty of these stop the lane.

    (map { [ 'profile email $arg_e; profile title Dr;', "e=$_",
        'skipped:unidentified' ] } 'ana', 'a@b', 'a+b@c.de', 'a@b@c.de',
        '@c.de', 'a@c.d', 'a..b@c.de', 'ana%00@c.de', '%C3%A4@c.de',
        'x' x 95 . '@c.de', 'null', 'a@127.0.0.1'),
    (map { [ 'profile phone_number $arg_p;', "p=%2B$_",
        'skipped:unidentified' ] } '40', '4071234567x', '1234567',
        '9991234567890', '15551', '11555123456', '441234', '4000000000',
        '12345678901234'),
    [ 'profile phone_number $arg_p;', 'p=0712345678', 'skipped:unidentified' ],
    [ 'profile phone_number $arg_p; profile external_id $arg_x;',
        'p=%2B9991234567890&x=7', '{"external_id":"7"}' ],
    [ 'profile _kx $arg_k;', 'k=nodot', 'skipped:unidentified' ],
    [ 'profile external_id $arg_x;', 'x=undefined', 'skipped:unidentified' ],

    # Attributes.

    [ 'profile email $arg_e; profile first_name $arg_f; profile last_name "";
       profile location.city $arg_c; profile location.latitude 45.6;
       profile location.longitude x; profile properties.points 12 | number;
       profile properties.seen @args.s; profile image "/i?_kx=a.b&utm_email=c";
       profile locale $arg_l;', 'e=ana@shop.dev&f=%22Ana%22&c=Bra%C8%99ov'
        . '&s=1&s=2', '{"email":"ana@shop.dev","first_name":"\"Ana\"",'
        . '"image":"/i","location":{"city":"Brașov","latitude":"45.6"},'
        . '"properties":{"points":12,"seen":["1","2"]}}' ],

    # Bodies, names, captures, conditions, elements.

    [ 'let c @response.customer; when @c.id; any { when @c.email;
       when @c.phone; } profile email @c.email | lower;
       profile external_id @c.id; profile first_name @request.name;', '',
        '{"email":"ana@shop.dev","first_name":"Ana"}', body => '{"name":"Ana"}',
        answer => '{"customer":{"id":7,"email":"Ana@shop.dev"}}' ],
    [ 'when @response.customer; profile email @request.email;', '',
        'skipped:condition', answer => '{"error":"password"}',
        body => '{"email":"ana@shop.dev"}' ],
    [ 'R GET "~^/(?<id>\d+)$" { profile external_id $id; profile title Dr; }',
        '', '{"external_id":"%N","title":"Dr"}' ],
    [ 'R POST { profile external_id $arg_x; }', 'x=7', '' ],
    [ 'R /nowhere { profile external_id $arg_x; }', 'x=7', '' ],
    [ 'R { route GET =/%N; profile external_id $arg_x; }', 'x=7',
        '{"external_id":"7"}' ],
    [ 'each @args.x; profile external_id .; when . != 2;', 'x=1&x=2&x=3',
        '{"external_id":"1"} {"external_id":"3"}' ],
    [ 'each @args.x; profile external_id .;', 'y=1', 'skipped:empty' ],

    # Status, noise, consent, levels.

    [ 'profile external_id $arg_x;', 'x=7', 'skipped:status', status => 404 ],
    [ 'when $status = 404; profile external_id $arg_x;', 'x=7',
        '{"external_id":"7"}', status => 404 ],
    [ 'klaviyo_ignore prefetch; R { profile external_id $arg_x; }', 'x=7',
        'skipped:prefetch', headers => { 'Sec-Purpose' => 'prefetch' } ],
    [ 'klaviyo_ignore gpc; R { ignore off; profile external_id $arg_x; }',
        'x=7', '{"external_id":"7"}', headers => { 'Sec-GPC' => 1 } ],
    [ 'profile external_id $arg_x; ignore optout;', 'x=7', 'skipped:optout',
        headers => { Cookie => '__kla_off=true' } ],
    [ 'klaviyo_consent $cookie_c = yes; R { profile external_id $arg_x; }',
        'x=7', 'skipped:consent' ],
    [ 'klaviyo_consent $cookie_c = yes; R { profile external_id $arg_x; }',
        'x=7', '{"external_id":"7"}', headers => { Cookie => 'c=yes' } ],
    [ 'klaviyo off; R { profile external_id $arg_x; }', 'x=7', '' ],
);

###############################################################################

updates('klaviyo_identify', 'profiles', \@cases);
beside();
remembered();

Test::Nginx::Klaviyo->done();

###############################################################################

# Beside rules for events: each makes its own, "klaviyo_except" takes one away,
# the page has the event's id, and the accounts have lanes of their own.

sub beside {
    my $t = shop(server => <<'EOC', accounts => <<'EOA');
        klaviyo_identify /p { profile email $arg_e; profile title Dr; }
        klaviyo_identify =/both {
            account other; profile email $arg_e; profile title Mr;
        }
        klaviyo_track Both =/both { }
        add_header X-Result $klaviyo_result;
        add_header X-Id $klaviyo_event_id;
        location /p/x { klaviyo_except klaviyo_identify; return 204; }
        location /p/off { klaviyo off; return 204; }
        location /other { klaviyo_use_account other; klaviyo_identify {
            profile email $arg_e; profile title Ms; } return 204; }
EOC
    klaviyo_account other { api_key data:pk_other0000000000000000000000000001;
        endpoint %%KLAVIYO%%; batch events=1000 linger=50ms; queue 256k; }
EOA
    my $k = $t->klaviyo();
    my $id = $t->get('/p?n=1&e=ana@shop.dev')->header('X-Id');

    $t->get('/p/x?n=2&e=no@shop.dev');
    $t->get('/p/off?n=3&e=no@shop.dev');
    $t->get('/both?n=4&e=bob@shop.dev');
    $t->get('/other?n=5&e=eve@shop.dev');

    $k->wait_events(3);
    $k->wait_profiles(3);

    is(join(' ', sort map { $_->{metric} } $k->events()), 'Both Viewed Viewed',
        'events go on');

    my ($event) = grep { $_->{who} =~ /\b1$/ } $k->events('Viewed');

    is($event->{unique_id}, $id, 'the page has the id of the event');
    is(join(' ', sort map { "$_->{attributes}{email}=$_->{attributes}{title}" }
        $k->profiles()), 'ana@shop.dev=Dr bob@shop.dev=Mr eve@shop.dev=Ms',
        'updates: by level, but for what is excepted');

    my %key = map { $_->{n} => $_->{headers}{authorization} } $k->requests();

    is(join(' ', sort map { $_->{attributes}{title} }
        grep { $key{$_->{request}} =~ /pk_other/ } $k->profiles()), 'Mr Ms',
        'updates: to their account');
    conserved($t, 'beside: all are counted');

    ok($t->wait_for(sub { status($t)->{total}{queued} == 0 }), 'all is sent');

    my ($rule) = grep { $_->{routes} eq '/p' }
        @{account($t, 'shop+profiles')->{rules}};

    is("$rule->{metric} $rule->{events}{sent}", 'klaviyo_identify 1',
        'the rule on the status page');

    # the same again, and a rule that is gone
    $t->reload();
    $t->get('/p?n=6&e=ana@shop.dev');
    $k->wait_profiles(4);
    is(scalar(() = $k->profiles()), 4, 'after a reload');
    conserved($t, 'reload: all are counted');
}


# Who has logged in is known afterwards, under the account's events too; "once"
# counts the visitor's updates.

sub remembered {
    my $t = shop(server => <<'EOC');
        klaviyo_visitor $cookie_cart;
        klaviyo_identify POST =/login { once 1h; profile email $arg_e; }
        klaviyo_track Seen =/seen { }
EOC
    my $k = $t->klaviyo();
    my %of = map { $_ => [ headers => { Cookie => "cart=$_" } ] } 'a', 'b';

    $t->post('/login?e=ana@shop.dev', '', @{$of{a}});
    $t->post('/login?e=ana@shop.dev', '', @{$of{a}});
    $t->post('/login?e=bob', '', @{$of{b}});
    $t->get('/seen', @{$of{b}});
    $t->get('/seen', @{$of{a}});
    $k->wait_events(1);
    $k->wait_profiles(1);
    conserved($t, 'remembered: all are counted');

    is(join(' ', map { $_->{who} } $k->events()), 'email:ana@shop.dev',
        'remembered: the event is hers');
    is(join(' ', map { $_->{attributes}{email} } $k->profiles()),
        'ana@shop.dev', 'remembered: once');
}
