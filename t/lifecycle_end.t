#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# nginx ends, and starts again, under load: in time, and with an account of each
# request.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery qw(account);
use Test::Nginx::Klaviyo::Lifecycle;

###############################################################################

# name, signal, what Klaviyo does, klaviyo_drain_timeout, the seconds that it
# may take.  On TERM nginx kills after 1.5 seconds.

my @ends = (
    [ 'graceful stop',                   'QUIT', 'answers', '5s',    4 ],
    [ 'fast stop',                       'TERM', 'answers', '5s',    2 ],
    [ 'graceful stop, Klaviyo hangs',    'QUIT', 'hangs',   '1s',    2.5 ],
    [ 'fast stop, Klaviyo hangs',        'TERM', 'hangs',   '5s',    2 ],
    [ 'graceful stop, Klaviyo is away',  'QUIT', 'away',    '500ms', 2 ],
    [ 'fast stop, Klaviyo is away',      'TERM', 'away',    '5s',    2 ],
);

stopped(@$_) for @ends;
last_one();
unit();

Test::Nginx::Klaviyo->done();

###############################################################################

sub stopped {
    my ($name, $signal, $klaviyo, $drain, $limit) = @_;
    my $l = Test::Nginx::Klaviyo::Lifecycle->new($name,
        shop => { drain => $drain, account => 'batch linger=200ms;'
                  . ' timeout 30s;' });

    $l->hang() if $klaviyo eq 'hangs';
    $l->away() if $klaviyo eq 'away';
    $l->load()->more(3000);

    my $took = $l->end($signal) // 99;

    cmp_ok($took, '<', $limit, "$name: nginx ends in time");
    unlike($l->t()->log(), qr/are lost/, "$name: nothing is lost");

    # while it isn't there nobody is answered, and all wait for it
    $l->start()->more(1000);
    $l->heal() if $klaviyo eq 'hangs';
    $l->back() if $klaviyo eq 'away';
    $l->account();
}

###############################################################################

# Workers that have requests yet, for longer than what sends may: the last event
# of the last one reaches the spool.

sub last_one {
    my $l = Test::Nginx::Klaviyo::Lifecycle->new('the last event',
        shop => { drain => '300ms' });

    $l->away();
    $l->load()->more(1000);
    $l->slow(20, 0.5, 2);

    my $took = $l->end('QUIT') // 99;

    cmp_ok($took, '<', 4, 'the last event: when its request is over');
    unlike($l->t()->log(), qr/are lost/, 'the last event: is not lost');
    $l->start()->back()->account();
}

###############################################################################

# What Debian's unit does, with one who waits for too long and a visitor who
# never ends: QUIT, TERM after 5 seconds, KILL after 10.

sub unit {
    my $l = Test::Nginx::Klaviyo::Lifecycle->new('Debian\'s unit',
        shop => { drain => '60s', account => 'timeout 60s;' });
    my $t = $l->t();

    # nginx's own words for the visitor who is left
    $t->expect_log(qr/open socket #\d+ left/, qr/\[alert\] \S+ aborting/);

    $l->hang();
    $l->slow(1, 100, 100);
    $l->load()->more(1000);

    is($l->end('QUIT', 5), undef, 'Debian\'s unit: QUIT is not enough');

    my $pid = $t->master_pid();
    my $begin = time();

    kill 'TERM', $pid;
    ok($t->wait_gone(5), 'Debian\'s unit: TERM is');
    cmp_ok(time() - $begin, '<', 2, 'Debian\'s unit: long before KILL');
    $l->start()->heal()->account();
}

###############################################################################
