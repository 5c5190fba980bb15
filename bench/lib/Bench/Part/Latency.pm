package Bench::Part::Latency;

# Copyright (C) ngx_http_klaviyo_module contributors

# How long a shopper waits, at a rate far below what the worker can do, while
# Klaviyo does what it does.  Each request has its time, and its latency counts
# from then on (bench/openloop.c).

###############################################################################

use warnings;
use strict;

use File::Path qw(remove_tree);

use Bench;
use Bench::Backlog;
use Bench::Build;
use Bench::Case qw(tracked_case);
use Bench::Nginx;
use Bench::Request;
use Bench::Sink;

###############################################################################

my $RATE = 10000;
my $CONNECTIONS = 64;
my $SECONDS = 2;
my $ROUNDS = quick() ? 2 : 5;
my $BACKLOG = quick() ? 100_000 : 1_000_000;


sub run {
    my $openloop = Bench::Build::program('openloop');
    my $fast = Bench::Sink->new();
    my $slow = Bench::Sink->new(2);
    my $spool = dir() . '/backlog';

    Bench::Backlog::write_spool($spool, $BACKLOG);

    heading("Latency at $RATE requests/s", "microseconds, $ROUNDS rounds of "
        . "$SECONDS s, $CONNECTIONS connections: median  min .. max");

    my @runs = map { Bench::Nginx->start($_) } cases($fast, $slow);

    for (1 .. $ROUNDS) {
        measure($openloop, $_) for @runs;
        drained($openloop, $spool, $fast, \@runs);
    }

    row('', '                p50', '                p99',
        '              p99.9');
    result($_) for @runs;

    $_->stop() for grep { $_->{pid} } @runs;
    $_->stop() for $fast, $slow;

    remove_tree($spool);
}


sub cases {
    my ($fast, $slow) = @_;
    my $refused = free_port();

    return (
        { name => 'untracked' },
        { %{tracked_case()}, name => 'tracked, Klaviyo answers at once',
          endpoint => $fast->{url} },
        { %{tracked_case()}, name => 'tracked, Klaviyo takes 2 s',
          endpoint => $slow->{url} },
        { %{tracked_case()}, name => 'tracked, Klaviyo never answers' },
        { %{tracked_case()}, name => 'tracked, Klaviyo refuses connections',
          endpoint => "http://127.0.0.1:$refused" },
    );
}


# The backlog is there before nginx starts, in each round the same.

sub drained {
    my ($openloop, $spool, $sink, $runs) = @_;
    my $name = 'tracked, ' . ($BACKLOG == 1_000_000 ? 'a million' : $BACKLOG)
        . ' events drain';
    my ($result) = grep { $_->{case}{name} eq $name } @$runs;

    if (!$result) {
        $result = bless { case => { name => $name } }, 'Bench::Nginx';
        push @$runs, $result;
    }

    my $run = Bench::Nginx->start({ %{tracked_case()}, name => $name,
        endpoint => $sink->{url}, backlog => $spool });

    measure($openloop, $run);

    push @{$result->{latency}[$_]}, @{$run->{latency}[$_]} for 0 .. 2;

    $run->stop();
    remove_tree("$run->{dir}/spool");
}


sub measure {
    my ($openloop, $run) = @_;

    # what drains is another one in each round

    return if !$run->{pid};

    my $file = "$run->{dir}/request";
    my @headers = grep { $_ ne '-H' } Bench::Request::headers($run->{case});

    write_file($file, join("\r\n",
        'GET ' . Bench::Request::uri($run->{case}) . ' HTTP/1.1',
        'Host: localhost', @headers, '', ''));

    # it keeps its own time best if it is not kept waiting

    my @nice = $> == 0 ? qw(nice -n -10) : ();

    my $out = command('openloop.log', @nice, pinned(1), $openloop,
        $run->{port}, $RATE, $SECONDS, $CONNECTIONS, $file);

    my @numbers = split ' ', $out;

    push @{$run->{latency}[$_]}, $numbers[$_] for 0 .. 2;
}


sub result {
    my ($run) = @_;

    row($run->{case}{name}, map { spread('%5d', @{$run->{latency}[$_]}) }
        0 .. 2);
}

###############################################################################

1;

###############################################################################
