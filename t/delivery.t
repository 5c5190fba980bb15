#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Events arrive, each once: what a request looks like, when a batch is closed,
# how many are on their way, several accounts, backfill.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use List::Util qw(max min sum0 uniq);
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

one();
woken();
closed_by_events();
closed_by_bytes();
flights();
many();
same_id();
accounts();
two_rules();
backfill();
backfill_after();
away();

Test::Nginx::Klaviyo->done();

###############################################################################

# The head of the request: Klaviyo refuses what misses one of these, and a
# header too many tells it what it needn't know.

sub one {
    my $t = shop(account => 'batch linger=1ms;');
    my $k = $t->klaviyo();
    my $before = time();

    view($t, 1, 1);

    my ($event) = $k->wait_events(1);
    my ($request) = $k->requests();
    my $headers = $request->{headers};

    is($request->{method}, 'POST', 'one event: the method');
    is($request->{path}, '/api/event-bulk-create-jobs', 'the path');
    is(delete $headers->{authorization}, 'Klaviyo-API-Key ' . key(), 'the key');
    is(delete $headers->{revision}, '2026-07-15', 'the revision');
    is(delete $headers->{accept}, 'application/vnd.api+json', 'accept');
    is(delete $headers->{'content-type'}, 'application/vnd.api+json', 'type');
    is(delete $headers->{'x-klaviyo-revision-fall-forward-opt-out'}, 1,
        'a retired revision is to fail');
    like(delete $headers->{'user-agent'},
        qr{^ngx_http_klaviyo_module/\d+(?:\.\d+)*$}, 'user agent');
    is(delete $headers->{host}, '127.0.0.1:' . $k->port(), 'host');
    is(delete $headers->{'content-length'}, $request->{bytes}, 'length');
    ok(!$request->{chunked}, 'not chunked');

    # "Expect" would cost a round trip, or a second
    is(join(' ', sort keys %$headers), '', 'and nothing else');

    is($event->{metric}, 'Viewed', 'the metric');
    is($event->{who}, 'external_id:1', 'the profile');
    like($event->{unique_id}, qr/^[0-9a-f]{16}-\d+-\d+-\d+-0$/, 'an id');
    like($event->{time}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/,
        'a time');
    ok(!exists $event->{entry}{attributes}{backfill}
       && !exists $event->{entry}{attributes}{events}{data}[0]{attributes}
                         {backfill}, 'no backfill');
    cmp_ok($request->{received} - $before, '<', 5, 'soon');

    conserved($t, 'one event: counted');

    my $account = account($t);

    is("$account->{requests} $account->{retries} $account->{last_status} "
        . "$account->{answers}{'2xx'} $account->{bytes}",
        "1 0 202 1 $request->{bytes}", 'and the request');
    is($t->quit(), 1, 'one event: ends');
    is($k->stats()->{requests}, 1, 'no more requests');
}

###############################################################################

# The process that sends sleeps when there is nothing to do: an event wakes it,
# a burst of them wakes it once; neither its timers nor a connection that
# Klaviyo has closed keep it busy.

sub woken {
    my $t = shop(account => 'batch linger=1ms;', harness => { log => 'debug' });
    my $k = $t->klaviyo();
    my $pid = dispatcher($t);

    my $sleeps = sub {
        my @before = spent($pid);

        sleep 1;

        my @after = spent($pid);

        return join ' ', map { $after[$_] - $before[$_] <= (3, 20)[$_]
                               ? 'few' : $after[$_] - $before[$_] } 0, 1;
    };

    is($sleeps->(), 'few few', 'it sleeps before the first event');

    my $begin = time();

    for my $n (1 .. 5) {
        view($t, $n, $n);
        $k->wait_events($n);
        settled($t);
    }

    # by its timer alone each of them would wait for up to a second
    cmp_ok(time() - $begin, '<', 3, 'each event is sent at once');

    my $woken = sub { return scalar(() = $t->log() =~ /klaviyo wake-up/g) };

    is($woken->(), 5, 'each has woken it once');

    write_shop($t, account => 'batch linger=100ms;');
    $t->reload();
    $pid = dispatcher($t, $pid);
    $t->mark();

    view($t, 6, 505);
    arrived($k, 1, 505, 'a burst arrives');
    cmp_ok($woken->(), '<=', 100, 'and has not woken it for each event');

    settled($t);
    $k->disconnect();
    is($sleeps->(), 'few few', 'it sleeps when Klaviyo has hung up');

    view($t, 506, 506);
    arrived($k, 506, 506, 'and connects again');
    conserved($t, 'woken: counted');
}

