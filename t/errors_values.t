#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Errors of rules and values: nginx -t names the file, the line and the words
# that are wrong as they were written, and often what to write instead.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;

###############################################################################

# The body of a rule, or "server:: ..."; what nginx says, where " in FILE:LINE"
# is " in HERE" and stands at the end if nowhere else.  A text that is changed
# here must still have the word that is wrong, and help.

my $names = ', it must be @args, @cookies, @request, @response, @graphql,'
    . ' @jsonld or the name of a let, object or items above; a text begins'
    . ' with "\@"';

my @cases = (

    # Filters: a name that is none, an argument too few, one too many, one that
    # is no such thing.

    [ 'property A $arg_a | nubmer;',
        'unknown filter "nubmer", did you mean "number"?' ],
    [ 'property A $arg_a | xyzzyfoo;', 'unknown filter "xyzzyfoo"' ],
    [ 'property A $arg_a | Number;',
        'unknown filter "Number", did you mean "number"?' ],
    [ 'property A $arg_a | NUMBR;',
        'unknown filter "NUMBR", did you mean "number"?' ],
    [ 'property A $arg_a |;', 'no filter after "|"' ],
    [ 'property A $arg_a | split;', 'filter "split" needs a separator' ],
    [ 'property A $arg_a | default;', 'filter "default" needs a value' ],
    [ 'property A $arg_a | zip;', 'filter "zip" needs a value' ],
    [ 'property A $arg_a | regex;', 'filter "regex" needs a pattern' ],
    [ 'property A $arg_a | at;', 'filter "at" needs an index' ],
    [ 'property A $arg_a | pick;', 'filter "pick" needs a glob' ],
    [ 'property A $arg_a | where;', 'filter "where" needs a path' ],
    [ 'property A $arg_a | where id;', 'filter "where" needs a value' ],
    [ 'property A $arg_a | e164;', 'filter "e164" needs a country' ],
    [ 'property A $arg_a | multiply;', 'filter "multiply" needs a value' ],
    [ 'property A $arg_a | kv ,;', 'filter "kv" needs a separator after ","' ],
    [ 'property A $arg_a | kv , | first;',
        'filter "kv" needs a separator after ",", where "|" is written'
        . ' "\x7c"' ],
    [ 'property A $arg_a | kv "" :;', 'empty argument "" in filter "kv"' ],
    [ 'property A $arg_a | split "";', 'empty argument "" in filter "split"' ],
    [ 'property A $arg_a | pick "";', 'empty argument "" in filter "pick"' ],
    [ 'property A $arg_a number;',
        'unexpected "number", a value goes on with "| filter" only' ],
    [ 'property A $arg_a | number 2;',
        'unexpected "2", a value goes on with "| filter" only' ],
    [ 'property A $arg_a | trim lower;',
        'unexpected "lower", a value goes on with "| filter" only' ],
    [ 'property A $arg_a | split , 1 2;',
        'unexpected "2", a value goes on with "| filter" only' ],
    [ 'property A $arg_a | split , x;',
        'invalid index "x" in filter "split"' ],
    [ 'property A $arg_a | at x;', 'invalid index "x" in filter "at"' ],
    [ 'property A $arg_a | at 1.5;', 'invalid index "1.5" in filter "at"' ],
    [ 'property A $arg_a | at -;', 'invalid index "-" in filter "at"' ],
    [ 'property A $arg_a | at "";', 'invalid index "" in filter "at"' ],
    [ 'property A $arg_a | e164 XX;',
        'unknown country "XX" in filter "e164"' ],
    [ 'property A $arg_a | e164 ROM;',
        'unknown country "ROM" in filter "e164"' ],
    [ 'property A $arg_a | e164 R$arg_c;',
        'unknown country "R$arg_c" in filter "e164"' ],
    [ 'property A $arg_a | regex (;',
        'missing closing parenthesis in "(" in filter "regex"' ],
    [ 'property A $arg_a | regex a{2};',
        'directive "property" is not terminated by ";"' ],
    [ 'property A $arg_a | regex "[a";',
        'missing terminating ] for character class in "[a" in filter'
        . ' "regex"' ],

    # A filter that nginx's parser has left in a word: it would be a text.

    [ 'property A $arg_a|number;',
        '"|" inside of "$arg_a|number" is no filter, write "| number"'
        . ' behind it, with blanks and without quotes, or "\x7c" for the'
        . ' character' ],
    [ 'property A "$arg_a| number";',
        '"|" inside of "$arg_a| number" is no filter, write "| number"'
        . ' behind it, with blanks and without quotes, or "\x7c" for the'
        . ' character' ],
    [ 'property A x|number;',
        '"|" inside of "x|number" is no filter, write "| number" behind'
        . ' it, with blanks and without quotes, or "\x7c" for the character' ],
    [ 'property A $arg_a | default x|lower;',
        '"|" inside of "x|lower" is no filter, write "| lower" behind it,'
        . ' with blanks and without quotes, or "\x7c" for the character' ],
    [ 'property A @args.a|number;',
        '"|" inside of "@args.a|number" is no filter, write "| number"'
        . ' behind it, with blanks and without quotes, or "\x7c" for the'
        . ' character' ],
    [ 'property A .a|number;',
        '"|" inside of ".a|number" is no filter, write "| number" behind'
        . ' it, with blanks and without quotes, or "\x7c" for the character' ],

    # Paths: which part, and where.

    [ 'property A @args.a..b;',
        'invalid "@args.a..b": empty name in "a..b" at ".b"' ],
    [ 'property A @args.a[;', 'invalid "@args.a[": unclosed bracket in "a["' ],
    [ 'property A @args.a[01];',
        'invalid "@args.a[01]": invalid index in "a[01]" at "01]"' ],
    [ 'property A @args.a[1:2];',
        'invalid "@args.a[1:2]": slices are not supported in "a[1:2]" at'
        . ' ":2]"' ],
    [ 'property A @args.a[1,2];',
        'invalid "@args.a[1,2]": lists are not supported in "a[1,2]" at'
        . ' ",2]"' ],
    [ 'property A @args.a[x];',
        'invalid "@args.a[x]": invalid index in "a[x]" at "x]"' ],
    [ 'property A @args..a;', 'invalid "@args..a": leading dot in ".a"' ],
    [ 'property A @args.;', 'empty name in "@args."' ],
    [ 'property A @args["a;',
        'invalid "@args["a": unclosed quote in "["a" at ""a"' ],
    [ 'property A \'@args["a b"\';',
        'invalid "@args["a b"": unclosed bracket in "["a b""' ],
    [ 'property A \'@args[?@.a=="x]\';',
        'invalid "@args[?@.a=="x]": unclosed quote in "[?@.a=="x]" at ""x]"' ],
    [ 'property A \'@args[?@.a=x]\';',
        'invalid "@args[?@.a=x]": unexpected character in "[?@.a=x]" at'
        . ' "=x]"' ],
    [ 'property A \'@args[?@.a==x]\';',
        'invalid "@args[?@.a==x]": invalid literal in "[?@.a==x]" at "x]"' ],
    [ 'property A \'@args[?]\';',
        'invalid "@args[?]": invalid literal in "[?]" at "]"' ],
    [ 'property A \'@args[?!@.a==1]\';',
        'invalid "@args[?!@.a==1]": "!" needs parentheses around a'
        . ' comparison in "[?!@.a==1]" at "]"' ],
    [ 'property A \'@args[?@.a[*]==1]\';',
        'invalid "@args[?@.a[*]==1]": wildcard inside a filter in'
        . ' "[?@.a[*]==1]" at "@.a[*]==1]"' ],
    [ 'property A \'@args[?@.b[?@.c]]\';',
        'invalid "@args[?@.b[?@.c]]": filter inside a filter in'
        . ' "[?@.b[?@.c]]" at "?@.c]]"' ],
    [ 'property A @args.a(b);',
        'invalid "@args.a(b)": unexpected character in "a(b)" at "(b)"' ],
    [ 'property A @args[a];',
        'invalid "@args[a]": invalid index in "[a]" at "a]"' ],
    [ 'property A @args.a["b;',
        'invalid "@args.a["b": unclosed quote in "a["b" at ""b"' ],

    # Names: of nothing, of what comes below, of what is taken.

    [ 'property A @argsa;',
        'unknown name "@argsa"' . $names ],
    [ 'property A @;',
        'unknown name "@"' . $names ],
    [ 'property A @.a;',
        'unknown name "@"' . $names ],
    [ 'property A $arg_a | json a..b;',
        'empty name in "a..b" at ".b" in filter "json"' ],
    [ 'property A $arg_a | json .a;', 'leading dot in ".a" in filter "json"' ],
    [ 'property A $arg_a | json "a b";',
        'unexpected character in "a b" at " b" in filter "json"' ],
    [ 'property A $arg_a | jwt [;',
        'unclosed bracket in "[" in filter "jwt"' ],
    [ 'property A $arg_a | where [ 1;',
        'unclosed bracket in "[" in filter "where"' ],

    # Elements, where there are none.

    [ 'property A .a;',
        'no element for ".a" in HERE, it is of an element of "each" or'
        . ' "items" around; a text begins with "\."' ],
    [ 'property A .;',
        'no element for "." in HERE, it is of an element of "each" or'
        . ' "items" around; a text begins with "\."' ],
    [ 'property A ..a;',
        'no element for "..a" in HERE, it is of an element of "each" or'
        . ' "items" around; a text begins with "\."' ],
    [ 'items I @args.a { property A ..b; }',
        'no element for "..b" in HERE, it is of an element of "each" or'
        . ' "items" around; a text begins with "\."' ],
    [ 'items I @args.a { items J .b { property A ...c; } }',
        'invalid "...c": leading dot in ".c"' ],
    [ 'each @args.a; property A ..b;',
        'no element for "..b" in HERE, it is of an element of "each" or'
        . ' "items" around; a text begins with "\."' ],
    [ 'each .a; property A .;',
        'no element for ".a", it is of an element of "each" above; a text'
        . ' begins with "\."' ],
    [ 'each @args.a; each ..b;',
        'no element for "..b", it is of an element of "each" above; a text'
        . ' begins with "\."' ],
    [ 'each @args.a; items I .b { property A ...c; }',
        'invalid "...c": leading dot in ".c"' ],
    [ 'let x .a; property A 1;',
        'no element for ".a" in HERE, it is of an element of "each" or'
        . ' "items" around; a text begins with "\."' ],
    [ 'when .a;',
        'no element for ".a" in HERE, it is of an element of "each" or'
        . ' "items" around; a text begins with "\."' ],
    [ 'profile email .a;',
        'no element for ".a" in HERE, it is of an element of "each" or'
        . ' "items" around; a text begins with "\."' ],
    [ 'value .a;',
        'no element for ".a" in HERE, it is of an element of "each" or'
        . ' "items" around; a text begins with "\."' ],
    [ 'time .a;',
        'no element for ".a" in HERE, it is of an element of "each" or'
        . ' "items" around; a text begins with "\."' ],
    [ 'unique_id .a;',
        'no element for ".a" in HERE, it is of an element of "each" or'
        . ' "items" around; a text begins with "\."' ],
    [ 'property A @cart.x;',
        'unknown name "@cart"' . $names ],
    [ 'property A @Items;',
        'unknown name "@Items"' . $names ],
    [ 'property A @x; let x 1;',
        'unknown name "@x"' . $names ],
    [ 'let x @x;',
        'unknown name "@x"' . $names ],
    [ 'let args 1;',
        'invalid name "args", it must be letters, digits and "_", and not'
        . ' the name of a document' ],
    [ 'let a-b 1;',
        'invalid name "a-b", it must be letters, digits and "_", and not'
        . ' the name of a document' ],
    [ 'let "" 1;',
        'invalid name "", it must be letters, digits and "_", and not the'
        . ' name of a document' ],
    [ 'let x 1; let x 2;', 'duplicate name "x"' ],
    [ 'let x 1; object x { property A 1; }', 'duplicate name "x"' ],
    [ 'let request 1;',
        'invalid name "request", it must be letters, digits and "_", and'
        . ' not the name of a document' ],

    # What nobody remembers.

    [ 'property A $arg_a | recall cart;',
        'no "klaviyo_remember cart" for "recall"' ],

    # Variables and escapes.

    [ 'property A $1;',
        'invalid variable "$1" in "$1", name the capture: (?<name>...)' ],
    [ 'property A x$2y;',
        'invalid variable "$2y" in "x$2y", name the capture: (?<name>...)' ],
    [ 'property A ${1};',
        'invalid variable "$1" in "${1}", name the capture: (?<name>...)' ],
    [ 'property A "$";',
        'invalid variable name in "$", a "$" itself is written "\$"' ],
    [ 'property A "a$";',
        'invalid variable name in "a$", a "$" itself is written "\$"' ],
    [ 'property A ${a;',
        'invalid variable name in "${a", a "$" itself is written "\$"' ],
    [ 'property A "$-a";',
        'invalid variable name in "$-a", a "$" itself is written "\$"' ],
    [ 'property A \'\x\';', '"\x" needs two hexadecimal digits in "\x"' ],
    [ 'property A \'\x4\';', '"\x" needs two hexadecimal digits in "\x4"' ],
    [ 'property A \'\xzz\';', '"\x" needs two hexadecimal digits in "\xzz"' ],
    [ 'property A a\x4g;', '"\x" needs two hexadecimal digits in "a\x4g"' ],
    [ 'property A $arg_a | split \x2;',
        'invalid \x escape in "\x2" in filter "split"' ],
    [ 'property A $arg_a | pick \xg0;',
        'invalid \x escape in "\xg0" in filter "pick"' ],

    # Conditions.

    [ 'when $arg_a = \x1;', '"\x" needs two hexadecimal digits in "\x1"' ],
    [ 'when $arg_a != a\x;', '"\x" needs two hexadecimal digits in "a\x"' ],
    [ 'when $arg_a < x;', '"x" is not a number' ],
    [ 'when $arg_a >= "";', '"" is not a number' ],
    [ 'when $arg_a > 1,5;', '"1,5" is not a number' ],
    [ 'when $arg_a ~ (;', 'invalid pattern "(": missing closing parenthesis' ],
    [ 'when $arg_a !~* [a;',
        'invalid pattern "[a": missing terminating ] for character class' ],
    [ 'when $arg_a =;', 'operator "=" needs a text' ],
    [ 'when $arg_a = a b;',
        'unexpected "b" after "= a", a text with blanks must be quoted' ],
    [ 'when not;', 'no value after "not"' ],
    [ 'when;', 'invalid number of arguments in "when" directive' ],
    [ 'when not $arg_a = ;', 'operator "=" needs a text' ],
    [ 'when $arg_a == 1;',
        'unexpected "==", a value goes on with "| filter", = != < <= > >='
        . ' ~ !~ ~* or !~*' ],
    [ 'when $arg_a eq 1;',
        'unexpected "eq", a value goes on with "| filter", = != < <= > >='
        . ' ~ !~ ~* or !~*' ],
    [ 'when $arg_a | number > $arg_b;', '"$arg_b" is not a number' ],
    [ 'when = 1;',
        'unexpected "1", a value goes on with "| filter", = != < <= > >= ~'
        . ' !~ ~* or !~*' ],
    [ 'any { }', '"any" directive is empty' ],
    [ 'any { property A 1; }', '"property" directive is not allowed here' ],
    [ 'any { when $arg_a | nubmer; }',
        'unknown filter "nubmer", did you mean "number"?' ],

    # Properties, and what may stand once.

    [ 'property A;', 'invalid number of arguments in "property" directive' ],
    [ 'property "" 1;', 'invalid property name "", it must be UTF-8 without '
        . 'control characters' ],
    [ 'property A 1; property A 2;', 'duplicate property "A"' ],
    [ 'object O { }', '"object" directive is empty' ],
    [ 'object O { property A 1; } object O { property A 1; }',
        'duplicate property "O"' ],
    [ 'object O { property A 1; property A 2; }', 'duplicate property "A"' ],
    [ 'object O { when $arg_a; }', '"when" directive is not allowed here' ],
    [ 'items I @args { }', '"items" directive is empty' ],
    [ 'items I { property A 1; }',
        'invalid number of arguments in "items" directive' ],
    [ 'value 1; value 2;', '"value" directive is duplicate' ],
    [ 'currency A; currency B;', '"currency" directive is duplicate' ],
    [ 'time 1; time 2;', '"time" directive is duplicate' ],
    [ 'unique_id 1; unique_id 2;', '"unique_id" directive is duplicate' ],
    [ 'service a; service b;', '"service" directive is duplicate' ],
    [ 'service "";',
        'invalid service "", it must be a text of 1 to 64 characters without '
        . 'variables' ],
    [ 'service $arg_a;',
        'invalid service "$arg_a", it must be a text of 1 to 64 characters '
        . 'without variables' ],
    [ 'backfill on; backfill off;', '"backfill" directive is duplicate' ],
    [ 'backfill yes;',
        'invalid value "yes" in "backfill", it must be "on" or "off"' ],
    [ 'backfill after=1h;',
        'invalid value "after=1h" in "backfill", it must be "on" or "off"' ],
    [ 'account shop; account shop;', '"account" directive is duplicate' ],
    [ 'account other;', 'unknown account "other" in "account"' ],
    [ 'ignore off; ignore bots;', '"ignore" directive is duplicate' ],
    [ 'ignore robots;',
        'invalid value "robots" in "ignore", it must be "off", or some of'
        . ' prefetch, bots, optout, gpc, dnt' ],
    [ 'ignore off bots;',
        'invalid value "off" in "ignore", it must be "off", or some of'
        . ' prefetch, bots, optout, gpc, dnt' ],
    [ 'ignore;', 'invalid number of arguments in "ignore" directive' ],

    # Fields of the profile.

    [ 'profile mail $arg_a;',
        'invalid field "mail", Klaviyo\'s profile has email, phone_number,'
        . ' id, _kx, external_id, anonymous_id, first_name, last_name,'
        . ' organization, locale, title, image, location.* and properties.*' ],
    [ 'profile email $arg_a; profile email $arg_b;',
        'duplicate field "email"' ],
    [ 'profile location.town $arg_a;',
        'invalid field "location.town", Klaviyo\'s profile has email,'
        . ' phone_number, id, _kx, external_id, anonymous_id, first_name,'
        . ' last_name, organization, locale, title, image, location.* and'
        . ' properties.*' ],
    [ 'profile properties. $arg_a;',
        'invalid field "properties.", Klaviyo\'s profile has email,'
        . ' phone_number, id, _kx, external_id, anonymous_id, first_name,'
        . ' last_name, organization, locale, title, image, location.* and'
        . ' properties.*' ],
    [ 'profile location $arg_a;',
        'invalid field "location", Klaviyo\'s profile has email,'
        . ' phone_number, id, _kx, external_id, anonymous_id, first_name,'
        . ' last_name, organization, locale, title, image, location.* and'
        . ' properties.*' ],
    [ 'once hour;', 'invalid time "hour" in "once", it must stand last and be'
        . ' 1s or more' ],
    [ 'each 1; each 2; each 3; each 4; each 5;', 'more than 4 "each"' ],
    [ 'each;', 'invalid number of arguments in "each" directive' ],
    [ 'propery A 1;', 'unknown directive "propery"' ],

    # Variables that nobody defines: nginx itself knows neither file nor line.

    [ 'property A $nothing;', 'unknown variable "$nothing"' ],
    [ 'property A $arg_a | default $nothing;', 'unknown variable "$nothing"' ],
    [ 'property A "x ${nothing}";', 'unknown variable "$nothing"' ],
    [ 'when $nothing = 1;', 'unknown variable "$nothing"' ],
    [ 'property A $cookie;', 'unknown variable "$cookie"' ],

    # Methods and patterns.

    [ 'route;', 'invalid number of arguments in "route" directive' ],
    [ 'route FETCH /a;',
        'invalid method or pattern "FETCH", methods are GET, POST, PUT,'
        . ' PATCH and DELETE, patterns begin with "/", "=", "~" or "~*"' ],
    [ 'route a;',
        'invalid method or pattern "a", methods are GET, POST, PUT, PATCH'
        . ' and DELETE, patterns begin with "/", "=", "~" or "~*"' ],
    [ 'server:: klaviyo_track M get /a { }',
        'invalid method or pattern "get", methods are GET, POST, PUT,'
        . ' PATCH and DELETE, patterns begin with "/", "=", "~" or "~*"' ],
    [ 'server:: klaviyo_track M ~^/(x { }',
        'invalid pattern "~^/(x": missing closing parenthesis' ],
    [ 'server:: klaviyo_track M ~^/x{2}$ { }', 'unknown directive "2}$"' ],
    [ 'server:: klaviyo_track M "~^/(?<arg_id>x)" { }',
        'invalid name "arg_id" of a group, variables "$arg_..." are'
        . ' nginx\'s' ],
    [ 'server:: klaviyo_track M "~^/(?<uri>x)" { }',
        'the duplicate "uri" variable' ],
    [ 'server:: klaviyo_track M /a /b { }',
        'invalid pattern "/a", one path or regex must end the line, quoted'
        . ' if it has blanks' ],
    [ 'server:: klaviyo_track M = { }',
        'invalid pattern "=", one path or regex must end the line, quoted'
        . ' if it has blanks' ],
    [ 'server:: klaviyo_track M =a { }',
        'invalid pattern "=a", a path begins with "/"' ],
    [ 'server:: klaviyo_track { }',
        'invalid number of arguments in "klaviyo_track" directive' ],

    # Outside of rules.

    [ 'server:: klaviyo_property A .x;',
        'no element for ".x", it is of an element of "each" or "items" in'
        . ' a rule; a text begins with "\."' ],
    [ 'server:: klaviyo_property A @x;',
        'unknown name "@x"' . $names ],
    [ 'server:: klaviyo_property A $nothing;', 'unknown variable "$nothing"' ],
    [ 'server:: klaviyo_property A 1; klaviyo_property A 2;',
        'duplicate property "A"' ],
    [ 'server:: klaviyo_property A $arg_a | nubmer;',
        'unknown filter "nubmer", did you mean "number"?' ],
    [ 'server:: klaviyo_property A $1; ',
        'invalid variable "$1" in "$1", name the capture: (?<name>...)' ],
    [ 'server:: klaviyo_profile mail 1;',
        'invalid field "mail", Klaviyo\'s profile has email, phone_number,'
        . ' id, _kx, external_id, anonymous_id, first_name, last_name,'
        . ' organization, locale, title, image, location.* and properties.*' ],
    [ 'server:: klaviyo_profile email .x;',
        'no element for ".x", it is of an element of "each" or "items" in'
        . ' a rule; a text begins with "\."' ],
    [ 'server:: klaviyo_profile email 1; klaviyo_profile email 2;',
        'duplicate field "email"' ],
    [ 'server:: klaviyo_consent .a;',
        'no element for ".a", it is of an element of "each" or "items" in'
        . ' a rule; a text begins with "\."' ],
    [ 'server:: klaviyo_consent @x;',
        'unknown name "@x"' . $names ],
    [ 'server:: klaviyo_consent $arg_a ~ (;',
        'invalid pattern "(": missing closing parenthesis' ],
    [ 'server:: klaviyo_consent $arg_a = ;', 'operator "=" needs a text' ],
    [ 'server:: klaviyo_consent off off;',
        'unexpected "off", a value goes on with "| filter", = != < <= > >='
        . ' ~ !~ ~* or !~*' ],
    [ 'server:: klaviyo_consent not;', 'no value after "not"' ],
    [ 'server:: klaviyo_consent $nothing;', 'unknown variable "$nothing"' ],
    [ 'server:: klaviyo_identity off kx;',
        'invalid value "off" in "klaviyo_identity", it must be "off", or'
        . ' some of kx, cookie, visitor' ],
    [ 'server:: klaviyo_identity email;',
        'invalid value "email" in "klaviyo_identity", it must be "off", or'
        . ' some of kx, cookie, visitor' ],
    [ 'server:: klaviyo_identity kx; klaviyo_identity kx;',
        '"klaviyo_identity" directive is duplicate' ],
    [ 'server:: klaviyo_identifiers some;',
        'invalid value "some" in "klaviyo_identifiers", it must be "first"'
        . ' or "all"' ],
    [ 'server:: klaviyo_ignore robots;',
        'invalid value "robots" in "klaviyo_ignore", it must be "off", or'
        . ' some of prefetch, bots, optout, gpc, dnt' ],
    [ 'server:: klaviyo_ignore off; klaviyo_ignore off;',
        '"klaviyo_ignore" directive is duplicate' ],
    [ 'server:: klaviyo yes;',
        'invalid value "yes" in "klaviyo" directive, it must be "on" or'
        . ' "off"' ],
    [ 'server:: klaviyo_except;',
        'invalid number of arguments in "klaviyo_except" directive' ],
    [ 'server:: klaviyo_use_account other;',
        'unknown account "other" in "klaviyo_use_account"' ],
    [ 'server:: klaviyo_visitor .a;',
        'no element for ".a", it is of an element of "each" or "items" in a'
        . ' rule; a text begins with "\."' ],
    [ 'server:: klaviyo_remember cart { }',
        'no "key" in "klaviyo_remember cart"' ],
    [ 'property A "$arg_a | number";',
        '"|" inside of "$arg_a | number" is no filter, write "| number"'
        . ' behind it, with blanks and without quotes, or "\x7c" for the'
        . ' character' ],
    [ 'property A $arg_a | json a|first;',
        '"|" inside of "a|first" is no filter, write "| first" behind it,'
        . ' with blanks and without quotes, or "\x7c" for the character' ],
    [ 'property A $arg_a | kv ; =;', 'unknown directive "="' ],
    [ 'property A $arg_a | kv "," =;',
        'filter "kv" needs a separator after ",", where "=" is written'
        . ' "\x3d"' ],
    [ 'when .a = 1;',
        'no element for ".a" in HERE, it is of an element of "each" or'
        . ' "items" around; a text begins with "\."' ],
    [ 'server:: klaviyo_property A .x.y;',
        'no element for ".x.y", it is of an element of "each" or "items"'
        . ' in a rule; a text begins with "\."' ],
);

