#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# What becomes of events by what Klaviyo, or what stands before it, answers.

###############################################################################

use warnings;
use strict;

use Test::More;

use Compress::Zlib ();
use FindBin ();
use List::Util qw(max sum0 uniq);
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
too_large();
poison();
refused_alone();
repeated();
stopped();
restarted();
too_many_deaths();
no_dead_letters();
full_dead_letters();

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

        ok($t->wait_for(sub { account($t)->{events}{sent} == $n }),
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

# 413: halves, then quarters; nothing dies unless it is too large alone.

sub too_large {
    my $t = shop();
    my $k = $t->klaviyo();

    $k->answer('413', times => 2);
    view($t, 1, 16);
    arrived($k, 1, 16, '413: each arrives once');
    settled($t);
    is(join(' ', sort { $b <=> $a } map { $_->{entries} } bodies($k)),
        '16 8 8 4 4', 'in halves');
    is(scalar dead_letters($t), 0, 'nothing died');

    $k->answer('413');
    view($t, 17, 17);
    ok($t->wait_for(sub { account($t)->{events}{dead} == 1 }),
        'one that is too large alone dies');

    my ($letter) = dead_letters($t);

    is("$letter->{error}{status} $letter->{error}{code}", '413 too_large',
        'and it is told why');
    conserved($t, '413: counted');
}

###############################################################################

# One event of 200 is refused: the others arrive, each once, in a few requests,
# whatever the error points at.

sub poison {
    my %most = (
        deep => 2, entry => 2,

        # each half of it is halved: 1 + 2 * log2(200)
        none => 17, beyond => 17,

        # at an innocent: it is asked for once, and never believed again
        wrong => 19,
    );

    for my $kind (qw(deep entry none beyond wrong)) {
        my $t = shop(account => 'batch linger=300ms;');
        my $k = $t->klaviyo();

        # whether pointers are right is known by then
        if ($most{$kind} == 2) {
            $k->poison('n', '-1', $kind);
            view($t, 0, 0, uri => sub { '/p?n=-1' });
            view($t, 201, 203);
            $k->wait_events(3);
            settled($t);
            $k->forget();
        }

        $k->poison('n', '77', $kind);
        view($t, 1, 200);

        arrived($k, 1, 76, "pointer $kind: those before it arrive once");
        arrived($k, 78, 200, "pointer $kind: those after it arrive once");
        settled($t);

        my @bodies = bodies($k);

        is($bodies[0]{entries}, 200, "pointer $kind: it was one batch");
        cmp_ok(scalar @bodies, '<=', $most{$kind},
            "pointer $kind: few requests");

        my ($letter) = grep { $_->{event}{attributes}{events}{data}[0]
            {attributes}{properties}{n} == 77 } dead_letters($t);

        ok($letter, "pointer $kind: it is a dead letter");
        is("$letter->{error}{status} $letter->{error}{code}"
            . " $letter->{error}{detail}",
            "400 invalid The value of 'n' is invalid.",
            "pointer $kind: with Klaviyo's words");
        is(scalar dead_letters($t), account($t)->{events}{dead},
            "pointer $kind: no other died unseen");
        is(account($t)->{events}{dead}, $most{$kind} == 2 ? 2 : 1,
            "pointer $kind: none that is good");
        letters($t) if $kind eq 'deep';
        conserved($t, "pointer $kind: counted");
        $t->quit();
    }

    several();
}


# Several of them in one batch, and more than one answer tells of.

sub several {
    my $t = shop(account => 'batch linger=300ms;', standin => { errors => 3 });
    my $k = $t->klaviyo();
    my @bad = (7, 20, 21, 22, 77, 150, 200);
    my %bad = map { $_ => 1 } @bad;

    $k->settings(poison => [ map { { key => 'n', value => "$_",
        pointer => 'deep' } } @bad ]);
    view($t, 1, 200);
    $k->wait_events(200 - @bad);
    settled($t);

    is(missed([ numbers($k) ], [ grep { !$bad{$_} } 1 .. 200 ]), '',
        'several bad ones: the others arrive once');
    is(join(' ', sort { $a <=> $b } map { $_->{event}{attributes}{events}
        {data}[0]{attributes}{properties}{n} } dead_letters($t)), "@bad",
        'all of them are dead letters');
    cmp_ok(scalar bodies($k), '<=', 10, 'in few requests');
    conserved($t, 'several bad ones: counted');

    my $told = qr/^(.*\[warn\].*"shop": Klaviyo refused with status 400.*)$/m;

    ok($t->wait_for(sub { $t->log() =~ $told }), 'the log tells of them');
    cmp_ok(scalar(() = $t->log() =~ /$told/g), '<=', 2, 'not of each');
}


# The file of dead letters: nobody else's to read, a line of JSON for each, with
# the checksum of the event as it is.
sub letters {
    my ($t) = @_;
    my $path = $t->dir() . '/spool/shop.dead';
    my @stat = stat $path;

    is(sprintf('%04o', $stat[2] & 07777), '0600', 'dead letters: 0600');

    my ($line) = $t->read_file('spool/shop.dead') =~ /^(.*"n":"77".*)$/m;
    my ($event) = $line =~ /,"event":(\{.*\})\}$/;
    my ($letter) = grep { $_->{event}{attributes}{events}{data}[0]
        {attributes}{properties}{n} == 77 } dead_letters($t);

    is($letter->{crc}, sprintf('%08x', Compress::Zlib::crc32($event)),
        'dead letters: the checksum');
    is($letter->{len}, length $event, 'dead letters: the length');
    like($letter->{at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
        'dead letters: when');
    is($letter->{error}{pointer}, '/data/attributes/events-bulk-create/data/76'
        . '/attributes/events/data/0/attributes/properties',
        'dead letters: where');

    SKIP: {
        skip 'no jq', 1 if system('command -v jq > /dev/null 2>&1');

        local $?;
        is(`jq -r .event.type $path 2>&1`, "event-bulk-create\n" x 2,
            'dead letters: jq reads them');
    }
}

###############################################################################

# A batch of one has no halves.

sub refused_alone {
    my $t = shop(account => 'batch linger=1ms;');
    my $k = $t->klaviyo();
    my $n = 0;

    for my $kind (qw(deep none beyond wrong)) {
        $k->answer('400', pointer => $kind, detail => "It is $kind.");
        view($t, ++$n, $n);
        ok($t->wait_for(sub { account($t)->{events}{dead} == $n }),
            "alone, pointer $kind: dies");
    }

    is(join(' ', map { $_->{error}{detail} } dead_letters($t)),
        'It is deep. It is none. It is beyond. It is wrong.', 'and why');
    is(scalar bodies($k), $n, 'of one request each');
    conserved($t, 'alone: counted');
}

###############################################################################

# A unique_id that Klaviyo has already: delivered, whether the error points at
# it or not.

sub repeated {
    my $t = shop();
    my $k = $t->klaviyo();

    $k->answer('repeated', entry => 2);
    view($t, 1, 5);
    $k->wait_events(4);
    settled($t);
    is(missed([ numbers($k) ], [ 1, 2, 4, 5 ]), '',
        'a repeated id: the others arrive once');
    is(account($t)->{events}{sent}, 5, 'it counts as sent');

    $k->answer('400', pointer => 'none',
        detail => 'The unique_id is repeated for this profile.');
    view($t, 6, 6);
    ok($t->wait_for(sub { account($t)->{events}{sent} == 6 }),
        'without a pointer: so does one alone');
    is(account($t)->{events}{dead}, 0, 'nothing died');
    conserved($t, 'repeated ids: counted');
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

        my @bodies = bodies($k);
        my $account = account($t);

        # those were on their way
        cmp_ok(scalar @bodies, '<=', 4, "$name: no more requests");
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

    $t->expect_log(qr/sending is stopped/, qr/exited on signal 9/);
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

# Twenty in a row, with nothing accepted in between: the fault is not theirs.

sub too_many_deaths {
    my $t = shop();
    my $k = $t->klaviyo();

    $t->expect_log(qr/Klaviyo refuses too many events/);
    $k->answer('400', times => 0, pointer => 'deep');
    view($t, 1, 60);
    ok($t->wait_for(sub { account($t)->{state} eq 'stopped' }, 30),
        'all are refused: stopped');

    my $events = account($t)->{events};

    is("$events->{dead} $events->{queued}", '20 40', 'after twenty');
    is(scalar dead_letters($t), 20, 'and they are dead letters');

    sleep 0.3;
    is(account($t)->{events}{dead}, 20, 'nothing more dies');
    conserved($t, 'all are refused: counted', busy => 1);
    is(scalar(() = $t->log() =~ /\[alert\]/g), 1, 'one alert');

    $k->answer('ok');
    $t->reload();
    $k->wait_events(40);
    settled($t);

    my %dead = map { $_->{event}{attributes}{events}{data}[0]{attributes}
        {properties}{n} => 1 } dead_letters($t);

    is(missed([ numbers($k) ], [ grep { !$dead{$_} } 1 .. 60 ]), '',
        'the others arrive, each once');
    conserved($t, 'all are refused: counted');
}

###############################################################################

# An event that can't be written down doesn't die.

sub no_dead_letters {
    my $t = shop(start => 0);
    my $k = $t->klaviyo();

    $t->expect_log(qr/no dead letter can be written/);
    $t->run();
    mkdir $t->dir() . '/spool/shop.dead' or die;

    $k->poison('n', '3', 'deep');
    view($t, 1, 1, uri => sub { '/p?n=3' });
    ok($t->wait_for(sub { account($t)->{state} eq 'stopped' }),
        'no dead letters: stopped');

    my $events = account($t)->{events};

    is("$events->{dead} $events->{queued}", '0 1', 'it is kept');
    conserved($t, 'no dead letters: counted', busy => 1);

    rmdir $t->dir() . '/spool/shop.dead' or die;
    view($t, 4, 8);
    $t->reload();
    arrived($k, 4, 8, 'the others arrive');
    settled($t);
    is(scalar dead_letters($t), 1, 'and it dies when it can be written');
    conserved($t, 'no dead letters: counted');
}


sub full_dead_letters {
    my $t = shop(account => 'spool max=1m;');
    my $k = $t->klaviyo();

    $t->expect_log(qr/the dead letters are full/);
    $t->write_file('spool/shop.dead', 'x' x (1024 * 1024 - 100) . "\n");
    chown((stat $t->dir() . '/spool')[4, 5], $t->dir() . '/spool/shop.dead');

    $k->poison('n', '3', 'deep');
    view($t, 1, 1, uri => sub { '/p?n=3' });
    ok($t->wait_for(sub { account($t)->{state} eq 'stopped' }),
        'full dead letters: stopped');

    my $events = account($t)->{events};

    is("$events->{dead} $events->{queued}", '0 1', 'it is kept');
    is(-s $t->dir() . '/spool/shop.dead', 1024 * 1024 - 99,
        'the file has not grown');
    conserved($t, 'full dead letters: counted', busy => 1);
}

###############################################################################
