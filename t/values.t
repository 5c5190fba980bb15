#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# VALUE: terms, tokens, filters and elements, from nginx.conf to the text that
# Klaviyo receives.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use MIME::Base64 qw(encode_base64 encode_base64url);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo::Table;

###############################################################################

my $table = Test::Nginx::Klaviyo::Table->new(http => <<'EOH');

    map $arg_a $mapped {
        default  $arg_a;
    }

    # of a rule's capture, which differs from rule to rule
    map $handle $shelf {
        volatile;
        default  none;
        hat      headwear;
        scarf    neckwear;
    }

    geo $place {
        default    nowhere;
        127.0.0.1  home;
    }

    geo $place_unknown {
        default  "";
    }

    split_clients $arg_a $half {
        100%  everybody;
    }

EOH

# Terms: @args.  Names that hide each other, an array for one value, a plus that
# stays, a name that is taken as it came, values that differ in type.

args('one', '@args.a', 'a=1', '"1"');
args('twice', '@args.a', 'a=1&b=2&a=3', '["1","3"]');
args('three times', '@args.a', 'a=1&a=2&a=3', '["1","2","3"]');
args('all of them', '@args', 'a=1&b=2', '{"a":"1","b":"2"}');
args('members', '@args[*]', 'a=1&b=2', '["1","2"]');
args('other letters', '@args.A', 'a=1', undef);
args('brackets', '@args.a', 'a[b]=1&a[c]=2', '{"b":"1","c":"2"}');
args('brackets, a path', '@args.a.b', 'a[b]=1&a[c]=2', '"1"');
args('brackets, escaped', '@args.a.b.c', 'a%5Bb%5D%5bc%5d=1', '"1"');
args('brackets, empty', '@args.a', 'a[]=1&a[]=2', '["1","2"]');
args('brackets, numbers', '@args.a', 'a[0]=1&a[1]=2', '["1","2"]');
args('brackets, not from 0', '@args.a', 'a[1]=1&a[2]=2', '{"1":"1","2":"2"}');
args('brackets, objects in a list', '@args.a[*].k',
    'a[0][k]=1&a[0][v]=2&a[1][k]=3', '["1","3"]');
args('brackets, repeated', '@args.a.b', 'a[b]=1&a[b]=2', '["1","2"]');
args('brackets, left open', '@args["a[b"]', 'a[b=1', '"1"');
args('brackets, nothing before', '@args', '[a]=1&b=2', '{"b":"2"}');
args('brackets after a value', '@args.a', 'a=1&a[b]=2', '"1"');
args('a value after brackets', '@args.a', 'a[b]=1&a=2', '{"b":"1"}');
args('plus and percent', '@args.a', 'a=x+y%2Bz%20%26', '"x y+z &"');
args('decoded once', '@args.a', 'a=%252B', '"%2B"');
args('a broken escape', '@args.a', 'a=100%&b=1', '"100%"');
args('a name decoded', q('@args["a b"]'), '%61+b=1', '"1"');
args('no value', '@args.a', 'a', undef);
args('an empty value', '@args.a', 'a=', undef);
args('nothing', '@args.a', '', undef);
args('all of nothing', '@args', '', undef);
args('a dot in a name', '@args["a.b"]', 'a.b=1', '"1"');
args('signs in a name', '@args.$a-b', '$a-b=1', '"1"');
args('an equals sign', '@args.a', 'a=b=c', '"b=c"');
args('not UTF-8', '@args.a', 'a=%ff%C3%A9', qq("\xef\xbf\xbd\xc3\xa9"));
args('a quote and a backslash', '@args.a', 'a=%22%5C%0A', '"\"\\\\\n"');
args('an index', '@args.a[-1]', 'a=1&a=2&a=3', '"3"');
args('no such index', '@args.a[3]', 'a=1&a=2&a=3', undef);
args('elements', '@args.a[*]', 'a=1', undef);
args('a condition', "'\@args.a[?\@.k==\"y\"].v'",
    'a[0][k]=x&a[0][v]=1&a[1][k]=y&a[1][v]=2', '["2"]');

# Terms: $arg_x is decoded once and never more; nothing else is.

