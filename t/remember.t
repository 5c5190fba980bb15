#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# klaviyo_remember and "recall": an order call that returns a number only gets
# its lines from the cart that was seen before.

###############################################################################

use warnings;
use strict;

use Test::More;

use Cpanel::JSON::XS ();
use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;

###############################################################################

my $json = Cpanel::JSON::XS->new->utf8->canonical->allow_nonref;
my $t = Test::Nginx::Klaviyo->new();

$t->standin();
$t->standin();

$t->write_config(<<'EOF')->run();

%%GLOBALS%%

worker_processes  2;

events { }

http {
    %%GLOBALS_HTTP%%

    log_format  results  "$http_x_case $klaviyo_result";

    klaviyo_account shop {
        api_key   data:pk_0123456789;
        endpoint  %%KLAVIYO%%;
        batch     linger=50ms;
    }

    klaviyo_account other {
        api_key   data:pk_9876543210;
        endpoint  %%KLAVIYO_1%%;
        batch     linger=50ms;
    }

    klaviyo_memory   1m;
    klaviyo_profile  email  ana@shop.dev;

    server {
        listen      127.0.0.1:%%PORT_0%%;
        access_log  %%TESTDIR%%/results.log results;

        # Magento's GraphQL: the cart's lines before, the number afterwards

        klaviyo_remember cart POST =/graphql {
            when  @response.data.cart.items[*];
            key   @graphql.variables.cartId;
            ttl   1h;

            items  lines  @response.data.cart.items[*] {
                property  SKU    .product.sku;
                property  Count  .quantity;
                property  Total  .prices.row_total.value;
            }

            property  currency  @response.data.cart.prices.grand_total.currency;
        }

        klaviyo_track "Placed Order" POST =/graphql {
            when      @response.data.placeOrder.order.order_number;
            let       cart  @graphql.variables.cartId | recall cart;
            property  OrderId  @response.data.placeOrder.order.order_number;
            items     Items  @cart.lines[*] {
                property  ProductID  .SKU;
                property  Quantity   .Count;
            }
            value     @cart.lines[*].Total | sum;
            currency  @graphql.variables.cartId | recall cart currency;
        }

        klaviyo_track "Elsewhere" GET =/elsewhere {
            account   other;
            property  cart  $arg_cart | recall cart currency;
            property  ok    1;
        }

        klaviyo_remember kept {
            route     PUT /kept;
            route     GET /kept/gone;
            key       $arg_k;
            property  a  $arg_a;
            object    b { property c $arg_c; }
        }

        klaviyo_remember brief PUT /brief {
            key       $arg_k;
            ttl       1s;
            property  a  $arg_a;
        }

        klaviyo_track "Brief" GET =/brief {
            property  a   $arg_k | recall brief a;
            property  ok  1;
        }

        klaviyo_track "Asked" GET =/asked {
            property  it     $arg_k | recall kept;
            property  a      $arg_k | recall kept a;
            property  c      $arg_k | recall kept b.c | default none;
        }

        klaviyo_track "Above" GET =/turn {
            property  a   $arg_k | recall turn a;
            property  ok  1;
        }

        klaviyo_remember turn GET =/turn {
            key       $arg_k;
            property  a  $arg_a;
        }

        klaviyo_track "Below" GET =/turn {
            property  a   $arg_k | recall turn a;
            property  ok  1;
        }

        klaviyo_remember large GET =/large {
            key       1;
            property  text  $http_x_text | suffix $http_x_text
                            | suffix $http_x_text;
        }

        klaviyo_track "Large" GET =/largest {
            property  there  "1" | recall large text | regex ^.;
            property  ok     1;
        }

        location / { return 200; }
        location = /klaviyo { klaviyo_status; }

        location = /kept/gone { return 404; }
        location /kept { return 200; }

        location = /graphql {
            proxy_pass  http://127.0.0.1:%%PORT_1%%;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_1%%;

        location / {
            default_type  application/json;
            return  200  '$http_x_answer';
        }
    }
}

EOF

my $n = 0;

# the properties of the events that a request makes

sub request {
    my ($method, $uri, %opt) = @_;
    my $case = ++$n;
    my $which = $uri =~ /^.elsewhere/ ? 1 : 0;
    my $count = () = $t->klaviyo($which)->events();
    my ($result, @events);

    $opt{headers}{'X-Case'} = $case;

    $t->request($method, $uri, %opt);

    $t->wait_for(sub {
        ($result) = $t->read_file('results.log') =~ m/^$case (.*)$/m;
    });

    return $result if $result !~ /^queued/;

    $t->wait_for(sub {
        @events = $t->klaviyo($which)->events();

        return @events > $count;
    });

    my $event = $events[-1];
    my $value = defined $event->{value} ? " $event->{value}" : '';
    my $currency = defined $event->{currency} ? " $event->{currency}" : '';

    return $json->encode($event->{properties}) . $value . $currency;
}


sub graphql {
    my ($cart, $query, $answer) = @_;

    return request('POST', '/graphql', headers => {
        'Content-Type' => 'application/json',
        'X-Answer' => $json->encode($answer),
    }, body => $json->encode({ query => $query,
        variables => { cartId => $cart } }));
}


sub cart {
    my ($cart, @lines) = @_;

    return graphql($cart, 'query getCheckoutDetails($cartId: String!)'
        . ' { cart(cart_id: $cartId) { id } }', { data => { cart => {
            items => [ map { { product => { sku => $_->[0] },
                               quantity => $_->[1], prices => {
                                   row_total => { value => $_->[2] } } } }
                       @lines ],
            prices => { grand_total => { currency => 'EUR' } } } } });
}


sub order {
    my ($cart, $number) = @_;

    return graphql($cart, 'mutation placeOrder($cartId: String!)'
        . ' { placeOrder(input: { cart_id: $cartId })'
        . ' { order { order_number } } }',
        { data => { placeOrder => { order => { order_number => $number } } } });
}


is(order('Hx0', '0001'), '{"OrderId":"0001"}', 'no cart was seen');
is(cart('Hx1', [ 'VT11', 1, 39.5 ], [ 'VT12', 2, 10 ]), 'skipped:condition',
    'a cart is no event');
is(cart('Hx2', [ 'VT13', 1, 5 ]), 'skipped:condition', 'another cart');
is(order('Hx1', '0002'), '{"Items":[{"ProductID":"VT11","Quantity":1},'
    . '{"ProductID":"VT12","Quantity":2}],"OrderId":"0002"} 49.5 EUR',
    'the order has its lines');

$t->reload();

is(order('Hx2', '0003'), '{"Items":[{"ProductID":"VT13","Quantity":1}],'
    . '"OrderId":"0003"} 5 EUR', 'the other order, after a reload');
is(cart('Hx1', [ 'VT14', 1, 1 ]), 'skipped:condition', 'the cart changes');
is(cart('Hx1'), 'skipped:condition', 'an empty one: the condition');
is(order('Hx1', '0004'), '{"Items":[{"ProductID":"VT14","Quantity":1}],'
    . '"OrderId":"0004"} 1 EUR', 'the last one counts');
is(request('GET', '/elsewhere?cart=Hx1'), '{"ok":"1"}',
    'another account has other facts');

# statuses, ttl, parts that are missing

is(request('PUT', '/kept?k=1&a=x&c=y'), '-', 'kept');
like(request('GET', '/asked?k=1'), qr/^\{"a":"x","c":"y",
    "it":\{"a":"x","b":\{"c":"y"\}\}\}/x, 'a whole and its parts');
is(request('PUT', '/kept?k=1&a=z'), '-', 'kept in its place');
like(request('GET', '/asked?k=1'),
    qr/^\{"a":"z","c":"none",.*"it":\{"a":"z"\}/, 'nothing is left of it');
is(request('GET', '/kept/gone?k=1&a=404'), '-', 'a 404');
like(request('GET', '/asked?k=1'), qr/^\{"a":"z"/, 'is not kept');
is(request('PUT', '/kept?k=1'), '-', 'nothing to keep');
like(request('GET', '/asked?k=1'), qr/^\{"c":"none"/, 'what was there goes');
is(request('PUT', '/kept?k=1&a=w'), '-', 'kept again');
is(request('PUT', '/kept?a=nobody'), '-', 'no key');
like(request('GET', '/asked?k=1'), qr/^\{"a":"w"/, 'changes nothing');
like(request('GET', '/asked'), qr/^\{"c":"none"/, 'keeps nothing');
like(request('GET', '/asked?k=2'), qr/^\{"c":"none"/, 'nor for others');

# within a request, in the order of the file

request('GET', "/turn?k=1&a=$_") for qw(x y), '';

ok($t->wait_for(sub { 6 == grep { $_->{metric} =~ /Above|Below/ }
    $t->klaviyo()->events() }), 'two rules, three times');
is(join(' ', map { "$_->{metric}:" . ($_->{properties}{a} // '-') }
    grep { $_->{metric} =~ /Above|Below/ } $t->klaviyo()->events()),
    'Above:- Below:x Above:x Below:y Above:y Below:-', 'before and after');

request('PUT', '/brief?k=1&a=x');

my $end = time() + 2;
$t->wait_for(sub { time() > $end });

is(request('GET', '/brief?k=1'), '{"ok":"1"}', 'the time is over');

# what is too large takes what was there with it

is(request('GET', '/large', headers => { 'X-Text' => 'a' }), '-', 'small');
is(request('GET', '/largest'), '{"ok":"1","there":"a"}', 'it is there');
is(request('GET', '/large', headers => { 'X-Text' => 'a' x 7000 }), '-',
    'too large');
is(request('GET', '/largest'), '{"ok":"1"}', 'forgotten');

my $status = $json->decode($t->get('/klaviyo')->body());

is(join(' ', map { $_->{metric} } @{$status->{accounts}{shop}{rules}}),
    'Placed Order Brief Asked Above Below Large', 'facts are no events');
is($status->{total}{limited}, 1, 'what was too large is counted');

ok($t->quit(), 'nginx ends');

# at configuration time

my @wrong = (
    [ 'klaviyo_remember a { property b 1; }',
        'no "key" in "klaviyo_remember a"' ],
    [ 'klaviyo_remember a { key 1; }',
        'no "property" in "klaviyo_remember a"' ],
    [ 'klaviyo_remember "a b" { key 1; property b 1; }',
        'invalid name "a b", it must be letters' ],
    [ 'klaviyo_remember a { key 1; ttl 0; property b 1; }',
        'invalid time "0" in "ttl"' ],
    [ 'klaviyo_remember a { key 1; key 2; property b 1; }',
        '"key" directive is duplicate' ],
    (map { [ "klaviyo_remember a { key 1; property b 1; $_ 1; }",
             "\"$_\" directive is not allowed here" ] }
        qw(each once value currency time unique_id service)),
    [ 'klaviyo_track a { key 1; }', '"key" directive is not allowed here' ],
    [ 'klaviyo_track a { ttl 1; }', '"ttl" directive is not allowed here' ],
    [ 'klaviyo_track a { property b 1 | recall c; }',
        'no "klaviyo_remember c" for "recall" in' ],
    [ 'klaviyo_track a { property b 1 | recall; }',
        'filter "recall" needs a name' ],
    [ 'klaviyo_track a { property b 1 | recall c d[; }', 'in filter "recall"' ],
);

for my $case (@wrong) {
    my ($text, $expected) = @$case;

    my ($code, $said) = $t->test_config('%%GLOBALS%% events { } http {'
        . ' %%GLOBALS_HTTP%% klaviyo_account s { api_key data:pk_012345; }'
        . " server { listen 127.0.0.1:%%PORT_0%%; $text } }");

    like($said, qr/\Q$expected\E/, $text);
}

$t->done();

###############################################################################