###############################################################################

# A full batch doesn't wait, one that isn't full waits for "linger" and needs no
# further traffic to be sent.

sub closed_by_events {
    my $t = shop(account => 'batch events=10 linger=1200ms;');
    my $k = $t->klaviyo();

    my $begin = time();

    view($t, 1, 35);
    arrived($k, 1, 35, 'batches of ten: all are there');

    my @bodies = bodies($k);

    is(join(' ', map { $_->{entries} } @bodies), '10 10 10 5',
        'full ones, and a rest');
    cmp_ok($bodies[3]{received} - $begin, '>=', 1.1, 'the rest has waited');
    cmp_ok($bodies[3]{received} - $bodies[2]{received}, '>', 0.4,
        'the full ones have not');
    cmp_ok($bodies[3]{received} - $begin, '<', 4, 'but not for long');
    conserved($t, 'batches of ten: counted');
}


# Klaviyo refuses more than 5 MB: no body is larger than "bytes", envelope and
# commas too, and none is much smaller.

sub closed_by_bytes {
    my $t = shop(account => 'batch bytes=16k linger=300ms;',
        rule => 'property  Text  $arg_text;');
    my $k = $t->klaviyo();

    view($t, 1, 300,
        uri => sub { "/p?n=$_[0]&text=" . 'x' x ($_[0] * 7 % 90) });
    arrived($k, 1, 300, 'batches of 16k: all are there');

    my @sizes = map { $_->{bytes} } bodies($k);
    my $last = pop @sizes;

    cmp_ok(max(@sizes), '<=', 16384, 'none is larger');
    cmp_ok(min(@sizes), '>', 16384 - 500, 'none is much smaller');
    cmp_ok($last, '<=', 16384, 'nor is the last one larger');
    conserved($t, 'batches of 16k: counted');
}

###############################################################################

# Four requests at a time, no more, on connections that are kept.

sub flights {
    my $t = shop(account => 'batch events=10 linger=20ms;',
        standin => { delay => 0.2 });
    my $k = $t->klaviyo();

    view($t, 1, 120);

    my $in_flight = $t->wait_for(sub {
        my $n = account($t)->{in_flight} // 0;
        return $n > 1 ? $n : 0;
    });

    cmp_ok($in_flight || 0, '>=', 2, 'the status page tells of them');
    arrived($k, 1, 120, 'slow answers: all are there');

    my @at = sort { $a <=> $b } map { $_->{received} } bodies($k);

    # the fifth has to wait for the answer to the first
    my @gaps = map { $at[$_ + 4] - $at[$_] } 0 .. $#at - 4;

    cmp_ok(min(@gaps), '>', 0.15, 'never more than four');
    cmp_ok($at[3] - $at[0], '<', 0.19, 'and four at once');

    $k->settings(delay => 0);

    for my $n (121 .. 130) {
        view($t, $n, $n);
        $k->wait_events($n);
    }

    arrived($k, 1, 130, 'one after the other');
    cmp_ok($k->stats()->{connections}, '<=', 4, 'connections are kept');
    conserved($t, 'slow answers: counted');
}

###############################################################################

# Two workers put events into the ring while they are taken out of it.