###############################################################################

my $t = Test::Nginx::Klaviyo->new()->plan(@cases + 5);

for my $case (@cases) {
    my ($body, $expected) = @$case;

    $expected .= ' in HERE' if $expected !~ / in HERE/;

    is(said($body), $expected, $body);
}

# the line, of a directive, of a value that is looked at later, in a file that
# is included

is(said("\n\nproperty A \$arg_a |\nnubmer;"),
    'unknown filter "nubmer", did you mean "number"? in HERE+3',
    'the line where a directive ends');
is(said("property A 1;\n\nwhen \$nothing;"),
    'unknown variable "$nothing" in HERE+2', 'the line of a variable');
is(said("property A 1;\nvalue .a;"), 'no element for ".a" in HERE+1, it is of'
    . ' an element of "each" or "items" around; a text begins with "\."',
    'the line of an element');

$t->write_file('inc.conf', "property A 1;\nproperty B \$arg_b | nubmer;\n");

like(said('include inc.conf;'), qr{"nubmer".* in \S+/inc\.conf:2$},
    'the file that is included');

# a regex that the parser has cut in two

like(($t->test_config(config("klaviyo_track M ~^/x{2}\$ { }")))[1],
    qr/unknown directive "2\}\$".*must be quoted, in the block of/s,
    'what to do about a brace');

###############################################################################

sub config {
    my ($server) = @_;

    return <<"EOC";
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    klaviyo_account shop { api_key data:pk_0123456789; }
    server {
# here
$server
    }
}
EOC
}


# the first thing that nginx says, with HERE for the line of the body

sub said {
    my ($body) = @_;

    my $rule = $body =~ s/\Aserver:: //r;

    $rule = "klaviyo_track M { $body }" if $rule eq $body;

    my ($code, $out) = $t->test_config(config($rule));
    my ($text) = $out =~ /\[emerg\] (?:\d+#\d+: )?(.*)/ or return $out;

    my $config = $t->read_file('test.conf');
    my $here = 1 + (substr($config, 0, index $config, "# here\n") =~ tr/\n//);
    my $file = $t->dir() . '/test.conf';

    $text =~ s/\Q$file\E:(\d+)/'HERE' . plus($1 - $here - 1)/e;

    return $code ? $text : "no error: $text";
}


sub plus { return $_[0] ? "+$_[0]" : '' }

###############################################################################
