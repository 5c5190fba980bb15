#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# The memory's zone: a reload keeps it, another size empties it; filled past its
# size under load while workers are killed it stays sound.

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

    %MEMORY%

    server {
        listen      127.0.0.1:%%PORT_0%%;
        access_log  %%TESTDIR%%/results.log results;

        klaviyo_track "View" GET =/view { property ok 1; }

        location / { return 200; }
        location = /klaviyo { klaviyo_status; }

        # more visitors than there is room for

        location = /fill {
            access_log       off;
            klaviyo_ignore   off;
            klaviyo_visitor  $request_id;
            return           200;
        }
    }
}

EOC

sub config {
    my ($memory) = @_;

    return $config =~ s/%MEMORY%/$memory/r;
}


sub memory {
    my $status = $t->get('/klaviyo')->body();

    return Cpanel::JSON::XS::decode_json($status)->{memory};
}


# at configuration time

my ($code, $said) = $t->test_config(config('klaviyo_memory 100k;'));

like($said, qr/invalid size "100k" in "klaviyo_memory", it must be at least/,
    'too small');

($code, $said) = $t->test_config(config(
    'klaviyo_memory 1m; klaviyo_memory 1m;'));

like($said, qr/"klaviyo_memory" directive is duplicate/, 'twice');

my $keys = 'klaviyo_visitor $cookie_cart;';

for my $case (
    [ '$cookie_a ttl=0;', 'invalid time "ttl=0" in "klaviyo_visitor"' ],
    [ '$cookie_a ttl=x;', 'invalid time "ttl=x" in "klaviyo_visitor"' ],
    [ '.a;', 'no element for ".a"' ],
    [ '$cookie_a | what;', 'unknown filter "what"' ],
    [ '$cookie_a | default x ttl=1h;', '' ],
    [ 'off;', '' ],
) {
    my ($text, $expected) = @$case;

    ($code, $said) = $t->test_config(config("klaviyo_visitor $text"));

    $expected eq '' ? is($code, 0, $text) : like($said, qr/\Q$expected\E/,
        $text);
}

# nobody needs it

$t->write_config(config('klaviyo_memory 1m;')
    =~ s/klaviyo_visitor  \$request_id;//r)->run();

is(memory(), undef, 'no memory without a visitor');

ok($t->quit(), 'nginx ends');

# a reload

$t->write_config(config("klaviyo_memory 512k; $keys"))->run();

my $v = Test::Nginx::Klaviyo::Visitors->new($t);
my %cart = (Cookie => 'cart=c1');

$v->get('a link', '/view?_kx=a.AbC123', 'View _kx:a.AbC123', \%cart);
is(memory()->{entries}, 1, 'one visitor');

$t->reload();
$v->get('a reload keeps it', '/view', 'View _kx:a.AbC123', \%cart);

# workers are killed while all write: the log goes round several times

my $until = time() + 60;
my $rounds = 0;
my $killed = 0;

while (time() < $until && (memory()->{stored} || 0) < 40_000) {
    my $pid = fork() // die "fork: $!\n";

    if (!$pid) {
        open STDOUT, '>', '/dev/null';
        open STDERR, '>', '/dev/null';
        exec 'wrk', '-t1', '-c8', '-d1', 'http://127.0.0.1:' . $t->port(0)
            . '/fill?_kx=filler.AbC123' or POSIX::_exit(1);
    }

    for (1 .. 3) {
        select undef, undef, undef, 0.2;
        my ($worker) = $t->processes('worker') or next;
        $killed += kill 'KILL', $worker->{pid};
    }

    waitpid $pid, 0;
    $rounds++;
}

my $memory = memory();

cmp_ok($killed, '>', 2, "$killed workers were killed");
cmp_ok($memory->{stored}, '>', 10_000, 'visitors in a zone for some thousand');
cmp_ok($memory->{evicted}, '>', 0, 'old ones went out');
cmp_ok($memory->{entries}, '<=', $memory->{slots}, 'the rest is there');

$v->get('the first has gone out', '/view', '(unidentified)', \%cart);
$v->get('it remembers', '/view?_kx=b.AbC123', 'View _kx:b.AbC123', \%cart);
$v->get('and finds', '/view', 'View _kx:b.AbC123', \%cart);

# another size

$t->write_config(config("klaviyo_memory 1m; $keys"))->reload();

is(memory()->{entries}, 0, 'another size is empty');
$v->get('and forgets', '/view', '(unidentified)', \%cart);

# the time that a visitor is known

$t->write_config(config('klaviyo_memory 1m; klaviyo_visitor $cookie_cart'
    . ' ttl=1s;'))->reload();

$v->get('for a second', '/view?_kx=c.AbC123', 'View _kx:c.AbC123', \%cart);

my $end = time() + 2;
$t->wait_for(sub { time() > $end });

$v->get('is forgotten', '/view', '(unidentified)', \%cart);

$t->expect_kill();
$v->judge();
$t->done();

###############################################################################
