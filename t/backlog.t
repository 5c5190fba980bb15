#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# klaviyo_backlog: the last events of a visitor whom nobody knows yet are sent
# once it is known who it is; and nothing is lost to the counters.

###############################################################################

use warnings;
use strict;

use Test::More;

use Cpanel::JSON::XS ();
use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Visitors;

###############################################################################

my $t = Test::Nginx::Klaviyo->new();

$t->standin();

$t->write_config(<<'EOF')->run();

%%GLOBALS%%

worker_processes  2;

events { }

http {
    %%GLOBALS_HTTP%%

    log_format  results  "$http_x_case $klaviyo_result";

    klaviyo_property  Case  $http_x_case;

    klaviyo_account shop {
        api_key   data:pk_0123456789;
        endpoint  %%KLAVIYO%%;
        batch     linger=50ms;
        backfill  after=1h;
    }

    klaviyo_memory   1m;
    klaviyo_visitor  $cookie_cart;
    klaviyo_backlog  3 1h;

    server {
        listen      127.0.0.1:%%PORT_0%%;
        access_log  %%TESTDIR%%/results.log results;

        klaviyo_track "View" GET ~^/p/ {
            profile    first_name       $arg_name;
            profile    location.city    $arg_city;
            profile    properties.tier  $arg_tier;
            property   Text             $arg_text;
            unique_id  $arg_id;
            time       $arg_time;
        }

        klaviyo_track "Login" POST =/login { profile email $arg_e; }
        klaviyo_track "Profile" GET =/id { profile id $arg_id; }

        klaviyo_track "Once" GET =/once { once 1h; }

        klaviyo_track "Lines" GET =/lines {
            each  $arg_ids | split ,;
            property  line  .;
        }

        klaviyo_track "Large" GET =/large {
            property  text  $http_x_text | suffix $http_x_text
                            | suffix $http_x_text;
        }

        location / { return 200; }
        location = /klaviyo { klaviyo_status; }

        location /p/short/ {
            klaviyo_backlog  3 1s;
            return 200;
        }

        location /p/off/ {
            klaviyo_backlog  off;
            return 200;
        }

        location /p/noid/ {
            klaviyo_identity  off;
            return 200;
        }

        location /p/brief/ {
            klaviyo_visitor  $cookie_cart ttl=1s;
            return 200;
        }

        # a session that is renewed at log-in

        klaviyo_remember session POST =/renew {
            key       $arg_new;
            property  first  $cookie_sid | recall session first
                             | default $cookie_sid;
        }

        klaviyo_track "Renewed" POST =/renew { profile email $arg_e; }

        location ~ ^/(?:p/session/|renew) {
            klaviyo_visitor  $cookie_sid | recall session first
                             | default $cookie_sid;
            return 200;
        }

        klaviyo_track "Order" POST =/order { profile email $arg_e; }

        location = /order {
            klaviyo_visitor             @request.cart;
            klaviyo_ignore              prefetch optout gpc dnt;
            klaviyo_request_body_limit  1k;
            return 200;
        }

        location /p/ask/ {
            klaviyo_consent  $cookie_consent = yes;
            return 200;
        }
    }
}

EOF

my $v = Test::Nginx::Klaviyo::Visitors->new($t);

