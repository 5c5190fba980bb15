package Bench::Part::Instructions;

# Copyright (C) ngx_http_klaviyo_module contributors

# Instructions of the worker per request, in user space, by callgrind: what
# else the machine does changes nothing.  The difference of two runs with
# another number of requests has neither nginx's start nor its end in it.

###############################################################################

use warnings;
use strict;

use base qw(Exporter);

our @EXPORT_OK = qw(count);

use Bench;
use Bench::Case qw(page_cases upload_cases);
use Bench::Nginx;
use Bench::Peer;
use Bench::Request;
use Bench::Rival;

###############################################################################

# requests of the two runs
my @COUNTS = quick() ? (300, 1300) : (1000, 4000);


sub run {
    my ($class, $wanted) = @_;
    my $peer = Bench::Peer->new();

    heading('Instructions of the worker per request',
        "callgrind, user space, ($COUNTS[1] - $COUNTS[0] requests)");

    table('return 200', $wanted, page_cases());
    table('2 KB of JSON, proxied', $wanted, upload_cases($peer, 2048));
    table('a file of 1 KB', $wanted, Bench::Rival::cases($peer));

    $peer->stop();
}


sub table {
    my ($title, $wanted, @cases) = @_;
    my ($without, %more);

    row($title, '  instructions', '        more');

    for my $case ($wanted->(@cases)) {
        my $n = count($case);

        $without //= $n;
        $more{$case->{name}} = $n - $without;

        row($case->{name}, sprintf('%14d', $n),
            sprintf('%+12d', $n - $without));
    }

    compare('tracked', \%more, grep { $_->{log} } @cases);
    print "\n";
}


# what an event costs beside a line of the log
sub compare {
    my ($name, $more, @logs) = @_;

    for my $log (@logs) {
        next if !$more->{$name} || !$more->{$log->{name}};

        row("$name : $log->{name}", sprintf('%14.2f',
            $more->{$name} / $more->{$log->{name}}));
    }
}


# What was counted once, under whatever name, is known.
{
    my %known;

    sub count {
        my ($case) = @_;
        my $key = join "\0", map { "$_=$case->{$_}" }
            grep { $_ ne 'name' } sort keys %$case;

        return $known{$key} //= difference($case);
    }
}


# both runs at once: instructions don't depend on the clock
sub difference {
    my ($case) = @_;

    my @runs = map { begin($case, $_) } @COUNTS;
    my @totals = map { total($_) } @runs;

    return ($totals[1] - $totals[0]) / ($COUNTS[1] - $COUNTS[0]);
}


sub begin {
    my ($case, $n) = @_;

    my $run = Bench::Nginx->start($case, 'valgrind', '--tool=callgrind',
        '--trace-children=yes', '--callgrind-out-file=cg.%p');

    Bench::Request::start_h2load($run, $n);

    return $run;
}


sub total {
    my ($run) = @_;

    Bench::Request::finish_h2load($run);

    my $worker = $run->{worker};
    $run->stop();

    slurp("$run->{dir}/cg.$worker") =~ /^(?:summary|totals): (\d+)/m
        or die "callgrind left no total in $run->{dir}\n";

    return $1;
}

###############################################################################

1;

###############################################################################