args('$arg_x', '$arg_a', 'a=x+y%2Bz%2525', '"x y+z%25"');
args('$arg_x, the first', '$arg_a', 'a=1&a=2', '"1"');
args('$arg_x, other letters', '$ARG_A', 'a=x+y', '"x y"');
args('$args', '$args', 'a=x+y%2B', '"a=x+y%2B"');
args('a map', '$mapped', 'a=x+y%2B', '"x+y%2B"');
args('a map, decoded by us', '$mapped | formdecode', 'a=x+y%2B', '"x y+"');

# Terms: @cookies.  Values that are decoded or unquoted, the last of equals.

cookies('raw', '@cookies.a', 'a=x%20y+z', '"x%20y+z"');
cookies('quoted', '@cookies.a', 'a="q"', '"\"q\""');
cookies('an equals sign', '@cookies.b', 'a=1; b=2=3=', '"2=3="');
cookies('blanks', '@cookies.b', "a=1;b = 2 ;\tc=3", '"2"');
cookies('the first', '@cookies.a', 'a=1; a=2', '"1"');
cookies('letters count', '@cookies.A', 'a=1', undef);
cookies('no value', '@cookies', 'a; b=; c=1', '{"c":"1"}');
cookies('signs in a name', '@cookies.c15t-consent', 'c15t-consent=1', '"1"');
cookies('a dot in a name', '@cookies["a.b"]', 'a.b=1', '"1"');
cookies('names by a glob', '@cookies | pick checkoutId-* | first',
    'x=0; checkoutId-eu=1; checkoutId-us=2', '"1"');
cookies('brackets are letters', '@cookies', 'a[b]=1', '{"a[b]":"1"}');
cookies('several headers', '@cookies.b', [ 'a=1', 'b=2' ], '"2"');
cookies('$cookie_x, raw', '$cookie_a', 'a=x%20y+z', '"x%20y+z"');
cookies('none', '@cookies.a', undef, undef);

# Terms: strings.  A part that is missing must not leave the rest.

args('a constant', 'yes', '', '"yes"');
args('several variables', '"$arg_a-$arg_b"', 'a=1&b=2+3', '"1-2 3"');
args('a name in braces', '${arg_a}b', 'a=1', '"1b"');
args('missing as a whole', 'order-$arg_a', '', undef);
args('empty as a whole', 'order-$arg_a', 'a=', undef);
args('missing as a whole, the last', '"$arg_a-$arg_b"', 'a=1', undef);
args('an empty one', '""', '', undef);
args('a dot', '\.a', '', '".a"');
args('an at sign', '\@a', '', '"@a"');
args('at signs inside', 'a@b.c', '', '"a@b.c"');
args('a dollar', '\$a', '', '"$a"');
args('a dollar and a variable', '\$$arg_a', 'a=1', '"$1"');
args('hexadecimal', '\x41\x7c\xc3\xa9', '', qq("A|\xc3\xa9"));
args('hexadecimal is no variable', '\x24arg_a', 'a=1', '"$arg_a"');
args('hexadecimal is no name', '\x40args', 'a=1', '"@args"');
args('a pipe that is none', 'a|b', '', '"a|b"');
args('another backslash', '\w', '', '"\\\\w"');
args('a pipe as the value', '"|"', '', '"|"');
args('blanks', '"a b"', '', '"a b"');

# Other modules' variables.

args('geo', '$place', '', '"home"');
args('geo, empty', '$place_unknown', '', undef);
args('split_clients', '$half', 'a=1', '"everybody"');
args('set', '$chosen', 'a=1', '"1"', level => 'set $chosen $arg_a;');
args('a header', '$http_x_a', '', '"x%20y+z"', headers => { 'X-A' =>
    'x%20y+z' });
args('a header of the answer', '$sent_http_x_b', '', '"b"',
    level => 'add_header X-B b;');
args('the status', '$status', '', '"204"', answer => 'return 204');
args('the method', '$request_method', '', '"POST"', method => 'POST',
    body => '');

# A map of a capture: each rule has its own value of it.

property('a map of a capture', 'property A $shelf;', '', '{"A":"headwear"}',
    pattern => '~^/%d/(?<handle>\w+)$', uri => '/%d/hat');
property('a map of the next capture', 'property A $shelf;', '',
    '{"A":"neckwear"}', pattern => '~^/%d/(?<handle>\w+)$',
    uri => '/%d/scarf');

# Filters: decode.

cookies('urldecode', '@cookies.a | urldecode', 'a=x%20y+z%zz%4',
    '"x y+z%zz%4"');
