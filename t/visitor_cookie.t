#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# klaviyo_visitor_cookie: a random id for a visitor who has none and may be
# tracked, with pages only; it is a visitor's key from its first request on.

###############################################################################

use warnings;
use strict;

use Test::More;

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
    default_type      text/html;

    klaviyo_account shop {
        api_key   data:pk_0123456789;
        endpoint  %%KLAVIYO%%;
        batch     linger=50ms;
    }

    klaviyo_memory          1m;
    klaviyo_visitor_cookie  vid;

    server {
        listen      127.0.0.1:%%PORT_0%%;
        access_log  %%TESTDIR%%/results.log results;

        klaviyo_track "View" GET /p/ { property id $klaviyo_visitor_id; }
        klaviyo_track "Login" POST =/login { profile email $arg_e; }

        location / { return 200 page; }

        location = /json {
            default_type  application/json;
            return 200 '{}';
        }

        location = /gone { return 404 page; }
        location = /moved { return 302 /p/; }
        location = /off { klaviyo_visitor_cookie off; return 200 page; }
        location = /dark { klaviyo off; return 200 page; }

        location = /other {
            klaviyo_visitor_cookie  other  domain=shop.dev  ttl=1d  secure=off;
            return 200 page;
        }

        location /consent {
            klaviyo_consent  $cookie_consent = yes;
            return 200 page;
        }

        location = /late {
            klaviyo_consent  $late = yes;
            return 200 page;
        }

        location = /cart {
            klaviyo_visitor  $cookie_cart;
            return 200 page;
        }

        location /p/confirm/ {
            klaviyo_kx  confirm;
            return 200 page;
        }

        location = /upstream {
            proxy_pass  http://127.0.0.1:%%PORT_1%%/;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_1%%;

        klaviyo_visitor_cookie  off;

        location / {
            add_header  Cache-Control      $arg_cc;
            add_header  CDN-Cache-Control  $arg_cdn;
            add_header  Expires            $http_x_expires;
            return 200 page;
        }
    }

    map $uri $late {
        default yes;
    }
}

EOF

