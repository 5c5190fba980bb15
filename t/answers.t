#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# What becomes of events by what Klaviyo, or what stands before it, answers.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use List::Util qw(uniq);
use POSIX ();
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

again();
slow();
lost_answers();
asked_to_wait();
stopped();
restarted();

Test::Nginx::Klaviyo->done();

###############################################################################

# Answers that say nothing about the events, and none at all: the same body is
# sent again until it is accepted.

sub again {
    my $t = shop(account => 'timeout 700ms; batch linger=20ms;');
    my $k = $t->klaviyo();
    my $pid = dispatcher($t);
    my $memory = resident($pid);
    my $n = 0;

    my @answers = (
        [ '408' ], [ '500' ], [ '502' ], [ '503' ], [ '504' ], [ '520' ],
        [ '403-html' ], [ '400-html' ], [ '429-html' => '429',
            body => '<html>slow down</html>', retry_after => 0 ],
        [ 'an empty 400' => '400-html', body => '' ],
        [ 'garbage' ], [ 'reset' ], [ 'drop' ], [ 'close' ], [ 'hang' ],
        [ 'chatty body' => 'chatty-body', status => 500 ],
        [ 'chatty 400' => 'chatty-body', status => 400 ],
    );

    for my $answer (@answers) {
        my ($name, $kind, %more) = @$answer;
        my $first = $n + 1;

        $k->forget();
        $k->script({ answer => $kind || $name, times => 2, %more });
        view($t, $first, $n += 3);

        arrived($k, $first, $n, "$name: each arrives once");

        my @bodies = bodies($k);
        my @digests = uniq(map { $_->{digest} } @bodies);

        is(scalar @digests, 1, "$name: the same to the byte");
        cmp_ok($k->stats()->{script}, '==', 0, "$name: was met twice")
            or $k->script();
    }

    settled($t);

    my $account = account($t);

    is("$account->{events}{sent} $account->{events}{dead} $account->{state}",
        "$n 0 ok", 'answers that say nothing: nothing died');
    is(dispatcher($t), $pid, 'and nobody');
    cmp_ok($account->{retries}, '>=', 2 * @answers - 4, 'retries are counted');

    # a body or a head without an end is not kept
    cmp_ok(resident($pid) - $memory, '<', 8192, 'memory');
    conserved($t, 'answers that say nothing: counted');
}


# in kilobytes
sub resident {
    my ($pid) = @_;
    my ($size) = Test::Nginx::Klaviyo::slurp("/proc/$pid/status")
        =~ /^VmRSS:\s*(\d+)/m;

    return $size;
}

###############################################################################

# Slow is not wrong: no second request before "timeout".

sub slow {
    my $t = shop(account => 'timeout 10s;');
    my $k = $t->klaviyo();

    $k->script({ answer => 'ok', delay => 0.6 },
        { answer => 'ok', trickle => 2 });
    view($t, 1, 5);
    arrived($k, 1, 5, 'a late answer');
    view($t, 6, 10);
    arrived($k, 6, 10, 'a trickling one');
    conserved($t, 'slow answers: counted');
    is(scalar bodies($k), 2, 'were waited for');

    my $account = account($t);

    is("$account->{events}{sent} $account->{retries}", '10 0', 'and believed');
    cmp_ok($account->{duration_ms}, '>=', 1000, 'the time that it took');
}

###############################################################################

# Klaviyo has taken the events and we don't hear of it: it gets the same body
# again, whether it minds or not; they count once.  A status counts even if what
# follows it is broken.

sub lost_answers {
    my $t = shop();
    my $k = $t->klaviyo();

    $k->answer('lose');
    view($t, 1, 10);
    $k->wait_requests(2);
    settled($t);

    my @bodies = bodies($k);

    is(scalar(uniq(map { $_->{digest} } @bodies)) . ' ' . @bodies, '1 2',
        'a lost answer: the same body again');
    is(account($t)->{events}{sent}, 10, 'counted once');

    $k->settings(repeated => 'refuse');
    $k->answer('lose');
    view($t, 11, 20);
    $k->wait_requests(4);
    settled($t);

    @bodies = bodies($k);

    is(join(' ', map { $_->{status} } @bodies), '202 202 202 400',
        'Klaviyo refuses the repetition');
    is(scalar uniq(map { $_->{digest} } @bodies), 2, 'the same body too');

    my $events = account($t)->{events};

    is("$events->{sent} $events->{dead}", '20 0', 'they are delivered');

    my $n = 20;

    for my $answer (
        [ 'a body that is cut off' => '202', body => '{"data":',
            headers => { 'X-Cut' => 1 } ],
        [ 'a body without an end' => 'chatty-body', status => 202 ],
        [ 'a head without an end' => 'chatty-headers' ],
        [ 'a body that is no JSON' => '202', body => "\x00\xff" ],
        [ '200' => '200', body => '{}' ],
        [ '204' => '204', body => '' ],
        [ '409' => '409' ])
    {
        my ($name, $kind, %more) = @$answer;

        $k->forget();
        $k->answer($kind, %more);
        view($t, $n + 1, $n += 3);

        # what has no end is ended by its length, long before "timeout"
        ok($t->wait_for(sub { account($t)->{events}{sent} == $n }, 6),
            "$name: delivered");
        is(scalar bodies($k), 1, "$name: by one request");
    }

    conserved($t, 'lost answers: counted');
}