cookies('formdecode', '@cookies.a | formdecode', 'a=x%20y+z', '"x y z"');
header('base64', 'base64', 'aGVsbG8=', '"hello"');
header('base64 without padding', 'base64', 'aGVsbG8', '"hello"');
header('base64 of the other alphabet', 'base64', '8J-YgA',
    qq("\xf0\x9f\x98\x80"));
header('base64url', 'base64url', '8J-YgA==', qq("\xf0\x9f\x98\x80"));
header('base64url of the other alphabet', 'base64url', '8J+YgA',
    qq("\xf0\x9f\x98\x80"));
header('base64, blanks', 'base64', 'aGVs bG8', '"hello"');
header('base64, none', 'base64', 'a*b', undef);
header('json', 'json', '{"a":[1,"2",true,null,1.50]}',
    '{"a":[1,"2",true,1.5]}');
header('json, a path', 'json a[-1].b', '{"a":[1,{"b":"x"}]}', '"x"');
header('json, no such path', 'json a.b', '{"a":1}', undef);
header('json, broken', 'json', '{"a":1', undef);
header('json, null', 'json a', '{"a":null}', undef);
header('json, a number alone', 'json', ' 1.20 ', '1.2');
header('json, the least integer', 'json', '-9223372036854775808',
    '-9223372036854775808');
header('json, beyond 64 bits', 'json', '9223372036854775808',
    undef);
header('json in json', 'json a | json b', '{"a":"{\"b\":2}"}', '2');
header('json, its own twins', 'json a', '{"a":1,"a":2}', '2');
header('json, a blank in the path', 'json "a[?@.b == 1].c"',
    '{"a":[{"b":1,"c":2},{"b":2,"c":3}]}', '[2]');
header('form', 'form', 'a=1+2&b=%41&a=3', '{"a":"1 2","b":"A"}');
header('form, brackets', 'form | json a.b', 'a[b]=1', '"1"');
header('kv', 'kv', ' a : 1 ,b:2:3,a:4,c', '{"a":"1","b":"2:3"}');
header('kv, other separators', 'kv ";" \x3d', 'a=1;b=2', '{"a":"1","b":"2"}');
header('kv, hexadecimal separators', 'kv \x7c \x3d', 'a=1|b=2',
    '{"a":"1","b":"2"}');
header('unescape', 'unescape', 'Tom &amp; J&#233;r&#xF4;me &euro;&lt;&no;&',
    qq("Tom & J\xc3\xa9r\xc3\xb4me \xe2\x82\xac<&no;&"));

# A JSON Web Token: in a cookie, and behind a scheme in a header.

my $jwt = join '.', map { encode_base64url($_) } '{"alg":"none"}',
    '{"email":"ana@shop.dev","sub":7,"n":{"a":[1]}}', 'signature';

header('jwt', 'jwt', $jwt, '{"email":"ana@shop.dev","sub":7,"n":{"a":[1]}}');
header('jwt, a path', 'jwt email', $jwt, '"ana@shop.dev"');
header('jwt with a scheme', 'jwt n.a[0]', "Bearer $jwt", '1');
header('jwt, none', 'jwt', 'a.b', undef);
header('jwt, encrypted', 'jwt', 'a.b.c.d.e', undef);
cookies('jwt in a cookie', '@cookies | pick *_access_token | first | jwt sub',
    "https___api_x_saleor_auth_access_token=$jwt", '7');

# Filters: choose.

header('first', 'json | first', '[1,2,3]', '1');
header('first of one', 'first', 'a', '"a"');
header('first of none', 'json | first', '[]', undef);
header('last', 'json | last', '[1,2,3]', '3');
header('at', 'json | at 1', '[1,2,3]', '2');
header('at, from the end', 'json | at -3', '[1,2,3]', '1');
header('at, nowhere', 'json | at 3', '[1,2,3]', undef);
header('at, before the beginning', 'json | at -4', '[1,2,3]', undef);
header('keys', 'json | keys', '{"b":1,"a":2}', '["b","a"]');
header('keys of none', 'keys', 'a', undef);
header('pick', 'json | pick a*', '{"ab":1,"b":2,"ac":null,"a":3}', '[1,3]');
header('pick, a question mark', 'json | pick ?b', '{"ab":1,"b":2,"bb":3}',
    '[1,3]');
