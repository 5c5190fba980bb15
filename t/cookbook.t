#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Each recipe of docs/cookbook.md: its requests are sent, and the events that it
# shows come out.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo::Examples;

###############################################################################

Test::Nginx::Klaviyo::Examples->new("$FindBin::Bin/../docs/cookbook.md")->run();

Test::Nginx::Klaviyo->done();

###############################################################################
