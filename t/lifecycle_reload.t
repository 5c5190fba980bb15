#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Reloads under load, of each kind: with an account of each request.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery qw(account status dispatcher);
use Test::Nginx::Klaviyo::Lifecycle;

###############################################################################

# name, options of the shop, what happens under load.

my @reloads = (
    [ 'reloads', {}, sub {
        my ($l) = @_;

        $l->t()->reload(), $l->more(1000) for 1 .. 3;
    } ],

    [ 'a reload, slow answers', {}, sub {
        my ($l) = @_;

        # those that are out at the reload take longer than anybody looks
        $l->k()->settings(delay => 1.5);
        $l->more(3000);
        $l->t()->reload();
        sleep 1.5;
        $l->k()->settings(delay => 0.05);
    } ],

    [ 'a storm of reloads', {}, sub {
        my ($l) = @_;

        for (1 .. 20) {
            $l->t()->reload(0);
            sleep rand 0.05;
        }

        $l->t()->reload();
    } ],

    [ 'a removed account', {}, sub {
        my ($l) = @_;

        $l->without()->t()->reload();
        $l->more(2000);
        $l->with_both()->t()->reload();
    } ],

    [ 'a removed account, Klaviyo is away', {}, sub {
        my ($l) = @_;

        my $t = $l->t();
        my $pid = dispatcher($t);

        $l->away()->more(1000);
        $l->without()->t()->reload();

        # it has nobody to send to, and leaves what it has to the spool
        $t->wait_for(sub { !kill 0, $pid }, 15);
        $l->back()->with_both()->t()->reload();
    } ],

    [ 'all of ours is removed', { drain => '3s' }, sub {
        my ($l) = @_;

        $l->write(klaviyo => 0)->t()->reload();
        $l->more(1000);
        $l->write()->t()->reload();
        $l->anew();
    } ],

    [ 'all of ours is removed, Klaviyo is away', { drain => '300ms' }, sub {
        my ($l) = @_;

        my $pid = dispatcher($l->t());

        $l->away()->more(1000);
        $l->slow(20, 1, 2.5);
        $l->write(klaviyo => 0)->t()->reload();
        $l->more(500);
        $l->write()->t()->reload();
        $l->anew();
        $l->finish_slow();
        $l->t()->wait_for(sub { !kill 0, $pid }, 20);
        $l->back();
    } ],

    [ 'a larger queue, a smaller one', { account => 'queue 1m;' }, sub {
        my ($l) = @_;

        for my $queue (qw(16m 1m 2m)) {
            $l->write(account => "queue $queue;")->t()->reload();
            $l->more(1000);
        }
    } ],

    [ 'another size, Klaviyo is away', { account => 'queue 2m;' }, sub {
        my ($l) = @_;

        $l->away()->more(500);

        for my $queue (qw(4m 2m)) {
            $l->write(account => "queue $queue;")->t()->reload();
            $l->more(500);
        }

        $l->back();
    } ],

    [ 'old workers', {}, sub {
        my ($l) = @_;

        $l->slow(60, 0.5, 4);
        $l->t()->reload();
        $l->more(1000);
    } ],

    [ 'old workers of a removed account, and of an older one', {}, sub {
        my ($l) = @_;

        $l->slow(30, 1, 4);
        $l->write(account => 'queue 2m;')->t()->reload();
        $l->slow(30, 1, 3);
        $l->without()->t()->reload();
        $l->more(1000);
        $l->finish_slow();
        $l->with_both()->t()->reload();
    } ],

    [ 'Klaviyo comes and goes', {}, sub {
        my ($l) = @_;

        for (1 .. 3) {
            $l->away()->t()->reload();
            $l->more(500);
            $l->back()->t()->reload(0);
            $l->more(500);
        }

        $l->t()->reload();
    } ],

    [ 'answers are lost', {}, sub {
        my ($l) = @_;

        for (1 .. 4) {
            $l->lose(2)->t()->reload();
            $l->more(500);
        }
    } ],
);

for my $case (@reloads) {
    my ($name, $shop, $happens) = @$case;
    my $l = Test::Nginx::Klaviyo::Lifecycle->new($name, shop => $shop,
        standin => { delay => 0.05 });

    $l->load()->more(1000);
    $happens->($l);
    $l->more(500);
    $l->account();
}

hanging();
hanging_end('QUIT', 3.5);
hanging_end('TERM', 2);

Test::Nginx::Klaviyo->done();

###############################################################################

# Klaviyo hangs: the old workers leave at once, the old process that sends as
# soon as its requests are over time.

sub hanging {
    my $name = 'a reload, Klaviyo hangs';
    my $l = Test::Nginx::Klaviyo::Lifecycle->new($name,
        shop => { account => 'timeout 2s;' });
    my $t = $l->t();

    $l->hang()->load()->more(1000);

    my $pid = dispatcher($t);
    my $begin = time();

    $t->reload();
    ok($t->wait_for(sub { !grep { $_->{leaving} } $t->processes('worker') }),
        "$name: the old workers leave");
    cmp_ok(time() - $begin, '<', 1.5, 'at once');
    ok($t->wait_for(sub { !kill 0, $pid }), "$name: who sends leaves");
    cmp_ok(time() - $begin, '<', 4, 'in time');
    $l->heal()->account();
}


# nginx ends when it has just been reloaded: who sends for the old generation is
# not told a second time, and leaves all the same.

sub hanging_end {
    my ($signal, $limit) = @_;
    my $name = "a reload and $signal, Klaviyo hangs";
    my $l = Test::Nginx::Klaviyo::Lifecycle->new($name,
        shop => { drain => '1s', account => 'timeout 60s;' });

    $l->hang()->load()->more(1000);
    $l->t()->reload();
    $l->more(500);
    cmp_ok($l->end($signal) // 99, '<', $limit, "$name: nginx ends in time");
    unlike($l->t()->log(), qr/are lost/, "$name: nothing is lost");
    $l->heal()->start()->account();
}

###############################################################################
