#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# What nginx -t says about rules that are wrong: the words as they were written,
# and where they stand.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;

###############################################################################

# A case: a text, and the beginning of the [emerg] about it (none: it is fine).
# "#!" in the text marks the line that the [emerg] names, else it is the first.
# A third element says that a line follows which tells what to quote.

my $long = 'm' x 127;
my $subscribe = 'list A; channels email; consent $arg_a;'
    . ' profile email $arg_e;';
my $groups = join '', ('(x)') x 32;
my $properties = join "\n", map { "property P$_ x;" } 1 .. 400;

# in a rule

my @rule = (

    [ '' ],
    [ 'nonsense a;', 'unknown directive "nonsense"', 1 ],
    [ 'property;', 'invalid number of arguments in "property" directive', 1 ],
    [ 'klaviyo_track B { }', '"klaviyo_track" directive is not allowed here',
        1 ],
    [ 'klaviyo off;', '"klaviyo" directive is not allowed here', 1 ],

    # routes

    [ 'route GET POST =/x; route ~* "^/x{2}$"; route /y;' ],
    [ 'route;', 'invalid number of arguments in "route" directive', 1 ],
    [ 'route GET;', 'no pattern in "route"' ],
    [ 'route HEAD /x;', 'invalid method or pattern "HEAD", methods are' ],
    [ 'route x;', 'invalid method or pattern "x"' ],
    [ 'route "";', 'invalid method or pattern ""' ],
    [ 'route /x /y;', 'invalid pattern "/x", one path or regex must end' ],
    [ 'route /x GET;', 'invalid pattern "/x", one path or regex must end' ],
    [ 'route =;', 'invalid pattern "="' ],
    [ 'route ~;', 'invalid pattern "~"' ],
    [ 'route GET ~*;', 'invalid pattern "~*"' ],
    [ 'route =x;', 'invalid pattern "=x", a path begins with "/"' ],
    [ 'route = x;', 'invalid pattern "x", a path begins with "/"' ],
    [ 'route ~^/(x;', 'invalid pattern "~^/(x": missing closing parenthesis' ],
    [ 'route ~* [x;', 'invalid pattern "[x": missing terminating ]' ],
    [ "\nroute =/y;\nroute ~(;#!\n", 'invalid pattern "~(": missing' ],

    # captures

    [ 'route ~(?<uri>x);', 'the duplicate "uri" variable' ],
    [ 'route ~(?<status>x);', 'the duplicate "status" variable' ],
    [ 'route ~(?<KLAVIYO_URL>x);', 'the duplicate "KLAVIYO_URL" variable' ],
    [ 'route ~(?<arg_x>x);', 'invalid name "arg_x" of a group, variables '
        . '"$arg_..." are nginx\'s' ],
    [ 'route ~(?<Cookie_a>x);', 'invalid name "Cookie_a" of a group' ],
    [ 'route ~(?<http_x>x);', 'invalid name "http_x" of a group' ],
    [ 'route ~(?<sent_http_x>x);', 'invalid name "sent_http_x" of a group' ],
    [ "route ~$groups;" ],
    [ "route ~$groups(x);", "invalid pattern \"~$groups(x)\": more than 32 "
        . 'groups' ],
    [ 'route ~(?<a>x); property P $a; property Q $A;' ],

    # conditions

    [ 'when $arg_a;' ],
    [ 'when;', 'invalid number of arguments in "when" directive', 1 ],
    [ 'when not;', 'no value' ],
    [ 'when $arg_a =;', 'operator "=" needs a text' ],
    [ 'when $arg_a ~;', 'operator "~" needs a text' ],
    [ 'when $arg_a = b c;', 'unexpected "c" after "= b", a text with' ],
    [ 'when not $arg_a !~* b c;', 'unexpected "c" after "!~* b"' ],
    [ 'when $arg_a b;', 'unexpected "b", a value goes on with "| filter"' ],
    [ 'when $arg_a == b;', 'unexpected "=="' ],
    [ 'when not not $arg_a;', 'unexpected "$arg_a"' ],
    [ 'when $arg_a ~ (b;', 'invalid pattern "(b": missing closing parenth' ],
    [ 'when $arg_a !~* "b{2}[";', 'invalid pattern "b{2}[": missing' ],
    (map { [ "when \$arg_a $_ b;", '"b" is not a number' ] } qw(< <= > >=)),
    [ 'when $arg_a < 1,5;', '"1,5" is not a number' ],
    [ 'when $arg_a < "";', '"" is not a number' ],
    [ 'when $arg_a = \xzz;', '"\x" needs two hexadecimal digits in "\xzz"' ],
    [ 'when $arg_a | nothing;', 'unknown filter "nothing"' ],
    [ 'when $arg_a |;', 'no filter after "|"' ],
    [ 'when . = a;', 'no element for "."' ],
    [ "each \@args.a;\nwhen .. = a;#!", 'no element for ".."' ],
    [ "when . = a;\neach \@args.a;" ],

    [ "any {\n}#!", '"any" directive is empty' ],
    [ "any {\nwhen \$arg_a;\nwhen \$arg_b =;#!\n}", 'operator "=" needs' ],
    [ "any { any { when \$arg_a; } }",
        '"any" directive is not allowed here', 1 ],

    # names

    [ 'let a $arg_a; let b @a; object c { property P @b; } when @c.P;' ],
    [ 'let a;', 'invalid number of arguments in "let" directive', 1 ],
    [ 'let a-b $arg_a;', 'invalid name "a-b", it must be letters, digits' ],
    [ 'let "" $arg_a;', 'invalid name ""' ],
    [ 'let @a $arg_a;', 'invalid name "@a"' ],
    (map { [ "let $_ \$arg_a;", "invalid name \"$_\"" ] }
        qw(args cookies request response graphql jsonld)),
    [ "let a \$arg_a;\nlet a \$arg_b;#!", 'duplicate name "a"' ],
    [ "let a \$arg_a;\nobject a {\nproperty P x;\n}#!", 'duplicate name "a"' ],
    [ "items a \@args { property P .; }\nlet a x;#!", 'duplicate name "a"' ],
    [ 'let a @b; let b x;', 'unknown name "@b", it must be @args, @cookies' ],
    [ 'property P @a.b;', 'unknown name "@a"' ],

    # documents of bodies

    (map { [ "property B \@$_.a;" ] } qw(request response graphql jsonld)),
    (map { [ "property A x;\nproperty B \@$_.;#!",
             "empty name in \"\@$_.\"" ] }
        qw(request response graphql jsonld)),
    [ 'property A @responses;', 'unknown name "@responses"' ],
    [ 'when not @response.errors[*]; each @graphql; property A'
        . ' $klaviyo_request_body; property B "<$klaviyo_response_body>";' ],
    [ 'property A @request.a[;', 'invalid "@request.a[": ' ],

    # the profile

    [ 'profile email $arg_a; profile location.city x; profile properties.a x;'
        . ' profile _kx $arg_k; profile first_name x;' ],
    [ 'profile name x;', 'invalid field "name", Klaviyo\'s profile has email' ],
    [ 'profile Email x;', 'invalid field "Email"' ],
    [ 'profile "" x;', 'invalid field ""' ],
    [ 'profile location.street x;', 'invalid field "location.street"' ],
    [ 'profile properties. x;', 'invalid field "properties."' ],
    [ "profile email x;\nprofile email y;#!", 'duplicate field "email"' ],
    [ 'profile email;', 'invalid number of arguments in "profile"', 1 ],

    # properties

    [ 'property $extra x; property a.b x; property "c d" x;' ],
    [ 'property "" x;', 'invalid property name ""' ],
    [ "property a\xff x;", "invalid property name \"a\xff\"" ],
    [ "property 'a\\tb' x;", 'invalid property name' ],
    [ "property A x;\nproperty A y;#!", 'duplicate property "A"' ],
    [ "property A x;\nobject A {#!\nproperty B x;\n}",
        'duplicate property "A"' ],
    [ "object A { property B x; }\nitems A \@args {#!\nproperty C x;\n}",
        'duplicate property "A"' ],
    [ "object A {\nproperty B x;\nproperty B y;#!\n}",
        'duplicate property "B"' ],
    [ 'object A { property A x; object B { property A x; } } property B x;' ],
    [ $properties ],
    [ "$properties\nproperty A x;#!", 'more than 400 properties' ],
    [ 'property A x y;', 'unexpected "y", a value goes on with' ],
    [ 'property A "x"y;', 'unexpected "y"', 1 ],
    [ "object A {\n}#!", '"object" directive is empty' ],
    [ "items A \@args {\n}#!", '"items" directive is empty' ],
    [ "object A {\nobject B {\n}#!\n}", '"object" directive is empty' ],
    [ 'object A { when $arg_a; }', '"when" directive is not allowed', 1 ],
    [ 'object A x { property B x; }', 'invalid number of arguments in', 1 ],
    [ 'items A { property B x; }', 'invalid number of arguments in', 1 ],
    [ 'property A .;', 'no element for "."' ],
    [ 'object A { property B .; }', 'no element for "."' ],
    [ 'items A .x { property B .; }', 'no element for ".x"' ],
    [ "items A \@args {\nproperty B ..;#!\n}", 'no element for ".."' ],
    [ "each \@args;\nitems A \@args { property B ..; }" ],
    [ 'property A .[;', 'invalid' ],

    # events for elements

    [ 'each .;', 'no element for ".", it is of an element of "each"' ],
    [ "each \@args;\neach ..;#!", 'no element for ".."' ],
    [ 'each @args; each .a; each .b; each ..c;' ],
    [ "each \@args;\n" x 4 . 'each @args;#!', 'more than 4 "each"' ],
    [ 'each;', 'invalid number of arguments in "each" directive', 1 ],

    # attributes and switches

    (map { [ "$_ \$arg_a;\n$_ \$arg_b;#!", "\"$_\" directive is duplicate" ] }
        qw(value currency time unique_id)),
    (map { [ "$_;", "invalid number of arguments in \"$_\"", 1 ] }
        qw(value currency time unique_id service backfill account ignore)),
    [ 'service "My shop";' ],
    [ 'service ' . 's' x 64 . ';' ],
    [ 'service ' . 's' x 65 . ';', 'invalid service "sss' ],
    [ 'service "";', 'invalid service "", it must be a text of 1 to 64' ],
    [ 'service a$host;', 'invalid service "a$host"' ],
    [ "service a\xff;", "invalid service \"a\xff\"" ],
    [ "service a;\nservice b;#!", '"service" directive is duplicate' ],
    [ 'service a b;', 'invalid number of arguments in "service"', 1 ],
    [ 'backfill ON;' ],
    [ 'backfill off;' ],
    [ 'backfill maybe;', 'invalid value "maybe" in "backfill", it must be' ],
    [ "backfill on;\nbackfill on;#!", '"backfill" directive is duplicate' ],
    [ 'account other;' ],
    [ "\naccount nobody;#!", 'unknown account "nobody" in "account"' ],
    [ 'account "";', 'unknown account "" in "account"' ],
    [ "account shop;\naccount shop;#!", '"account" directive is duplicate' ],
    [ 'ignore bots dnt;' ],
    [ 'ignore cats;', 'invalid value "cats" in "ignore", it must be "off"' ],
    [ 'ignore off bots;', 'invalid value "off" in "ignore"' ],
    [ 'ignore bots off;', 'invalid value "off" in "ignore"' ],
    [ "ignore off;\nignore bots;#!", '"ignore" directive is duplicate' ],

    # variables

    [ 'property A $nobody;', 'unknown variable "$nobody"' ],
    [ "property A x;\nproperty B \"\${nobody}x\";#!",
        'unknown variable "$nobody"' ],
    [ "when \$nobody = x;", 'unknown variable "$nobody"' ],
    [ "property A \$arg_a | default \$nobody;", 'unknown variable "$nobody"' ],
    [ "object A {\nproperty B \$Nobody;#!\n}", 'unknown variable "$Nobody"' ],
    [ 'property A $1;', 'invalid variable "$1" in "$1", name the capture' ],
    [ 'property A x${12}y;', 'invalid variable "$12" in "x${12}y"' ],
    [ 'property A $;', 'invalid variable name in "$", a "$" itself' ],
    [ 'property A "a $";', 'invalid variable name in "a $"' ],
    [ 'property A "${arg_a";', 'invalid variable name in "${arg_a"' ],
    [ 'property A \$5;' ],

    # what is cut in two

    [ "\nwhen \$arg_a ~ ^x{2}\$;#!", 'directive "when" is not terminated', 1 ],
    [ "route ~^/x;y\$;", 'unknown directive "y$"', 1 ],

    # files

    [ 'include inc/wrong.conf;', 'duplicate property "A"', 0, 'inc/wrong', 3 ],
    [ 'include inc/unknown.conf;', 'unknown variable "$nobody"', 0,
        'inc/unknown', 2 ],
    [ "each \@args;\ninclude inc/frames.conf;", 'no element for ".."', 0,
        'inc/frames', 2 ],

    # the memory

    [ 'once 1h;' ],
    [ 'once $arg_a | lower @args.b[0] 1h;' ],
    [ 'once 0;', 'invalid time "0" in "once", it must stand last' ],
    [ 'once 1h $arg_a;', 'invalid time "$arg_a" in "once"' ],
    [ 'once $arg_a;', 'invalid time "$arg_a" in "once"' ],
    [ 'once 1 2 3 4 5 6 7 8 9 1h;', 'more than 8 keys in "once"' ],
    [ 'once .a 1h;', 'no element for ".a"' ],
    [ 'once $nobody 1h;', 'unknown variable "$nobody"' ],
    [ "once 1h;\nonce 1h;#!", '"once" directive is duplicate' ],
    [ 'property A $arg_a | recall x;',
        'no "klaviyo_remember x" for "recall"' ],
);

