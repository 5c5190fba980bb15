#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# "make demo" shows what it says, and leaves nothing running.

###############################################################################

use warnings;
use strict;

use Test::More tests => 10;

use File::Temp ();
use FindBin ();

###############################################################################

# all that the demo makes is in here
my $tmp = File::Temp::tempdir(CLEANUP => 1);

chmod 0755, $tmp;

local $ENV{TMPDIR} = $tmp;
my $text = `$^X $FindBin::Bin/../util/demo 2>&1 < /dev/null`;

is($?, 0, 'ends well') or diag($text);

like($text, qr/metric +Viewed Product\n +profile +_kx:/, 'a view');
like($text, qr/Search Term +"wool hat"/, 'a search');
like($text, qr/metric +Added to Cart\n(?: .*\n)* +value +87\.5 EUR\n/,
    'a cart');
like($text, qr/"Quantity":2,"RowTotal":48/, 'its lines');
like($text, qr/unique_id +checkout-c-4711\n/, 'a checkout');
like($text, qr/^ +all +seen 10 = sent 5 \+ skipped 5 \(bots 1, gpc 1, /m,
    'the counters');
like($text, qr/^ +klaviyo_account shop \{ api_key file:/m,
    'what a real account takes');

my @left = glob "$tmp/*";

is("@left", '', 'no files are left');

my @running = grep { index(readlink($_) // '', "$tmp/") == 0 }
              glob '/proc/[0-9]*/fd/*';

is("@running", '', 'nothing is left running');

###############################################################################
