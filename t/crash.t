#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Processes that are killed: what was queued is not lost, what is sent twice
# was on its way, and nobody starts over and over again.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use List::Util qw(uniq);
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

in_flight();
under_load();
over_and_over();
workers();
master();

Test::Nginx::Klaviyo->done();

###############################################################################

# Klaviyo has the events, but who sent them didn't live to hear it: the next one
# sends the same ranges again, so that Klaviyo can tell.

sub in_flight {
    my $t = shop(account => 'batch events=10 linger=20ms;',
        standin => { delay => 2 });
    my $k = $t->klaviyo();

    $t->expect_kill();

    my $pid = dispatcher($t);

    view($t, 1, 100);
    $k->wait_requests(4);
    $k->settings(delay => 0);
    kill 'KILL', $pid;

    arrived_all($k, 1, 100, 'killed with requests on their way: nothing lost');
    settled($t);

    my @bodies = bodies($k);
    my @digests = map { $_->{digest} } @bodies;

    is(scalar(@bodies) - uniq(@digests), 4, 'those four were sent again');
    is(join(' ', sort @digests[0 .. 3]),
        join(' ', sort(again(@digests))), 'the same to the byte');
    is(scalar $k->duplicates(), 40, 'no more events than theirs');
    is(account($t)->{events}{sent}, 100, 'each counts once');
    conserved($t, 'killed with requests on their way: counted');

    my $dispatcher = status($t)->{dispatcher};

    isnt($dispatcher->{pid}, $pid, 'there is another one');
    is("$dispatcher->{starts} $dispatcher->{crashes}", '2 1',
        'which is known');
}


# those that came a second time
sub again {
    my %seen;

    return grep { $seen{$_}++ } @_;
}


# each at least once
sub arrived_all {
    my ($k, $from, $to, $name) = @_;

    $k->wait_for($to - $from + 1, 30, sub { uniq(numbers($k)) });
    is(missed([ uniq(numbers($k)) ], [ $from .. $to ]), '', $name);
}

###############################################################################

# The same again and again while events come.

sub under_load {
    my $t = shop(workers => 2, account => 'batch events=50 linger=20ms;',
        standin => { delay => 0.1 });
    my $k = $t->klaviyo();

    $t->expect_kill();

    my $stop = load($t);
    my $pid = dispatcher($t);

    for my $n (1 .. 3) {
        ok($t->wait_for(sub { account($t)->{in_flight} }),
            "kill $n: requests are on their way");
        kill 'KILL', $pid;
        $pid = dispatcher($t, $pid);
    }

    my @answered = $stop->();

    $k->settings(delay => 0);
    ok(settled($t, 30), 'kills under load: all is sent');
    is(missed([ uniq(numbers($k)) ], \@answered, [ 1 .. $answered[-1] + 50 ]),
        '', 'kills under load: nothing is lost');
    cmp_ok(scalar $k->duplicates(), '<=', 3 * 4 * 50,
        'only what was on its way is sent twice');
    is(account($t)->{events}{sent}, scalar uniq(numbers($k)),
        'each counts once');
    conserved($t, 'kills under load: counted');
}

###############################################################################

# nginx starts the next one at once: if each dies of the same, that would be
# hundreds in a second.

sub over_and_over {
    my $t = shop();
    my $k = $t->klaviyo();

    $t->expect_kill();

    my $end = time() + 2.5;
    my @started;

    while (time() < $end) {
        @started = $t->log() =~ /#(\d+): klaviyo dispatcher started/g;
        kill 'KILL', $started[-1] if @started;
        sleep 0.01;
    }

    cmp_ok(scalar @started, '<=', 7, 'over and over: few have started');
    cmp_ok(scalar @started, '>=', 3, 'but some');

    my @pauses = $t->log() =~ /\bthe next one starts in (\d+)ms/g;

    is("@pauses[0 .. 2]", '100 200 400', 'each after a longer pause');
    is(scalar(() = $t->log() =~ /\[warn\].*the next one starts/g), 1,
        'a warning tells it once');

    # the shop is not concerned
    view($t, 1, 10);
    arrived($k, 1, 10, 'and when it is over all arrive', 60);
    conserved($t, 'over and over: counted');
}

###############################################################################

# What a worker has queued before it dies is delivered; the ring is as before,
# wherever it was.

sub workers {
    my $t = shop(workers => 2, account => 'batch linger=20ms;');
    my $k = $t->klaviyo();

    $t->expect_kill();

    my $stop = load($t);
    my $kills = 6;

    for my $n (1 .. $kills) {
        my $events = account($t)->{events}{seen} || 0;

        $t->signal('KILL', 'worker');
        $t->wait_for(sub { 2 == $t->processes('worker') });
        ok($t->wait_for(sub { (account($t)->{events}{seen} || 0)
                              > $events + 20 }), "workers, kill $n: more come");
    }

    my @answered = $stop->();
    my $last = $answered[-1];

    ok(settled($t, 30), 'workers are killed: all is sent');

    my %came = map { $_ => 1 } numbers($k);

    # the answer comes before the event
    cmp_ok(scalar(grep { !$came{$_} } @answered), '<=', $kills,
        'what was queued is not lost');
    is(missed([ numbers($k) ], [], [ 1 .. $last + 50 ]), '',
        'and comes once');

    view($t, $last + 100, $last + 200);
    arrived($k, $last + 100, $last + 200, 'others go on');
    conserved($t, 'workers are killed: counted');
}

###############################################################################

# Without a master they go on as well as they can, until the workers leave.

sub master {
    my $t = shop(account => 'batch linger=20ms;');
    my $k = $t->klaviyo();
    my $pid = dispatcher($t);

    kill 'KILL', $t->master_pid();
    view($t, 1, 100);
    arrived($k, 1, 100, 'without a master: all arrive');
    conserved($t, 'without a master: counted');

    $k->settings(delay => 0.3);
    view($t, 101, 200);
    $t->signal('QUIT', 'worker');
    arrived($k, 101, 200, 'and without workers');
    ok($t->wait_gone(15), 'then nobody is left');
    is(scalar $k->duplicates(), 0, 'and nothing came twice');
}

###############################################################################
