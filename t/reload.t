#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# A reload loses nothing and sends nothing twice: under load, with requests on
# their way, when a ring changes its size, when an account goes, when all of
# ours goes, when all accounts are others, when it fails.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use List::Util qw(uniq);
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

under_load();
storm();
another_size();
without_account();
without_ours();
other_accounts();
too_many();
failed();

Test::Nginx::Klaviyo->done();

###############################################################################

# One process that sends, when the old ones have left.

sub alone {
    my ($t, $name) = @_;

    ok($t->wait_for(sub { 1 == $t->processes('helper') }), "$name: the others"
        . ' have left');
}


sub no_copies {
    my ($k, $name) = @_;
    my @bodies = bodies($k);

    is(scalar $k->duplicates(), 0, "$name: no event was accepted twice");
    is(scalar(uniq(map { $_->{digest} } @bodies)), scalar @bodies,
        "$name: no body was sent twice");
}

###############################################################################

# Klaviyo takes a fifth of a second for each answer, so that each reload finds
# requests on their way.

sub under_load {
    my $t = shop(workers => 2, account => 'batch events=20 linger=20ms;',
        standin => { delay => 0.2 });
    my $k = $t->klaviyo();
    my $stop = load($t);

    for (1 .. 5) {
        ok($t->wait_for(sub { (account($t)->{in_flight} // 0) > 1 }),
            "reload $_: requests are on their way");
        $t->reload();
    }

    my @answered = $stop->();

    cmp_ok(scalar @answered, '>', 100, 'under load');
    $k->settings(delay => 0);
    ok(settled($t, 30), 'under load: all is sent');
    is(missed([ numbers($k) ], \@answered, [ 1 .. $answered[-1] + 50 ]), '',
        'under load: each arrives once');
    no_copies($k, 'under load');
    conserved($t, 'under load: counted');
    alone($t, 'under load');
    is(status($t)->{generation}, 6, 'each reload is known');
    is(status($t)->{dispatcher}{crashes}, 0, 'nobody seems to have crashed');
}

###############################################################################

# Faster than nginx can.

sub storm {
    my $t = shop(account => 'batch events=20 linger=20ms;',
        standin => { delay => 0.05 });
    my $k = $t->klaviyo();
    my $stop = load($t);

    for (1 .. 15) {
        $t->reload(0);
        sleep 0.02;
    }

    my $before = status($t)->{generation};

    $t->reload();
    ok($t->wait_for(sub { status($t)->{generation} > $before }),
        'a storm of reloads is over');

    my @answered = $stop->();

    $k->settings(delay => 0);
    ok(settled($t, 30), 'a storm: all is sent');
    is(missed([ numbers($k) ], \@answered, [ 1 .. $answered[-1] + 50 ]), '',
        'a storm: each arrives once');
    no_copies($k, 'a storm');
    conserved($t, 'a storm: counted');
    alone($t, 'a storm');
}

###############################################################################

# What is in a ring whose size changes is sent by the one who has it.

sub another_size {
    my $t = shop(account => 'queue 1m; batch events=10 linger=20ms;');
    my $k = $t->klaviyo();

    $k->settings(delay => 0.3);
    view($t, 1, 100);
    write_shop($t, account => 'queue 2m; batch events=10 linger=20ms;');
    $t->reload();
    view($t, 101, 200);
    $k->settings(delay => 0);

    arrived($k, 1, 100, 'another size: what was in the old ring arrives');
    arrived($k, 101, 200, 'another size: so does what comes');
    no_copies($k, 'another size');
    conserved($t, 'another size: counted');
    cmp_ok(account($t)->{queue}{size}, '>=', 2 * 1024 * 1024, 'the new size');
    is(account($t)->{events}{sent}, 200, 'and the counters go on');
    alone($t, 'another size');
}

###############################################################################

# Also by a worker that has a request of before the reload, for an account that
# nobody else knows any more.

sub without_account {
    my $t = Test::Nginx::Klaviyo->new();

    $t->standin(bodies => '')->standin(bodies => '');

    my $second = <<'EOC';
        klaviyo_account two {
            api_key data:pk_0000000000000000000000000000000002;
            endpoint %%KLAVIYO_1%%; batch events=10 linger=20ms;
        }
EOC

    my $server = <<'EOC';
        location /two {
            return 200;
            klaviyo_use_account two;
            klaviyo_track Two { property n $arg_n; }
        }
        location /slow {
            alias %%TESTDIR%%/page;
            limit_rate 2k;
            klaviyo_use_account two;
            klaviyo_track Slow { property n $arg_n; }
        }
EOC

    $t->write_file('page', 'x' x 5000);
    write_shop($t, accounts => $second, server => $server);
    $t->run();

    my $k = $t->klaviyo(1);
    my $slow = $t->connect();

    $slow->send(Test::Nginx::Klaviyo::HTTP::text('GET', '/slow?n=0'));
    $k->settings(delay => 0.3);
    view($t, 1, 100, uri => sub { "/two?n=$_[0]" });

    write_shop($t);
    $t->reload();
    $k->settings(delay => 0);
    view($t, 1, 10);

    is(join(' ', sort keys %{status($t)->{accounts}}), 'shop',
        'an account is gone');
    arrived($t->klaviyo(), 1, 10, 'the other one gets its events');
    arrived($k, 1, 100, 'so does the one that is gone');
    is(scalar(grep { $_->{metric} eq 'Slow' } $k->events()), 0,
        'an old request is not over');
    is($slow->response()->status(), 200, 'until now');
    is($k->wait_events(1, 'Slow'), 1, 'it arrives too');
    no_copies($k, 'an account is gone');
    conserved($t, 'an account is gone: counted in total');
    alone($t, 'an account is gone');
}

###############################################################################

# Then the old one has as long as at the end of nginx.

sub without_ours {
    my $t = shop(account => 'batch events=10 linger=20ms;', drain => '3s');
    my $k = $t->klaviyo();

    $k->settings(delay => 0.2);
    view($t, 1, 100);
    write_shop($t, klaviyo => 0);
    $t->reload();

    is($t->get('/p?n=101')->body(), 'ok', 'all of ours is gone: the shop is');
    arrived($k, 1, 100, 'all of ours is gone: all arrive');
    ok($t->wait_for(sub { !$t->processes('helper') }), 'and nobody is left');
    is($t->get('/klaviyo')->body(), 'ok', 'nor is the status page');

    $k->settings(delay => 0);
    write_shop($t);
    $t->reload();
    view($t, 102, 110);
    arrived($k, 102, 110, 'it is back: all arrive');
    no_copies($k, 'gone and back');
    conserved($t, 'gone and back: counted');
    is(missed([ numbers($k) ], [ 1 .. 100, 102 .. 110 ]), '',
        'what was seen without us is not sent');
}

###############################################################################

# More accounts one after the other than there are states at a time.

sub many {
    my ($name, $n) = @_;

    return join '', map { "klaviyo_account $name$_ { queue 256k;"
        . " api_key data:@{[ key($_) ]}; endpoint %%KLAVIYO%%;"
        . " batch events=10 linger=20ms; }\n" } 1 .. $n;
}


sub other_accounts {
    my @names = qw(a b c);
    my $t = shop(accounts => many('a', 40));

    for my $name (@names) {
        write_shop($t, accounts => many($name, 40), server =>
            "location /last { return 200; klaviyo_use_account ${name}40;"
            . " klaviyo_track Last { property n \$arg_n; } }");
        $t->reload();
        view($t, 1, 10, uri => sub { "/last?n=$_[0]" });

        ok($t->wait_for(sub { my $all = status($t)->{accounts} || {};
            return 41 == keys %$all && !grep { !$_->{state} } values %$all }),
            "other accounts, $name: each has a state");
        ok($t->wait_for(sub {
            my $account = account($t, "${name}40");

            return $account->{events}{sent} == 10 && $account->{last_sent}
                   && !$account->{in_flight} }),
            "other accounts, $name: it is that of who sends");
        alone($t, "other accounts, $name");
    }

    conserved($t, 'other accounts: counted in total');
}


sub too_many {
    my $t = shop(accounts => many('a', 70), start => 0);

    $t->expect_log(qr/\[warn\] .*71 klaviyo accounts with 71 queues/);
    $t->run();
    ok($t->wait_for(sub { 71 == keys %{status($t)->{accounts} || {}} }),
        'too many accounts: nginx runs');
    like($t->log(), qr/lanes included: .*can tell of 64 only/,
        'too many accounts: it is told');
    view($t, 1, 10);
    arrived($t->klaviyo(), 1, 10, 'too many accounts: they are served');
}

###############################################################################

# A reload that fails, in what is read or in what is opened, changes nothing.

sub failed {
    my $t = shop();
    my $k = $t->klaviyo();

    $t->expect_log(qr/unknown directive "nonsense"/,
        qr/bind\(\) to 127\.0\.0\.1/, qr/still could not bind/);

    view($t, 1, 10);
    arrived($k, 1, 10, 'before it fails');

    my $pid = dispatcher($t);

    for my $wrong ([ 'read', 'nonsense;', qr/unknown directive/ ],
        [ 'opened', 'server { listen 127.0.0.1:' . $k->port() . '; }',
          qr/still could not bind/ ])
    {
        my ($what, $text, $said) = @$wrong;

        $t->mark();
        write_shop($t, account => 'queue 3m;', http => $text,
            accounts => 'klaviyo_account new { api_key data:' . key(3) . '; }');
        $t->reload(0);
        ok($t->wait_for(sub { $t->log() =~ $said }), "it can't be $what");
    }

    view($t, 11, 20);
    arrived($k, 11, 20, 'it goes on');

    my $status = status($t);

    is("$status->{generation} $status->{dispatcher}{pid}"
        . " $status->{dispatcher}{starts}", "1 $pid 1", 'as before');
    alone($t, 'a failed reload');

    # and the next one, which is good, is like any other
    write_shop($t);
    $t->reload();
    view($t, 21, 30);
    arrived($k, 1, 30, 'a good one after it');
    no_copies($k, 'failed reloads');
    conserved($t, 'failed reloads: counted');
}

###############################################################################
