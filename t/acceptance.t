#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# What a merchant asks for first: whole rules of a shop, from the request to the
# text that Klaviyo receives.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use MIME::Base64 qw(encode_base64 encode_base64url);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo::Table;

###############################################################################

my $table = Test::Nginx::Klaviyo::Table->new(account => 'company_id AbC123;',
    http => <<'EOH', server => <<'EOS');

    klaviyo_property  Shop   acceptance;
    klaviyo_property  Level  http;

    map $arg_size $size {
        default  "";
        s        small;
    }

    map $uri $section {
        default                        none;
        "~^/\d+/(?<section_name>\w+)/"  "s-$1";
    }

    log_format  kept  "$http_x_case $section_name";

EOH

        klaviyo_property  Level  server;

        set $handle of-the-shop;

EOS

my %who;

my $cart = '{"currency":"eur","lines":['
    . '{"id":7,"price":1999,"quantity":3,"tags":["a","b"],'
    . '"product":{"id":"gid://shopify/Product/99?x=1","title":"Wool hat"}},'
    . '{"id":8,"price":500,"quantity":1,'
    . '"product":{"id":"gid://shopify/Product/100","title":"Scarf"}}]}';

my $let = 'let cart @cookies.cart | base64 | json;';
my $kx = 'AbCdEf0123456789AbCdEf0123456789AbCdEf01234';

# Products.

product('a page', 'v=41&price=19.90&utm_source=k&_kx=x.AbC123',
    '"ProductID":"41","ProductName":"wool-hat","Price":19.9,'
    . '"URL":"http://localhost/%d/wool-hat?v=41&price=19.90&utm_source=k"');
product('no arguments', '',
    '"ProductName":"wool-hat","URL":"http://localhost/%d/wool-hat"');
product('a price for people', 'price=1,299.00&v=',
    '"ProductName":"wool-hat",'
    . '"URL":"http://localhost/%d/wool-hat?price=1,299.00&v="');

shop('a capture is decoded once', 'property A $handle;', '', '"A":"a+b%20"',
    pattern => '~^/%d/(?<handle>.+)$', uri => '/%d/a+b%2520');
shop('a capture is of its rule', 'property A $handle; property B $size;',
    'size=s', '"A":"of-the-shop","B":"small"');
shop('an empty map', 'property A "size-$size"; property B b;', 'size=m',
    '"B":"b"');
shop('another way in', 'property A $a; property B $b;'
    . ' route GET ~^/\d+/r/(?<b>\w+)$;', '', '"B":"q"',
    pattern => 'POST ~^/\d+/r/(?<a>\w+)$', uri => '/%d/r/q');
shop('the nearest level', 'property A a;', '', '"A":"a"',
    level => 'klaviyo_property Level %d;', outer => '"Level":"%d"');
shop('the rule is nearer', 'property Level rule; property Shop $arg_none;', '',
    '"Level":"rule"', outer => '');

# A map's captures are not those of the request, neither are its names.

my $kept = @{$table->{cases}};

shop('a map of a regex', 'property A $section;', '', '"A":"s-hat"',
    location => "~ ^/$kept/(\\w+)/(\\w+)\$", uri => '/%d/hat/x',
    level => 'access_log %%TESTDIR%%/kept.log kept if=$2;'
             . ' access_log %%TESTDIR%%/results.log results;');

# A cart.

cart('items and what is reckoned of them', 'items Items @cart.lines[*] {
        property  ProductID    .product.id | gid;
        property  ProductName  .product.title;
        property  ItemPrice    .price | scale 2;
        property  RowTotal     .price | multiply .quantity | scale 2;
        items     Tags  .tags { property Tag .; property Of ..id; }
    }
    property  ItemNames  @Items[*].ProductName;
    property  Total      @Items[*].RowTotal | sum;', '',
    '"Items":[{"ProductID":"99","ProductName":"Wool hat","ItemPrice":19.99,'
    . '"RowTotal":59.97,"Tags":[{"Tag":"a","Of":7},{"Tag":"b","Of":7}]},'
    . '{"ProductID":"100","ProductName":"Scarf","ItemPrice":5,"RowTotal":5}],'
    . '"ItemNames":["Wool hat","Scarf"],"Total":64.97');
