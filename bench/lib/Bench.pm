package Bench;

# Copyright (C) ngx_http_klaviyo_module contributors

# What all parts of the benchmark use: settings, processes, files, statistics.

###############################################################################

use warnings;
use strict;

use base qw(Exporter);

our @EXPORT = qw(quick root dir scratch command spawn reap end have free_port
                 get get_json slurp write_file median spread heading row
                 cpu_time resident pinned);

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(remove_tree);
use File::Temp ();
use HTTP::Tiny ();
use IO::Socket::INET ();
use JSON::PP ();
use List::Util qw(max min);
use POSIX qw(_exit);
use Time::HiRes qw(sleep time);

###############################################################################

my $main = $$;
my $root = abs_path(dirname(__FILE__) . '/../..');
my $dir;
my %children;

$SIG{INT} = $SIG{TERM} = $SIG{HUP} = sub { exit 1 };

END {
    if ($main == $$) {
        local $?;

        end($_) for keys %children;
        remove_tree($dir) if $dir && !$ENV{BENCH_LEAVE};
        print "kept: $dir\n" if $dir && $ENV{BENCH_LEAVE};
    }
}


sub quick { return ($ENV{QUICK} // '') =~ /\A(?:1|on|yes)\z/ }


sub root { return $root }


# of this run; everything that is written is in it
sub dir {
    if (!$dir) {
        $dir = File::Temp::tempdir('klaviyo-bench-XXXXXX', TMPDIR => 1);
        chmod 0755, $dir;
    }

    return $dir;
}


# a folder of its own for one process
sub scratch {
    my ($name) = @_;

    my $folder = File::Temp::tempdir(($name =~ tr/a-zA-Z0-9/-/csr) . '-XXXXXX',
        DIR => dir());
    chmod 0755, $folder;

    return $folder;
}

###############################################################################

# processes

# runs it to its end; what it prints is returned
sub command {
    my ($log, @command) = @_;

    my $pid = spawn(dir() . "/$log", @command);
    my $failed = reap($pid);
    my $text = slurp(dir() . "/$log");

    die "@command failed:\n$text\n" if $failed;

    return $text;
}


sub spawn {
    my ($log, @command) = @_;

    my $pid = fork() // die "fork: $!\n";

    if ($pid) {
        $children{$pid} = 1;
        return $pid;
    }

    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    %children = ();

    open STDIN, '<', '/dev/null';
    open STDOUT, '>', $log;
    open STDERR, '>&', \*STDOUT;

    if (ref $command[0]) {
        $command[0]->();
        _exit(0);
    }

    exec { $command[0] } @command or _exit(127);
}


sub reap {
    my ($pid) = @_;

    waitpid $pid, 0;
    delete $children{$pid};

    return $?;
}


sub end {
    my ($pid) = @_;

    kill 'TERM', $pid;
    my $end = time() + 30;

    while (waitpid($pid, POSIX::WNOHANG()) == 0) {
        kill 'KILL', $pid if time() > $end;
        sleep 0.02;
    }

    delete $children{$pid};
}


sub have {
    my ($command) = @_;

    return scalar grep { -x "$_/$command" } split /:/, $ENV{PATH};
}


# The worker that is measured has the first processor to itself where there are
# two; all else that we start runs on the second one.

sub pinned {
    my ($number) = @_;

    return `nproc` > 1 ? ('taskset', '-c', $number) : ();
}


# microseconds that the process has run
sub cpu_time {
    my ($pid) = @_;

    my $text = eval { slurp("/proc/$pid/schedstat") } // '';
    return $1 / 1000 if $text =~ /\A(\d+) / && $1;

    my @stat = split ' ', slurp("/proc/$pid/stat") =~ s/\A.*\) //sr;
    return ($stat[11] + $stat[12]) * 1e6
        / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}


# KB of memory that are the process's own, and those that it shares
sub resident {
    my ($pid) = @_;
    my $status = slurp("/proc/$pid/status");
    my ($anon) = $status =~ /^RssAnon:\s*(\d+)/m;
    my ($shmem) = $status =~ /^RssShmem:\s*(\d+)/m;

    return ($anon, $shmem);
}

###############################################################################

# network and files

sub free_port {
    my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')
        or die "listen: $!\n";

    return $socket->sockport();
}


sub get {
    my ($url, %headers) = @_;

    my $r = HTTP::Tiny->new(timeout => 60)->get($url,
        { headers => \%headers });

    die "$url: $r->{status} $r->{content}\n" if !$r->{success};
    return $r->{content};
}


sub get_json { return JSON::PP::decode_json(get($_[0])) }


sub slurp {
    my ($file) = @_;

    open my $in, '<', $file or die "open $file: $!\n";
    local $/;
    return scalar(<$in>) // '';
}


sub write_file {
    my ($file, @texts) = @_;

    open my $out, '>', $file or die "open $file: $!\n";
    print $out @texts;
    close $out or die "write $file: $!\n";
}

###############################################################################

# numbers

sub median {
    my @sorted = sort { $a <=> $b } @_;

    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}


# "median min .. max"
sub spread {
    my ($format, @values) = @_;

    return sprintf "$format  $format .. $format", median(@values),
        min(@values), max(@values);
}


sub heading {
    my ($title, @lines) = @_;

    print "\n\n$title\n", '-' x length $title, "\n\n";
    print map { "$_\n" } @lines;
    print "\n" if @lines;
}


sub row {
    my ($name, @columns) = @_;

    print join('  ', sprintf('%-44s', $name), @columns) =~ s/ +\z//r, "\n";
}

###############################################################################

1;

###############################################################################