###############################################################################

# Retry-After is kept to, in seconds or as a date, and what came meanwhile waits
# as well.

sub asked_to_wait {
    my $t = shop();
    my $k = $t->klaviyo();

    for my $step ([ '429', '1', 'throttled' ], [ '503', '1', 'backoff' ],
                  [ '503', 'a date', 'backoff' ])
    {
        my ($answer, $after, $state) = @$step;
        my $name = "$answer, Retry-After: $after";
        my $least = 0.99;

        if ($after eq 'a date') {
            $least = 0.5;
            $after = POSIX::strftime('%a, %d %b %Y %H:%M:%S GMT',
                gmtime time() + 2);
        }

        $k->forget();
        $k->answer($answer, retry_after => $after);
        view($t, 1, 5);
        ok($t->wait_for(sub { account($t)->{state} eq $state }),
            "$name: $state");
        view($t, 6, 10);
        arrived($k, 1, 10, "$name: all arrive");

        my @bodies = bodies($k);

        cmp_ok($bodies[1]{received} - $bodies[0]{received}, '>=', $least,
            "$name: but not before");
        cmp_ok($bodies[1]{received} - $bodies[0]{received}, '<', 5,
            "$name: nor much later");
        is($bodies[0]{digest}, $bodies[1]{digest}, "$name: the same body");
        settled($t);
    }

    conserved($t, 'asked to wait: counted');
}

###############################################################################

# Answers that mean the account or the program: sending stops, nothing is lost,
# one alert; a reload tries again.

sub stopped {
    my $t = shop(account => 'batch events=5 linger=50ms;');
    my $k = $t->klaviyo();
    my $n = 0;

    $t->expect_log(qr/sending is stopped, nothing is lost/);

    my @answers = (
        [ '401', 'authentication_failed' ], [ '403', 'permission_denied' ],
        [ '404', 'not_found' ], [ '405', 'method_not_allowed' ],
        [ '410', 'gone' ], [ '415', 'unsupported_media_type' ],
        [ '301', '', location => $k->url() . '/api/event-bulk-create-jobs' ],
        [ '302', '' ],
        [ '401-html', '', '401', body => '<html>no</html>' ],
    );

    for my $answer (@answers) {
        my ($name, $code, @more) = @$answer;
        my $status = @more % 2 ? shift @more : $name;
        my $first = $n + 1;

        $k->forget();
        $t->mark();
        $k->answer($status, times => 0, @more);
        view($t, $first, $n += 40);

        ok($t->wait_for(sub { account($t)->{state} eq 'stopped'
                              && !account($t)->{in_flight} }),
            "$name: stopped");

        # what comes now must not be tried
        view($t, $n + 1, $n += 10);
        sleep 0.2;

        my @requests = $k->requests();
        my $account = account($t);

        # those were on their way; to follow a redirection would be another
        cmp_ok(scalar @requests, '<=', 4, "$name: no more requests");
        is("$account->{events}{queued} $account->{events}{dead} "
            . "$account->{last_code}", "50 0 $code", "$name: all are kept");
        conserved($t, "$name: counted", busy => 1);

        my @told = $t->log() =~ /^(.*\[alert\].*)$/mg;

        is(scalar @told, 1, "$name: one alert");
        like($told[0] || '', qr/account "shop".*\bstatus $status\b/,
            "$name: it says what it is");

        $k->answer('ok');
        $t->reload();
        arrived($k, $first, $n, "$name: a reload sends them, each once");
        settled($t);
    }

    is(account($t)->{events}{dead}, 0, 'stopped: nothing died');
    conserved($t, 'stopped: counted');
}


# So does a new process, if the one that has stopped is killed.

sub restarted {
    my $t = shop(standin => { key => key(1) });
    my $k = $t->klaviyo();

    $t->expect_log(qr/sending is stopped/);
    $t->expect_kill();
    view($t, 1, 20);
    ok($t->wait_for(sub { account($t)->{state} eq 'stopped' }),
        'a wrong key: stopped');
    is(scalar $k->events(), 0, 'nothing was accepted');

    $k->settings(key => key());

    my $pid = dispatcher($t);

    kill 'KILL', $pid;
    isnt(dispatcher($t, $pid), $pid, 'another one');
    arrived($k, 1, 20, 'which sends them, each once');
    conserved($t, 'a wrong key: counted');
}

###############################################################################
