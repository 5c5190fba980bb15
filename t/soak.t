#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# All faults mixed at random, see Test::Nginx::Klaviyo::Soak: a short one.
# KLAVIYO_SOAK_SECONDS makes it longer, KLAVIYO_SOAK_SEED repeats one.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Soak;

###############################################################################

soak($ENV{KLAVIYO_SOAK_SECONDS} || 15,
    $ENV{KLAVIYO_SOAK_SEED} || int rand 1_000_000);

Test::Nginx::Klaviyo->done();

###############################################################################
