#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Which rules a request meets: by method and path, by server and location, with
# which captures, and under which account.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Cases;

###############################################################################

my $t = Test::Nginx::Klaviyo->new()->standin()->standin();

$t->write_file('inc/properties.conf',
    "property  Included  \$arg_i;\ninclude inc/more.conf;\n");
$t->write_file('inc/more.conf', "property  More  \$arg_m;\n");
$t->write_file('inc/rule.conf', <<'EOF');
klaviyo_track "Included" =/included/rule {
    include  inc/properties.con[f];
}
EOF

$t->write_config(<<'EOF')->run();

%%GLOBALS%%

events { }

http {
    %%GLOBALS_HTTP%%

    log_format  captures  "$http_x_case $handle $rest $klaviyo_result";

    map $uri $both {
        default  map;
    }

    klaviyo_account shop {
        api_key   data:pk_shop0123456789;
        endpoint  %%KLAVIYO%%;
    }

    klaviyo_account other {
        api_key   data:pk_other0123456789;
        endpoint  %%KLAVIYO_1%%;
    }

    klaviyo_ignore   off;
    klaviyo_profile  external_id $http_x_case;

    klaviyo_track Http /levels { }
    klaviyo_track Http /account { }
    klaviyo_track Http =/everywhere { }

    server {
        listen       127.0.0.1:%%PORT_0%%;
        server_name  first;

        access_log   %%TESTDIR%%/captures.log  captures;

        location / {
            return 200;
        }

        # methods

        klaviyo_track Default =/methods { }
        klaviyo_track Put PUT =/methods { }
        klaviyo_track Several PUT PATCH DELETE PUT =/methods { }
        klaviyo_track Get GET =/methods { }

        # patterns

        klaviyo_track "Exact" =/exact { }
        klaviyo_track "Exact blank" = /exact { }
        klaviyo_track "Prefix" /prefix { }
        klaviyo_track "Regex" ~^/re/\d+$ { }
        klaviyo_track "Regex blank" ~ ^/re/\d+$ { }
        klaviyo_track "Nocase" ~*^/no/case$ { }
        klaviyo_track "Nocase blank" ~* ^/no/case$ { }
        klaviyo_track "Anywhere" ~\.htm$ { }
        klaviyo_track "Anywhere nocase" ~*\.htm$ { }
        klaviyo_track "Quoted" "~^/q/\d{2,3}$" { }
        klaviyo_track "Quoted blank" ~ "^/q/\d{2,3}$" { }
        klaviyo_track "Quoted method" GET '~*^/Q/[\d;]{2}$' { }
        klaviyo_track "Alternatives" ~^/this|^/that { }

        # paths

        klaviyo_track "Blank" "=/with blank" { }
        klaviyo_track "Blank regex" "~^/with blank$" { }
        klaviyo_track "Plus" =/with+plus { }
        klaviyo_track "Merged" =/a/b { }
        klaviyo_track "Bytes" ~^/caf\xc3\xa9$ { }
        klaviyo_track "Query" ~query { }

        # routes and captures

        klaviyo_track "Before" ~^/p/ {
            property  Handle  $handle;
        }

        klaviyo_track "Routes" GET ~^/p/(?<handle>[\w-]+)$ {
            route     POST ~^/api/(?<handle>\w+)/(?<extra>x)?$;
            route     ~ "^/p/(?<extra>[\w-]{3})$";
            route     =/plain;
            route     PUT DELETE /w/;
            property  Handle  $handle;
            property  Extra   $extra;
        }

        klaviyo_track "After" ~^/p/ {
            property  Handle  $handle;
        }

        klaviyo_track "Only routes" {
            route  =/only/1;
            route  POST =/only/2;
        }

        klaviyo_track "Only gets" GET {
            route  =/only/1;
            route  POST =/only/2;
        }

        klaviyo_track "Name" ~^/name/(?<MixedCase>\w+)/(?P<p>\w)(?'q'\w)$ {
            property  Name  $mixedcase;
            property  Text  "${MixedCase}-$p-$q";
        }

        klaviyo_track "Groups" ~^/groups/(?<one>a)?(?<two>b)?(c)?(?<three>d)$ {
            property  One    $one;
            property  Two    $two;
            property  Three  $three;
        }

        klaviyo_track "Twice" "~^/twice/(?J)(?:(?<twice>a+)|(?<twice>b+))$" {
            property  Twice  $twice;
        }

        klaviyo_track "Decoded" ~^/decoded/(?<decoded>.*)$ {
            property  Decoded  $decoded;
        }

        # names that the request has too

        klaviyo_track "Both" ~^/both/(?<both>x)? {
            property  Both  $both;
        }

        klaviyo_track "Map" ~^/both/ {
            property  Both  $both;
        }

        klaviyo_track "Same" ~^/same/(?<handle>\w+)$ {
            property  Handle  $handle;
            property  Rest    $rest;
        }

        klaviyo_track "Same later" ~^/same/ {
            property  Handle  $handle;
        }

        klaviyo_track "Proxied" ~^/proxied/(?<handle>\w+)$ {
            property  Handle  $handle;
        }

        location ~ ^/same/(?<handle>\w)(?<rest>\w*)$ {
            add_header  X-Event   $klaviyo_event_id;
            add_header  X-Handle  $handle;
            return      200       "$handle $rest";
        }

        location ~ ^/proxied/(?<handle>\w)(?<rest>\w*)$ {
            add_header        X-Event   $klaviyo_event_id;
            add_header        X-Handle  $handle;
            proxy_set_header  X-Handle  "$klaviyo_event_id $handle $rest";
            proxy_pass        http://127.0.0.1:%%PORT_1%%;
        }

        # include

        klaviyo_track "Inside" =/included/inside {
            property  First  $arg_f;
            include   inc/properties.conf;
        }

        include inc/rule*.conf;

        # levels

        location /levels {
            klaviyo_track "Outer" { }

            location /levels/in {
                klaviyo_track "Inner" { }

                location ~ \.html$ {
                    klaviyo_track "Regex location" { }
                    return 200;
                }

                return 200;
            }

            location = /levels/exact {
                klaviyo_track "Exact location" GET { }
                return 200;
            }

            location /levels/off {
                klaviyo        off;
                klaviyo_track  "Off" { }

                location /levels/off/deep {
                    return 200;
                }

                location /levels/off/on {
                    klaviyo        on;
                    klaviyo_track  "On" { }
                    return         200;
                }

                return 200;
            }

            location /levels/except {
                klaviyo_track   Http { property Own yes; }
                klaviyo_except  Http Outer Nothing;

                location /levels/except/deep {
                    klaviyo_track  Outer { property Own yes; }
                    return         200;
                }

                location /levels/except/more {
                    klaviyo_except  Server;
                    return          200;
                }

                return 200;
            }

            return 200;
        }

        klaviyo_track "Server" /levels { }

        location /elsewhere {
            klaviyo_track "Elsewhere" /levels { }
            return 200;
        }

        # accounts

        location /account {
            klaviyo_track  "Rule" { account other; }

            location /account/other {
                klaviyo_use_account  other;
                klaviyo_track        "Location" { }
                klaviyo_track        "Own" { account shop; }

                location /account/other/back {
                    klaviyo_use_account  shop;
                    return               200;
                }

                return 200;
            }

            return 200;
        }
    }

    server {
        listen       127.0.0.1:%%PORT_0%%;
        server_name  second;

        klaviyo_track Second =/servers { }
        return 200;
    }

    server {
        listen       127.0.0.1:%%PORT_0%% default_server;
        server_name  third;

        klaviyo_use_account  other;
        klaviyo_track        Third =/servers { }

        return 200;
    }

    # no rules of its own

    server {
        listen       127.0.0.1:%%PORT_0%%;
        server_name  fourth;

        return 200;
    }

    server {
        listen       127.0.0.1:%%PORT_0%%;
        server_name  fifth;

        klaviyo         off;
        klaviyo_track   Fifth =/servers { }

        location /on {
            klaviyo        on;
            klaviyo_track  "On again" { }
            return         200;
        }

        location / {
            return 200;
        }
    }

    server {
        listen       127.0.0.1:%%PORT_0%%;
        server_name  sixth;

        # all that there is, whatever the path

        klaviyo_except  Http;
        klaviyo_track   Anything { }
        klaviyo_track   "Anything sent" POST { }

        return 200;
    }

    # what the proxied requests reach

    server {
        listen 127.0.0.1:%%PORT_1%%;

        klaviyo off;

        location / {
            return 200 $http_x_handle;
        }
    }
}