header('pick, no regex', 'json | pick a.b', '{"a.b":1,"axb":2}', '[1]');
header('where', 'json | where id 38', '[{"id":38},{"id":"38"},{"id":39}]',
    '[{"id":38},{"id":"38"}]');
header('where, a deeper path', 'json | where a.b x', '[{"a":{"b":"x"}},{}]',
    '[{"a":{"b":"x"}}]');
header('where, nothing', 'json | where a x', '[{"a":"y"}]', undef);
header('where with a variable', 'json | where sku $arg_s | first | json n',
    '[{"sku":"a","n":1},{"sku":"b","n":2}]', '2', 's=b');
header('where with a name', 'json | where sku @args.s | first | json n',
    '[{"sku":"a","n":1},{"sku":"b","n":2}]', '2', 's=b');
header('where, what to look for is missing', 'json | where sku $arg_s',
    '[{"n":1}]', undef);
header('unique', 'json | unique', '[1,"1",1,"a",{"a":1,"b":2},{"b":2,"a":1}]',
    '[1,"1","a",{"a":1,"b":2}]');
header('zip', 'split , | zip @args.b', 'x,y,z', '[["x","1"],["y","2"]]',
    'b=1&b=2');
header('zip, one each', 'zip $arg_b', 'x', '[["x","1"]]', 'b=1');
header('zip, nothing beside', 'zip $arg_b', 'x', undef);
header('default, not needed', 'json a | default z', '{"a":"x"}', '"x"');
header('default', 'json b | default z', '{"a":"x"}', '"z"');
header('default of a variable', 'json b | default $arg_b', '{}', '"1 2"',
    'b=1+2');
header('default of a name', 'json b | default @args.b', '{}', '["1","2"]',
    'b=1&b=2');
header('default that is missing too', 'json b | default $arg_b', '{}', undef);
header('default of a default', 'json b | default $arg_b | default z', '{}',
    '"z"');
header('default, then more', 'json b | default 7 | number', '{}', '7');

# Filters: text.

header('trim', 'split , 1 | trim', 'a,  b c  ,', '"b c"');
header('trim, nothing left', 'split , 1 | trim', 'a,  ,', undef);
header('lower', 'lower', "AbC\xc3\x89", qq("abc\xc3\x89"));
header('upper', 'upper', 'aBc', '"ABC"');
header('regex, the first group', 'regex a(b+)(c)', 'xabbc', '"bb"');
header('regex, without groups', 'regex b+', 'xabbc', '"bb"');
header('regex, no match', 'regex z', 'xabbc', undef);
header('regex, a group that took no part', 'regex "a(z)?b"', 'ab', undef);
header('regex, quoted', 'regex "(\d{2};\d)"', 'x12;3', '"12;3"');
header('regex, characters', 'regex ^(.)', "\xc3\xa9a", qq("\xc3\xa9"));
header('regex, no case', 'regex (?i)B', 'abc', '"b"');
header('split', 'split ,', 'a,b,,c', '["a","b","c"]');
header('split, an index', 'split , 1', 'a,b', '"b"');
header('split, from the end', 'split , -1', 'a,b', '"b"');
header('split, nowhere', 'split , 2', 'a,b', undef);
header('split, several letters', 'split ", " 1', 'a, b', '"b"');
header('split, nothing to split', 'split ,', 'a', '["a"]');
header('join', 'json | join ", "', '["a",1,null,true]', '"a, 1, true"');
header('join, one', 'join ,', 'a', '"a"');
header('join, nothing between', 'split , | join "" | number', '1,299.50',
    '1299.5');
header('prefix', 'prefix "p $arg_b "', 'x', '"p 1 x"', 'b=1');
header('prefix, missing', 'prefix $arg_b', 'x', undef);
header('suffix', 'suffix -$arg_b', 'x', '"x-1"', 'b=1');
header('gid', 'gid', 'gid://shopify/Product/7?key=a/b', '"7"');
header('gid, no slash', 'gid', '7', '"7"');
header('gid, nothing behind', 'gid', 'a/', undef);
header('sha256', 'sha256', 'abc', '"ba7816bf8f01cfea414140de5dae2223b00361a39'
    . '6177a9cb410ff61f20015ad"');