cart('the line that was added',
    'let line @cart.lines[*] | where id @args.id | first;'
    . ' property Name @line.product.title; property Price @line.price'
    . ' | scale 2;', 'id=7', '"Name":"Wool hat","Price":19.99');
cart('no such line', 'let line @cart.lines[*] | where id @args.id | first;'
    . ' property Name @line.product.title; property N @cart.lines | count;',
    'id=9', '"N":2');
cart('a condition in a path',
    'property A "@cart.lines[?@.quantity>1].product.title";', '',
    '"A":["Wool hat"]');
cart('types stay', 'property A @cart.lines[0].price; property B'
    . ' @cart.lines[0].price | string; property C @cart.lines[-1].id;', '',
    '"A":1999,"B":"1999","C":8');
cart('nothing of an object', 'object O { property A @cart.none;'
    . ' object P { property B $arg_b; } } property C @O.P.B | default none;',
    '', '"C":"none"');
cart('an object and its name', 'object O { property A @cart.currency | upper;'
    . ' object P { property B $arg_b; } } property C @O.P.B;', 'b=1',
    '"O":{"A":"EUR","P":{"B":"1"}},"C":"1"');

events('an event per line', "$let each \@cart.lines; when .price > 100;"
    . ' property ID .id; unique_id "$arg_o-" | suffix .id;', 'o=5',
    [ '"ID":7', '"ID":8' ]);
events('an event per tag', "$let each \@cart.lines; each .tags;"
    . ' property Tag .; property ID ..id;', '',
    [ '"Tag":"a","ID":7', '"Tag":"b","ID":7' ]);
events('a condition per line', "$let each \@cart.lines; any {"
    . ' when .quantity = 1; when .product.title ~ ^none; }'
    . ' property ID .id;', '', [ '"ID":8' ]);

# Identities in other wrappings.

shop('a JWT', 'property A $cookie_t | jwt sub; property B $cookie_t'
    . ' | jwt roles[0];', '', '"A":"u1","B":"buyer"',
    headers => { Cookie => 't=' . join '.', map { encode_base64url($_) }
        '{"alg":"none"}', '{"sub":"u1","roles":["buyer"]}', 'sig' });
shop('JSON in a cookie', 'property A @cookies.c | urldecode | json a[1];', '',
    '"A":2.5', headers => { Cookie => 'c=%7B%22a%22%3A%5B1%2C2.5%5D%7D' });
shop('pairs', 'property A $cookie_c | kv & \x3d | json b;', '', '"A":"2"',
    headers => { Cookie => 'c=a=1&b=2' });
shop('brackets', 'property A @args.line[*].id | integer;',
    'line[0][id]=3&line[1][id]=4', '"A":[3,4]');
shop('a phone', 'property A $arg_p | e164 RO | sha256; property B $arg_p'
    . ' | e164 US;', 'p=0712345678',
    '"A":"cd7b11e308a59fd9ab810bce5faf83933e2b151e12ef93a5add3fcafb9e169cb"');

# URLs of all kinds without what identifies somebody.

shop('the referer', 'property A $http_referer;', '',
    '"A":"https://shop.dev/?z=1"', headers => {
        Referer => 'https://shop.dev/?utm_email=a%40b.dev&z=1&_KX=q.AbC123' });
shop('a link in a cookie', 'property A @cookies.u | urldecode;', '',
    '"A":"https://a.dev/?z=1#f"', headers => {
        Cookie => 'u=https%3A%2F%2Fa.dev%2F%3F_ke%3DA.B%26z%3D1%23f' });

# Conditions.

holds('missing is not different', '$arg_a != x', '', 0);
holds('missing, and not', 'not $arg_a = x', '', 0);
holds('missing alone, and not', 'not $arg_a', '', 1);
holds('the text of zero', '$arg_a', 'a=0', 0);
holds('as numbers', '$arg_a < 10', 'a=9.99', 1);
holds('no number, and not', 'not $arg_a < 10', 'a=x', 0);
holds('a bar', '$arg_a = \x7c', 'a=|', 1);
holds('a filter before it', '@args.a | count >= 2', 'a=1&a=2', 1);

