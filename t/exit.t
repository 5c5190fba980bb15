#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# The end of nginx, in time and with all that can be delivered until then; and
# the ways to run it: without a master, as a daemon, beside a cache.

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

drains();
newborn() for 1 .. 3;
late_request();
hanging('QUIT', '1s', 2.3);
hanging('QUIT', '100ms', 1.4);
hanging('TERM', '3s', 2);
hanging('QUIT', '1s', 2.3, 0);
hanging('TERM', '3s', 2, 0);
away();
single();
daemon();
beside_a_cache();
tested();

Test::Nginx::Klaviyo->done();

###############################################################################

sub no_copies {
    my ($k, $name) = @_;

    is(scalar $k->duplicates(), 0, "$name: nothing came twice");
}

###############################################################################

# QUIT sends what is there, at once, though it would linger; and waits for the
# answers.

sub drains {
    my $t = shop(account => 'batch events=10 linger=60s;', drain => '10s');
    my $k = $t->klaviyo();

    $k->settings(delay => 0.2);
    view($t, 1, 95);

    my $begin = time();

    ok($t->quit(), 'QUIT: ends');
    is(missed([ numbers($k) ], [ 1 .. 95 ]), '', 'QUIT: all have arrived');
    cmp_ok(time() - $begin, '<', 5, 'QUIT: as soon as they have');
    no_copies($k, 'QUIT');
    like($t->log(), qr/dispatcher stopped, generation 1, 0 events are left/,
        'QUIT: nothing is left');
    unlike($t->log(), qr/\[(?:warn|error|crit)\].*Klaviyo/, 'nothing is wrong');
}


# QUIT as soon as it starts: it delivers what the last one has left, though its
# dispatcher may be told so before it has begun.

sub newborn {
    my $t = shop(account => 'batch events=10 linger=60s;', drain => '10s');
    my $k = $t->klaviyo();

    $k->stop();
    view($t, 1, 95);
    ok($t->kill_all(), 'newborn: killed before it could send');
    unlink $t->dir() . '/nginx.pid';
    $k->start();
    $k->settings(delay => 0.5);
    $t->mark();

    my $pid = quits_at_once($t);

    $t->run();
    ok($t->wait_gone(20), 'newborn: ends');
    waitpid $pid, 0;
    is(missed([ numbers($k) ], [ 1 .. 95 ]), '', 'newborn: all have arrived');
    like($t->log(), qr/dispatcher stopped, generation 1, 0 events are left/,
        'newborn: nothing is left');
}


# A process that says QUIT from when nginx has a pid until it is told that this
# is heard.

sub quits_at_once {
    my ($t) = @_;
    my $pid = fork() // die "fork: $!\n";

    return $pid if $pid;

    my $end = time() + 10;

    while (time() < $end && $t->log() !~ /SIGQUIT/) {
        my $master = $t->master_pid();

        kill 'QUIT', $master if $master;
        sleep 0.001;
    }

    POSIX::_exit(0);
}


# A worker that has a request yet makes an event when it is over.

sub late_request {
    my $t = shop(drain => '10s', server => <<'EOC');
        location /p/slow { alias %%TESTDIR%%/page; limit_rate 2k; }
EOC

    my $k = $t->klaviyo();

    $t->write_file('page', 'x' x 3000);

    my $c = $t->connect();

    $c->send(Test::Nginx::Klaviyo::HTTP::text('GET', '/p/slow?n=7'));
    view($t, 1, 1);
    arrived($k, 1, 1, 'a late request: the others have come');
    kill 'QUIT', $t->master_pid();

    is($c->response()->status(), 200, 'a late request: is answered');
    ok($t->wait_gone(10), 'a late request: nginx ends');
    is(missed([ numbers($k) ], [ 1, 7 ]), '', 'a late request: its event came');
}

###############################################################################

# Klaviyo hangs: nobody waits for it longer than was said.

sub hanging {
    my ($signal, $drain, $limit, $master) = @_;
    my $name = "$signal, $drain" . (defined $master ? ', single' : '');
    my $t = shop(account => 'batch events=10 linger=20ms; timeout 30s;',
        drain => $drain, harness => { master => $master });
    my $k = $t->klaviyo();

    $k->answer('hang', times => 0);
    view($t, 1, 100);
    ok($t->wait_for(sub { account($t)->{in_flight} == 4 }), "$name: it hangs");

    my $begin = time();

    ok($t->end($signal, 20), "$name: nginx ends");
    cmp_ok(time() - $begin, '<', $limit, "$name: in time");

    # else it was killed, and what follows it in nginx would not be done
    like($t->log(), qr/dispatcher stopped, generation 1, 0 events are left/,
        "$name: it left by itself");
    like($t->log(), qr/"shop": 100 events are moved to the spool/,
        "$name: and what is left is on disk");
    unlike($t->log(), qr/exited on signal/, "$name: nobody was killed");
}


# Klaviyo is away: the pauses between the tries don't outlast the drain.

