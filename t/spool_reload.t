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