header('e164', 'e164 RO', '0712 345 678', '"+40712345678"');
header('e164, lower case', 'e164 de', '+49 (0)30 123456', '"+4930123456"');
header('e164, international', 'e164 US', '+40712345678', '"+40712345678"');
header('e164, two zeros', 'e164 DE', '0040712345678', '"+40712345678"');
header('e164, none', 'e164 DE', 'hello', undef);
args("e164, a country that is $_->[0]", '@args.a | e164 $http_x_country',
    'a=0712+345+678', $_->[2], headers => { 'X-Country' => $_->[1] })
    for [ 'known', 'ro', '"+40712345678"' ], [ 'none', 'Romania', undef ],
        [ 'missing', undef, undef ];

# Filters: type.

header('number', 'number', '1.50', '1.5');
header('number, negative', 'number', '-0.10', '-0.1');
header('number, an exponent', 'number', '1e3', '1000');
header('number, large', 'number', '1e300', '1e300');
header('number, too large', 'number', '1e999', undef);
header('number, thousands', 'number', '1,299.00', undef);
header('number, a currency', 'number', '19.99 EUR', undef);
header('number, a blank', 'number', '1 2', undef);
header('number, hexadecimal', 'number', '0x10', undef);
header('number, not one', 'number', 'NaN', undef);
header('number of a number', 'json | number', '1.0', '1');
header('number of true', 'json | number', 'true', undef);
header('number of an array', 'split , | number', '1,x,2', '[1,2]');
header('number of an object', 'json | number', '{"a":1}', undef);
header('integer', 'integer', '17.0', '17');
header('integer, a fraction', 'integer', '17.5', undef);
header('integer, 64 bits', 'integer', '9223372036854775807',
    '9223372036854775807');
header('integer, more', 'integer', '9223372036854775808', undef);
header('boolean', 'split , | boolean', 'true,1,YES,on,false,0,No,off,2,x',
    '[true,true,true,true,false,false,false,false]');
header('string', 'json | string', '[1.50,true,"a",1e2,12345678901234567890,{}]',
    '["1.5","true","a","100"]');
header('date, seconds', 'date', '1753265730', '"2025-07-23T10:15:30Z"');
header('date, milliseconds', 'date', '1753265730123',
    '"2025-07-23T10:15:30.123Z"');
header('date, RFC 3339', 'date', '2025-07-23T12:15:30.5+02:00',
    '"2025-07-23T10:15:30.500Z"');
header('date, HTTP', 'date', 'Wed, 23 Jul 2025 10:15:30 GMT',
    '"2025-07-23T10:15:30Z"');
header('date, a day', 'date', '2025-07-23', '"2025-07-23T00:00:00Z"');
header('date, no zone', 'date', '2025-07-23T10:15:30', undef);
header('date, no such day', 'date', '2025-02-29', undef);
header('date, words', 'date', 'yesterday', undef);
header('date of a number', 'json | date', '1753265730',
    '"2025-07-23T10:15:30Z"');

# Filters: reckon.  Money: floating point would give 59.970000000000006, and
# 0.30000000000000004.

header('count', 'json | count', '[1,null,3]', '3');
header('count of an object', 'json | count', '{"a":1,"b":2}', '2');
header('count of one', 'count', 'a', '1');
header('count of nothing', 'json a | count', '{}', '0');
header('sum', 'json | sum', '[0.1,0.2,"0.3"]', '0.6');
header('sum, one', 'sum', '1.10', '1.1');
header('sum, not a number', 'json | sum', '[1,"x"]', undef);
header('sum of nothing', 'json | sum', '[]', undef);
header('sum of zeros', 'json | sum', '[0,0]', '0');
header('min', 'json | min', '[3,"-1.5",2]', '-1.5');
header('max', 'json | max', '[3,"10",2]', '10');
header('multiply', 'multiply 3', '19.99', '59.97');
header('multiply by a variable', 'multiply $arg_q', '19.99', '59.97', 'q=3');
header('multiply by a name', 'multiply @args.q', '1.1', '1.21', 'q=1.1');
header('multiply, large and exact', 'multiply 100', '92233720368547758.07',
    '9223372036854775807');
header('multiply by nothing', 'multiply $arg_q', '19.99', undef);
header('multiply by text', 'multiply x', '19.99', undef);
header('multiply an array', 'split , | multiply 2', '0.1,0.2', '[0.2,0.4]');
header('divide', 'divide 100', '1999', '19.99');
header('divide by three', 'divide 3', '1',
    '0.3333333333333333333333333333');
