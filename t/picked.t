#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Of a body only that is read which the configuration asks for: whatever way a
# value goes to it, by names, elements, filters or arguments, it finds what it
# would find in the whole.  Each rule is alone in its configuration, since what
# one asks for the others see, too.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

my $doc = '{"id":7,"note":"\"}]{","cart":{"id":"c1","total":39.5,"lines":['
    . '{"sku":"A","qty":1,"price":"9.50","options":[{"name":"red","x":1},'
    . '{"name":"xl"}]},'
    . '{"sku":"B","qty":2,"price":"15","options":[]}],"more":{"sku":"M"}},'
    . '"blob":"{\"a\":{\"b\":[1,2]},\"c\":3}",'
    . '"sizes":{"s":{"n":1},"m":{"n":2}},'
    . '"query":"mutation Add { addLine { id } }"}';

# the rule's directives with @doc for @request or @response, and the events'
# properties

my @cases = (
    [ 'a path', 'property A @doc.cart.lines[1].sku;', { A => 'B' } ],
    [ 'from the end', 'property A @doc.cart.lines[-1].sku;', { A => 'B' } ],
    [ 'elements of different depth', 'property A @doc.cart.lines[*].qty;
        property B @doc.cart.lines[0].sku;', { A => [1, 2], B => 'A' } ],
    [ 'a wildcard of an object', 'property A @doc.sizes[*].n;',
        { A => [1, 2] } ],
    [ 'a filter of a path',
        'property A @doc.cart.lines[?@.sku=="B"].qty | first;', { A => 2 } ],
    [ 'all of an object', 'property A @doc.cart.more;',
        { A => { sku => 'M' } } ],

    [ 'by a name', 'let cart @doc.cart; property A @cart.id;
        property B @cart.lines[0].sku;', { A => 'c1', B => 'A' } ],
    [ 'by a name of a name', 'let all @doc; let cart @all.cart;
        property A @cart.lines[*].sku;', { A => ['A', 'B'] } ],
    [ 'a name as a whole', 'let more @doc.cart.more; property A @more;',
        { A => { sku => 'M' } } ],
    [ 'a name that was filtered', 'let b @doc.cart.lines[*] | where sku B
        | first; property A @b.qty; property B @b.price;',
        { A => 2, B => '15' } ],

    [ 'items of an array', 'items Items @doc.cart.lines {
        property Sku .sku; property Sum .price | multiply .qty; }',
        { Items => [{ Sku => 'A', Sum => 9.5 }, { Sku => 'B', Sum => 30 }] } ],
    [ 'items of a path', 'items Items @doc.cart.lines[*] {
        property Sku .sku; items Options .options[*] {
        property Name .name; property Q ..qty; } }',
        { Items => [{ Sku => 'A', Options => [{ Name => 'red', Q => 1 },
            { Name => 'xl', Q => 1 }] }, { Sku => 'B' }] } ],
    [ 'items of an object', 'items Items @doc.cart.more {
        property Sku .sku; }', { Items => [{ Sku => 'M' }] } ],
    [ 'items as a whole', 'items Items @doc.cart.lines[*].options[*] {
        property It .; }', { Items => [{ It => { name => 'red', x => 1 } },
            { It => { name => 'xl' } }] } ],
    [ 'items by a name', 'let cart @doc.cart; items Items @cart.lines {
        property Sku .sku; } property A @cart.total;',
        { A => 39.5, Items => [{ Sku => 'A' }, { Sku => 'B' }] } ],
    [ 'items that were filtered', 'items Items @doc.cart.lines[*]
        | where sku B { property Q .qty; property Sku .sku; }',
        { Items => [{ Q => 2, Sku => 'B' }] } ],

    [ 'each', 'each @doc.cart.lines; property Sku .sku;
        property Q .qty;', { Sku => 'A', Q => 1 }, { Sku => 'B', Q => 2 } ],
    [ 'each by a name, items below', 'let cart @doc.cart; each @cart.lines[*];
        items Items .options[*] { property Name .name; property Q ..qty; }
        property Sku .sku;', { Sku => 'A', Items => [{ Name => 'red', Q => 1 },
            { Name => 'xl', Q => 1 }] }, { Sku => 'B' } ],

    [ 'an argument of a filter', 'property A @doc.nothing
        | default @doc.cart.more; property B @doc.id | suffix @doc.cart.id;',
        { A => { sku => 'M' }, B => '7c1' } ],
    [ 'a text in it', 'property A @doc.blob | json a.b[1];
        property B @doc.blob | json c;', { A => 2, B => 3 } ],
    [ 'a condition', 'when @doc.cart.total > 39; when not @doc.cart.gone;
        when @doc.note = "\"}]{"; property A @doc.id;', { A => 7 } ],
);

my $t = shop(start => 0);
my $k = $t->klaviyo();
my $n = 0;

for my $document ('request', 'response') {
    judge($document, @$_) for @cases;
}

judge('request', '@graphql', 'property A @graphql.operation;
    property B @request.id;', { A => 'Add', B => 7 });

Test::Nginx::Klaviyo->done();

###############################################################################

sub judge {
    my ($document, $name, $rule, @expected) = @_;
    my $metric = 'Picked ' . ++$n;

    $rule =~ s/\@doc/\@$document/g;

    write_shop($t, server => "location = /doc { root %%TESTDIR%%;
            default_type application/json; error_page 405 =200 \$uri; }
        klaviyo_track \"$metric\" POST =/doc { $rule }");
    $t->write_file('doc', $doc);

    $n == 1 ? $t->run() : $t->reload();

    $t->post('/doc?n=1', $doc,
        headers => { 'Content-Type' => 'application/json' });

    $k->wait_for(scalar @expected, 10, sub { $k->events($metric) });

    is_deeply([ map { $_->{properties} } $k->events($metric) ], \@expected,
        "\@$document: $name");
}

###############################################################################
