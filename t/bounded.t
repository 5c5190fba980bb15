#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# What the background process takes of the machine, whatever Klaviyo answers and
# whatever is in the queue.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use POSIX ();
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

# kilobytes, beyond what a good server takes
my $most = ($Test::Nginx::Klaviyo::SANITIZED ? 96 : 12) * 1024;

my $hertz = POSIX::sysconf(POSIX::_SC_CLK_TCK());

servers();
same_id();
deaths();

Test::Nginx::Klaviyo->done();

###############################################################################

# in kilobytes, the most there ever was
sub peak {
    my ($pid) = @_;
    my ($size) = Test::Nginx::Klaviyo::slurp("/proc/$pid/status")
        =~ /^VmHWM:\s*(\d+)/m;

    return $size;
}


# of one processor, while the code runs
sub load_of {
    my ($pid, $code) = @_;
    my $begin = time();
    my ($ticks) = spent($pid);

    $code->();

    return ((spent($pid))[0] - $ticks) / $hertz / (time() - $begin);
}


# A sanitizer keeps what is freed for a while, puts room around all, and takes
# its time.
sub dearer { return ($_[0]->nginx('-V'))[1] =~ /-fsanitize/ ? 4 : 1 }

###############################################################################

# Answers without an end, at full speed or byte by byte, for seconds; four at a
# time.

sub servers {
    my $t = shop(account => 'batch events=10 linger=20ms; timeout 1500ms;'
        . ' retry min=20ms max=200ms;');
    my $k = $t->klaviyo();
    my $pid = dispatcher($t);
    my $n = 0;

    # libcurl, its connections and buffers
    view($t, 1, $n = 100);
    arrived($k, 1, 100, 'a good server');

    my $memory = peak($pid);

    my @kinds = (
        [ 'an endless body', 'chatty-body', status => 500 ],
        [ 'an endless 202', 'chatty-body', status => 202 ],
        [ 'an endless head', 'chatty-headers' ],
        [ 'a body byte by byte', 'chatty-body', status => 500, trickle => 1 ],
        [ 'a head byte by byte', 'chatty-headers', trickle => 1 ],
        [ 'no answer', 'hang' ],
        [ 'a long error', '500', body => 'x' x 5_000_000 ],
        [ 'a long 400', '400', detail => 'x' x 300_000, times => 3 ],
    );

    for my $kind (@kinds) {
        my ($name, $answer, @more) = @$kind;
        my $first = $n + 1;

        $k->forget();
        $k->script({ answer => $answer, times => 0, @more });

        my $load = load_of($pid, sub {
            view($t, $n + 1, $n += 40);
            sleep 2;
        });

        cmp_ok(peak($pid) - $memory, '<', $most, "$name: memory");
        cmp_ok($load, '<', 0.8, "$name: processor");
        is(dispatcher($t), $pid, "$name: it lives");

        $k->script();
        $k->disconnect();
    }

    ok(settled($t, 20), 'all is over');
    conserved($t, 'and counted');
    cmp_ok(scalar(split /\n/, $t->log()), '<', 400, 'the log is short');
    $t->expect_log(qr/Klaviyo refuse/);
}

###############################################################################

# Events that all have one id can't go together: one for each request, within
# the rate.

sub same_id {
    my $t = shop(drain => '100ms', rule => 'unique_id same;',
        account => 'batch linger=20ms;'
        . ' rate burst=20/s steady=60000/m share=100%;');
    my $k = $t->klaviyo();
    my $pid = dispatcher($t);

    is(view($t, 1, 10_000), 10_000, 'one id: the visitors have their pages');

    my $before = bodies($k);
    my $load = load_of($pid, sub { sleep 3 });
    my @bodies = bodies($k);

    cmp_ok(@bodies - $before, '<=', 20 * 4, 'one id: within the rate');
    cmp_ok(@bodies - $before, '>', 20, 'but as fast as that');
    is(scalar(grep { $_->{entries} != 1 } @bodies), 0,
        'one id: one for each request');
    cmp_ok($load, '<', 0.2, 'one id: processor');

    my $begin = time();

    ok($t->quit(), 'one id: nginx ends');
    cmp_ok(time() - $begin, '<', 3 * dearer($t), 'one id: in time');
    like($t->log(), qr/"shop": \d+ events are moved to the spool/,
        'one id: what is left is on disk');
}

###############################################################################

# Klaviyo refuses one event after the other: one line a second at most.

sub deaths {
    my $t = shop(account => 'batch events=1 linger=20ms;');
    my $k = $t->klaviyo();

    $t->mark();
    $k->script(map { { answer => '400', times => 2 }, { answer => 'ok' } }
        1 .. 25);
    view($t, 1, 75);
    settled($t);

    my @lines = $t->log() =~ /\[warn\].*(Klaviyo refused with status 400)/g;

    is(account($t)->{events}{dead}, 50, 'deaths');
    cmp_ok(scalar @lines, '<', 10, 'are told together');
    conserved($t, 'deaths: counted');
}

###############################################################################
