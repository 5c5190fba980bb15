#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Whole visits to the shops of conf.examples/presets and to the generic ones:
# each step makes the events that Klaviyo documents and the profile updates that
# it must, and no others; robots and those who did not consent make none; orders only come of their own file.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo::Visits;

###############################################################################

# The folder of the visits, the preset, its file of orders, further options.  In
# the visits there are ana, cara and dora, who consent, and others, who are
# asked and don't.

my @shops = (
    [ 'hydrogen', 'presets/hydrogen.conf', undef,
      server => 'klaviyo_visitor $cookie_cart | urldecode | split ? 0;' ],
    [ 'next-commerce', 'presets/next-commerce.conf', undef,
      server => 'klaviyo_visitor $cookie_cartid | urldecode;' ],
    [ 'shopify-orders', 'presets/shopify-orders.conf' ],
    [ 'medusa', 'presets/medusa.conf', 'presets/medusa-orders.conf' ],
    [ 'saleor', 'presets/saleor.conf', 'presets/saleor-orders.conf' ],
    [ 'magento', 'presets/magento.conf', 'presets/magento-orders.conf',
      server => 'klaviyo_visitor $cookie_sid;' ],
    [ 'woocommerce', 'presets/woocommerce.conf',
      'presets/woocommerce-orders.conf',
      server => 'klaviyo_visitor $cookie_sid;' ],
    [ 'generic-rest', 'generic-rest.conf', undef,
      server => 'klaviyo_visitor $cookie_sid;' ],
    [ 'generic-cookies', 'generic-cookies.conf', undef,
      server => 'klaviyo_visitor $cookie_sid;' ],
    [ 'generic-jsonld', 'generic-jsonld.conf', undef,
      server => 'klaviyo_visitor $cookie_sid;' ],
);

my $robot = 'Mozilla/5.0 (compatible; Googlebot/2.1;'
    . ' +http://www.google.com/bot.html)';

for my $shop (@shops) {
    my ($folder, $preset, $orders, %opt) = @$shop;

    $opt{include} = [ $preset, $orders || () ];

    visits($folder, %opt)->judge();

    visits($folder, %opt, headers => { 'User-Agent' => $robot })
        ->none('of robots');
    visits($folder, %opt, consent => qr/ana|cara|dora/)->judge();

    visits($folder, %opt, include => [ $preset ])
        ->none('without the file of orders', qr/Order/) if $orders;
}

Test::Nginx::Klaviyo->done();

###############################################################################

sub visits { return Test::Nginx::Klaviyo::Visits->new(@_)->replay() }
