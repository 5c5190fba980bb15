package Bench::Case;

# Copyright (C) ngx_http_klaviyo_module contributors

# What is compared: sets of nginx configurations, each set with one that does
# without us at its head.

###############################################################################

use warnings;
use strict;

use base qw(Exporter);

our @EXPORT_OK = qw(page_cases upload_cases tracked_case rules properties
                    format_of);

###############################################################################

# Fields of a case: name; those of Bench::Nginx; browser: another than Chrome;
# nobody: another cookie of as many bytes; body: bytes of JSON that are sent;
# live: events are delivered meanwhile, else between the rounds; stuck: nobody
# takes them.

my $RULE = 'klaviyo_track "Viewed Product" GET '
    . '~^/products/(?<handle>[\w-]+)$';

my @SIX = (
    'ProductName  $handle',
    'ProductID    $arg_variant',
    'Price        $arg_price',
    'Currency     $cookie_currency',
    'UserAgent    $http_user_agent',
    'Path         $request_uri',
);

my @FOUR = (
    'Color        $arg_color',
    'Size         $arg_size',
    'List         $arg_list',
    'Position     $arg_position',
);

my $CUSTOMER = 'profile email $http_x_customer;';

my $PLAIN = 'klaviyo_ignore off;';


sub rule {
    my ($customer, @properties) = @_;

    return "$RULE {\n            $customer\n"
        . join('', map { "            property $_;\n" } @properties)
        . "        }\n";
}


# as many properties of plain variables as are wanted
sub properties {
    my ($n) = @_;
    my @all = map { "P$_ " . '$arg_variant' } 1 .. $n;

    return rule($CUSTOMER, @all);
}


# The same fields in a line of access_log, but for the product's name: that is a
# group of the rule's pattern, and nginx's way to get at it is a map.  One line
# has all of the path instead.

sub format_of {
    my ($product) = @_;

    return <<"EOC";
    map \$uri \$product { ~^/products/(?<name>[\\w-]+)\$ \$name; }
    log_format event escape=json '{"time":"\$time_iso8601",'
        '"id":"\$connection-\$connection_requests",'
        '"metric":"Viewed Product","email":"\$http_x_customer",'
        '"ProductName":"$product","ProductID":"\$arg_variant",'
        '"Price":"\$arg_price","Currency":"\$cookie_currency",'
        '"UserAgent":"\$http_user_agent","Path":"\$request_uri"}';
EOC
}


# rules of all kinds that the request doesn't meet
sub rules {
    my ($n) = @_;

    my @kinds = (
        sub { "=/account/orders/$_[0]" },
        sub { "/products/merino-gloves-$_[0]/" },
        sub { "~^/products/c$_[0]/[\\w-]+\$" },
        sub { "~*^/collections/c$_[0]-(?<name>[a-z]+)" },
        sub { "=/products/merino-scarf-$_[0]" },
    );

    return join '', map {
        "        klaviyo_track V$_ GET POST " . $kinds[$_ % @kinds]->($_)
            . " { property A \$arg_a; }\n" } 1 .. $n;
}

###############################################################################

# a page that nginx makes without a file
sub page_cases {
    my $tracked = rule($CUSTOMER, @SIX);

    return (
        { name => 'without' },
        { name => 'loaded, unused', module => 1 },

        (map { { name => "no rule met, " . thousands($_), account => 1,
                 server => rules($_) } } 1, 10, 100, 1000, 10000),

        { name => 'no rule met, 1 rule that names bodies', account => 1,
          server => 'klaviyo_track "V" GET POST ~^/products/c1/[\w-]+$ {'
              . ' property A @request.a; property B @response.b; }' },

        tracked_case(),

        { name => 'tracked, a queue that is no file', account => 1,
          spool => 'queue=off', server => "$PLAIN $tracked" },
        { name => 'tracked, ten properties', account => 1,
          server => $PLAIN . rule($CUSTOMER, @SIX, @FOUR) },
        { name => 'tracked, seven, one of a JSON cookie', account => 1,
          server => $PLAIN . rule($CUSTOMER, @SIX,
              'Sku  $cookie_cart | urldecode | json lines[0].sku') },
        { name => 'tracked, identity from __kla_id', account => 1,
          server => $PLAIN . rule('', @SIX) },
        { name => 'not tracked: __kla_id of nobody', account => 1, nobody => 1,
          server => $PLAIN . rule('', @SIX) },
        { name => 'tracked, check for robots', account => 1,
          server => "klaviyo_ignore bots; $tracked" },
        { name => 'tracked, check for robots, rare browser', account => 1,
          server => "klaviyo_ignore bots; $tracked", browser => 'Puffin' },
        { name => 'tracked, all of klaviyo_ignore', account => 1,
          server => $tracked },
        { name => 'tracked, the visitor remembered', account => 1,
          server => "$PLAIN klaviyo_visitor \$cookie_session; $tracked" },
        { name => 'not tracked: once, repeated', account => 1,
          server => $PLAIN . rule($CUSTOMER, @SIX, 'Once 1')
              =~ s/property Once 1;/once \$handle 30m;/r },
        { name => 'tracked by three rules', account => 1,
          server => "$PLAIN $tracked"
              . $tracked =~ s/"Viewed Product"/"Active on Site"/r
              . $tracked =~ s/"Viewed Product"/"Viewed Anything"/r },
        { name => 'tracked, queue full', account => 1, stuck => 1,
          queue => '256k', server => "$PLAIN $tracked" },
        { name => 'tracked, Klaviyo never answers', account => 1, stuck => 1,
          live => 1, queue => '32m', settings => 'spool max=64m;',
          server => "$PLAIN $tracked" },

        { name => 'access_log, JSON', http => format_of('$uri'),
          log => 'file event buffer=64k' },
        { name => 'access_log, JSON, name by map',
          http => format_of('$product'), log => 'file event buffer=64k' },
    );
}


sub thousands {
    my ($n) = @_;

    return $n == 1 ? '1 rule'
        : scalar reverse(reverse($n) =~ s/(\d{3})(?=\d)/$1,/gr) . ' rules';
}


sub tracked_case {
    return { name => 'tracked', account => 1,
             server => $PLAIN . rule($CUSTOMER, @SIX) };
}


# what a storefront sends to its own API, which answers from behind nginx
sub upload_cases {
    my ($peer, $bytes) = @_;

    my %upload = (
        uri => '/cart/add', body => $bytes,
        http => "upstream api { server 127.0.0.1:$peer->{port}; "
            . "keepalive 32; }\n",
        location => 'proxy_pass http://api/upload; proxy_http_version 1.1; '
            . 'proxy_set_header Connection "";',
    );

    my $rule = 'klaviyo_track "Added to Cart" POST =/cart/add { '
        . $CUSTOMER;

    return (
        { name => 'without', %upload },
        { name => 'no rule met, 1,000 rules', %upload, account => 1,
          server => rules(1000) },
        { name => 'tracked, six plain properties', %upload, account => 1,
          server => "$PLAIN $rule "
              . join(' ', map { "property $_;" }
                    (map { s/\$handle/\$uri/r } @SIX)) . ' }' },
        { name => 'tracked, six of @request', %upload, account => 1,
          server => "$PLAIN $rule "
              . join(' ', map { "property $_;" } 'ProductID @request.id',
                    'Quantity @request.quantity',
                    'Price @request.price | number',
                    'Currency @request.currency',
                    'Country @request.customer.country',
                    'Sku @request.lines[0].sku') . ' }' },
    );
}

###############################################################################

1;

###############################################################################
