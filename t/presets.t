#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Whole visits to the shops of conf.examples/presets and to the generic ones:
# each step makes the events that Klaviyo documents, and no others; robots and
# those who did not consent make none; orders only come of their own file.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo::Visits;

###############################################################################

# The folder of the visits, the preset, its file of orders, further options.

my @shops = (
    [ 'hydrogen', 'presets/hydrogen.conf' ],
    [ 'next-commerce', 'presets/next-commerce.conf' ],
    [ 'shopify-orders', 'presets/shopify-orders.conf' ],
    [ 'medusa', 'presets/medusa.conf', 'presets/medusa-orders.conf' ],
    [ 'saleor', 'presets/saleor.conf', 'presets/saleor-orders.conf' ],
    [ 'magento', 'presets/magento.conf', 'presets/magento-orders.conf' ],
    [ 'woocommerce', 'presets/woocommerce.conf',
      'presets/woocommerce-orders.conf' ],
    [ 'generic-rest', 'generic-rest.conf' ],
    [ 'generic-cookies', 'generic-cookies.conf' ],
    [ 'generic-jsonld', 'generic-jsonld.conf' ],
);

my $robot = 'Mozilla/5.0 (compatible; Googlebot/2.1;'
    . ' +http://www.google.com/bot.html)';

for my $shop (@shops) {
    my ($folder, $preset, $orders, %opt) = @$shop;

    $opt{include} = [ $preset, $orders || () ];

    visits($folder, %opt)->judge();

    visits($folder, %opt, headers => { 'User-Agent' => $robot })
        ->none('of robots');
    visits($folder, %opt, http => ($opt{http} // '')
        . ' klaviyo_consent $cookie_consent = yes;')
        ->none('without consent');

    visits($folder, %opt, include => [ $preset ])
        ->none('without the file of orders', qr/Order/) if $orders;
}

Test::Nginx::Klaviyo->done();

###############################################################################

sub visits { return Test::Nginx::Klaviyo::Visits->new(@_)->replay() }