header('divide by zero', 'divide 0', '1', undef);
header('scale', 'scale 2', '1800', '18');
header('scale, cents', 'scale 2', '1999', '19.99');
header('scale, none', 'scale 0', '1999', '1999');
header('scale by a variable', 'scale $arg_e', '1999', '1.999', 'e=3');
header('scale, negative', 'scale -2', '19.99', '1999');
header('scale, a fraction', 'scale 1.5', '19.99', undef);

# Tokens: mandatory arguments are taken whatever they look like, optional ones
# unless they look like what goes on.

header('split at a pipe', 'split |', 'a|b', '["a","b"]');
header('split at a pipe, an index', 'split | 1', 'a|b', '"b"');
header('split at a pipe, quoted', 'split "|" 1', 'a|b', '"b"');
header('split at a pipe, in hexadecimal', 'split \x7c 1', 'a|b', '"b"');
header('split at a pipe, then a filter', 'split | | last', 'a|b', '"b"');
header('split at an operator', 'split = 1', 'a=b', '"b"');
header('split, no index', 'split , | last', 'a,b', '"b"');
header('join with a pipe', 'split , | join |', 'a,b', '"a|b"');
header('default of a pipe', 'json a | default |', '{}', '"|"');
header('default of an operator', 'json a | default =', '{}', '"="');
header('default of a filter', 'json a | default count', '{}', '"count"');
header('prefix of a dot', 'prefix \.', 'a', '".a"');
header('json without a path', 'json | first', '[1]', '1');
header('a long chain', 'urldecode | base64 | json a | split , | last | number'
    . ' | multiply 2 | scale 1 | string', encode_base64('{"a":"1,25"}', ''),
    '"5"');
property('on several lines', "property A \$arg_a\n | split ,\n | last;",
    'a=1,2', '{"A":"2"}');

# Shapes of real cookies.

header('a cart behind an escape', 'urldecode | split ? 0',
    'hWN4RkQ%3Fkey%3D9f2c', '"hWN4RkQ"');
header('a cart as a whole gid', 'urldecode | gid',
    'gid%3A%2F%2Fshopify%2FCart%2Fabc%3Fkey%3D1', '"abc"');
header('JSON in a cookie', 'urldecode | json items[0].id | gid',
    '%7B%22items%22%3A%5B%7B%22id%22%3A%22gid%3A%2F%2Fx%2FV%2F7%22%7D%5D%7D',
    '"7"');
header('JSON in base64 in a cookie', 'base64 | json $exchange_id',
    encode_base64('{"cid":"a","$exchange_id":"ab.cd"}', ''), '"ab.cd"');
header('OneTrust', 'urldecode | form | pick groups | first | kv'
    . ' | pick C0004 | first',
    'isGpcEnabled=0&groups=C0001%3A1%2CC0004%3A0&x=1',
    '"0"');
header('OneTrust, escaped twice', 'form | json groups | kv | json C0004',
    'groups=C0001%3A1%2CC0004%3A1', '"1"');
cookies('c15t', '@cookies.c15t-consent | kv | json ["c.marketing"] | boolean',
    'c15t-consent=i.t:1760000000,c.necessary:1,c.marketing:1', 'true');
header('Cookiebot', 'urldecode | regex marketing:(true|false) | boolean',
    '%7Bstamp:%27a%3D%27%2Cnecessary:true%2Cmarketing:false%2Cver:1%7D',
    'false');

# A name for a value: of another name, asked for twice, missing.

property('let', 'let x $arg_a | lower; property A @x; property B @x;',
    'a=X', '{"A":"x","B":"x"}');
property('let of a let',
    'let x $cookie_c | json; let y @x.a; property A @y[0];',
    '', '{"A":1}', headers => { Cookie => 'c={"a":[1]}' });
property('let, a path without dot', 'let x $cookie_c | json;'
    . ' property A @x[*].b;', '', '{"A":[1]}',
    headers => { Cookie => 'c=[{"b":1},{"c":2}]' });
property('let, missing', 'let x $arg_a; property A @x; property B 1;', '',
    '{"B":"1"}');
property('let in the middle', 'property A $arg_a; let x $arg_a;'
    . ' property B @x;', 'a=1', '{"A":"1","B":"1"}');
property('let as an argument', 'let x $arg_b; property A $arg_a | multiply @x;',
    'a=2&b=3', '{"A":6}');

# Objects and items.

