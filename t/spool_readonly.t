#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# A directory of the spool that can't be written, from the beginning or since:
# nginx starts, serves and delivers, and tells how many events it has lost.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;
use Test::Nginx::Klaviyo::Spool;

###############################################################################

readonly();
since();
inodes();

Test::Nginx::Klaviyo->done();

###############################################################################

# a file system of its own, below the folder of the test
sub mounted {
    my ($t, $options) = @_;
    my $spool = $t->dir() . '/spool';

    mkdir $spool or die "mkdir $spool: $!\n";

    return system("mount -t tmpfs -o $options none $spool 2> /dev/null") == 0;
}


sub remount {
    my ($t, $how) = @_;

    is(system('mount -o remount,' . $how . ' ' . $t->dir() . '/spool'), 0,
        "the directory is $how now");
}


sub unmount {
    my ($t) = @_;

    system('umount -l ' . $t->dir() . '/spool');
}


# all that a shop wants of it
sub works {
    my ($t, $first, $name) = @_;
    my $k = $t->klaviyo();

    is(view($t, $first, $first + 99), 100, "$name: it serves");
    arrived($k, $first, $first + 99, "$name: it delivers, each once");

    # away for so long that the spool is wanted, and back
    $k->stop();

    my $last = $first + 99;

    # what is to be tried next stays anyway
    ok($t->wait_for(sub {
        view($t, ++$last, $last);
        return $t->log() =~ /the spool .* can't be written/ }, 20),
        "$name: it is told that the spool can't be written");
    is(scalar(() = $t->log() =~ /can't be written/g), 1, "$name: once");
    like(status($t)->{health}{text}, qr/: the spool can't be written, see /,
        "$name: by the status, too");
    ok(account($t)->{spool}{failed}, "$name: which says it in a word");
    $k->start();
    arrived($k, $first + 100, $last, "$name: what it has kept arrives");
    conserved($t, "$name: counted");
}


# the number of events that are lost, to the event, as an alert
sub loses {
    my ($t, $first, $n, $name) = @_;

    $t->klaviyo()->stop();
    view($t, $first, $first + $n - 1);
    ok($t->quit(20), "$name: it ends");

    my @lost = $t->log() =~ /\[alert\].*"shop": (\d+) events are lost/g;

    is("@lost", $n, "$name: the log says how many are lost");
    $t->expect_log(qr/events are lost/);
    $t->klaviyo()->start();
}

###############################################################################

sub readonly {
    my $t = shop(start => 0, drain => '100ms');

    SKIP: {
        skip 'no mount', 12 if !mounted($t, 'ro,size=1m');

        $t->run();
        works($t, 1, 'read-only');
        like($t->log(), qr/\[warn\].*the rate can't be shared/,
            'read-only: so is the rate');
        loses($t, 10001, 57, 'read-only');
        unmount($t);
    }
}


# What is in segments already stays there, and comes when it can be removed.

sub since {
    my $t = shop(start => 0, drain => '100ms');
    my $k = $t->klaviyo();

    SKIP: {
        skip 'no mount', 12 if !mounted($t, 'size=1m');

        $t->run();
        $k->stop();
        view($t, 1, 50);
        $t->quit();
        is(scalar(() = segments($t)), 1, 'a segment is left');
        remount($t, 'ro');
        $t->run();
        $k->start();
        view($t, 101, 150);
        arrived($k, 101, 150, 'read-only since: new ones arrive');

        # it looks each second
        sleep 1.5;
        is(scalar(grep { $_ <= 50 } numbers($k)), 0,
            'what could not be removed is not sent again and again');
        $k->stop();
        view($t, 151, 160);
        $t->wait_for(sub { account($t)->{state} eq 'backoff' });
        remount($t, 'rw');
        $k->start();
        arrived($k, 1, 50, 'can be written again: it comes, each once');
        arrived($k, 151, 160, 'so do the others');
        conserved($t, 'and are counted');
        $t->quit();
        unmount($t);
    }
}


# A disk without room for one more file.

sub inodes {
    my $t = shop(start => 0, drain => '100ms');

    SKIP: {
        skip 'no mount', 11 if !mounted($t, 'nr_inodes=1');

        $t->run();
        works($t, 1, 'full disk');
        loses($t, 10001, 23, 'full disk');
        unmount($t);
    }
}

###############################################################################