# Who it is: one identifier, the first there is.

who('the link of a mail', '', "_kx=$kx.AbC123", {}, "{\"_kx\":\"$kx.AbC123\"}");
who('of another shop', '', "_kx=$kx.XyZ999", {}, undef);
who('the cookie without padding', '', '', { Cookie => '__kla_id='
    . encode_base64("{\"cid\":\"x\",\"\$exchange_id\":\"$kx.AbC123\"}", '')
      =~ s/=+$//r }, "{\"_kx\":\"$kx.AbC123\"}");
who('configured before the link', 'profile email $arg_e;',
    "e=v\@shop.dev&_kx=$kx.AbC123", {}, '{"email":"v@shop.dev"}');
who('an invalid one gives way', 'profile email $arg_e;',
    "e=v\@\@shop.dev&_kx=$kx.AbC123", {}, "{\"_kx\":\"$kx.AbC123\"}");

# Consent: missing is no, with "not" too.

consent('nothing said', 'not $cookie_no', {}, 'skipped:consent');
consent('not no', 'not $cookie_no = 1', { Cookie => 'no=0' }, 'queued');

###############################################################################

$table->run();
$table->judge();

is($table->harness()->read_file('kept.log'), "$kept -\n",
    'captures of the request stay as they were');

for my $n (sort { $a <=> $b } keys %who) {
    my ($event) = $table->events($n);

    like($event && $event->{profile_text},
        qr/"attributes":\Q$who{$n}\E\}*$/, $table->name($n) . ': alone');
}

Test::Nginx::Klaviyo->done();

###############################################################################

# Properties of the rule, then those of the levels around.

sub shop {
    my ($name, $rule, $query, $properties, %opt) = @_;
    my $outer = $opt{outer} // '"Level":"server"';
    my $n = @{$table->{cases}};
    my $shop = $rule =~ /Shop/ ? '' : '"Shop":"acceptance"';

    my $text = join ',', grep { $_ ne '' } $properties, $outer, $shop;

    $opt{level} =~ s/%d/$n/ if $opt{level};
    $text =~ s/%d/$n/g;

    return $table->add($name, $rule, $query, %opt, events => [ "{$text}" ]);
}


sub product {
    my ($name, $query, $properties) = @_;

    return shop($name, 'property ProductID $arg_v; property ProductName'
        . ' $handle; property Price $arg_price | number; property URL'
        . ' $klaviyo_url;', '', $properties,
        pattern => 'GET ~^/\d+/(?<handle>[\w-]+)$',
        uri => '/%d/wool-hat' . ($query ne '' ? "?$query" : ''));
}


sub cart {
    my ($name, $rule, $query, $properties) = @_;

    return shop($name, "$let $rule", $query, $properties, method => 'POST',
        body => '', headers => { Cookie => 'cart='
            . encode_base64($cart, '') });
}


sub events {
    my ($name, $rule, $query, $properties) = @_;

    return $table->add($name, $rule, $query, events => [ map {
        "{$_,\"Level\":\"server\",\"Shop\":\"acceptance\"}" } @$properties ],
        headers => { Cookie => 'cart=' . encode_base64($cart, '') });
}


sub holds {
    my ($name, $condition, $query, $holds) = @_;

    return $table->add($name, "when $condition;", $query,
        result => $holds ? 'queued' : 'skipped:condition',
        events => [ ('{"Level":"server","Shop":"acceptance"}') x $holds ]);
}


sub who {
    my ($name, $rule, $query, $headers, $profile) = @_;

    my $n = $table->add($name, $rule, $query, headers => $headers,
        who => undef, result => $profile ? 'queued' : 'skipped:unidentified',
        events => [ ('{"Level":"server","Shop":"acceptance"}')
                    x defined $profile ]);

    $who{$n} = $profile if $profile;

    return $n;
}


sub consent {
    my ($name, $condition, $headers, $result) = @_;

    return $table->add($name, '', '', headers => $headers, result => $result,
        level => "klaviyo_profile external_id c; klaviyo_consent $condition;",
        who => undef, events => [ ('{"Level":"server","Shop":"acceptance"}')
                                  x ($result eq 'queued') ]);
}

###############################################################################