my $cart = '{"currency":"EUR","lines":[{"id":7,"title":"Hat","qty":3,'
    . '"price":"19.99","cents":1999},{"id":8,"title":"Scarf","qty":1,'
    . '"price":"5","cents":500,"minor":3}]}';

cart('object', 'object O { property A $arg_a; property B 2; }', 'a=1',
    '{"O":{"A":"1","B":"2"}}');
cart('object, a part is missing', 'object O { property A $arg_a;'
    . ' property B 2; }', '', '{"O":{"B":"2"}}');
cart('object without anything', 'object O { property A $arg_a; }', '', '{}');
cart('object in an object', 'object O { object P { property A 1; } }', '',
    '{"O":{"P":{"A":"1"}}}');
cart('object, its name', 'object O { property A 1; } property B @O.A;', '',
    '{"O":{"A":"1"},"B":"1"}');
cart('items', 'items Items @cart.lines[*] { property ProductID .id | string;'
    . ' property ProductName .title; property Quantity .qty | integer;'
    . ' property RowTotal .price | multiply .qty; } property ItemNames'
    . ' @Items[*].ProductName; property Total @Items[*].RowTotal | sum;', '',
    '{"Items":[{"ProductID":"7","ProductName":"Hat","Quantity":3,'
    . '"RowTotal":59.97},{"ProductID":"8","ProductName":"Scarf","Quantity":1,'
    . '"RowTotal":5}],"ItemNames":["Hat","Scarf"],"Total":64.97}');
cart('items, an exponent from beside', 'items I @cart.lines'
    . ' { property P .cents | scale .minor; property Q .cents | scale 2; }',
    '', '{"I":[{"Q":19.99},{"P":0.5,"Q":5}]}');
cart('items with a variable and a name', 'items I @cart.lines {'
    . ' property C @cart.currency; property A $arg_a; property T .title; }',
    'a=1', '{"I":[{"C":"EUR","A":"1","T":"Hat"},'
    . '{"C":"EUR","A":"1","T":"Scarf"}]}');
cart('items of one', 'items I @cart.lines[0] { property T .title; }', '',
    '{"I":[{"T":"Hat"}]}');
cart('items of texts', 'items I @args.i { property V .; }', 'i=1&i=2',
    '{"I":[{"V":"1"},{"V":"2"}]}');
cart('items, an element without a field', 'items I @cart.lines'
    . ' { property M .minor; }', '', '{"I":[{"M":3}]}');
cart('items without elements', 'items I @cart.none { property T .title; }'
    . ' property N @I | count;', '', '{"N":0}');
cart('object in items', 'items I @cart.lines { object O { property T .title;'
    . ' } property N .none; }', '', '{"I":[{"O":{"T":"Hat"}},'
    . '{"O":{"T":"Scarf"}}]}');
cart('items in an object', 'object O { items I @cart.lines { property T .title;'
    . ' } }', '', '{"O":{"I":[{"T":"Hat"},{"T":"Scarf"}]}}');
property('items in items', 'let g $cookie_c | json; items G @g {'
    . ' property Name .n; items L .l { property Id .i; property Of ..n;'
    . ' property Both .i | prefix ..n; } }', '',
    '{"G":[{"Name":"x","L":[{"Id":1,"Of":"x","Both":"x1"},{"Id":2,"Of":"x",'
    . '"Both":"x2"}]},{"Name":"y","L":[{"Id":3,"Of":"y","Both":"y3"}]}]}',
    headers => { Cookie => 'c=[{"n":"x","l":[{"i":1},{"i":2}]},'
                           . '{"n":"y","l":{"i":3}},{}]' });
cart('names are literal', 'property $extra 1; property a.b 2;'
    . ' property "c d" 3; property "e\"f" 4; object o.p { property @x 5; }',
    '', '{"$extra":"1","a.b":"2","c d":"3","e\"f":"4","o.p":{"@x":"5"}}');
cart('the order of the rule', 'property B 1; property A 2;', '',
    '{"B":"1","A":"2"}');

# One event per element: an element too many, or one that is seen as another.

each_('each', 'each $arg_i | split ,; property A .;', 'i=a,b',
    [ '{"A":"a"}', '{"A":"b"}' ]);
each_('each of one', 'each $arg_i; property A .;', 'i=a', [ '{"A":"a"}' ]);
each_('each without elements', 'each $arg_i; property A .;', '', [],
    'skipped:empty');