EOF

my $c = Test::Nginx::Klaviyo::Cases->new($t);
my @first = (headers => { Host => 'first' });

###############################################################################

# Methods: a wrong bit, or a default that holds where methods are named.

get('GET is a default', '/methods', 'Default, Get');
post('POST is one', '/methods', 'Default');
any('PUT', 'of a list', '/methods', 'Put, Several');
any('PATCH', 'of a list', '/methods', 'Several');
any('DELETE', 'of a list', '/methods', 'Several');
any('HEAD', 'never', '/methods', '');
any('OPTIONS', 'never', '/methods', '');
any('MKCOL', 'unknown to rules', '/methods', '');
any('BREW', 'unknown to nginx', '/methods', '');

# Patterns: a modifier that is read wrong with or without a blank; a literal
# beginning (the index's key) that is too long or too short.

get('exact', '/exact', 'Exact, Exact blank');
get('exact, longer', '/exactly', '');
get('exact, a slash', '/exact/', '');
get('exact, shorter', '/exac', '');
get('exact, upper case', '/Exact', '');
get('prefix', '/prefix', 'Prefix');
get('prefix, longer', '/prefixes', 'Prefix');
get('prefix, deeper', '/prefix/x', 'Prefix');
get('prefix, shorter', '/prefi', '');
get('prefix, inside', '/x/prefix', '');
get('regex', '/re/17', 'Regex, Regex blank');
get('regex, its end', '/re/17x', '');
get('regex, its beginning', '/x/re/17', '');
get('regex, upper case', '/RE/17', '');
get('without case', '/No/CASE', 'Nocase, Nocase blank');
get('without case, as written', '/no/case', 'Nocase, Nocase blank');
get('without an anchor', '/x/y.htm', 'Anywhere, Anywhere nocase');
get('without an anchor and case', '/x/y.HTM', 'Anywhere nocase');
get('quoted for its braces', '/q/123', 'Quoted, Quoted blank');
get('the braces count', '/q/1234', '');
get('quoted for its semicolon', '/q/1;', 'Quoted method');
get('of all that fit each', '/q/12', 'Quoted, Quoted blank, Quoted method');
get('an alternative', '/this', 'Alternatives');
get('the other one', '/that', 'Alternatives');

