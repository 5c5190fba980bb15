#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Processes are killed under load, and the spool is needed: with an account of
# each request.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery qw(account dispatcher status);
use Test::Nginx::Klaviyo::Lifecycle;
use Test::Nginx::Klaviyo::Spool qw(spooled);

###############################################################################

my $pause = sub { sleep 0.02 + rand 0.2 };

# name, options of the shop and of Test::Nginx::Klaviyo::Lifecycle, what
# happens under load, options of the account.

my @kills = (
    [ 'workers are killed', {}, {}, sub {
        my ($l) = @_;

        $l->kill_worker(), $pause->() for 1 .. 15;
    } ],

    [ 'who sends is killed', {}, {}, sub {
        my ($l) = @_;

        $l->kill_sender(), $pause->() for 1 .. 6;
    } ],

    [ 'who sends is killed, requests are out', {},
      { standin => { delay => 0.3 } }, sub {
        my ($l) = @_;

        for (1 .. 4) {
            $l->t()->wait_for(sub { account($l->t())->{in_flight} });
            $l->kill_sender();
            $l->more(300);
        }
    } ],

    [ 'who spools is killed', { account => 'queue 2m;' },
      { rate => 2000 }, sub {
        my ($l) = @_;

        $l->away()->more(3000);
        $l->kill_sender(), sleep 0.3, $l->more(300) for 1 .. 4;
        $l->unload()->back();
        $l->kill_sender(), sleep rand 0.3 for 1 .. 3;
        $l->load();
    } ],

    [ 'all of them are killed', {}, {}, sub {
        my ($l) = @_;

        for (1 .. 4) {
            $l->kill_worker();
            $l->kill_sender();
            $l->t()->reload(0) if $_ % 2;
            $pause->();
        }

        $l->t()->reload();
    } ],

    [ 'the spool is full, the oldest go', { account => 'queue 512k;'
      . ' spool max=1m full=drop_oldest;' }, {}, sub {
        my ($l) = @_;

        $l->away()->more(8000);
        $l->back();
    }, drops => 'oldest' ],

    [ 'the spool is full, the newest go', { account => 'queue 512k;'
      . ' spool max=1m full=drop_new;' }, {}, sub {
        my ($l) = @_;

        $l->away()->more(8000);
        $l->back();
    }, drops => 'newest' ],

    [ 'bad events', {}, { standin => { poison_ids => '\d*000' } }, sub {
        my ($l) = @_;

        $l->more(3000);
        $l->t()->reload();
        $l->kill_worker();
        $l->more(3000);
    } ],
);

for my $case (@kills) {
    my ($name, $shop, $more, $happens, @account) = @$case;
    my $l = Test::Nginx::Klaviyo::Lifecycle->new($name, shop => $shop, %$more);

    $l->load()->more(1000);
    $happens->($l);
    $l->more(500);
    $l->account(@account);
}

each_start();

Test::Nginx::Klaviyo->done();

###############################################################################

# Who sends dies at each start: it is started more and more slowly, that is told
# once, nginx serves on and nothing is lost.

sub each_start {
    my $name = 'it dies at each start';
    my $l = Test::Nginx::Klaviyo::Lifecycle->new($name);
    my $t = $l->t();

    $l->load()->more(500);

    my $end = time() + 3;
    my $started = 0;

    while (time() < $end) {
        my @pids = $t->log() =~ /#(\d+): klaviyo dispatcher started/g;

        if (@pids > $started) {
            $started = @pids;
            $l->kill_sender();
        }

        sleep 0.01;
    }

    cmp_ok($started, '<=', 8, "$name: it is not started all the time");
    is(scalar(() = $t->log() =~ /\[warn\].*dispatcher died/g), 1,
        "$name: that is told once");
    ok($l->more(1000), "$name: nginx serves");
    $l->account();
}

###############################################################################
