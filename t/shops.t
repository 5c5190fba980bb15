#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# The shops of docs/shops.md: their requests are sent, and the events that it
# shows come out.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo::Examples;

###############################################################################

Test::Nginx::Klaviyo::Examples->new("$FindBin::Bin/../docs/shops.md")->run();

Test::Nginx::Klaviyo->done();

###############################################################################