# Paths: as it came instead of decoded and merged; with the query.

get('%20', '/with%20blank', 'Blank, Blank regex');
get('a plus is a plus', '/with+plus', 'Plus');
get('is no blank', '/with+blank', '');
get('%2b', '/with%2Bplus', 'Plus');
get('slashes', '//a///b', 'Merged');
get('.', '/a/./b', 'Merged');
get('..', '/a/x/../b', 'Merged');
get('%2e', '/a/x/%2e%2e/b', 'Merged');
get('%2f', '/a%2fb', 'Merged');
get('letters', '/%61/%62', 'Merged');
get('a fragment', '/a/b#c', 'Merged');
get('bytes', '/caf%C3%A9', 'Bytes');
get('bytes as they are', "/caf\xc3\xa9", 'Bytes');
get('a query', '/a/b?c=d', 'Merged');
get('an empty query', '/a/b?', 'Merged');
get('no path', '/x?query', '');
get('a question mark in the path', '/x%3Fquery', 'Query');

# Routes: one that counts twice, or with another one's methods or captures.

get('the rule itself', '/p/hat-1', 'Before, Routes{Handle=hat-1}, After');
get('the first route that fits', '/p/hat',
    'Before, Routes{Handle=hat}, After');
post('not its method', '/p/hat-1', 'Before, After');
post('another route', '/api/hat/x', 'Routes{Extra=x Handle=hat}');
post('a group that took no part', '/api/hat/', 'Routes{Handle=hat}');
get('the method of the route', '/api/hat/', '');
get('the method of the rule', '/plain', 'Routes');
post('no other', '/plain', '');
any('PUT', 'a list in a route', '/w/1', 'Routes');
any('DELETE', 'a list in a route', '/w/1', 'Routes');
get('no default in a route', '/w/1', '');
get('routes without a pattern', '/only/1', 'Only routes, Only gets');
post('defaults of routes', '/only/1', 'Only routes');
post('a method of a route', '/only/2', 'Only routes, Only gets');
get('and no other', '/only/2', '');
get('a rule without a pattern', '/only/3', '');

# Captures: names of nginx are in lower case, patterns' are not; groups that
# took no part, offsets of the wrong pair.

get('names', '/name/x/yz', 'Name{Name=x Text=x-y-z}');
get('all groups', '/groups/abcd', 'Groups{One=a Three=d Two=b}');
get('the second', '/groups/bd', 'Groups{Three=d Two=b}');
get('the last', '/groups/d', 'Groups{Three=d}');
get('a name twice', '/twice/aa', 'Twice{Twice=aa}');
get('a name twice, the second', '/twice/bb', 'Twice{Twice=bb}');
get('decoded once', '/decoded/a%20b%252f+c', 'Decoded{Decoded=a b%2f+c}');
get('an empty one', '/decoded/', 'Decoded');

