#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# URLs: $klaviyo_url is what the visitor sees, and no property has a URL with
# what identifies the visitor.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use IO::Socket::SSL ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo::Table;

###############################################################################

my $table = Test::Nginx::Klaviyo::Table->new(server => <<'EOS');

        listen               127.0.0.1:%%PORT_1%% ssl;
        server_name          shop.example;
        ssl_certificate      %%TESTDIR%%/tls/klaviyo.crt;
        ssl_certificate_key  %%TESTDIR%%/tls/klaviyo.key;

EOS

my $t = $table->harness();
my $port = $t->port(0);
my $tls = $t->port(1);

# Hosts and ports: those of a header that nginx doesn't believe, a port that
# the visitor did not write, letters as they came.

url('a host', '/%d/p', 'http://localhost/%d/p');
url('a port', '/%d/p', "http://shop.example:$port/%d/p",
    headers => { Host => "shop.example:$port" });
url('capital letters', '/%d/p', 'http://shop.example:81/%d/p',
    headers => { Host => 'SHOP.example:81' });
url('an absolute URI', 'http://shop.example/%d/p?a=1',
    'http://shop.example/%d/p?a=1', headers => { Host => 'other.example' });
url('an address', '/%d/p', "http://[::1]:81/%d/p",
    headers => { Host => '[::1]:81' });

# Paths and queries: decoded, rewritten, or without what is empty.

url('as it was written', '/%d//a/../%%C3%%A9?b=%%20&c',
    'http://localhost/%d//a/../%%C3%%A9?b=%%20&c');
url('rewritten', '/%d/p?a=1', 'http://localhost/%d/p?a=1',
    level => 'rewrite ^ /elsewhere?b=2;');
url('an empty query', '/%d/p?', 'http://localhost/%d/p?');

# Twins of frameworks.

url('.data', '/%d/p.data', 'http://localhost/%d/p');
url('.data and a query', '/%d/p.data?Color=Sand&_routes=a%%2Fb',
    'http://localhost/%d/p?Color=Sand');
url('_.data', '/%d/p/_.data', 'http://localhost/%d/p/');
url('_root.data', '/%d/_root.data?index', 'http://localhost/%d/?index');
url('_rsc', '/%d/p?color=black&_rsc=1c5yl',
    'http://localhost/%d/p?color=black');
url('_rsc alone', '/%d/p?_rsc=1c5yl', 'http://localhost/%d/p');
url('data is a name too', '/%d/data', 'http://localhost/%d/data');
url('.data in the middle', '/%d/p.data/q', 'http://localhost/%d/p.data/q');
url('a hidden file', '/%d/.data', 'http://localhost/%d/.data');
url('.data in a query', '/%d/p?f=a.data', 'http://localhost/%d/p?f=a.data');

# What identifies the visitor: names in any case and escaped; names that only
# begin alike stay.

url('_kx', '/%d/p?_kx=ab.XyZ123', 'http://localhost/%d/p');
url('the first', '/%d/p?_kx=a.b&c=1', 'http://localhost/%d/p?c=1');
url('the last', '/%d/p?c=1&_kx=a.b', 'http://localhost/%d/p?c=1');
url('in the middle', '/%d/p?c=1&_ke=x&d=2', 'http://localhost/%d/p?c=1&d=2');
url('several', '/%d/p?_kx=1&utm_email=a%%40b.c&_ke=2&_KX=3&utm_source=x',
    'http://localhost/%d/p?utm_source=x');
url('escaped', '/%d/p?%%5Fkx=1&a=1&%%5f%%6b%%58=2',
    'http://localhost/%d/p?a=1');
url('similar', '/%d/p?_kxx=1&x_kx=2&utm_emails=3',
    'http://localhost/%d/p?_kxx=1&x_kx=2&utm_emails=3');

# Properties: wherever a URL comes from, and wherever it stands.

scrubbed('an argument', 'property A $arg_u;',
    'u=https%3A%2F%2Fx.y%2F%3F_kx%3D1%26a%3D2%23f',
    '{"A":"https://x.y/?a=2#f"}');
scrubbed('a path', 'property A $request_uri;', '_kx=1.2', '{"A":"/%d"}');
scrubbed('a header', 'property A $http_referer;', '', '{"A":"HTTP://x.y/?b=1"}',
    { Referer => 'HTTP://x.y/?_ke=1&b=1' });
scrubbed('text stays', 'property A $arg_u;', 'u=see+_kx%3D1+at+x?_kx=1',
    '{"A":"see _kx=1 at x?_kx=1"}');
scrubbed('in a tree', 'property A $cookie_c | json;', '',
    '{"A":{"u":"/?b=1","l":["http://x/",1,{"v":"/p"}],"t":"?_kx=1"}}',
    { Cookie => 'c={"u":"/?_kx=1&b=1","l":["http://x/?_kx=2",1,'
                . '{"v":"/p?utm_email=a@b"}],"t":"?_kx=1"}' });
scrubbed('in an object and items', 'object O { property A $arg_u; }'
    . ' items I @args.u { property B .; } property C @I[0].B;', 'u=/?_kx=1',
    '{"O":{"A":"/"},"I":[{"B":"/"}],"C":"/"}');
scrubbed('a name', 'let u $arg_u; property A @u;', 'u=/?_kx=1', '{"A":"/"}');

my $level = $table->add('for all events', '', 'u=/x?_ke=1&_kx=1',
    level => 'klaviyo_property A $arg_u; klaviyo_profile image $arg_u;'
             . ' klaviyo_profile properties.u $arg_u;',
    events => [ '{"A":"/x"}' ]);

# The same over TLS.

my $secure = $table->add('https', 'property A $klaviyo_url;', '',
    events => [ "{\"A\":\"https://shop.example:$tls/%d?a=1\"}" ]);

# a client that says no host has come to the server's own name

my $old = $table->add('HTTP/1.0', 'property A $klaviyo_url;', '',
    events => [ '{"A":"http://shop.example/%d"}' ]);

###############################################################################

mkdir $t->dir() . '/tls';
Klaviyo::StandIn->new(dir => $t->dir() . '/tls')->certificate();

for my $n (0 .. $#{$table->{cases}}) {
    s/%d/$n/g for @{$table->{cases}[$n]{events}};
}

$table->start();
$table->send($_) for 0 .. $secure - 1;
$table->send($old, version => '1.0', headers => { Host => undef });

my $socket = IO::Socket::SSL->new(PeerAddr => "127.0.0.1:$tls",
    SSL_verify_mode => 0) or die "TLS: $!\n";

print $socket Test::Nginx::Klaviyo::HTTP::text('GET',
    "/$secure?a=1&_kx=1", close => 1,
    headers => { Host => "shop.example:$tls", 'X-Case' => $secure });

is(scalar(<$socket>), "HTTP/1.1 200 OK\r\n", 'TLS');

$table->finish();
$table->judge();

my ($event) = $table->events($level);

is("$event->{profile}{image} $event->{profile}{properties}{u}", '/x /x',
    'in the profile');

Test::Nginx::Klaviyo->done();

###############################################################################

sub url {
    my ($name, $uri, $expected, %opt) = @_;

    s/%%/%/g for $uri, $expected;

    return $table->add("$name ($uri)", 'property A $klaviyo_url;', '', %opt,
        uri => $uri, events => [ "{\"A\":\"$expected\"}" ]);
}


sub scrubbed {
    my ($name, $rule, $query, $expected, $headers) = @_;

    return $table->add($name, $rule, $query, headers => $headers,
        events => [ $expected ]);
}

###############################################################################