sub many {
    my $t = shop(workers => 2, account => 'batch linger=500ms;');
    my $k = $t->klaviyo();

    is(views($t, [ 1, 7000 ], [ 7001, 14000 ], [ 14001, 20000 ]), 20000,
        '20,000 requests');
    arrived($k, 1, 20000, '20,000 events, each once');

    my @bodies = bodies($k);

    cmp_ok(scalar @bodies, '<=', 40, 'in few requests');
    cmp_ok(max(map { $_->{entries} } @bodies), '<=', 1000,
        'none with more than 1,000');
    is(scalar uniq(map { @{$_->{unique_ids}} } @bodies), 20000,
        'no id was used twice');
    cmp_ok($k->stats()->{connections}, '<=', 4, 'on four connections');
    conserved($t, '20,000 events: counted');

    my $account = account($t);

    is("$account->{events}{sent} $account->{queue}{used}", '20000 0',
        'and the ring is empty');
}

###############################################################################

# The same unique_id twice in a body would cost the whole body: the second waits
# for the next one.

sub same_id {
    my $t = shop(account => 'batch linger=400ms;',
        rule => 'unique_id $arg_id;');
    my $k = $t->klaviyo();

    view($t, 1, 40, uri => sub { "/p?n=$_[0]&id=order-" . $_[0] % 4 });
    arrived($k, 1, 40, 'equal ids: all are there');

    my @bodies = bodies($k);
    my @twice = grep { uniq(@{$_->{unique_ids}}) < $_->{entries} } @bodies;

    is(scalar @twice, 0, 'none twice in a body');
    is(scalar(grep { $_->{status} != 202 } @bodies), 0, 'nothing was refused');
    is(sum0(map { $_->{entries} } @bodies), 40, 'nothing was sent again');
    is(join(' ', map { scalar @{$_->{unique_ids}} } @bodies),
        join(' ', (4) x 10), 'and no batch was closed without need');
    conserved($t, 'equal ids: counted');
}

###############################################################################

# Each account has its own key, endpoint and queue; one whose Klaviyo is away
# doesn't hold up the others.

sub accounts {
    my $t = Test::Nginx::Klaviyo->new();

    $t->standin(bodies => '', key => key(0));
    $t->standin(bodies => '', key => key(1), unix => 1);

    my $away = $t->port(1);
    my $small = 'batch linger=20ms; retry min=20ms max=100ms;';

    write_shop($t, accounts => <<"EOC", server => <<'EOS');
        klaviyo_account two {
            api_key   data:@{[ key(1) ]};
            endpoint  %%KLAVIYO_1%%;
            $small
        }
        klaviyo_account away {
            api_key   data:@{[ key(2) ]};
            endpoint  http://127.0.0.1:$away;
            $small
        }
EOC
        location /two {
            return  200;
            klaviyo_use_account  two;
            klaviyo_track  Two    { property  n  $arg_n; }
            klaviyo_track  Three  { account  away; property  n  $arg_n; }
        }
EOS

    $t->run();

    view($t, 1, 50);
    view($t, 1, 30, uri => sub { "/two?n=$_[0]" });

    my ($one, $two) = map { $t->klaviyo($_) } 0, 1;

    arrived($one, 1, 50, 'the first account gets its events');
    arrived($two, 1, 30, 'so does the second, by a unix socket');
    is(join(' ', uniq(map { $_->{metric} } $one->events())), 'Viewed',
        'its own ones only');
    is(join(' ', uniq(map { $_->{metric} } $two->events())), 'Two',
        'and so does the second');
    is(join(' ', uniq(map { $_->{headers}{authorization} } $two->requests())),
        'Klaviyo-API-Key ' . key(1), 'by its own key');
    is(join(' ', uniq(map { $_->{headers}{host} } $two->requests())),
        'localhost', 'the host of a unix socket');

    ok($t->wait_for(sub { account($t, 'away')->{state} eq 'backoff' }),
        'the third is away');

    my $accounts = status($t)->{accounts};

    is(join(', ', map { "$_ $accounts->{$_}{state}"
                . " $accounts->{$_}{events}{sent}"
                . " $accounts->{$_}{events}{queued}" } sort keys %$accounts),
        'away backoff 0 30, shop ok 50 0, two ok 30 0', 'each for itself');
    conserved($t, 'accounts: counted', busy => 1);
}