each_('each of an empty array', 'each @args.i[*]; property A .;', 'i=1', [],
    'skipped:empty');
each_('each, conditions', 'each $cookie_c | json; when .q > 1;'
    . ' property A .n;', '', [ '{"A":"b"}', '{"A":"c"}' ], 'queued',
    'c=[{"n":"a","q":1},{"n":"b","q":2},{"n":"c","q":"3"},{"n":"d"}]');
each_('each, none holds', 'each $arg_i | split ,; when . = c; property A .;',
    'i=a,b', [], 'skipped:condition');
each_('each in each', 'each $cookie_c | json; each .l; property A .;'
    . ' property B ..n;', '', [ map { qq({"A":"$_->[0]","B":"$_->[1]"}) }
        [ qw(p x) ], [ qw(q x) ], [ qw(r y) ] ], 'queued',
    'c=[{"n":"x","l":["p","q"]},{"n":"y","l":"r"},{"n":"z","l":[]},{}]');
each_('each in each, conditions of both', 'each $cookie_c | json; each .l;'
    . ' when ..n = x; when not . = p; property A .;', '',
    [ '{"A":"q"}' ], 'queued',
    'c=[{"n":"x","l":["p","q"]},{"n":"y","l":["q"]}]');
each_('each, names', 'each $cookie_c | json; let q .q; property A @q | number'
    . ' | multiply 2; items I .l { property X .; property Q ..q; }'
    . ' property N @I | count;', '',
    [ '{"A":2,"I":[{"X":1,"Q":1}],"N":1}', '{"A":4,"I":[{"X":2,"Q":2},'
      . '{"X":3,"Q":2}],"N":2}', '{"A":6,"N":0}' ], 'queued',
    'c=[{"q":1,"l":[1]},{"q":2,"l":[2,3]},{"q":3}]');
each_('each below, a name above', 'let c $cookie_c | json; property A .;'
    . ' each @c; property B @c | count;', '',
    [ '{"A":1,"B":2}', '{"A":2,"B":2}' ], 'queued', 'c=[1,2]');
each_('each of items', 'items I @args.i { property V .; } each @I;'
    . ' property E .V;', 'i=1&i=2',
    [ '{"I":[{"V":"1"},{"V":"2"}],"E":"1"}',
      '{"I":[{"V":"1"},{"V":"2"}],"E":"2"}' ]);

# The permalink of a cart.

my $line = $table->add('a permalink', 'each $lines | split ,;'
    . ' property ProductID . | split : 0;'
    . ' property Quantity . | split : 1 | integer;', '',
    pattern => '~^/%d/cart/(?<lines>[\d:,]+)$',
    uri => '/%d/cart/41007289663544:1,41007289696312:2?discount=HYDRO',
    events => [ '{"ProductID":"41007289663544","Quantity":1}',
                '{"ProductID":"41007289696312","Quantity":2}' ]);

###############################################################################

$table->run();
$table->judge();

is($table->counters($line)->{seen}, 2, 'two events of one request');

Test::Nginx::Klaviyo->done();

###############################################################################

sub property {
    my ($name, $rule, $query, $expected, %opt) = @_;

    return $table->add($name, $rule, $query, events => [ $expected ], %opt);
}


# the one property A; undef: it is missing
sub one { return defined $_[0] ? "{\"A\":$_[0]}" : '{}' }


sub args {
    my ($name, $value, $query, $expected, %opt) = @_;

    return property($name, "property A $value;", $query, one($expected), %opt);
}


sub cookies {
    my ($name, $value, $cookie, $expected) = @_;

    return args($name, $value, '', $expected,
        headers => { Cookie => $cookie });
}


# filters of a text that comes as it is
sub header {
    my ($name, $filters, $text, $expected, $query) = @_;

    return args($name, "\$http_x_text | $filters", $query, $expected,
        headers => { 'X-Text' => $text });
}


sub cart {
    my ($name, $rule, $query, $expected) = @_;

    return property($name, "let cart \$cookie_cart | json; $rule", $query,
        $expected, headers => { Cookie => "cart=$cart" });
}


sub each_ {
    my ($name, $rule, $query, $events, $result, $cookie) = @_;

    return $table->add($name, $rule, $query, events => $events,
        result => $result // 'queued', headers => { Cookie => $cookie });
}

###############################################################################
