#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# The error log: what an operator needs, at the level of its weight, and how
# often.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

my $t = shop(harness => { log => 'debug' },
    account => 'batch bytes=20k linger=50ms; retry min=50ms max=100ms;'
        . ' timeout 2s;',
    rule => 'property large "' . '$arg_large' x 5 . '"; when not $arg_skip;');
my $k = $t->klaviyo();

$t->expect_log(qr/sending is stopped/);

ok($t->wait_for(sub { lines('notice',
    qr/klaviyo dispatcher started, generation 1$/) }), 'it starts');

batches();
decisions();
changes();
drops();

Test::Nginx::Klaviyo->done();

###############################################################################

# of this level; those of an account, if $words don't begin otherwise
sub lines {
    my ($level, $words) = @_;

    return grep { /\[$level\]/ && /$words/ } split /\n/, $t->log();
}


sub batches {
    $t->mark();
    view($t, 1, 20);
    settled($t);

    my @lines = lines('info', qr/account "shop": \d+ events sent, \d+ bytes,/);

    is(scalar @lines, scalar bodies($k), 'info: a line for a batch');
    like($lines[0], qr/ sent, \d+ bytes, status 202, \d+ms\z/, 'what of it');
}


sub decisions {
    $t->mark();
    view($t, 1, 1);
    view($t, 1, 1, uri => sub { '/p?n=1&skip=1' });
    ok($t->wait_for(sub { lines('debug', qr/track "Viewed": skipped:/) }),
        'debug: a skip');
    is(scalar lines('debug', qr/track "Viewed": queued, 1 events/), 1,
        'debug: an event');
    settled($t);
}


# One line when the state changes, whatever comes after.
sub changes {
    for ([ '503', 'warn', qr/"shop": Klaviyo is not available: status 503/ ],
         [ '429', 'warn', qr/"shop": Klaviyo asks to wait: status 429/ ])
    {
        my ($answer, $level, $words) = @$_;

        $t->mark();
        $k->answer($answer, times => 6);
        view($t, 1, 1);
        ok($t->wait_for(sub { lines('notice', qr/takes events again/) }),
            "$answer: back");
        is(scalar lines($level, $words), 1, "$answer: told once");
        cmp_ok(scalar lines('info', $words), '<=', 6, "$answer: then at info");
        settled($t);
    }

    $t->mark();
    $k->answer('401', times => 0);
    view($t, 1, 1);
    ok($t->wait_for(sub { lines('alert', qr/refused the request with/) }),
        'refused: an alert');
    like((lines('alert', qr/refused/))[0],
        qr/ with status 401 \(code "\w+"\), /, 'with what');
    like((lines('alert', qr/refused/))[0],
        qr/ sending is stopped, nothing is lost; next try in 60s\z/,
        'what it means');

    $k->answer('ok');
    $t->reload();
    settled($t);
}


# At most once a second, with how many there were.
sub drops {
    $t->mark();

    my $begin = time;

    view($t, 1, 50, uri => sub { '/p?n=1&large=' . 'x' x 6000 });

    my $dropped = account($t)->{events}{dropped}{too_large};
    my @lines = lines('error', qr/"shop": it is larger than a batch may be/);

    is($dropped, 50, 'larger than a batch');
    cmp_ok(scalar @lines, '>=', 1, 'is told');
    cmp_ok(scalar @lines, '<=', time - $begin + 1, 'at most once a second');
    like($lines[0], qr/, \d+ events of "Viewed" dropped so far/, 'how many');
}

###############################################################################
