package Bench::Part::Requests;

# Copyright (C) ngx_http_klaviyo_module contributors

# Requests per second as fast as it goes, and the worker's CPU time.  All cases
# of a table run in turn, round by round, so that what else the machine does
# meets all of them.  Unless a case says otherwise, the background process
# stands still meanwhile and delivers between the rounds.

###############################################################################

use warnings;
use strict;

use List::Util qw(max min);

use Bench;
use Bench::Case qw(page_cases upload_cases);
use Bench::Nginx;
use Bench::Peer;
use Bench::Request;
use Bench::Rival;
use Bench::Sink;

###############################################################################

my $ROUNDS = quick() ? 2 : 4;       # of a second each


sub run {
    my ($class, $wanted) = @_;
    my $peer = Bench::Peer->new();
    my $sink = Bench::Sink->new();

    heading('Requests per second', "wrk, 1 thread, 16 connections, $ROUNDS "
        . 'rounds of 1 s; ratio and CPU time per request to the first line:',
        'median  min .. max');

    table('return 200', $sink, $wanted->(page_cases()));
    table('2 KB of JSON, proxied', $sink,
        $wanted->(upload_cases($peer, 2048)));
    table('a file of 1 KB', $sink, $wanted->(Bench::Rival::cases($peer)));

    $sink->stop();
    $peer->stop();
}


sub table {
    my ($title, $sink, @cases) = @_;

    my @runs = map {
        Bench::Nginx->start({ endpoint($_, $sink), %$_ })
    } @cases;

    round($_) for @runs;

    delete @$_{qw(rate cpu)} for @runs;

    for (1 .. $ROUNDS) {
        round($_) for @runs;
    }

    row($title, '    req/s', '    ratio to the first', '    CPU us',
        '        more us');

    result($_, $runs[0]) for @runs;
    compare(@runs);
    print "\n";

    $_->stop() for @runs;
}


# what is stuck has a black hole
sub endpoint {
    my ($case, $sink) = @_;

    return $case->{account} && !$case->{stuck} ? (endpoint => $sink->{url})
                                               : ();
}


sub round {
    my ($run) = @_;

    $run->hold() if !$run->{case}{live};

    my $before = cpu_time($run->{worker});
    my ($requests, $rate) = Bench::Request::wrk($run, 1);
    my $cpu = (cpu_time($run->{worker}) - $before) / $requests;

    push @{$run->{rate}}, $rate;
    push @{$run->{cpu}}, $cpu;

    $run->drain();
}


sub result {
    my ($run, $first) = @_;
    my @all = 0 .. $ROUNDS - 1;

    my @ratios = map { $run->{rate}[$_] / $first->{rate}[$_] } @all;
    my @more = map { $run->{cpu}[$_] - $first->{cpu}[$_] } @all;

    $run->{more} = \@more;

    row($run->{case}{name}, sprintf('%9d', median(@{$run->{rate}})),
        spread('%5.3f', @ratios), sprintf('%8.2f', median(@{$run->{cpu}})),
        spread('%+6.2f', @more));
}


# by CPU time, round by round
sub compare {
    my @runs = @_;
    my ($tracked) = grep { $_->{case}{name} eq 'tracked' } @runs;

    return if !$tracked;

    for my $log (grep { $_->{case}{log} } @runs) {
        my @ratios = map { $tracked->{more}[$_] / ($log->{more}[$_] || 0.001) }
            0 .. $ROUNDS - 1;

        row("CPU time, tracked : $log->{case}{name}",
            spread('%5.2f', @ratios));
    }
}

###############################################################################

1;

###############################################################################