# in a server; the same is said in a location

my @server = (

    [ "klaviyo_track $long /x { }" ],
    [ "klaviyo_track {\n}", 'invalid number of arguments in "klaviyo_track"' ],
    [ "klaviyo_track ${long}m /x { }", "invalid metric \"${long}m\", it must" ],
    [ 'klaviyo_track "" /x { }', 'invalid metric "", it must have 1 to 127' ],
    [ "klaviyo_track \xff /x { }", "invalid metric \"\xff\"" ],
    [ "klaviyo_track 'a\\tb' /x { }", "invalid metric \"a\tb\"" ],
    [ 'klaviyo_track "Viewed $uri" /x { }',
        'invalid metric "Viewed $uri", it must be a constant' ],
    [ 'klaviyo_track A;', 'directive "klaviyo_track" has no opening "{"' ],
    (map { [ "klaviyo_track A $_ /x { }",
             "invalid method or pattern \"$_\", methods are GET, POST, PUT, "
             . 'PATCH and DELETE, patterns begin with' ] }
        qw(HEAD OPTIONS TRACE get Viewed products ^/x *), 'GET,POST'),
    [ 'klaviyo_track A /x GET { }', 'invalid pattern "/x"' ],
    [ 'klaviyo_track A GET =x { }', 'invalid pattern "=x"' ],
    [ "\nklaviyo_track A\nGET\n~^/(x {#!\n}", 'invalid pattern "~^/(x": ' ],
    [ 'klaviyo_track A ~ ^/(x { }', 'invalid pattern "^/(x": missing' ],
    [ 'klaviyo_track A ~*^/(?<a>x)(?<a>y) { }', 'invalid pattern "~*^/(?<a>x)'
        . '(?<a>y)": two named subpatterns have the same name' ],
    [ 'klaviyo_track A ~(?<request_id>x) { }',
        'the duplicate "request_id" variable' ],
    [ "klaviyo_track A ~^/x{2}\$ {\n}", 'unknown directive "2}$"', 1 ],
    [ "klaviyo_track A ~^/x;y {\n}",
        'directive "klaviyo_track" has no opening "{"' ],

    # who is meant

    [ 'klaviyo_use_account other;' ],
    [ "root x;\nklaviyo_use_account nobody;#!",
        'unknown account "nobody" in "klaviyo_use_account"' ],
    [ 'klaviyo_use_account "";', 'unknown account "" in' ],
    [ "klaviyo_use_account shop;\nklaviyo_use_account shop;#!",
        '"klaviyo_use_account" directive is duplicate' ],
    [ 'klaviyo_use_account;', 'invalid number of arguments in' ],

    # switches

    [ 'klaviyo maybe;', 'invalid value "maybe" in "klaviyo" directive' ],
    [ "klaviyo on;\nklaviyo off;#!", '"klaviyo" directive is duplicate' ],
    [ 'klaviyo_except;', 'invalid number of arguments in "klaviyo_except"' ],
    [ 'klaviyo_ignore cats;', 'invalid value "cats" in "klaviyo_ignore"' ],
    [ 'klaviyo_ignore off gpc;', 'invalid value "off" in "klaviyo_ignore"' ],
    [ "klaviyo_ignore off;\nklaviyo_ignore gpc;#!",
        '"klaviyo_ignore" directive is duplicate' ],
    [ 'klaviyo_identifiers some;',
        'invalid value "some" in "klaviyo_identifiers", it must be' ],
    [ "klaviyo_identifiers all;\nklaviyo_identifiers all;#!",
        '"klaviyo_identifiers" directive is duplicate' ],
    [ 'klaviyo_identity kx cookie;' ],
    [ 'klaviyo_identity cookies;',
        'invalid value "cookies" in "klaviyo_identity", it must be "off"' ],
    [ 'klaviyo_identity kx off;', 'invalid value "off"' ],
    [ 'klaviyo_identity visitor;' ],
    [ 'klaviyo_visitor $cookie_a | urldecode ttl=1h;' ],
    [ 'klaviyo_visitor off;' ],
    [ 'klaviyo_visitor $nobody;', 'unknown variable "$nobody"' ],
    [ 'klaviyo_visitor $cookie_a ttl=0;',
        'invalid time "ttl=0" in "klaviyo_visitor", it must be 1s or more' ],
    [ "klaviyo_visitor off;\nklaviyo_visitor \$cookie_a;#!",
        '"klaviyo_visitor" directive is duplicate' ],
    [ "klaviyo_identity kx;\nklaviyo_identity kx;#!",
        '"klaviyo_identity" directive is duplicate' ],

    # values of a level

    [ 'klaviyo_property A $arg_a; klaviyo_profile email $arg_e;' ],
    [ 'klaviyo_property A;', 'invalid number of arguments in "klaviyo_prop' ],
    [ 'klaviyo_property A .;', 'no element for ".", it is of an element' ],
    [ 'klaviyo_property A @a;', 'unknown name "@a"' ],
    [ 'klaviyo_property A @response.a;' ],
    [ 'klaviyo_property A $nobody;', 'unknown variable "$nobody"' ],
    [ 'klaviyo_property A $1;', 'invalid variable "$1"' ],
    [ "klaviyo_property A x;\nklaviyo_property A y;#!",
        'duplicate property "A"' ],
    [ "klaviyo_property \xff x;", "invalid property name \"\xff\"" ],
    [ 'klaviyo_profile name x;', 'invalid field "name"' ],
    [ "klaviyo_profile email x;\nklaviyo_profile email y;#!",
        'duplicate field "email"' ],
    [ 'klaviyo_profile email .;', 'no element for "."' ],
    [ 'klaviyo_profile email $nobody;', 'unknown variable "$nobody"' ],
    [ 'klaviyo_consent not $cookie_c = no;' ],
    [ 'klaviyo_consent;', 'invalid number of arguments in "klaviyo_consent"' ],
    [ 'klaviyo_consent $cookie_c =;', 'operator "=" needs a text' ],
    [ 'klaviyo_consent $cookie_c ~ (;', 'invalid pattern "(": missing' ],
    [ 'klaviyo_consent .;', 'no element for "."' ],
    [ 'klaviyo_consent $nobody;', 'unknown variable "$nobody"' ],

    # profile updates

    [ 'klaviyo_identify { profile email $arg_e; }' ],
    [ 'klaviyo_identify GET POST ~* "^/(?<id>x{2})$" { route =/y;
        profile external_id $id; profile first_name $arg_f; each @args.a;
        let b $arg_b; when @b; any { when $arg_c; } account other;
        ignore off; }' ],
    [ 'klaviyo_identify x { profile email $arg_e; }',
        'invalid method or pattern "x"' ],
    [ "klaviyo_identify =/x {#!\nprofile title Dr;\n}",
        'no "profile" with email, phone_number, id, _kx or external_id in'
        . ' "klaviyo_identify"' ],
    [ 'klaviyo_identify { }', 'no "profile" with email' ],
    [ "klaviyo_identify {\nprofile anonymous_id 1;#!\n}",
        'invalid field "anonymous_id" in "klaviyo_identify", Klaviyo\'s'
        . ' profile updates have none' ],
    [ 'klaviyo_identify { profile email .; }', 'no element for "."' ],
    [ 'klaviyo_identify { profile email $nobody; }',
        'unknown variable "$nobody"' ],
    [ 'klaviyo_identify { profile email $arg_e; account z; }',
        'unknown account "z" in "account"' ],
    (map { [ "klaviyo_identify {\n$_#!\n}", '"' . (split / /)[0]
        . '" directive is not allowed here', 1 ] }
        'property A x;', 'items A x { }', 'object A { }', 'value 1;',
        'currency USD;', 'time 1;', 'unique_id x;', 'service x;',
        'backfill on;', 'list x;', 'channels email;', 'consent on;',
        'source x;', 'consented_at x;'),

    # subscriptions

    [ "klaviyo_subscribe =/x { $subscribe }" ],
    [ "klaviyo_subscribe { $subscribe consent not \$arg_a ~ x; source 'A b';
        consented_at \$arg_t; when \$arg_b; let c \$arg_c; when \@c; }" ],
    [ 'klaviyo_subscribe { list A; channels email sms; consent $arg_a;
        profile email $arg_e; profile phone_number $arg_p; }' ],
    (map { my $without = $subscribe =~ s/$_ .*?;//r;
        [ "klaviyo_subscribe {#!\n$without\n}",
            "no \"$_\" in \"klaviyo_subscribe\"" ] }
        qw(list channels consent)),
    [ "klaviyo_subscribe {#!\nlist A; channels email; consent \$arg_a;\n}",
        'no "profile email" for the channel "email" in "klaviyo_subscribe"' ],
    [ "klaviyo_subscribe {#!\nlist A; channels sms; consent \$arg_a;\n}",
        'no "profile phone_number" for the channel "sms" in' ],
    [ "klaviyo_subscribe {#!\n$subscribe profile phone_number x;\n}",
        '"profile phone_number" without the channel "sms" in' ],
    (map { [ "klaviyo_subscribe {\nprofile $_ x;#!\n}",
        "invalid field \"$_\" in \"klaviyo_subscribe\", it must be" ] }
        qw(id _kx external_id anonymous_id first_name properties.a)),
    (map { [ "klaviyo_subscribe {\nlist $_;#!\n}",
        "invalid list \"$_\", it must be the id of one" ] }
        '$arg_a', 'A-b', 'A/b', 'a' x 65),
    [ 'klaviyo_subscribe { list ""; }', 'invalid list ""' ],
    [ "klaviyo_subscribe {\nchannels email push;#!\n}",
        'invalid channel "push", it must be "email" or "sms"' ],
    [ 'klaviyo_subscribe { channels EMAIL; }', 'invalid channel "EMAIL"' ],
    (map { [ "klaviyo_subscribe {\nsource $_;#!\n}",
        'invalid source "' . tr/"//dr . '", it must be a text of 1 to 255' ] }
        '""', '$arg_a', 'a' x 256),
    [ 'klaviyo_subscribe { consent .; channels email; list A;
        profile email $arg_e; }', 'no element for "."' ],
    [ 'klaviyo_subscribe { consent $arg_a =; }', 'operator "=" needs a text' ],
    [ 'klaviyo_subscribe { consent $nobody; channels email; list A;
        profile email $arg_e; }', 'unknown variable "$nobody"' ],
    (map { my ($name) = split / /; [ "klaviyo_subscribe {\n$_\n$_#!\n}",
        "\"$name\" directive is duplicate" ] } 'list A;', 'channels email;',
        'source A;', 'consented_at $arg_a;'),
    (map { [ "klaviyo_subscribe {\n$_;#!\n}",
        "invalid number of arguments in \"@{[ (split / /)[0] ]}\"", 1 ] }
        'list', 'list A B', 'channels', 'consent', 'source', 'source A b',
        'consented_at'),
    (map { [ "klaviyo_subscribe {\n$_#!\n}", '"' . (split / /)[0]
        . '" directive is not allowed here', 1 ] }
        'property A x;', 'each @args.a;', 'value 1;', 'unique_id x;',
        'service x;'),

    # limits

    (map { ([ "${_}_body_limit 16k;" ], [ "${_}_body_limit 0;" ],
            [ "${_}_body_limit;", 'invalid number of arguments' ],
            [ "${_}_body_limit 1x;",
              "\"${_}_body_limit\" directive invalid value" ],
            [ "${_}_body_limit 1k;\n${_}_body_limit 2k;#!",
              "\"${_}_body_limit\" directive is duplicate" ]) }
        qw(klaviyo_request klaviyo_response)),
    [ 'klaviyo_nonsense x;', 'unknown directive "klaviyo_nonsense"' ],
);

# in http

my @http = (

    [ 'klaviyo_track A { } klaviyo off; klaviyo_ignore bots;' ],
    [ 'klaviyo_use_account shop;',
        '"klaviyo_use_account" directive is not allowed here' ],
    [ 'klaviyo_status;', '"klaviyo_status" directive is not allowed here' ],
    [ 'server { klaviyo_status; }',
        '"klaviyo_status" directive is not allowed here' ],
    [ 'server { location /x { klaviyo_status on; } }',
        'invalid number of arguments in "klaviyo_status"' ],
    [ "server {\nif (\$arg_a) {\nklaviyo off;#!\n}\n}",
        '"klaviyo" directive is not allowed here' ],
    [ "server { location / {\nif (\$arg_a) {\nklaviyo_track A {#!\n}\n}\n} }",
        '"klaviyo_track" directive is not allowed here' ],
    [ "server { location / {\nlimit_except GET {\nklaviyo_track A {#!\n}\n}\n"
        . '} }', '"klaviyo_track" directive is not allowed here' ],
    [ "upstream u {\nserver 127.0.0.1;\nklaviyo off;#!\n}",
        '"klaviyo" directive is not allowed here' ],
    [ "server { location /x { location /x/y {\nklaviyo_use_account z;#!\n} } }",
        'unknown account "z" in "klaviyo_use_account"' ],
    [ 'property A x;', '"property" directive is not allowed here' ],
    [ 'when $arg_a;', '"when" directive is not allowed here' ],
    [ "klaviyo_drain_timeout 1s;\nklaviyo_drain_timeout 1s;#!",
        '"klaviyo_drain_timeout" directive is duplicate' ],
    [ 'klaviyo_drain_timeout soon;',
        '"klaviyo_drain_timeout" directive invalid value' ],

    # the name of a capture comes from another place, or the other way round

    [ 'server { klaviyo_track A ~(?<a>x) { } location ~(?<a>y) { } }' ],
    [ 'map $uri $a { } server { klaviyo_track A ~(?<a>x) { } }' ],
    [ 'server { klaviyo_track A ~(?<a>x) { } } map $uri $a { }' ],
    [ 'server { set $a x; klaviyo_track A ~(?<a>x) { } set $a y; }' ],
    [ 'server { klaviyo_track A ~(?<a>x) { } location / { return 200 $a; } }' ],
    [ 'server { klaviyo_track A { property P $a; } } map $uri $a { }' ],
);

# a whole configuration, after its events

my @files = (

    [ "http {\nserver {\nlocation /x {\nklaviyo_track A {#!\n}\n}\n}\n}",
        'no "klaviyo_account" for "klaviyo_track"' ],
    [ "http {\nserver {\nklaviyo_use_account shop;#!\n}\n}",
        'unknown account "shop" in "klaviyo_use_account"' ],
    [ "http {\nklaviyo_property A \$nobody;#!\n}",
        'unknown variable "$nobody"' ],
    [ "http {\nklaviyo_property A x;\nserver { klaviyo_ignore off; }\n}" ],
    [ "klaviyo off;", '"klaviyo" directive is not allowed here' ],
    [ "klaviyo_track A {\n}", '"klaviyo_track" directive is not allowed here' ],
    [ "when x;", '"when" directive is not allowed here' ],
);

###############################################################################

my $accounts = join ' ', map {
    "klaviyo_account $_ { api_key data:pk_${_}0123456789; }" } qw(shop other);

my @cases = (
    (map { [ @$_ ] } @files),
    (map { in("http {\n%%GLOBALS_HTTP%%\n$accounts\n", $_, "}\n") } @http),
    (map { in("http {\n%%GLOBALS_HTTP%%\n$accounts\nserver {\n", $_, "}\n}\n") }
        @server),
    (map { in("http {\n%%GLOBALS_HTTP%%\n$accounts\nserver {\nlocation /x {\n",
        $_, "}\n}\n}\n") } grep { $_->[0] =~ /klaviyo_(?:track|use)/ } @server),
    (map { in("http {\n%%GLOBALS_HTTP%%\n$accounts\nserver {\n"
        . "klaviyo_track A =/x {\n", $_, "}\n}\n}\n") } @rule),
);

my $t = Test::Nginx::Klaviyo->new()->plan(scalar @cases);

$t->write_file('inc/wrong.conf', "property A x;\n\nproperty A y;\n");
$t->write_file('inc/unknown.conf', "property A x;\nproperty B \$nobody;\n");
$t->write_file('inc/frames.conf', "property A .;\nproperty B ..;\n");

for my $case (@cases) {
    my ($text, $expected, $hint, $file, $line, $before) = @$case;
    my $head = "%%GLOBALS%%\nevents { }\n";

    # the line as nginx counts it
    my $all = $t->expand($head . ($before // '')
        . ($text =~ /#!/ ? $text =~ s/#!.*//rs : ''));

    $line //= 1 + ($all =~ tr/\n//);
    $file = $t->dir() . '/' . ($file // 'test') . '.conf';

    my ($code, $said) = $t->test_config($head . ($before // '') . $text
        . ($case->[6] // ''));
    my @lines = grep { /\[(?:emerg|alert|crit|error|warn)\]/ }
                split /\n/, $said;

    my $where = quotemeta " in $file:$line";
    my @patterns = !defined $expected ? ()
        : (qr/\A\S+ \S+ \[emerg\] \S+ \Q$expected\E.*$where(?!\d)/,
           $hint ? qr/must be quoted, in the block of "/ : ());

    my $fits = $code == (defined $expected ? 1 : 0) && @lines == @patterns
        && !grep { $lines[$_] !~ $patterns[$_] } 0 .. $#lines;

    ok($fits, title($text)) or diag("code $code, expected: ",
        $expected // 'nothing', "\nin $file:$line\nsaid:\n$said");
}

###############################################################################

# A case as it stands in a configuration: what comes before, and behind it.

sub in {
    my ($before, $case, $behind) = @_;
    my ($text, $expected, $hint, $file, $line) = @$case;

    return [ "$text\n", $expected, $hint, $file, $line, $before, $behind ];
}


sub title {
    my ($text) = @_;

    $text =~ s/#!//;
    $text =~ s/\s+/ /g;
    $text =~ s/[^ -~]/?/g;
    $text = 'nothing' if $text !~ /\S/;

    return length $text > 70 ? substr($text, 0, 70) . '...' : $text;
}

###############################################################################
