#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# klaviyo-explain: rules tried on a request, without traffic.

###############################################################################

use warnings;
use strict;

use Test::More;

use Cpanel::JSON::XS ();
use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;

###############################################################################

my $root = "$FindBin::Bin/..";
my $json = Cpanel::JSON::XS->new->utf8;
my $t = Test::Nginx::Klaviyo->new();
my $agent = 'Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Firefox/120.0';

demo();
shop_rules();
expected();
wrong();
story();

ok(!(glob '/tmp/klaviyo-explain-*'), 'nothing is left') if !$ENV{TMPDIR};

Test::Nginx::Klaviyo->done();

###############################################################################

# ( exit status, what it said )

sub explain_cli {
    my ($request, @more) = @_;

    $t->write_file('request.txt', $request);

    my $pid = open(my $out, '-|') // die "fork: $!\n";

    if (!$pid) {
        open STDIN, '<', $t->dir() . '/request.txt';
        open STDERR, '>&', \*STDOUT;
        exec "$root/util/klaviyo-explain", '--nginx',
            $Test::Nginx::Klaviyo::NGINX, '--module',
            $Test::Nginx::Klaviyo::MODULE, '-p', $t->dir(), @more
            or POSIX::_exit(127);
    }

    local $/;
    my $text = <$out> // '';

    close $out;

    return ($? >> 8, $text);
}


