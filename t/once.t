#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# "once": an event at most once per visitor and key, also when two ask at the
# same moment.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::HTTP;
use Test::Nginx::Klaviyo::Visitors;

###############################################################################

my $t = Test::Nginx::Klaviyo->new();

$t->standin();

my $config = <<'EOC';

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

    klaviyo_account small {
        api_key   data:pk_9876543210;
        endpoint  %%KLAVIYO_1%%;
        queue     256k;
        batch     bytes=100k;
    }

    klaviyo_memory   1m;
    klaviyo_visitor  $cookie_cart;

    server {
        listen      127.0.0.1:%%PORT_0%%;
        access_log  %%TESTDIR%%/results.log results;

        klaviyo_profile  email  $arg_e;

        # a page and the data that the framework fetches for it

        klaviyo_track "Viewed Product" GET {
            route  ~^/p/(?<handle>\w+)(?:\.data)?$;
            once   $handle 1h;
        }

        klaviyo_track "Started Checkout" GET =/checkout { once 1h; }

        klaviyo_track "Second" GET =/checkout { once 1h; }

        klaviyo_track "Ordered Product" GET =/lines {
            each  $arg_ids | split ,;
            once  . 1h;
        }

        klaviyo_track "Keys" GET =/keys {
            once  $arg_a | lower  @args.b  1h;
        }

        klaviyo_track "Short" GET =/short { once 1s; }

        klaviyo_track "Conditional" GET =/if {
            when  $arg_ok;
            once  1h;
        }

        klaviyo_track "Full" GET =/full {
            account   small;
            property  Text  $http_x_text;
            once      1h;
        }

        location / { return 200; }
    }
}

EOC

$t->standin();
$t->write_config($config)->run();

my $v = Test::Nginx::Klaviyo::Visitors->new($t);

sub cart { return { Cookie => "cart=$_[0]" } }

my $ana = 'email:ana@shop.dev';
my $e = 'e=ana@shop.dev';

$v->get('a page', "/p/hat?$e", "Viewed Product $ana", cart('a'));
$v->get('its twin', "/p/hat.data?$e", '(repeated)', cart('a'));
$v->get('again', "/p/hat?$e", '(repeated)', cart('a'));
$v->get('another product', "/p/shoe?$e", "Viewed Product $ana", cart('a'));
$v->get('another visitor', "/p/hat?$e", "Viewed Product $ana", cart('b'));

# without a key it is the identity's

$v->get('no key', "/p/hat?$e", "Viewed Product $ana");
$v->get('again', "/p/hat?$e", '(repeated)');
$v->get('another one', '/p/hat?e=bob@shop.dev',
    'Viewed Product email:bob@shop.dev');
$v->get('nobody leaves no mark', '/p/bag', '(unidentified)', cart('c'));
$v->get('somebody after that', "/p/bag?$e", "Viewed Product $ana", cart('c'));

# rules count for themselves, elements too

$v->get('two rules', "/checkout?$e", "Second $ana, Started Checkout $ana",
    cart('a'));
$v->get('both once', "/checkout?$e", '(repeated),(repeated)', cart('a'));
$v->get('three lines', "/lines?$e&ids=1,2,3",
    "Ordered Product $ana, Ordered Product $ana, Ordered Product $ana",
    cart('a'));
$v->get('one more', "/lines?$e&ids=1,2,3,4", "Ordered Product $ana",
    cart('a'));
$v->get('the same twice', "/lines?$e&ids=7,7", "Ordered Product $ana",
    cart('a'));

# keys: texts, trees, missing ones

$v->get('keys', "/keys?$e&a=X&b=1", "Keys $ana", cart('a'));
$v->get('in other letters', "/keys?$e&a=x&b=1", '(repeated)', cart('a'));
$v->get('the other one differs', "/keys?$e&a=x&b=2", "Keys $ana", cart('a'));
$v->get('a tree', "/keys?$e&a=x&b=1&b=2", "Keys $ana", cart('a'));
$v->get('the same tree', "/keys?$e&a=x&b=1&b=2", '(repeated)', cart('a'));
$v->get('another tree', "/keys?$e&a=x&b=2&b=1", "Keys $ana", cart('a'));
$v->get('missing', "/keys?$e&a=x", "Keys $ana", cart('a'));
$v->get('missing again', "/keys?$e&a=x", '(repeated)', cart('a'));
$v->get('the other missing', "/keys?$e&b=x", "Keys $ana", cart('a'));

# what is no event leaves no mark

$v->get('a condition', "/if?$e", '(condition)', cart('a'));
$v->get('fulfilled', "/if?$e&ok=1", "Conditional $ana", cart('a'));

# for a time

$v->get('a second', "/short?$e", "Short $ana", cart('a'));

my $end = time() + 2;
$t->wait_for(sub { time() > $end });

$v->get('is over', "/short?$e", "Short $ana", cart('a'));

# a reload keeps marks

$t->reload();
$v->get('a reload', "/p/hat?$e", '(repeated)', cart('a'));

# twins at the same moment, on connections of their own and both workers: of
# each pair one wins

for my $i (1 .. 40) {
    my @twins = map { $t->connect() } 1 .. 4;

    $_->send(Test::Nginx::Klaviyo::HTTP::text('GET', "/p/twin$i?$e",
        headers => { 'X-Case' => 1000 + $i, Cookie => 'cart=t' })) for @twins;

    $_->response() for @twins;
}

$t->wait_for(sub { (() = $t->read_file('results.log') =~ m/^1\d\d\d /mg)
                   == 160 });

my $log = $t->read_file('results.log');
my %won = map { 1000 + $_ => 0 } 1 .. 40;

$won{$1}++ while $log =~ m/^(1\d\d\d) queued$/mg;

is(join(' ', grep { $won{$_} != 1 } sort keys %won), '',
    'of twins one wins, each time');

my $sent = $t->wait_for(sub {
    my @events = grep { ($_->{properties}{Case} // 0) > 1000 }
                 $t->klaviyo()->events();

    return @events >= 40 ? @events : 0;
});

is($sent, 40, 'and is sent');

# a queue that is full, since nobody empties it: what was dropped may come again

my @sender = map { $_->{pid} } $t->processes('helper');

kill 'STOP', @sender;

my $text = { 'X-Text' => 'x' x 7000 };
my $n = 0;

while ($n < 100) {
    $n++;
    $t->get("/full?$e", headers => { %$text, Cookie => "cart=f$n",
                                     'X-Case' => 5000 + $n });

    $t->wait_for(sub { $t->read_file('results.log') =~ m/^500$n |^50$n /m }, 1);

    last if $t->read_file('results.log') =~ m/^5\d+ dropped:full$/m;
}

like($t->read_file('results.log'), qr/^5\d+ dropped:full$/m,
    'the queue is full');

$t->get("/full?$e", headers => { %$text, Cookie => "cart=f$n",
                                 'X-Case' => 6000 });
$t->wait_for(sub { $t->read_file('results.log') =~ m/^6000 /m });

like($t->read_file('results.log'), qr/^6000 (?:queued|dropped:full)$/m,
    'a dropped one has left no mark');

is(kill('CONT', @sender), 1, 'the queue is emptied again');

ok($t->quit(), 'nginx ends');

my ($came, $results) = ($v->came(), $v->results());

for my $case (1 .. @{$v->{cases}}) {
    my $expected = $v->{cases}[$case - 1];
    my $got = $expected->{expected} =~ /^\(/ ? $results->{$case}
        : join ', ', @{$came->{$case} || []};

    is($got, $expected->{expected}, "$case: $expected->{name}");
}

$t->done();

###############################################################################
