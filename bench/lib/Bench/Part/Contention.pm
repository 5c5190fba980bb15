package Bench::Part::Contention;

# Copyright (C) ngx_http_klaviyo_module contributors

# What one ring costs when several workers write to it at the same time, and
# how long its lock is held: the ring alone, as fast as it goes.

###############################################################################

use warnings;
use strict;

use Bench;
use Bench::Build;

###############################################################################

my $EVENTS = quick() ? 100_000 : 400_000;
my $BYTES = 600;
my $ROUNDS = quick() ? 2 : 7;


# median nanoseconds of CPU per event, by number of workers
our %cost;


sub run {
    my $program = Bench::Build::contention();
    my @workers = (1, 2, 4, 8);
    my %results;

    heading('Workers that write to one ring', "$EVENTS events of $BYTES bytes, "
        . "$ROUNDS rounds, nanoseconds per event: median  min .. max");

    for (1 .. $ROUNDS) {
        for my $n (@workers) {
            my @numbers = split ' ', command('contention.log', $program, $n,
                $EVENTS, $BYTES);

            push @{$results{$n}[$_]}, $numbers[$_] for 0 .. 2;
        }
    }

    row('', '       from begin to end', '                CPU time',
        '           the lock is held');

    for my $n (@workers) {
        row($n == 1 ? '1 worker' : "$n workers",
            map { spread('%6.0f', @{$results{$n}[$_]}) } 0 .. 2);
        $cost{$n} = median(@{$results{$n}[1]});
    }
}

###############################################################################

1;

###############################################################################
