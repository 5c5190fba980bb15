#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Warnings of nginx -t about what is valid and can't be meant: with file, line
# and words, in the order of the file, bounded, and none where there is doubt.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;

###############################################################################

# The body of a rule, or "METRIC:: a body", "server:: ...", "http:: ..."; the
# warnings, each with the line that it is about, from 1.  Most of them have a
# twin that must not warn.

my @cases = (

    # Names: another case, separators, a letter; of the metric, of the place.

    [ 'Viewed Product:: property ProductId $arg_a;',
        '1: property "ProductId" resembles Klaviyo\'s "ProductID"' ],
    [ 'Viewed Product:: property "Product ID" $arg_a;',
        '1: property "Product ID" resembles Klaviyo\'s "ProductID"' ],
    [ 'Viewed Product:: property product_name $arg_a;',
        '1: property "product_name" resembles Klaviyo\'s "ProductName"' ],
    [ 'Viewed Product:: property image-url $arg_a;',
        '1: property "image-url" resembles Klaviyo\'s "ImageURL"' ],
    [ 'Viewed Product:: property url $arg_a;',
        '1: property "url" resembles Klaviyo\'s "URL"' ],
    [ 'Viewed Product:: property Prise $arg_a;',
        '1: property "Prise" resembles Klaviyo\'s "Price"' ],
    [ 'Viewed Product:: property CompareToPrice $arg_a;',
        '1: property "CompareToPrice" resembles Klaviyo\'s "CompareAtPrice"' ],
    [ 'Viewed Product:: property UPL $arg_a; property Color $arg_a;
        property ItemPrice $arg_a; property Title $arg_a;
        property Variant $arg_a; property OrderID $arg_a;', '' ],
    [ 'Viewed Product:: property ProductID $arg_a;
        property ProductId $arg_a;', '' ],
    [ 'My Metric:: property ProductId $arg_a;
        items Items @args.a { property ProductId .; }', '' ],
    [ 'Added to Cart:: property AddedItemID $arg_a;
        property AddedItemName $arg_a; property ItemName $arg_a;',
        '2: property "ItemName" resembles Klaviyo\'s "ItemNames"' ],
    [ 'Added to Cart:: items Items @args.a { property ProductId .; }',
        '1: property "ProductId" resembles Klaviyo\'s "ProductID"' ],
    [ 'Added to Cart:: items Item @args.a { property sku .; }',
        "1: property \"Item\" resembles Klaviyo's \"Items\"\n"
        . '1: property "sku" resembles Klaviyo\'s "SKU"' ],
    [ 'Added to Cart:: items Extras @args.a { property ProductId .; }', '' ],
    [ 'Added to Cart:: property $value 3;
        property $event_id $arg_a; property $extra $arg_a;',
        '1: property "$value" is of Klaviyo\'s browser script, write "value"'
        . " instead\n2: property \"\$event_id\" is of Klaviyo's browser "
        . 'script, write "unique_id" instead' ],
    [ 'Placed Order:: property OrderID $arg_a;',
        '1: property "OrderID" resembles Klaviyo\'s "OrderId"' ],
    [ 'Placed Order:: object BillingAddress {
            property Firstname $arg_a;
            property Adress1 $arg_a;
            property Address $arg_a;
            property Address2 $arg_a;
            property Address3 $arg_a;
        }', "2: property \"Firstname\" resembles Klaviyo's \"FirstName\"\n"
        . '3: property "Adress1" resembles Klaviyo\'s "Address1"' ],
    [ 'Placed Order:: property "Discount Code" $arg_a;',
        '1: property "Discount Code" resembles Klaviyo\'s "DiscountCode"' ],
    [ 'Refunded Order:: property "Discount Code" $arg_a;', '' ],
    [ 'Viewed product::',
        '0: metric "Viewed product" resembles Klaviyo\'s "Viewed Product"' ],
    [ 'Added To Cart:: property AddedItemSku $arg_a;',
        "0: metric \"Added To Cart\" resembles Klaviyo's \"Added to Cart\"\n"
        . '1: property "AddedItemSku" resembles Klaviyo\'s "AddedItemSKU"' ],
    [ 'Placed Orders::',
        '0: metric "Placed Orders" resembles Klaviyo\'s "Placed Order"' ],
    [ 'Cancelled Order::', '' ],
    [ 'Canceled Order::', '' ],
    [ 'Viewed Article::', '' ],
    [ 'Placed Order 2::', '' ],
    [ 'profile properties.first_name $arg_a;',
        '1: "properties.first_name" is a property of your own, Klaviyo\'s '
        . 'field is "first_name"' ],
    [ 'profile "properties.E-mail" $arg_a; profile properties.mail $arg_a;
        profile first_name $arg_a;',
        '1: "properties.E-mail" is a property of your own, Klaviyo\'s field '
        . 'is "email"' ],
    [ 'server:: klaviyo_property $value 3;',
        '0: property "$value" is of Klaviyo\'s browser script, write "value"'
        . ' instead' ],
    [ 'server:: klaviyo_property ProductId $arg_a;', '' ],
    [ 'server:: klaviyo_profile properties.Email $arg_a;',
        '0: "properties.Email" is a property of your own, Klaviyo\'s field is '
        . '"email"' ],

    # Types: what Klaviyo compares as a number.

    [ 'Viewed Product:: property Price $arg_price;',
        '1: "Price" is not sent as a number, add "| number"' ],
    [ 'Viewed Product:: property Price 19.99;',
        '1: "Price" is not sent as a number, add "| number"' ],
    [ 'Viewed Product:: property Price @args.price;',
        '1: "Price" is not sent as a number, add "| number"' ],
    [ 'Viewed Product:: property Price $arg_a | number | string;',
        '1: "Price" is not sent as a number, add "| number"' ],
    [ 'Viewed Product:: let p $arg_a | trim; property Price @p;',
        '1: "Price" is not sent as a number, add "| number"' ],
    [ 'Viewed Product:: property Price $arg_price | number;
        property CompareAtPrice $arg_b | multiply 3;
        property SKU $arg_a; property Rating $arg_a;', '' ],
    [ 'Viewed Product:: property Price $cookie_a | json price;
        let p @args.p | integer; property CompareAtPrice @p;', '' ],
    [ 'Viewed Product:: each @args.a; property Price .price;', '' ],
    [ 'Viewed Product:: property Price @args.a | count;', '' ],
    [ 'Started Checkout:: items Items @args.a {
            property Quantity  $arg_q;
            property ItemPrice .price;
            property RowTotal  .price | multiply 2;
        }', '2: "Quantity" is not sent as a number, add "| number"' ],

    # Patterns that no path of nginx has.

    [ 'server:: klaviyo_track M /a?b=1 { }',
        '0: pattern "/a?b=1" never matches, the query is no part of a path' ],
    [ 'server:: klaviyo_track M GET = /a?b { }',
        '0: pattern "= /a?b" never matches, the query is no part of a path' ],
    [ 'server:: klaviyo_track M =/a%20b { }',
        '0: pattern "=/a%20b" never matches, paths are decoded before' ],
    [ 'server:: klaviyo_track M /a//b { }',
        '0: pattern "/a//b" never matches, nginx merges slashes before' ],
    [ 'server:: merge_slashes off; klaviyo_track M /a//b { }', '' ],
    [ 'server:: klaviyo_track M /a/./b { }',
        '0: pattern "/a/./b" never matches, nginx resolves "." and ".." '
        . 'before' ],
    [ 'server:: klaviyo_track M =/a/.. { }',
        '0: pattern "=/a/.." never matches, nginx resolves "." and ".." '
        . 'before' ],
    [ 'server:: klaviyo_track M ~^products/ { }',
        '0: pattern "~^products/" never matches, a path begins with "/"' ],
    [ 'server:: klaviyo_track M ~*^/a\?b { }',
        '0: pattern "~*^/a\?b" never matches, the query is no part of a '
        . 'path' ],
    [ "server:: klaviyo_track M =/a {\nroute POST b; }" =~ s/POST b/POST ~^b/r,
        '1: pattern "~^b" never matches, a path begins with "/"' ],
    [ 'server:: klaviyo_track M /a/. { } klaviyo_track M /100% { }
        klaviyo_track M /.well-known/x { } klaviyo_track M ~^[/]a { }
        klaviyo_track M ~^(/a|b) { } klaviyo_track M ~^a|/b { }
        klaviyo_track M ~a/ { } klaviyo_track M =/a..b { }
        klaviyo_track M ~^a?/b { } klaviyo_track M =/a%zz { }', '' ],

    # Locations that no such path is in.

    [ 'server:: location /a { klaviyo_track M /b { } }',
        '0: pattern "/b" never matches, no such path is in the location '
        . '"/a"' ],
    [ 'server:: location = /a { klaviyo_track M =/a/b { } }',
        '0: pattern "=/a/b" never matches, no such path is in the location '
        . '"/a"' ],
    [ 'server:: location /a/ { klaviyo_track M =/a { } }',
        '0: pattern "=/a" never matches, no such path is in the location '
        . '"/a/"' ],
    [ 'server:: location /a { klaviyo_track M ~^/b/ { } }',
        '0: pattern "~^/b/" never matches, no such path is in the location '
        . '"/a"' ],
    [ 'server:: location @a { klaviyo_track M { } }',
        '0: rule "M" never matches, no request begins in the location "@a"' ],
    [ 'server:: location /a/b { klaviyo_track M /a { }
            klaviyo_track M =/a/b { } klaviyo_track M ~^/a { }
            klaviyo_track M ~/c { } klaviyo_track M ~*^/A/b { } }
        location / { klaviyo_track M =/x { } klaviyo_track M { } }
        location = /e { klaviyo_track M /e { } klaviyo_track M =/e { } }
        location ~ /r { klaviyo_track M =/x { } }', '' ],
    [ 'server:: rewrite ^/b /a; location /a { klaviyo_track M /b { } }', '' ],

    # Levels.

    [ 'server:: klaviyo off; klaviyo_track M { }',
        '0: rule "M" never matches, "klaviyo" is off at its level' ],
    [ 'server:: klaviyo off; klaviyo_track M { }
        location /a { klaviyo on; }', '' ],
    [ 'server:: klaviyo_track M { } location /a { klaviyo off; }', '' ],
    [ 'server:: klaviyo_except M;',
        '0: "klaviyo_except" finds no rule "M" at the levels around' ],
    [ "server:: klaviyo_track M { }\nklaviyo_except M;",
        '1: "klaviyo_except" finds no rule "M" at the levels around' ],
    [ "server:: klaviyo_track M { } location /a {\nklaviyo_except M m; }",
        '1: "klaviyo_except" finds no rule "m" at the levels around' ],

    # Conditions.

    [ 'when 0;', '1: the condition on "0" in "when" never holds' ],
    [ 'when x = y;', '1: the condition on "x" in "when" never holds' ],
    [ 'when not 1;', '1: the condition on "1" in "when" never holds' ],
    [ 'when 1 | multiply 0;',
        '1: the condition on "1 | multiply 0" in "when" never holds' ],
    [ 'when @args = 1;',
        '1: the condition on "@args" in "when" never holds' ],
    [ 'when abc | number > 3;',
        '1: the condition on "abc | number" in "when" never holds' ],
    [ 'let a x; when @a = y;',
        '1: the condition on "@a" in "when" never holds' ],
    [ "any {\nwhen 0;\nwhen a = b; }",
        '2: none of the conditions in "any" ever holds' ],
    [ 'any { when 0; when $arg_a; } when 1; when x = x; when not 0;', '' ],
    [ 'when $status = 999;',
        '1: no status fulfills the conditions on "$status"' ],
    [ 'when $status = "200 OK";',
        '1: no status fulfills the conditions on "$status"' ],
    [ "when \$status = 200;\nwhen \$status = 404;",
        '2: no status fulfills the conditions on "$status"' ],
    [ 'when $status < 300; when $status >= 400;',
        '1: no status fulfills the conditions on "$status"' ],
    [ 'when $status ~ ^2xx$;',
        '1: no status fulfills the conditions on "$status"' ],
    [ 'when $status ~ ^[23]; when $status != 204; when not $status = 304;
        when $status < 400;', '' ],
    [ 'any { when $status = 700; when $arg_a; }', '' ],
    [ 'when $status | prefix 1 = 1200;', '' ],
    [ "when \$arg_a = a;\nwhen \$arg_a = b;",
        '2: two conditions on "$arg_a" exclude each other' ],
    [ "when \$arg_a | lower = a;\nwhen not \$arg_a | lower = a;",
        '2: two conditions on "$arg_a | lower" exclude each other' ],
    [ "when \$arg_a;\nwhen not \$arg_a;",
        '2: two conditions on "$arg_a" exclude each other' ],
    [ "when \$arg_a > 5;\nwhen \$arg_a = 4;",
        '2: two conditions on "$arg_a" exclude each other' ],
    [ 'when $arg_a = a; when $arg_b = b; when $arg_c = 1; when $arg_c = 1.0;
        when $arg_d | number = 1; when $arg_d | number = 1.0;
        when $arg_e ~ ^a; when $arg_e = ab; when $arg_f != a;
        when $arg_f != b; when $arg_g; when $arg_g = x;',
        '' ],
    [ 'server:: klaviyo_consent 0;',
        '0: the condition on "0" in "klaviyo_consent" never holds' ],
    [ 'server:: klaviyo_consent $cookie_a = yes;
        location /a { klaviyo_consent off; }', '' ],

    # Values that are never present.

    [ 'property A "";',
        '1: property "A" is never present, an empty text is missing' ],
    [ 'property A abc | number;',
        '1: property "A" is never present, "number" gives nothing for "abc"' ],
    [ 'property A "{\"b\":1}" | json c;',
        '1: property "A" is never present, "json" gives nothing for '
        . '"{"b":1}"' ],
    [ 'property A $arg_a | keys;',
        '1: property "A" is never present, "keys" gives nothing for a text' ],
    [ 'property A @args | trim;',
        '1: property "A" is never present, "trim" gives nothing for an '
        . 'object' ],
    [ 'property A $arg_a | at 1;',
        '1: property "A" is never present, there is one element only for '
        . '"at"' ],
    [ 'property A x | at 1;',
        '1: property "A" is never present, "at" gives nothing for "x"' ],
    [ 'property A $arg_a | number | divide 0;',
        '1: property "A" is never present, "divide" gives nothing with this '
        . 'argument' ],
    [ 'property A $arg_a | multiply x;',
        '1: property "A" is never present, "multiply" gives nothing with '
        . 'this argument' ],
    [ 'property A @cookies.a.b;',
        '1: property "A" is never present, there is no "b" below "@cookies", '
        . 'which is a text' ],
    [ 'property A @args[0];',
        '1: property "A" is never present, there are no elements below '
        . '"@args", which is an object' ],
    [ 'let n $arg_a; property A @n.x;',
        '1: property "A" is never present, there is no "x" below "@n", which '
        . 'is a text' ],
    [ 'let n @args.a | count; property A @n.x;',
        '1: property "A" is never present, there is no "x" below "@n", which '
        . 'is a number' ],
    [ 'let n "{\"b\":1}" | json; property A @n.c; property B @n.b;',
        '1: property "A" is never present, "@n" has no such part' ],
    [ 'let n ""; property A @n; property B @n | default 3;',
        '1: let "n" is never present, an empty text is missing' ],
    [ "items I \@args.a {\nproperty Foo .; }\nproperty A \@I[*].Bar;
        property B \@I[*].Foo; property C \@I[0].Foo; property D \@I | count;",
        '3: property "A" is never present, "@I" has no property "Bar"' ],
    [ "object O {\nproperty Foo \$arg_a; }\nproperty A \@O.Bar;
        property B \@O.Foo; property C \@O[*];",
        '3: property "A" is never present, "@O" has no property "Bar"' ],
    [ "items I \@args.a { property Foo .; }\nproperty A \@I.Foo;",
        '2: property "A" is never present, there is no "Foo" below "@I", '
        . 'which is an array' ],
    [ 'object O { property P ""; }',
        '1: property "P" is never present, an empty text is missing' ],
    [ 'each $arg_a | pick x*; property A .;',
        '1: "each" is never present, "pick" gives nothing for a text' ],
    [ 'value abc | number;',
        '1: "value" is never present, "number" gives nothing for "abc"' ],
    [ 'value @args;', '1: "value" is never a number' ],
    [ 'profile email "";',
        '1: profile "email" is never present, an empty text is missing' ],
    [ 'server:: klaviyo_property A x | date;',
        '0: property "A" is never present, "date" gives nothing for "x"' ],
    [ 'property A "" | default x; property B "" | count;
        property C x | number | default 1; property D @args.a.b[0].c;
        property E @cookies.a | urldecode | json a.b; property F @args | keys;
        property G $arg_a | split , | at 2; property H $arg_a | split , 2;
        property I $arg_a | first; property J @args[*] | first;
        property K @cookies | pick a* | first | json x;
        property L $arg_a | kv | keys | at 3; property M $arg_a | form | keys;
        property N $arg_a | json | where id x | first;
        property O @args.x[*] | number | sum; property P 3 | multiply 4;', '' ],
    [ 'let n $arg_a; let d $cookie_a | json; property A @n | default @d | keys;
        property B $arg_b | default @args | keys;', '' ],
    [ 'let a @args.x | zip @args.y; items I @a { property X .[0] | number;
            property Y .[1]; items Z .z { property Q ..w; } }
        each @a; property W @I[-1].Y; property V .[1] | suffix .[0];', '' ],
    [ 'property A "$arg_a[0]";',
        '1: "$arg_a" ends before "[0]", write "@args" and a path' ],
    [ 'when $http_x-shop;',
        '1: "$http_x" ends before "-shop", a "-" of a header\'s name is '
        . 'written "_"' ],
    [ 'property A $arg_a-$arg_b; property B $arg_a-x; property C $http_x-1;
        property D "$http_x - a";', '' ],
    [ 'let n $arg_a;', '1: let "n" is never used' ],
    [ "let m \$arg_a;\nlet n \@m;", '2: let "n" is never used' ],
    [ 'let a $arg_a; let b $arg_b; let c $arg_c; let d $arg_d; let e $arg_e;
        let f $arg_f; let g @args.g; let h $arg_h; property A x | default @a;
        when @b; any { when @c; } profile title @d; unique_id @e;
        object O { items I @g { property X @f; } } value @h;', '' ],
    [ 'unique_id order;',
        '1: "unique_id" is the same for all events, Klaviyo keeps the first '
        . 'of each profile' ],
    [ 'each @args.a; unique_id $arg_a;',
        '1: "unique_id" is the same for all elements of "each", Klaviyo keeps '
        . 'the first' ],
    [ 'each @args.a; unique_id .id;', '' ],
    [ 'each @args.a; let i .id; unique_id @i;', '' ],
    [ 'each @args.a; unique_id $arg_a | suffix .;', '' ],
    [ 'unique_id $arg_a;', '' ],

    # Rules that make no events: no names of Klaviyo's but the profile's.

    [ 'server:: klaviyo_identify =/a { profile email $arg_e;
        profile properties.Email $arg_e; }',
        '1: "properties.Email" is a property of your own, Klaviyo\'s field is '
        . '"email"' ],
    [ 'server:: klaviyo_identify =/a { profile email ""; }',
        '0: profile "email" is never present, an empty text is missing' ],
    [ 'server:: klaviyo_identify /a?b { profile email $arg_e; }',
        '0: pattern "/a?b" never matches, the query is no part of a path' ],
    [ 'server:: klaviyo off; klaviyo_identify { profile email $arg_e; }',
        '0: rule "klaviyo_identify" never matches, "klaviyo" is off at its '
        . 'level' ],
    [ 'server:: klaviyo_identify /a { profile email $arg_e; }
        location /a { klaviyo_except klaviyo_identify; }', '' ],
    [ 'server:: location /a { klaviyo_except klaviyo_identify; }',
        '0: "klaviyo_except" finds no rule "klaviyo_identify" at the levels '
        . 'around' ],
    [ 'server:: klaviyo_subscribe =/a { list A; channels email;
        profile email $arg_e; let o $arg_ok; consent @o = on; }', '' ],
    (map { [ "server:: klaviyo_subscribe =/a { list A; channels email;
        profile email \$arg_e;\nconsent $_->[0]; }",
        "2: the condition on \"$_->[1]\" in \"consent\" always holds, nobody "
        . 'is asked' ] } [ 'on', 'on' ], [ 'not 0', '0' ],
        [ 'yes = yes', 'yes' ]),
    [ "server:: klaviyo_subscribe =/a { list A; channels email;
        profile email \$arg_e;\nconsent 0; }",
        '2: the condition on "0" in "consent" never holds' ],
    [ "server:: klaviyo_subscribe =/a { list A; channels email;
        profile email \$arg_e; consent \$arg_a;\nconsented_at x | date; }",
        '2: "consented_at" is never present, "date" gives nothing for "x"' ],
);

###############################################################################

my $t = Test::Nginx::Klaviyo->new()->plan(@cases + 12);
my %documented = map { shape($_) => 1 } documented();
my %unknown;

for my $case (@cases) {
    my ($body, $expected) = @$case;
    my $said = said($body);

    is($said, $expected, $body);

    for my $warning (split /\n/, $said =~ s/^\d+: //gmr) {
        my $short = $warning =~ s/.* is never present/.../r;

        $unknown{$warning} = 1 if !$documented{shape($warning)}
            && !$documented{shape($short)};
    }
}

is(join("\n", sort keys %unknown), '', 'all are documented');

# a whole funnel as it should be: not a word

is(said('http:: ' . join '', <DATA>), '', 'a whole funnel');

# a rule of http{}, whose requests are the servers'

like((told('http:: klaviyo off; klaviyo_track M { }'))[1],
    qr/rule "M" never matches, "klaviyo" is off/, 'http, off');
is(() = (told('http:: klaviyo off; klaviyo_track M =/a { } server { '
    . 'listen 127.0.0.1:%%PORT_0%%; server_name a; klaviyo on; }'))[1]
    =~ /\[warn\]/g, 0, 'http, off, and a server that is on');

# the order of the lines, whatever finds them; included files by themselves

is(said("Viewed Product:: let x \$arg_a;\nproperty Price \$arg_a;\n"
    . "when 0;\nproperty ProductId \$arg_a;"),
    join("\n", '1: let "x" is never used',
        '2: "Price" is not sent as a number, add "| number"',
        '3: the condition on "0" in "when" never holds',
        '4: property "ProductId" resembles Klaviyo\'s "ProductID"'),
    'in the order of the lines');

$t->write_file('inc.conf', "\nlet n \$arg_a;\n");

like((told("include inc.conf;\nlet m \$arg_a;"))[1],
    qr{"n" is never used in \S+/inc\.conf:2\n.*"m" is never used in \S+:\d+$}m,
    'the file that is included');
is(() = (told("include inc.conf; } klaviyo_track O {\ninclude inc.conf;"))[1]
    =~ /never used/g, 1, 'one that is included twice, once');

# a bound for each kind

my $many = said(join '', map { "let n$_ \$arg_a;\n" } 1 .. 50);

is(() = $many =~ /is never used/g, 20, 'not more than 20 lines');
like($many, qr/^\?: 30 more warnings about values that can't be meant$/m,
    'and how many more');
is(() = said("when 0;\n" . join '', map { "let n$_ \$arg_a;\n" } 1 .. 50)
    =~ /never holds/g, 1, 'each kind by itself');

# they are warnings

my ($code, $text) = told('when 0;');

is($code, 0, 'nginx -t succeeds');
like($text, qr/\[warn\] .*never holds in \S+:\d+$/m, 'a warning');

###############################################################################

sub config {
    my ($body) = @_;
    my ($where, $rest) = $body =~ /^([\w ]+?)::[ ]?(.*)\z/s;
    my ($http, $server) = ('', '');

    if (($where || '') eq 'http') {
        $http = $rest;

    } elsif (($where || '') eq 'server') {
        $server = $rest;

    } else {
        $server = 'klaviyo_track "' . ($where || 'Metric') . "\" {\n"
            . ($where ? $rest : $body) . "\n}";
    }

    return <<"EOC";
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    klaviyo_account shop { api_key data:pk_0123456789; }
    $http
    server {
        listen 127.0.0.1:%%PORT_0%%;
# HERE
$server
    }
}
EOC
}


# The texts of docs/warnings.md, and what they have in common with those of a
# case: not the words that are wrong.

sub documented {
    open my $in, '<', "$FindBin::Bin/../docs/warnings.md" or die "docs: $!\n";

    return map { /^\| `(.*?)` \| / ? $1 =~ s/\\\|/|/gr : () } <$in>;
}


sub shape {
    my ($text) = @_;

    return $text =~ s/"(?:\{.*\}|.*?)"/""/gr
        =~ s/\ban? (?:text|number|object|array)\b/SOMETHING/r
        =~ s/for (?:""|SOMETHING)\z/for SOMETHING/r;
}


sub told { return $t->test_config(config(@_)) }


# The warnings with lines from the body's own on.

sub said {
    my ($body) = @_;
    my ($code, $out) = told($body);
    my ($before) = $t->read_file('test.conf') =~ /\A(.*)^# HERE$/ms;
    my $here = 2 + ($before =~ tr/\n//);

    return $out if $code;

    return join "\n", map {
        /\[warn\] \S+ (.*?)(?: in \S+:(\d+))?$/
            ? (defined $2 ? $2 - $here : '?') . ": $1" : ()
    } split /\n/, $out;
}

###############################################################################

__DATA__
klaviyo_profile  external_id $cookie_customer;
klaviyo_consent  $cookie_consent = yes;

klaviyo_track "Active on Site" { property Page $uri; }

klaviyo_track "Viewed Product" GET ~^/products/(?<handle>[^/]+)$ {
    property  ProductName     $handle;
    property  ProductID       $arg_variant;
    property  SKU             $arg_sku;
    property  Categories      $arg_categories | split ,;
    property  ImageURL        $arg_image;
    property  URL             $klaviyo_url;
    property  Brand           $arg_brand;
    property  Price           $arg_price | number;
    property  CompareAtPrice  $arg_compare | number;
    property  Color           $arg_color;
}

klaviyo_track "Added to Cart" POST =/cart/add {
    when      $status ~ ^[23];
    let       cart  $cookie_cart | urldecode | json;
    let       line  @cart.lines | where id $arg_id | first;
    property  AddedItemProductName  @line.title;
    property  AddedItemProductID    @line.id | string;
    property  AddedItemSKU          @line.sku;
    property  AddedItemCategories   @line.categories;
    property  AddedItemImageURL     @line.image;
    property  AddedItemURL          @line.url;
    property  AddedItemPrice        @line.price | scale 2;
    property  AddedItemQuantity     @line.quantity;
    items     Items  @cart.lines {
        property  ProductID          .id | string;
        property  SKU                .sku;
        property  ProductName        .title;
        property  Quantity           .quantity | integer;
        property  ItemPrice          .price | scale 2;
        property  RowTotal           .price | multiply .quantity | scale 2;
        property  ProductURL         .url;
        property  ImageURL           .image;
        property  ProductCategories  .categories;
    }
    property  ItemNames    @Items[*].ProductName;
    property  CheckoutURL  https://shop.example.com/checkout;
    value     @Items[*].RowTotal | sum;
    currency  @cart.currency | default EUR;
}

klaviyo_track "Started Checkout" POST =/checkout {
    let       cart  $cookie_cart | urldecode | json;
    items     Items  @cart.lines {
        property  ProductID  .id | string;
        property  Quantity   .quantity | integer;
    }
    property   ItemNames    @cart.lines[*].title;
    property   CheckoutURL  $klaviyo_url;
    property   Categories   @cart.lines[*].category | unique;
    value      @cart.total | number;
    unique_id  @cart.id | suffix _$msec;
}

klaviyo_track "Placed Order" POST ~^/orders/(?<order>\d+)/complete$ {
    let       order  $cookie_order | urldecode | json;
    property  OrderId        $order;
    property  DiscountCode   @order.code;
    property  DiscountValue  @order.discount;
    property  Brands         @order.lines[*].brand | unique;
    items     Items @order.lines {
        property  ProductID   .id;
        property  Categories  .categories;
        property  Brand       .brand;
    }
    object    BillingAddress {
        property  FirstName    @order.billing.first;
        property  LastName     @order.billing.last;
        property  Address1     @order.billing.street;
        property  Address2     @order.billing.floor;
        property  City         @order.billing.city;
        property  RegionCode   @order.billing.region;
        property  CountryCode  @order.billing.country;
        property  Zip          @order.billing.zip;
        property  Phone        @order.billing.phone;
    }
    object    ShippingAddress { property Company @order.shipping.company; }
    value      @order.total;
    unique_id  $order;
}

klaviyo_track "Ordered Product" POST ~^/orders/(?<order>\d+)/complete$ {
    let        lines  $cookie_order | urldecode | json lines;
    each       @lines;
    property   OrderId       $order;
    property   ProductID     .id | string;
    property   SKU           .sku;
    property   ProductName   .title;
    property   Quantity      .quantity;
    property   ProductURL    .url;
    property   ImageURL      .image;
    property   Categories    .categories;
    property   ProductBrand  .brand;
    value      .price | multiply .quantity;
    unique_id  $order | suffix _ | suffix .id;
}

klaviyo_track "Refunded Order" POST ~^/orders/(?<order>\d+)/refund$ {
    property   OrderId  $order;
    property   Reason   $arg_reason;
    unique_id  $order;
}

klaviyo_track "Searched Site" GET =/search {
    when      $arg_q;
    property  "Search Term"           $arg_q | trim;
    property  "Search Results Count"  $arg_n | integer;
}
