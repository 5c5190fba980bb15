#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Runs the unit tests that "make unit" built, and relays what they say.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

###############################################################################

my $build = $ENV{TEST_UNIT_BUILD} || "$FindBin::Bin/../build/unit";
my @sources = glob "$FindBin::Bin/unit/*_test.c";

plan skip_all => 'no unit tests' if !@sources;

# cmocka's own TAP, and a stop at the first thing that a sanitizer sees
$ENV{CMOCKA_MESSAGE_OUTPUT} = 'TAP';
$ENV{UBSAN_OPTIONS} = 'print_stacktrace=1:halt_on_error=1';

for my $source (sort @sources) {
    my ($name) = $source =~ m{([^/]+)\.c\z};

    subtest $name => sub { run("$build/$name") };
}

done_testing();

###############################################################################

sub run {
    my ($program) = @_;

    if (!-x $program) {
        fail('is built: "make unit-build" does it');
        return;
    }

    my @lines = `$program 2>&1 < /dev/null`;
    my $status = $?;
    my ($planned, $seen) = (0, 0);

    for my $line (@lines) {
        chomp $line;

        if ($line =~ /\A1\.\.(\d+)/) {
            $planned += $1;

        } elsif ($line =~ /\A(not )?ok\b(?: \d+)?(?: - )?(.*)/) {
            $seen++;
            ok(!$1, $2);

        } else {
            note($line);
        }
    }

    ok($status == 0 && $seen && $planned == $seen, 'all of it ran')
        or diag("status $status, $seen tests of $planned\n",
                join "\n", @lines > 60 ? @lines[-60 .. -1] : @lines);
}

###############################################################################