sub away {
    my $t = shop(drain => '3s', account => 'retry min=60s max=60s;');
    my $k = $t->klaviyo();

    $k->stop();
    view($t, 1, 20);
    ok($t->wait_for(sub { account($t)->{state} eq 'backoff' }),
        'away, then QUIT');
    kill 'QUIT', $t->master_pid();
    ok($t->wait_for(sub { $t->log() =~ /gracefully shutting down/ }),
        'nginx is about to end');
    $k->start();
    ok($t->wait_gone(10), 'it ends');
    is(missed([ numbers($k) ], [ 1 .. 20 ]), '',
        'what could be delivered at last is');
}

###############################################################################

# One process is all there is.

sub single {
    my $t = shop(harness => { master => 0 },
        account => 'batch events=10 linger=50ms;');
    my $k = $t->klaviyo();

    view($t, 1, 100);
    arrived($k, 1, 100, 'master_process off: all arrive');
    conserved($t, 'master_process off: counted');
    is(scalar $t->processes(), 1, 'master_process off: one process');

    $k->settings(delay => 0.2);
    view($t, 101, 155);
    ok($t->quit(), 'master_process off: ends');
    is(missed([ numbers($k) ], [ 1 .. 155 ]), '',
        'master_process off: all have arrived');
    no_copies($k, 'master_process off');
}


# init_module runs in a process that isn't the master yet.

sub daemon {
    my $t = shop(harness => { daemon => 1 }, account => 'batch linger=20ms;');
    my $k = $t->klaviyo();

    view($t, 1, 50);
    arrived($k, 1, 50, 'daemon on: all arrive');
    $t->reload();
    view($t, 51, 100);
    arrived($k, 1, 100, 'daemon on: after a reload too');
    conserved($t, 'daemon on: counted');

    $k->settings(delay => 0.2);
    view($t, 101, 110);
    ok($t->quit(), 'daemon on: ends');
    is(missed([ numbers($k) ], [ 1 .. 110 ]), '',
        'daemon on: all have arrived');
    no_copies($k, 'daemon on');
}


# The same process looks after a cache, and a second one loads it: that one must
# not send.

sub beside_a_cache {
    my $t = shop(http => <<'EOH', server => <<'EOS');
    proxy_cache_path %%TESTDIR%%/cache keys_zone=cache:1m
        manager_sleep=20ms inactive=1s;
EOH
        location /p/cached {
            proxy_pass http://127.0.0.1:%%PORT_0%%/origin;
            proxy_cache cache;
            proxy_cache_valid 1m;
        }
EOS

    my $k = $t->klaviyo();

    ok($t->wait_for(sub { $t->processes('helper') == 2 }),
        'a cache: manager and loader');
    view($t, 1, 20, uri => sub { "/p/cached?n=$_[0]" });
    arrived($k, 1, 20, 'a cache: all arrive');

    # the manager is called each 20 ms
    $t->reload();
    view($t, 21, 40);
    arrived($k, 1, 40, 'a cache: after a reload too');
    conserved($t, 'a cache: counted');
    is(scalar(() = $t->log() =~ /klaviyo dispatcher started/g), 2,
        'a cache: one of them sends');
    ok($t->quit(), 'a cache: ends');
    ok(-d $t->dir() . '/cache', 'a cache: is there');
    no_copies($k, 'a cache');
}

###############################################################################

# nginx -t looks, and touches nothing: neither what runs nor what will.

sub tested {
    my $t = shop(account => 'batch linger=20ms;', drain => '5s');
    my $k = $t->klaviyo();

    view($t, 1, 10);
    arrived($k, 1, 10, 'before nginx -t');
    settled($t);

    my @processes = map { $_->{pid} } $t->processes();
    my $before = status($t);
    my @files = sort glob $t->dir() . '/spool/*';

    $k->settings(delay => 0.3);
    view($t, 11, 20);

    for (1 .. 3) {
        my ($code, $said) = $t->test_config();

        is($code, 0, 'nginx -t') or diag($said);
    }

    arrived($k, 11, 20, 'nginx -t: all arrive');
    settled($t);

    my $after = status($t);

    is("$after->{generation} $after->{dispatcher}{pid}"
        . " $after->{dispatcher}{starts}",
        "$before->{generation} $before->{dispatcher}{pid}"
        . " $before->{dispatcher}{starts}", 'nginx -t: who sends is the same');
    is(join(' ', map { $_->{pid} } $t->processes()), "@processes",
        'nginx -t: as are all processes');
    is(join(' ', sort glob $t->dir() . '/spool/*'), "@files",
        'nginx -t: and the files');
    is(scalar(() = $t->log() =~ /klaviyo dispatcher started/g), 1,
        'nginx -t: nobody else has begun');
    conserved($t, 'nginx -t: counted');
    no_copies($k, 'nginx -t');
    $t->quit();

    my ($code) = $t->test_config();

    is($code, 0, 'nginx -t without nginx');
    is(scalar $t->processes(), 0, 'starts nothing');
}

###############################################################################