###############################################################################

sub two_rules {
    my $t = shop(server => 'klaviyo_track Other /p { property n $arg_n; }');
    my $k = $t->klaviyo();

    view($t, 1, 20);
    $k->wait_events(40);

    is(missed([ numbers($k, $_) ], [ 1 .. 20 ]), '', "two rules: $_")
        for qw(Viewed Other);
    is(scalar uniq(map { $_->{unique_id} } $k->events()), 40, 'own ids');
    conserved($t, 'two rules: counted');
}

###############################################################################

# Events that are marked as backfill start no flow.

sub backfill {
    my $t = shop(account => 'backfill on;', server => <<'EOC');
        klaviyo_track  Fresh  /p  { backfill  off; property  n  $arg_n; }
EOC

    my $k = $t->klaviyo();

    view($t, 1, 1);
    $k->wait_events(2);

    my %marked = map { $_->{metric} => $_->{backfill} ? 1 : 0 } $k->events();

    is("$marked{Viewed} $marked{Fresh}", '1 0', 'backfill on, and off');
}


# Whether an event is old is asked when it is sent for the first time, and what
# was sent once stays the same: another body would be another request, which
# Klaviyo can't know for a repetition.

sub backfill_after {
    my $t = shop(account => 'backfill after=1s; timeout 2500ms;');
    my $k = $t->klaviyo();

    # the first is young when it is sent, and old when it is sent again: the
    # second waits for it all the time
    $k->script({ answer => '500' }, { answer => 'hang' }, { answer => 'ok' },
        { answer => '500', times => 2 });

    view($t, 1, 1);
    $k->wait_requests(2);
    view($t, 2, 2);
    arrived($k, 1, 2, 'backfill after: both are there');
    view($t, 3, 3);
    arrived($k, 1, 3, 'and a new one');

    is(join(' ', map { $_->{backfill} ? 'old' : 'young' } $k->events()),
        'young old young', 'one is marked');

    my @bodies = bodies($k);

    is(join(' ', map { $_->{status} } @bodies),
        '500 0 202 500 500 202 202', 'each was sent in turn');
    is(scalar uniq(map { $_->{digest} } @bodies[0 .. 2]), 1,
        'what was young stays young');
    is(scalar uniq(map { $_->{digest} } @bodies[3 .. 5]), 1,
        'what was old stays old');
    conserved($t, 'backfill after: counted');
}

###############################################################################

# Nobody listens; then Klaviyo is back.

sub away {
    my $t = shop();
    my $k = $t->klaviyo();

    $k->stop();
    view($t, 1, 300);

    ok($t->wait_for(sub { account($t)->{state} eq 'backoff'
                          && account($t)->{retries} >= 3 }), 'away');

    my $account = account($t);

    is("$account->{events}{queued} $account->{events}{sent} "
        . "$account->{last_status}", '300 0 0', 'away: all are kept');
    ok($account->{retry_at}, 'and the next try is known');
    conserved($t, 'away: counted', busy => 1);

    view($t, 301, 400);
    $k->start();
    arrived($k, 1, 400, 'back: each arrives once');
    conserved($t, 'back: counted');
    is(account($t)->{state}, 'ok', 'and all is well');

    # one line when it goes, one when it comes back
    is(scalar(() = $t->log()
        =~ /\[warn\].*"shop": Klaviyo is not available/g), 1, 'told once');
    is(scalar(() = $t->log() =~ /Klaviyo takes events again/g), 1,
        'and its end');
}

###############################################################################
