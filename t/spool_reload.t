#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# A queue that a reload removes or replaces, and a binary upgrade, while Klaviyo
# is away.


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

removed();
resized();
resized_while_read();
upgrade();

Test::Nginx::Klaviyo->done();

###############################################################################

# An account is removed by a reload while Klaviyo is away: its events wait in
# the spool until it is there again.

sub removed {
    my $t = shop(drain => '200ms');
    my $k = $t->klaviyo();
    my $other = sub {
        write_shop($t, account => 'endpoint http://127.0.0.1:' . $t->port(5)
            . ';');
        my $text = $t->read_file('nginx.conf') =~ s/klaviyo_account shop/klaviyo_account other/r;
        $t->write_file('nginx.conf', $text);
        $t->reload();
    };

    my $pid = dispatcher($t);

    $k->stop();
    view($t, 1, 300);
    ok($t->wait_for(sub { account($t)->{state} eq 'backoff' }), 'away');
    $other->();

    ok($t->wait_for(sub { !kill 0, $pid }, 20),
        'removed: the old process leaves');
    cmp_ok(scalar(() = files($t, 'shop.*.spool')), '>=', 1, 'there are segments');
    is(status($t)->{total}{spooled}, 300, 'with all events');
    conserved($t, 'which are counted', busy => 1);

    # nobody delivers them for another account
    sleep 1.5;
    cmp_ok(scalar(() = files($t, 'shop.*.spool')), '>=', 1, 'they stay');
    write_shop($t);
    $t->reload();
    $k->start();
    arrived($k, 1, 300, 'added again: all arrive, each once');
    conserved($t, 'and are counted');
    is(status($t)->{total}{restored}, 0, 'as ones of this run');
}


# Another size is another ring: what is in the old one is delivered all the
# same.

sub resized {
    my $t = shop(drain => '200ms');
    my $k = $t->klaviyo();

    $k->stop();
    view($t, 1, 300);
    ok($t->wait_for(sub { account($t)->{state} eq 'backoff' }), 'away');
    write_shop($t, account => 'queue 32m;');
    $t->reload();
    view($t, 301, 400);
    sleep 1;
    $k->start();
    arrived($k, 1, 400, 'resized: all arrive, each once');
    conserved($t, 'and are counted');
    is(scalar(() = segments($t)), 0, 'the spool is empty');
}


# A queue that is replaced while the spool is read, and an old worker that stays:
# the old process, which has a segment in hand, leaves it to the new one.

sub resized_while_read {
    my %opt = (text(), drain => '200ms',
        server => 'location /slow { root %%TESTDIR%%; limit_rate 1000; }');
    my $account = 'batch events=100 bytes=512k; '
        . 'rate burst=8/s steady=6000/m share=100%; queue';
    my $t = shop(%opt, account => "$account 4m;");
    my $k = $t->klaviyo();

    $t->write_file('slow', 'x' x 1000000);
    $k->stop();

    for my $n (0 .. 39) {
        big($t, $n * 100 + 1, $n * 100 + 100);
        sleep 0.02;
    }

    my $slow = $t->connect();

    $slow->send(Test::Nginx::Klaviyo::HTTP::text('GET', '/slow'));

    my $old = dispatcher($t);

    $k->start();
    ok($t->wait_for(sub { my $n = spooled($t);
        $n > 0 && $n < 3000 && grep { m{\.spool\z} }
            map { readlink($_) // '' } glob "/proc/$old/fd/*" }, 30),
        'resized: a segment is being read');

    write_shop($t, %opt, account => "$account 8m;");
    $t->reload();

    ok(settled($t, 30), 'resized: all is sent');
    ok(kill(0, $old), 'while the old process is there');
    is(missed([ numbers($k) ], [ 1 .. 4000 ]), '', 'resized: all have come');
    is(scalar $k->duplicates(), 0, 'each once');
    conserved($t, 'resized while it is read');
}

###############################################################################

# USR2, QUIT for the old one: the new one leaves its files alone as long as it
# lives, and delivers them then.

sub upgrade {
    my $t = shop(drain => '300ms', harness => { daemon => 1 });
    my $k = $t->klaviyo();
    my $old = $t->master_pid();

    $k->stop();
    view($t, 1, 300);
    kill 'USR2', $old;
    ok($t->wait_for(sub { my $pid = $t->master_pid();
        $pid && $pid != $old }), 'upgrade: there is a new one');
    view($t, 301, 400);
    is(scalar(() = files($t, '*.lock')), 2, 'both have their lock');

    kill 'QUIT', $old;
    ok($t->wait_for(sub { !kill 0, $old }), 'the old one ends');
    view($t, 401, 500);
    $k->start();
    arrived($k, 1, 500, 'upgrade: all arrive, each once');
    conserved($t, 'and are counted');
    is(scalar(() = segments($t)), 0, 'the spool is empty');
    is(scalar(() = files($t, '*.lock')), 1, 'one lock is left');
}

###############################################################################
