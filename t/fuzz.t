#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Runs the fuzz targets that "make fuzz-build" built: what is kept for each,
# and a short search.

###############################################################################

use warnings;
use strict;

use Test::More;

use File::Temp ();
use FindBin ();

###############################################################################

my $root = "$FindBin::Bin/..";
my @names = map { m{([^/]+)_fuzz\.c\z} } glob "$FindBin::Bin/fuzz/*_fuzz.c";

plan tests => scalar @names;

# seconds per target; beside other tests, hence one at a time
$ENV{FUZZ_TIME} ||= 1;
$ENV{FUZZ_JOBS} ||= 1;

# from what is kept, not from what was found here before
my $found = File::Temp->newdir();
$ENV{FUZZ_FOUND} = "$found";

for my $name (sort @names) {

    if (!-x "$root/build/fuzz/${name}_fuzz") {
        fail("$name is built: \"make fuzz-build\" does it");
        next;
    }

    my @lines = `$root/util/fuzz $name 2>&1 < /dev/null`;

    ok($? == 0, $name) or diag(@lines);
}

###############################################################################