sub cart { return { Cookie => join '; ', "cart=$_[0]", @_[1 .. $#_] } }

my $time = '2026-07-01T10:00:00Z';
my $ana = 'email:ana@shop.dev';

# held, with all that they had, and the last three only

$v->get('the first', '/p/1', '(held)', cart('c1'));
$v->get('the second', "/p/2?name=An%22na&city=Cluj&tier=gold&text=%22%5C&id=i2"
    . "&time=$time", "View $ana (held)", cart('c1'));
$v->get('another visitor', '/p/1', '(held)', cart('c2'));
$v->get('the third', '/p/3?city=Cluj', "View $ana (held)", cart('c1'));
$v->get('the fourth', '/p/4', "View $ana (held)", cart('c1'));
$v->get('no key', '/p/5', '(unidentified)');
$v->get('off', '/p/off/', '(unidentified)', cart('c1'));
$v->get('too large', '/large', '(unidentified)',
    { %{cart('c1')}, 'X-Text' => 'x' x 7000 });

$t->reload();

$v->post('a log-in', '/login?e=ana@shop.dev', '', "Login $ana", cart('c1'));
$v->get('after it', '/p/6', "View $ana", cart('c1'));

# by a landing page without a rule; under an id

$v->get('held', '/p/1', 'View _kx:a.AbC123 (held)', cart('c3'));
$v->get('a landing page', '/about?_kx=a.AbC123', '', cart('c3'));
$v->get('held', '/p/1', 'View id:01J0 (held)', cart('c4'));
$v->get('an id', '/id?id=01J0', 'Profile id:01J0', cart('c4'));

# where nothing of the visitor counts, nothing is held

$v->post('a log-in', '/login?e=zoe@shop.dev', '', 'Login email:zoe@shop.dev',
    cart('c60'));
$v->get('no identity', '/p/noid/', '(unidentified)', cart('c60'));

# who refuses is not followed by what was held when nobody remembers who it was

$v->get('held for long', '/p/brief/', '(held)', cart('c61'));
sleep 2;
$v->get('refused', '/p/ask/', '(consent)', cart('c61', 'consent=no'));
$v->get('agreed', '/p/ask/', 'View email:tom@shop.dev (held)',
    cart('c61', 'consent=yes'));
$v->post('a log-in', '/login?e=tom@shop.dev', '', 'Login email:tom@shop.dev',
    cart('c61'));

# a key that changes, twice

my $kim = 'email:kim@shop.dev';

$v->get('the old key', '/p/session/', "View $kim (held)",
    { Cookie => 'sid=s1' });
$v->post('the next one', '/renew?new=s2&e=kim@shop.dev', '', "Renewed $kim",
    { Cookie => 'sid=s1' });
$v->get('is the same', '/p/session/', "View $kim", { Cookie => 'sid=s2' });
$v->post('another one', '/renew?new=s3&e=kim@shop.dev', '', "Renewed $kim",
    { Cookie => 'sid=s2' });
$v->get('is still the same', '/p/session/', "View $kim",
    { Cookie => 'sid=s3' });

# a key that a limit hides may be of one who has opted out

my $order = '{"cart":"c62"}';

$v->post('opted out', '/order?e=x@shop.dev', $order, '(gpc)',
    { 'Sec-GPC' => 1 });
$v->post('its back end', '/order?e=x@shop.dev', $order, '(gpc)');
$v->post('too large', '/order?e=x@shop.dev', $order . ' ' x 2000, '(limit)');

# once, several elements

$v->get('once: held', '/once', 'Once email:eve@shop.dev (held)', cart('c5'));
$v->get('once: again', '/once', '(repeated)', cart('c5'));
$v->get('lines', '/lines?ids=1,2',
    'Lines email:eve@shop.dev, Lines email:eve@shop.dev (held)', cart('c5'));
$v->post('known', '/login?e=eve@shop.dev', '', 'Login email:eve@shop.dev',
    cart('c5'));

# consent at that time, and when they are sent

$v->get('no consent', '/p/ask/1', '(consent)', cart('c6'));
$v->get('consent', '/p/ask/2', '(held)', cart('c6', 'consent=yes'));
$v->get('taken back', '/p/ask/3', '(consent)', cart('c6', 'consent=no'));
$v->get('given again', '/p/ask/4', 'View email:bob@shop.dev (held)',
    cart('c6', 'consent=yes'));
$v->post('known', '/login?e=bob@shop.dev', '', 'Login email:bob@shop.dev',
    cart('c6'));

# a robot's or an opted-out request does not release them

$v->get('held', '/p/1', '(held)', cart('c7'));
$v->post('a robot', '/login?e=ida@shop.dev', '', '(bots)',
    { %{cart('c7')}, 'User-Agent' => 'Googlebot/2.1' });
$v->get('a robot\'s link', '/about?_kx=r.AbC123', '',
    { %{cart('c7')}, 'User-Agent' => 'Googlebot/2.1' });
$v->post('opted out', '/login?e=ida@shop.dev', '', '(gpc)',
    { %{cart('c7')}, 'Sec-GPC' => 1 });

# a time

$v->get('a second', '/p/short/1', '(held)', cart('c8'));

my $end = time() + 2;
$t->wait_for(sub { time() > $end });

$v->post('too late', '/login?e=joe@shop.dev', '', 'Login email:joe@shop.dev',
    cart('c8'));

# the sum holds, whatever was evicted

my $json = Cpanel::JSON::XS->new->utf8;
my $status;

$t->wait_for(sub {
    $status = $json->decode($t->get('/klaviyo')->body());
    return $status->{total}{queued} == 0;
});

my $total = $status->{total};
my $sum = 0;

$sum += $_ for @{$total}{qw(sent damaged queued spooled dead)},
    values %{$total->{skipped}}, values %{$total->{dropped}};

is($sum, $total->{seen} + $total->{restored}, 'the sum');
is($total->{skipped}{held}, 6, 'held: those that were not sent');
is($total->{seen}, 42, 'each event was seen once');

my ($event) = grep { $_->{properties}{Case} == 2 } $t->klaviyo()->events();

is("$event->{unique_id} $event->{time}", "i2 $time", 'its id and its time');
is($event->{properties}{Text}, '"\\', 'its properties');
is_deeply($event->{profile}, { email => 'ana@shop.dev',
    first_name => 'An"na', location => { city => 'Cluj' },
    properties => { tier => 'gold' } }, 'its profile');

$v->judge();

for my $case (
    [ 'klaviyo_backlog 0 1h;', 'invalid value "0" in "klaviyo_backlog"' ],
    [ 'klaviyo_backlog 65 1h;', 'invalid value "65"' ],
    [ 'klaviyo_backlog 5;', 'invalid value "5"' ],
    [ 'klaviyo_backlog 5 0;', 'invalid time "0" in "klaviyo_backlog"' ],
    [ 'klaviyo_backlog on;', 'invalid value "on"' ],
    [ 'klaviyo_backlog off; klaviyo_backlog off;', 'is duplicate' ],
    [ 'klaviyo_kx maybe;', 'invalid value "maybe"' ],
) {
    my ($text, $expected) = @$case;
    my ($code, $said) = $t->test_config("events { } http { $text }"
        =~ s/^/%%GLOBALS%%/r);

    like($said, qr/\Q$expected\E/, $text);
}

$t->done();

###############################################################################