sub set {
    my ($uri, %opt) = @_;

    return $t->request($opt{method} // 'GET', $uri, %opt)->header('Set-Cookie')
        // '';
}

like(set('/'), qr/^vid=[0-9a-f]{32};\ Max-Age=31536000;\ Path=\/;\ HttpOnly;
    \ Secure;\ SameSite=Lax$/x, 'a page');
isnt(set('/'), set('/'), 'random');
is(set('/other') =~ s/=[0-9a-f]{32};/=ID;/r, 'other=ID; Max-Age=86400; Path=/;'
    . ' Domain=shop.dev; HttpOnly; SameSite=Lax', 'its attributes');

my $id = '0123456789abcdef' x 2;

for my $case (
    [ 'not who has one', '/', { Cookie => "vid=$id" } ],
    [ 'not a robot', '/', { 'User-Agent' => 'Googlebot/2.1' } ],
    [ 'not a prefetch', '/', { 'Sec-Purpose' => 'prefetch' } ],
    [ 'not who has opted out', '/', { Cookie => '__kla_off=true' } ],
    [ 'not with Sec-GPC', '/', { 'Sec-GPC' => 1 } ],
    [ 'not with DNT', '/', { DNT => 1 } ],
    [ 'not with JSON', '/json' ],
    [ 'not with a 404', '/gone' ],
    [ 'not with a redirect', '/moved' ],
    [ 'not where it is off', '/off' ],
    [ 'not where klaviyo is off', '/dark' ],
    [ 'not before consent', '/consent' ],
    [ 'not without consent', '/consent', { Cookie => 'consent=no' } ],
    [ 'not where consent is not known yet', '/late' ],
    [ 'not with a page for all', '/upstream?cc=public,max-age=60' ],
    [ 'nor for all in a cache', '/upstream?cc=max-age=0,s-maxage=60' ],
    [ 'nor one that any cache may keep', '/upstream?cc=max-age=60' ],
    [ 'nor by its date', '/upstream',
        { 'X-Expires' => 'Fri, 01 Jan 2100 00:00:00 GMT' } ],
    [ 'nor for all in a CDN', '/upstream?cc=no-store&cdn=max-age=60' ],
) {
    my ($name, $uri, $headers) = @$case;

    is(set($uri, headers => $headers || {}), '', $name);
}

is(set('/', method => 'POST', body => ''), '', 'not with a POST');

like(set('/consent', headers => { Cookie => 'consent=yes' }), qr/^vid=/,
    'with consent');
for my $own ('?cc=private', '', '?cc=private,max-age=60', '?cc=no-cache',
    '?cc=max-age=0,must-revalidate', '?cc=private&cdn=no-store')
{
    like(set("/upstream$own"), qr/^vid=/, "a page of an upstream: $own");
}

like(set('/upstream', headers => { 'X-Expires' =>
    'Thu, 19 Nov 1981 08:52:00 GMT' }), qr/^vid=/, 'a page of the past');
like(set('/', headers => { Cookie => 'vid=<script>' }), qr/^vid=[0-9a-f]+;/,
    'in the place of something else');
like(set('/', headers => { Cookie => 'vid=' . uc $id }), qr/^vid=[0-9a-f]+;/,
    'or of one that is not ours');

# from the first request on

my $v = Test::Nginx::Klaviyo::Visitors->new($t);

sub vid {
    my ($answer) = @_;
    my ($vid) = ($answer->header('Set-Cookie') // '') =~ m/^(vid=\w+);/;

    return { Cookie => $vid // 'vid=none' };
}

my $ana = vid($v->get('a link', '/p/1?_kx=a.AbC123', 'View _kx:a.AbC123'));
my $bob = vid($v->get('another one', '/?_kx=b.AbC123', ''));

$v->get('the next page', '/p/2', 'View _kx:a.AbC123', $ana);
$v->get('the other visitor', '/p/2', 'View _kx:b.AbC123', $bob);
$v->post('a log-in', '/login?e=ana@shop.dev', '', 'Login email:ana@shop.dev',
    $ana);
$v->get('after it', '/p/3', 'View email:ana@shop.dev', $ana);
$v->get('klaviyo_visitor goes before', '/cart?_kx=c.AbC123', '', $ana);
$v->get('and is another one', '/p/4', 'View email:ana@shop.dev', $ana);

# a robot that opens a link, and a person

$v->get('a robot', '/p/confirm/1?_kx=r.AbC123', '(held)');

my $eve = vid($v->get('a person', '/p/confirm/1?_kx=e.AbC123',
    'View _kx:e.AbC123 (held)'));

$v->get('goes on', '/p/confirm/2', 'View _kx:e.AbC123', $eve);
$v->get('one with an id', '/p/confirm/3?_kx=f.AbC123', 'View _kx:f.AbC123',
    { Cookie => "vid=$id" });

$v->judge();

my %ids;

$ids{$_->{properties}{Case}} = $_->{properties}{id} // ''
    for $t->klaviyo()->events('View');

like($ids{1}, qr/^[0-9a-f]{32}$/, 'the id of an event whose page sets it');
is("vid=$ids{1}", $ana->{Cookie}, 'is that one');
is($ids{3}, $ids{1}, 'and stays');

for my $case (
    [ '"a b"', 'invalid name "a b" of a cookie' ],
    [ 'a domain=x_y', 'invalid parameter "domain=x_y"' ],
    [ 'a ttl=0', 'invalid time "ttl=0" in "klaviyo_visitor_cookie"' ],
    [ 'a secure=on', 'invalid parameter "secure=on"' ],
    [ 'a; klaviyo_visitor_cookie b', 'is duplicate' ],
) {
    my ($text, $expected) = @$case;
    my ($code, $said) = $t->test_config('%%GLOBALS%% events { } http {'
        . " klaviyo_visitor_cookie $text; }");

    like($said, qr/\Q$expected\E/, $text);
}

$t->done();

###############################################################################