get('a variable of nginx', '/both/x', 'Both{Both=x}, Map{Both=map}');
get('no part, but a variable', '/both/', 'Both, Map{Both=map}');

# The request's own captures of the same name: changed by a rule, also while
# the answer is on its way, when the event's id is asked for.

my $r = get('own captures stay', '/same/hat',
    'Same{Handle=hat Rest=at}, Same later{Handle=h}');
is($r->body(), 'h at', 'in the body');
is($r->header('X-Handle'), 'h', 'in a header');
like($r->header('X-Event'), qr/^[\w-]+$/, 'after the id of the event');

$r = get('own captures stay, proxied', '/proxied/hat', 'Proxied{Handle=hat}');
like($r->body(), qr/^[\w-]+ h at$/, 'in the proxied header');
is($r->header('X-Handle'), 'h', 'in a header');
is((split ' ', $r->body())[0], $r->header('X-Event'), 'the id is always this');

# include: relative to the configuration, nested, with a pattern, around rules.

get('include in a rule', '/included/inside?f=1&i=2&m=3',
    'Inside{First=1 Included=2 More=3}');
get('include of a rule', '/included/rule?i=2&m=3',
    'Included{Included=2 More=3}');

# Levels: rules that hide others, or count where they must not.

get('outer levels add up', '/levels', 'Http, Outer, Server');
get('nested', '/levels/in', 'Http, Outer, Inner, Server');
get('nested, a regex', '/levels/in/x.html',
    'Http, Outer, Inner, Regex location, Server');
get('nested, exact', '/levels/exact', 'Http, Outer, Exact location, Server');
post('a method in a location', '/levels/exact', 'Http, Outer, Server');
get('no rule of another location', '/elsewhere', '');
get('off', '/levels/off', '');
get('off, nested', '/levels/off/deep', '');
get('on again', '/levels/off/on', 'Http, Outer, Off, On, Server');
get('except, inherited ones', '/levels/except', 'Http{Own=yes}, Server');
get('except is inherited', '/levels/except/deep',
    'Http{Own=yes}, Outer{Own=yes}, Server');
get('except adds up', '/levels/except/more', 'Http{Own=yes}');

# Accounts: that of the location, unless the rule names one; each event once.

get('the first is the default', '/account', 'Http, Rule@1');
get('of a location', '/account/other', 'Own, Http@1, Rule@1, Location@1');
get('of a nested one', '/account/other/back', 'Http, Location, Own, Rule@1');

# Servers: the index of another one.

server('second', '/servers', 'Second');
server('third', '/servers', 'Third@1');
server('nobody', '/servers', 'Third@1');
server('fourth', '/servers', '');
server('fourth', '/everywhere', 'Http');
server('third', '/everywhere', 'Http@1');
server('first', '/everywhere', 'Http');
server('fifth', '/servers', '');
server('fifth', '/everywhere', '');
server('fifth', '/on', 'On again');
server('sixth', '/everywhere', 'Anything');
server('sixth', '/', 'Anything');

$c->post('all that is sent', '/', 'a=1', 'Anything, Anything sent',
    headers => { Host => 'sixth' });

$c->judge();

# access_log comes after us

like($t->read_file('captures.log'), qr/^\d+ h at queued,queued$/m,
    'own captures in the log');
like($t->read_file('captures.log'), qr/^\d+ h at queued$/m,
    'own captures in the log, proxied');
like($t->read_file('captures.log'), qr/^\d+ - - queued,queued,queued$/m,
    'no captures in the log');

# Rules, but no server: there is no account of a level to look at.

my $alone = Test::Nginx::Klaviyo->new()->standin();

$alone->write_config(<<'EOF');
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    klaviyo_account shop { api_key data:pk_0123456789; endpoint %%KLAVIYO%%; }
    klaviyo_track A / { }
}
EOF

ok(eval { $alone->run() }, 'no server') or diag($@);

$t->done();

###############################################################################

sub get { return any('GET', @_) }
sub post { return any('POST', @_) }


sub any {
    my ($method, $name, $uri, $events) = @_;

    return $c->request($method, "$method $uri: $name", $uri, $events, @first);
}


sub server {
    my ($name, $uri, $events) = @_;

    return $c->get("server $name, $uri", $uri, $events,
        headers => { Host => $name });
}

###############################################################################
