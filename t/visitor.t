#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# What is remembered under the visitor's key: whole visits, of which each event
# must carry the right person, none without consent, none of robots.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use MIME::Base64 qw(encode_base64);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Visitors;

###############################################################################

my $t = Test::Nginx::Klaviyo->new();

$t->standin();

$t->write_config(<<'EOF')->run();

%%GLOBALS%%

worker_processes  2;

events { }

http {
    %%GLOBALS_HTTP%%

    log_format  results  "$http_x_case $klaviyo_result";

    klaviyo_property  Case  $http_x_case;

    klaviyo_account shop {
        api_key     data:pk_0123456789;
        endpoint    %%KLAVIYO%%;
        company_id  AbC123;
        batch       linger=50ms;
    }

    klaviyo_account other {
        api_key   data:pk_9876543210;
        endpoint  %%KLAVIYO%%;
        batch     linger=50ms;
    }

    klaviyo_memory   1m;
    klaviyo_visitor  $cookie_cart;

    server {
        listen      127.0.0.1:%%PORT_0%%;
        access_log  %%TESTDIR%%/results.log results;

        klaviyo_track "Viewed Product" GET ~^/p/(?<handle>\w+)$ {
            property  ProductID  $handle;
        }

        klaviyo_track "Logged In" POST =/login {
            profile   email  @request.email;
            property  ok     1;
        }

        klaviyo_track "Placed Order" POST ~^/api/(?<cart>\w+)/complete$ {
            profile   email  @request.email;
            property  cart   $cart;
        }

        klaviyo_track "Other" GET =/other {
            account   other;
            property  ok  1;
        }

        klaviyo_track "Mine" GET =/mine {
            profile   external_id   17;
            profile   anonymous_id  a;
            property  ok  1;
        }

        klaviyo_track "Moved" GET =/moved {
            property  ok  1;
        }

        location / { return 200; }
        location = /moved { return 302 /p/moved; }
        location = /klaviyo { klaviyo_status; }

        location /forgetful/ {
            klaviyo_identity  kx cookie;
            klaviyo_track "Forgetful" GET { property ok 1; }
            return 200;
        }

        location /nobody/ {
            klaviyo_visitor  off;
            klaviyo_track "Nobody" GET { property ok 1; }
            return 200;
        }

        location /off/ {
            klaviyo  off;
            return 200;
        }

        # the storefront's own calls carry the cart's id only

        location /api/ {
            klaviyo_ignore   prefetch optout gpc dnt;
            klaviyo_visitor  $cart_of_uri;

            klaviyo_track "Added to Cart" POST ~^/api/(?<cart>\w+)/lines$ {
                property  cart  $cart;
            }

            return 201;
        }

        # a cart that is made by this request

        location = /create {
            klaviyo_visitor  $sent_http_set_cookie | regex ^cart=(\w+);
            klaviyo_track "Created" POST {
                profile   email  $arg_email;
                property  ok     1;
            }
            add_header  Set-Cookie  "cart=$arg_cart; Path=/";
            return 200;
        }

        location = /answer {
            klaviyo_visitor  @response.cart.id;
            klaviyo_track "Answered" POST {
                profile   email  $arg_email;
                property  ok     1;
            }
            default_type  application/json;
            return 200 '{"cart":{"id":"$arg_cart"}}';
        }
    }

    # consent

    server {
        listen      127.0.0.1:%%PORT_1%%;
        access_log  %%TESTDIR%%/results.log results;

        klaviyo_consent  $cookie_consent = yes;

        klaviyo_track "Consented" GET ~^/c/ { property page $uri; }

        location / { return 200; }

        location /c/api/ {
            klaviyo_ignore   prefetch optout gpc dnt;
            klaviyo_visitor  $arg_cart;
            return 200;
        }

        location /c/silent/ {
            klaviyo_ignore   prefetch optout gpc dnt;
            klaviyo_visitor  $arg_cart;
            klaviyo_consent  not $cookie_no | default 0;
            return 200;
        }

        location /c/none/ {
            klaviyo_consent  off;
            return 200;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_2%%;
        access_log  %%TESTDIR%%/results.log results;

        klaviyo_track "Unasked" GET ~^/c/ { property page $uri; }

        location / { return 200; }
    }

    map $uri $cart_of_uri {
        volatile;
        ~^/api/(?<id>\w+)/  $id;
        default  "";
    }
}

EOF

###############################################################################

my $v = Test::Nginx::Klaviyo::Visitors->new($t);

my %agent = ('User-Agent' => 'node');
my $ana = 'ana@shop.dev';

sub cart { return { Cookie => "cart=$_[0]", %{$_[1] || {}} } }
sub email { return qq({"email":"$_[0]"}) }
sub one { return (port => $t->port(1)) }
sub two { return (port => $t->port(2)) }


# A visit by the link of an e-mail: the _kx is in one URL only.

$v->get('a stranger', '/p/hat', '(unidentified)', cart('c1'));
$v->get('the link', '/p/hat?_kx=kx1.AbC123', 'Viewed Product _kx:kx1.AbC123',
    cart('c1'));
$v->get('the next page', '/p/shoe', 'Viewed Product _kx:kx1.AbC123',
    cart('c1'));
$v->get('another visitor meanwhile', '/p/shoe', '(unidentified)', cart('c2'));
$v->get('and one without a cart', '/p/shoe', '(unidentified)');
$v->post('the back end\'s call', '/api/c1/lines', '{}',
    'Added to Cart _kx:kx1.AbC123', \%agent);
$v->post('the call of another cart', '/api/c2/lines', '{}', '(unidentified)',
    \%agent);

# What the shop states goes before what the link said, and stays.

$v->post('log-in', '/login', email($ana), "Logged In email:$ana", cart('c1'));
$v->get('after that', '/p/hat', "Viewed Product email:$ana", cart('c1'));
$v->get('another link: it counts itself', '/p/hat?_kx=kx2.AbC123',
    'Viewed Product _kx:kx2.AbC123', cart('c1'));
$v->get('but not further', '/p/hat', "Viewed Product email:$ana", cart('c1'));
$v->post('the back end', '/api/c1/lines', '{}', "Added to Cart email:$ana",
    \%agent);
$v->post('another person at the same device', '/login', email('bob@shop.dev'),
    'Logged In email:bob@shop.dev', cart('c1'));
$v->post('is who it is now', '/api/c1/lines', '{}',
    'Added to Cart email:bob@shop.dev', \%agent);

# In an order's body.

$v->post('the order\'s e-mail', '/api/c3/complete', email('eve@shop.dev'),
    'Placed Order email:eve@shop.dev', \%agent);
$v->get('is the visitor\'s', '/p/hat', 'Viewed Product email:eve@shop.dev',
    cart('c3'));

# Klaviyo's cookie.

my $kla = encode_base64('{"$exchange_id":"kx9.AbC123"}', '');

$v->get('__kla_id', '/p/hat', 'Viewed Product _kx:kx9.AbC123',
    { Cookie => "cart=c4; __kla_id=$kla" });
$v->post('joins the back end', '/api/c4/lines', '{}',
    'Added to Cart _kx:kx9.AbC123', \%agent);
$v->get('it goes before what is remembered', '/p/hat',
    'Viewed Product _kx:kx9.AbC123', { Cookie => "cart=c1; __kla_id=$kla" });
$v->post('but a statement is kept', '/api/c1/lines', '{}',
    'Added to Cart email:bob@shop.dev', \%agent);

# The ladder: remembered before external_id and anonymous_id, which aren't.

$v->get('external_id', '/mine', 'Mine external_id:17', cart('c5'));
$v->get('is not remembered', '/p/hat', '(unidentified)', cart('c5'));
$v->get('remembered before it', '/mine', 'Mine email:bob@shop.dev',
    cart('c1'));
$v->get('klaviyo_identity kx cookie', '/forgetful/', '(unidentified)',
    cart('c1'));
$v->get('klaviyo_visitor off', '/nobody/', '(unidentified)', cart('c1'));

# Under another account it is another memory.

$v->get('another account', '/other', '(unidentified)', cart('c1'));
$v->get('with a link', '/other?_kx=o1.XyZ789', 'Other _kx:o1.XyZ789',
    cart('c1'));
$v->get('knows it', '/other', 'Other _kx:o1.XyZ789', cart('c1'));
$v->get('by itself', '/p/hat', 'Viewed Product email:bob@shop.dev',
    cart('c1'));

# A landing page that no rule is for, or that redirects.

$v->get('no rule', '/about?utm=1&_kx=kx3.AbC123', '', cart('c6'));
$v->get('the page after it', '/p/hat', 'Viewed Product _kx:kx3.AbC123',
    cart('c6'));
$v->get('a redirect', '/moved?_kx=kx4.AbC123', '(status)', cart('c7'));
$v->get('where it leads', '/p/moved', 'Viewed Product _kx:kx4.AbC123',
    cart('c7'));
$v->get('a robot', '/about?_kx=kx5.AbC123', '',
    cart('c8', { 'User-Agent' => 'Googlebot/2.1' }));
$v->get('a prefetch', '/about?_kx=kx5.AbC123', '',
    cart('c8', { 'Sec-Purpose' => 'prefetch' }));
$v->get('klaviyo off', '/off/?_kx=kx5.AbC123', '', cart('c8'));
$v->get('another company\'s', '/about?_kx=kx5.XyZ789', '', cart('c8'));
$v->get('are not remembered', '/p/hat', '(unidentified)', cart('c8'));

# Keys that are none.

for my $none ('', 'null', 'undefined', 'deleted') {
    $v->get("\"$none\" identifies", '/p/hat?_kx=n.AbC123',
        'Viewed Product _kx:n.AbC123', cart($none));
    $v->get("\"$none\" is nobody's", '/p/hat', '(unidentified)', cart($none));
}

# A key that the response tells.

$v->post('Set-Cookie', '/create?cart=c9&email=ann@shop.dev', '{}',
    'Created email:ann@shop.dev');
$v->get('its visitor', '/p/hat', 'Viewed Product email:ann@shop.dev',
    cart('c9'));
$v->post('the answer', '/answer?cart=c10&email=joe@shop.dev', '{}',
    'Answered email:joe@shop.dev');
$v->get('its visitor', '/p/hat', 'Viewed Product email:joe@shop.dev',
    cart('c10'));


# What the browser says binds the back end's calls, until it says otherwise.

for my $signal ([ 'gpc', 'Sec-GPC' => 1 ], [ 'dnt', 'DNT' => 1 ]) {
    my ($reason, %header) = @$signal;
    my $c = "s$reason";

    $v->get("$reason: before", '/p/hat?_kx=g.AbC123',
        'Viewed Product _kx:g.AbC123', cart($c));
    $v->get("$reason: said", '/p/hat', "($reason)", cart($c, \%header));
    $v->post("$reason: binds", "/api/$c/lines", '{}', "($reason)", \%agent);
    $v->post("$reason: still", "/api/$c/lines", '{}', "($reason)", \%agent);
    $v->get("$reason: taken back", '/p/hat', 'Viewed Product _kx:g.AbC123',
        cart($c));
    $v->post("$reason: free", "/api/$c/lines", '{}',
        'Added to Cart _kx:g.AbC123', \%agent);
}

$v->get('optout: said', '/p/hat?_kx=o.AbC123', '(optout)',
    { Cookie => 'cart=so; __kla_off=true' });
$v->post('optout: binds, and a statement does not help', '/api/so/complete',
    email('ida@shop.dev'), '(optout)', \%agent);


# Consent.

my %yes = (Cookie => 'cart=k1; consent=yes');
my %no = (Cookie => 'cart=k1; consent=no');

$v->get('before the question', '/c/a?_kx=k.AbC123', '(consent)', cart('k1'),
    one());
$v->get('the back end before', '/c/api/a?cart=k1', '(consent)', \%agent, one());
$v->get('yes: the link was not forgotten', '/c/b', 'Consented _kx:k.AbC123',
    \%yes, one());
$v->get('yes: the back end\'s calls too', '/c/api/b?cart=k1',
    'Consented _kx:k.AbC123', \%agent, one());
$v->get('yes: not another visitor\'s', '/c/api/b?cart=k2', '(consent)',
    \%agent, one());
$v->get('no', '/c/c', '(consent)', \%no, one());
$v->get('no: the back end', '/c/api/c?cart=k1', '(consent)', \%agent, one());
$v->get('no: before what silence means', '/c/silent/c?cart=k1', '(consent)',
    \%agent, one());
$v->get('no: where nothing asks', '/c/c', '(consent)', cart('k1'), two());
$v->get('consent is off there', '/c/none/c?_kx=k4.AbC123',
    'Consented _kx:k4.AbC123', cart('k1'), one());
$v->get('no: a link is not remembered', '/c/d?_kx=k2.AbC123', '(consent)',
    \%no, one());
$v->get('yes again: who it was is forgotten', '/c/d', '(unidentified)', \%yes,
    one());
$v->get('silence, where it is consent', '/c/silent/d?cart=k3&_kx=k3.AbC123',
    'Consented _kx:k3.AbC123', \%agent, one());
$v->get('silence is no consent elsewhere', '/c/api/d?cart=k3', '(consent)',
    \%agent, one());

$v->judge();

my @logged = grep { /shop\.dev|AbC123|XyZ789/ } split /\n/,
    $t->read_file('error.log');

is("@logged", '', 'nobody in the log');

$t->done();

###############################################################################
