#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Klaviyo is away: events go to the spool and come back, also when the process
# that moves them is killed, and a new one does not wait for all of them.


###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use List::Util qw(uniq);
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;
use Test::Nginx::Klaviyo::Spool;

###############################################################################

away();
fair();

Test::Nginx::Klaviyo->done();

###############################################################################

# Klaviyo is away for more than some seconds: what is not to be tried next goes
# to the spool, and comes back when it is back.  The process is killed while it
# does both.

sub away {
    my $t = shop(account => 'batch events=50 linger=50ms;');
    my $k = $t->klaviyo();
    my $pid = dispatcher($t);

    $k->stop();
    view($t, 1, 500);
    ok($t->wait_for(sub { spooled($t) > 200 }), 'away: events are spooled');
    conserved($t, 'and counted', busy => 1);

    for my $n (1 .. 3) {
        kill 'KILL', $pid;
        view($t, 500 + $n * 100 - 99, 500 + $n * 100);
        $pid = dispatcher($t, $pid);
        sleep 0.1;
    }

    $k->start();

    for my $n (1 .. 3) {
        sleep 0.05;
        kill 'KILL', $pid;
        $pid = dispatcher($t, $pid);
    }

    # requests that were out may come twice, with the same ids
    $k->wait_for(800, 30, sub { uniq(numbers($k)) });

    is(missed([ uniq(numbers($k)) ], [ 1 .. 800 ]), '', 'away: all arrive');
    cmp_ok(scalar numbers($k), '<=', 800 + 3 * 4 * 50,
        'those that were out at a kill more than once at most');
    is(scalar uniq(map { $_->{unique_id} } $k->events()), 800, 'by their ids');

    $t->expect_kill();
    conserved($t, 'and are counted');
    is(spooled($t), 0, 'nothing is left');
    is(scalar(() = segments($t)), 0, 'no segment either');
}

###############################################################################

# A new event doesn't wait until all old ones are sent.

sub fair {
    my $t = shop(drain => '100ms', account => 'batch events=100 linger=20ms; '
        . 'rate burst=20/s steady=60000/m share=100%;');
    my $k = $t->klaviyo();

    $k->stop();
    view($t, 1, 8000);
    $t->quit();
    $k->start();
    $t->run();
    $k->wait_events(300);

    view($t, 8001, 8001);
    $k->wait_for(1, 20, sub { grep { $_ == 8001 } numbers($k) });

    my @numbers = numbers($k);
    my ($at) = grep { $numbers[$_] == 8001 } 0 .. $#numbers;

    cmp_ok($at, '<', 4000, 'a new event comes before most of the old ones');
    arrived($k, 1, 8001, 'fair: all arrive, each once');
    conserved($t, 'and are counted');
}

###############################################################################
