package Bench::Part::Growth;

# Copyright (C) ngx_http_klaviyo_module contributors

# How each cost grows: the exponent that it would be a power with, by the last
# two numbers of a line.  About 0 is flat, 1 is linear; the part of a cost that
# is always there makes it less.

###############################################################################

use warnings;
use strict;

use Bench;
use Bench::Case qw(page_cases properties rules upload_cases);
use Bench::Part::Contention;
use Bench::Part::Delivery;
use Bench::Part::Instructions qw(count);
use Bench::Peer;

###############################################################################

sub run {
    my $peer = Bench::Peer->new();
    my ($without) = page_cases();
    my $page = count($without);

    heading('Growth', 'instructions per request, but the last two');

    line('rules, none met', map { [$_, count({ name => 'growth', account => 1,
            server => rules($_) }) - $page] } 1, 10, 100, 1000, 10000);

    line('rules, all met', map { [$_, count({ name => 'growth', account => 1,
            server => 'klaviyo_ignore off; ' . properties(6) x $_ }) - $page] }
        1, 2, 4, 8);

    line('properties', map { [$_, count({ name => 'growth', account => 1,
            server => 'klaviyo_ignore off; ' . properties($_) }) - $page] }
        1, 2, 5, 10, 20, 40);

    line('bytes of JSON in the body', map { [$_, body($peer, $_)] }
        512, 1024, 2048, 4096, 8192, 16384);

    line('workers, ns per event', map {
            [$_, $Bench::Part::Contention::cost{$_}] }
        sort { $a <=> $b } keys %Bench::Part::Contention::cost);

    line('backlog, us per event', map {
            [$_, 1e6 * $Bench::Part::Delivery::spooled{$_}] }
        sort { $a <=> $b } keys %Bench::Part::Delivery::spooled);

    $peer->stop();
}


sub body {
    my ($peer, $bytes) = @_;
    my ($without, @others) = upload_cases($peer, $bytes);
    my ($tracked) = grep { $_->{name} =~ /\@request/ } @others;

    return count($tracked) - count($without);
}


sub line {
    my ($name, @points) = @_;

    return if @points < 2;

    my ($before, $last) = @points[-2, -1];
    my $exponent = log($last->[1] / $before->[1])
        / log($last->[0] / $before->[0]);
    my $verdict = $exponent < 0.15 ? 'flat' : $exponent < 1.1 ? 'linear'
                : 'worse';

    row($name, sprintf('%6.2f  %s', $exponent, $verdict));
    printf "%12s  %12.1f\n", @$_ for @points;
    print "\n";
}

###############################################################################

1;

###############################################################################
