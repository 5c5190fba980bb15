#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# klaviyo_kx confirm: a link of an e-mail that a security robot opens, once and
# with a browser's name, makes no event; a person's does.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use MIME::Base64 qw(encode_base64);

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
    }

    klaviyo_memory  1m;
    klaviyo_kx      confirm;

    server {
        listen      127.0.0.1:%%PORT_0%%;
        access_log  %%TESTDIR%%/results.log results;

        # the shop makes a session with its first answer

        klaviyo_visitor  $cookie_sid | default $sent_http_x_sid;

        add_header  X-Sid  $arg_sid;

        klaviyo_track "View" GET /p/ { property page $uri; }
        klaviyo_track "Login" POST =/login { profile email $arg_e; }
        klaviyo_track "Customer" GET =/customer { profile external_id 17; }

        location / { return 200; }

        location /p/trust/ {
            klaviyo_kx  trust;
            return 200;
        }

        location /p/plain/ {
            klaviyo_visitor  $cookie_sid;
            return 200;
        }

        location /p/none/ {
            klaviyo_visitor  off;
            return 200;
        }
    }
}

EOF

my $v = Test::Nginx::Klaviyo::Visitors->new($t);

sub sid { return { Cookie => join '; ', "sid=$_[0]", @_[1 .. $#_] } }

# a robot opens the link once, or several, each as a new visitor

$v->get('a robot', '/p/hat?sid=r1&_kx=r.AbC123', '(held)');
$v->get('once more', '/p/hat?sid=r2&_kx=r.AbC123', '(held)');
$v->get('without a key', '/p/hat?_kx=r.AbC123', '(unconfirmed)');
$v->get('a page that no rule is for', '/about?sid=r3&_kx=r.AbC123', '');

# a person goes on

$v->get('a person', '/p/hat?sid=p1&_kx=p1.AbC123', 'View _kx:p1.AbC123 (held)');
$v->get('goes on', '/p/shoe', 'View _kx:p1.AbC123', sid('p1'));
$v->get('and on', '/p/bag', 'View _kx:p1.AbC123', sid('p1'));

# to where no rule is met

$v->get('another one', '/p/hat?sid=p2&_kx=p2.AbC123',
    'View _kx:p2.AbC123 (held)');
$v->get('reads about the shop', '/about', '', sid('p2'));

# landed where no rule is met

$v->get('landed', '/about?sid=p3&_kx=p3.AbC123', '');
$v->get('comes back', '/p/hat', 'View _kx:p3.AbC123', sid('p3'));

# comes back as a robot, or with a refusal: no sign

$v->get('landed', '/p/hat?sid=p4&_kx=p4.AbC123', '(held)');
$v->get('a prefetch', '/about', '',
    { %{sid('p4')}, 'Sec-Purpose' => 'prefetch' });
$v->get('a robot', '/p/hat', '(bots)',
    { %{sid('p4')}, 'User-Agent' => 'Googlebot/2.1' });

# who is known otherwise

$v->get('landed', '/p/hat?sid=p5&_kx=p5.AbC123',
    'View email:ana@shop.dev (held)');
$v->post('logs in', '/login?e=ana@shop.dev', '', 'Login email:ana@shop.dev',
    sid('p5'));
$v->get('a statement of the shop', '/customer?sid=p6&_kx=p6.AbC123',
    'Customer external_id:17');

# signs that are there at once

$v->get('__kla_id', '/p/hat?sid=p7&_kx=p7.AbC123', 'View _kx:p7.AbC123',
    { Cookie => '__kla_id=' . encode_base64('{"cid":"1"}', '') });
$v->get('a key that was sent', '/p/plain/hat?_kx=p8.AbC123',
    'View _kx:p8.AbC123', sid('p8'));
$v->get('no key, no sign', '/p/plain/hat?_kx=p9.AbC123', '(unconfirmed)');
$v->get('no visitor', '/p/none/hat?_kx=p9.AbC123', '(unconfirmed)',
    sid('p9'));
$v->get('trust', '/p/trust/hat?_kx=p10.AbC123', 'View _kx:p10.AbC123');

$v->judge();
$t->done();

###############################################################################
