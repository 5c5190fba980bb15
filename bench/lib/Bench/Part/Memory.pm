package Bench::Part::Memory;

# Copyright (C) ngx_http_klaviyo_module contributors

# Bytes per event, the size of the processes, and what a ring's memory costs by
# where it is.

###############################################################################

use warnings;
use strict;

use Bench;
use Bench::Build;
use Bench::Case qw(tracked_case);
use Bench::Nginx;
use Bench::Request;
use Bench::Sink;

###############################################################################

# events of a large shop's day
my $DAY = quick() ? 100_000 : 1_000_000;


sub run {
    heading('Memory');

    sizes();
    disk();
    faults();
}


# Of the worker and of the background process, what is their own: the ring is
# shared, and counted by the first to touch it.

sub sizes {
    my $sink = Bench::Sink->new();
    my $without = Bench::Nginx->start({ name => 'without' });
    my $run = Bench::Nginx->start({ %{tracked_case()}, queue => '32m',
        endpoint => $sink->{url} });

    Bench::Request::wrk($without, 1);

    row('resident, KB of its own', '  worker', '  background process');
    row('  without the module, after traffic',
        sprintf('%8d', (resident($without->{worker}))[0]));
    state($run, '  idle');

    $run->hold();
    Bench::Request::wrk($run, 1);
    state($run, '  queue of 32 MB full');

    my $queue = $run->status()->{accounts}{shop}{queue};
    $run->drain();

    my $sent = 0;

    while ($sent < $DAY) {
        Bench::Request::wrk($run, 1);
        $run->drain();
        $sent = $run->status()->{total}{sent};
    }

    state($run, "  after $sent events");
    print "\n";

    my $told = $sink->told();

    row('bytes per event', '     ring', '   bodies');
    row('', sprintf('%9.1f', $queue->{used} / $queue->{events}),
        sprintf('%9.1f', $told->{bytes} / $sent));

    $_->stop() for $run, $without, $sink;
}


sub state {
    my ($run, $name) = @_;

    row($name, sprintf('%8d', (resident($run->{worker}))[0]),
        sprintf('%20d', (resident($run->{manager}))[0]));
}


sub disk {
    my $run = Bench::Nginx->start({ %{tracked_case()}, queue => '32m',
        endpoint => 'http://127.0.0.1:' . free_port() });

    Bench::Request::wrk($run, 1);

    my $text = '';

    for (1 .. 500) {
        my ($first) = sort glob "$run->{dir}/spool/shop.*.spool";

        $text = slurp($first) =~ s/[^\n]*\z//r if $first;
        last if length $text > 1 << 20;
        select undef, undef, undef, 0.02;
    }

    $run->stop();

    die "nothing is on disk\n" if $text eq '';

    row('', sprintf('%9.1f on disk', length($text) / ($text =~ tr/\n//)));
    print "\n";
}


# without nginx
sub faults {
    my $program = Bench::Build::program('memory');

    print "memory of a ring, 32 MB: the first store to each page, copies of "
        . "600 bytes\nwhile it is written back\n\n";

    system($program, 32, '/dev/shm', dir()) == 0 or die "memory failed\n";
}

###############################################################################

1;

###############################################################################
