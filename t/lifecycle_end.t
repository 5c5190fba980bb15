#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# nginx ends, and starts again, under load: in time, and with an account of each
# request.

###############################################################################

use warnings;
use strict;

use Test::More;

use File::Copy ();
use File::Temp ();
use FindBin ();
use POSIX ();
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Lifecycle;
use Test::Nginx::Klaviyo::Spool qw(files);

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
half_read('QUIT');
half_read('TERM');

my $unit = '/lib/systemd/system/nginx.service';
my $more = "$FindBin::Bin/../conf.examples/systemd/nginx.service.d"
    . '/klaviyo.conf';

unit('Debian\'s unit', $unit, '60s');
unit('the drop-in', $more, '30s', 1);
drop_in($unit, $more);

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

# The end comes while the spool is read: what was read already is not read again
# by the next run.

sub half_read {
    my ($signal) = @_;
    my $name = "$signal while the spool is read";
    my $l = Test::Nginx::Klaviyo::Lifecycle->new($name,
        shop => { drain => '100ms', account => 'batch events=100;' });
    my $t = $l->t();

    $l->away()->load()->more(4000);
    $l->unload()->end($signal);
    $l->back();
    $l->k()->settings(delay => 0.1);
    $l->start();

    ok($t->wait_for(sub { keys %{$l->accepted()} > 400 }), "$name: some came");
    ok(defined $l->end($signal), "$name: nginx ends");
    is(scalar(() = files($t, '*@*.spool')), 1, "$name: its name says where");
    cmp_ok(scalar keys %{$l->accepted()}, '<', 3500, "$name: not all came");
    $l->k()->settings(delay => 0);
    $l->start()->account();
}

###############################################################################

# A service manager: what the unit says, with one who waits for too long and a
# visitor who never ends.

sub unit {
    my ($name, $file, $drain, $graceful) = @_;
    my ($stop, $timeout);

    open my $in, '<', $file or return;

    while (<$in>) {
        $stop = $1 if /^ExecStop=-(.+)$/;
        $timeout = $1 if /^TimeoutStopSec=(\d+)$/;
    }

    my $l = Test::Nginx::Klaviyo::Lifecycle->new($name,
        shop => { drain => $drain, account => 'timeout 60s;' });
    my $t = $l->t();
    my $pid = $t->master_pid();

    # nginx's own words for the visitor who is left
    $t->expect_log(qr/open socket #\d+ left/, qr/\[alert\] \S+ aborting/);

    $stop =~ s{(--pidfile )\S+}{$1 $t->{dir}/nginx.pid}
        or die "no pid file in $file\n";

    $l->hang();
    $l->slow(1, 100, 100) if !$graceful;
    $l->load()->more(1000);

    my $helper = fork() // die "fork: $!\n";

    if (!$helper) {
        exec 'timeout', $timeout, split ' ', $stop or POSIX::_exit(127);
    }

    my $begin = time();

    if ($graceful) {
        ok($t->wait_for(sub { $t->log() =~ /gracefully shutting down/ }),
            "$name: asks nginx to end");
        sleep 1.5;
        $l->heal();
    }

    waitpid $helper, 0;

    if ($graceful) {
        ok(!kill(0, $pid), "$name: QUIT is enough");
        cmp_ok(time() - $begin, '<', 10, "$name: as soon as all is sent");
        is(scalar(() = files($t, '*.spool')), 0, "$name: the spool is empty");

    } else {
        ok(kill(0, $pid), "$name: QUIT is not enough");
        $begin = time();
        kill 'TERM', $pid;
        ok($t->wait_gone($timeout), "$name: TERM is");
        cmp_ok(time() - $begin, '<', 2, "$name: long before KILL");
        unlike($t->log(), qr/are lost/, "$name: nothing is lost");
        $l->heal();
    }

    $l->start()->account();
}


# What systemd itself says about the drop-in.

sub drop_in {
    my ($unit, $more) = @_;

    SKIP: {
        skip 'no systemd', 1 if !-f $unit || !-x '/usr/bin/systemd-analyze';

        my $dir = File::Temp::tempdir(CLEANUP => 1);

        mkdir "$dir/nginx.service.d" or die;
        File::Copy::copy($unit, "$dir/nginx.service") or die;
        File::Copy::copy($more, "$dir/nginx.service.d/klaviyo.conf") or die;

        local $ENV{SYSTEMD_UNIT_PATH} = "$dir:";

        is(scalar(`systemd-analyze verify --man=no $dir/nginx.service 2>&1`),
            '', 'the drop-in is valid');
    }
}

###############################################################################