sub request {
    my ($line, $headers, $body) = @_;

    return "$line\nHost: shop.example\nUser-Agent: $agent\n"
        . join('', map { "$_\n" } @{$headers || []}) . "\n" . ($body // '');
}

###############################################################################

sub demo {
    my @conf = ('-c', "$root/conf.examples/demo.conf");

    my ($code, $said) = explain_cli(request('GET /products/wool-hat?_kx='
        . 'AbCdEf123.XyZaBc HTTP/1.1'), @conf, '--expect', 'Viewed Product');

    is($code, 0, 'the demo: the event came out');
    like($said, qr/^  property   Price \$product_price \| number: "24\.00"
             \| number: 24$/m, 'each step of a value');
    like($said, qr/^  identity   _kx "\*{3}\(\d+\)", from _kx in the query$/m,
        'whose it is');
    like($said, qr/^  outcome    queued, dry run: not sent$/m, 'its fate');
    unlike($said, qr/AbCdEf123/, 'masked');

    like($said, qr{^not met: "Searched Site" GET =/search \(\S+:\d+\): path$}m,
        'what was not met, and where');

    my ($line) = $said =~ /demo\.conf:(\d+)\), account/;

    like((split /\n/, Test::Nginx::Klaviyo::slurp("$root/conf.examples/"
        . 'demo.conf'))[$line - 1], qr/klaviyo_track "Viewed Product"/,
        'the line is that of the file');

    ($code, $said) = explain_cli(request('GET /products/wool-hat HTTP/1.1'),
        @conf, '--expect', 'Viewed Product');
    is($code, 1, 'nobody: it did not come out');
    like($said, qr/^  outcome    skipped: unidentified$/m, 'and why');

    # what would turn the terminal's colours or the line round

    ($code, $said) = explain_cli(request('GET /products/%1b%5b31m%e2%80%aeabc'
        . '%c3%a9?_kx=AbCdEf123.XyZaBc HTTP/1.1'), @conf);
    like($said, qr{\AGET /products/\\u001b\[31m\\u202eabc\xc3\xa9 -> },
        'no control characters');
    unlike($said, qr/[\x00-\x09\x0b-\x1f\x7f]|\xe2\x80\xae|Wide character/,
        'anywhere');
}


# What a production configuration has, and this command does not touch.

sub shop_rules {
    $t->write_file('rules/shop.conf', <<'EOF');
klaviyo_track "Placed Order" POST =/api/orders {
    when      @request.test != true;
    when      @response.id;
    profile   email       @request.customer.email;
    property  OrderId     @response.id | string;
    property  "Blank Name"  "a {b}; c";
    value     @response.total | number;
    unique_id "order-${unused_or_not}";
}
EOF
    $t->write_file('shop.conf', <<'EOF');
user nobody;
worker_processes 8;
pid /nonexistent/nginx.pid;
error_log /nonexistent/error.log;
events { worker_connections 10; }
http {
    access_log /nonexistent/access.log;
    upstream shop { server 192.0.2.1:80; }
    klaviyo_account shop { api_key file:/nonexistent/key; }   # { not a block
    map $uri $unused_or_not { default "1"; "~^/x{2}" 2; }
    server {
        listen 80 default_server;
        server_name shop.example;
        return 301 https://$host$request_uri;
    }
    server {
        listen 443 ssl http2 default_server;
        listen [::]:443 ssl http2;
        server_name shop.example;
        ssl_certificate /nonexistent/cert.pem;
        ssl_certificate_key /nonexistent/key.pem;
        include rules/*.conf;
        location / { proxy_pass https://shop/x; proxy_ssl_verify on; }
        location ~ \.php$ { fastcgi_pass unix:/nonexistent; }
    }
}
EOF
    $t->write_file('response.txt', "HTTP/1.1 201 Created\n"
        . "Content-Type: application/json\nContent-Length: 5\n\n"
        . '{"id":17,"total":"12.50"}');
}


sub order {
    my ($test, @more) = @_;

    return explain_cli(request('POST /api/orders HTTP/2',
        [ 'Content-Type: application/json' ], '{"customer":{"email":'
        . "\"jane\@shop.de\"},\"test\":$test}"), '-c',
        $t->dir() . '/shop.conf', @more);
}


sub expected {
    my @response = ('--response', $t->dir() . '/response.txt');

    $t->write_file('want.json', $json->encode({ metric => 'Placed Order',
        value => 12.5, properties => { OrderId => '17' },
        profile => { email => 'jane@shop.de' }, unique_id => 'order-1' }));
    $t->write_file('other.json', '{"properties":{"OrderId":"18"}}');

    my @want = ('--expect-json', $t->dir() . '/want.json');
    my ($code, $said) = order('false', @response, @want);

    is($code, 0, 'a production configuration: the event came out')
        or diag($said);
    unlike($said, qr/jane/, 'masked, though compared');
    like($said, qr{rules/shop\.conf:1\)}, 'the file that is included');

    is((order('false', @response, '--expect-json',
        $t->dir() . '/other.json'))[0], 1, 'another one did not');
    is((order('false', @want))[0], 1, 'nor without the response');

    ($code, $said) = order('true', @response, @want);
    is($code, 1, 'a condition fails');
    like($said, qr/^  when       \@request\.test != true: fails$/m,
        'it is named');

    ($code, $said) = order('false', @response, '--json', '--full');

    my $rule = $json->decode($said)->{rules}[0];

    is($rule->{outcomes}[0]{event}{attributes}{profile}{data}{attributes}
        {email}, 'jane@shop.de', 'in full, as JSON');

    ($code, $said) = order('false', @response, '--port', 80, '--expect',
        'Placed Order');
    is($code, 1, 'the other server');
}


sub wrong {
    is((explain_cli('', '-c', '/nonexistent'))[0], 2, 'no configuration');
    is((explain_cli('', '--unknown'))[0], 2, 'an unknown option');
    is((explain_cli(request('GET / HTTP/1.1'), '-c',
        $t->dir() . '/shop.conf', '--port', 81))[0], 2, 'an unknown port');

    $t->write_file('bad.conf', "events { }\nhttp {\nklaviyo_account a { "
        . "api_key data:x; }\nserver {\n\nklaviyo_track A /a { when; }\n}\n}");

    my ($code, $said) = explain_cli(request('GET /a HTTP/1.1'), '-c',
        $t->dir() . '/bad.conf');

    is($code, 2, 'a wrong rule');
    like($said, qr{\[emerg\].* in \S+/bad\.conf:6$}m, 'and where it stands');
}


sub story {
    $t->write_file('story.json', (order('true', '--json'))[1]);

    my ($code, $said) = explain_cli(
        Test::Nginx::Klaviyo::slurp($t->dir() . '/story.json'), '--read');

    is($code, 0, 'a story that was kept');
    like($said, qr/^  outcome    skipped: condition$/m, 'for people');
}

###############################################################################
