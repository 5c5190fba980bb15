#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# klaviyo_account NAME { ... }, as nginx -t sees it, and our blocks: nested,
# included, and what is said when a pattern was cut in two.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use POSIX ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;

###############################################################################

# all keys have this inside, and no output of nginx may
my $secret = '5ecr3t';

my $private = "pk_${secret}0123456789abcdef0123456789abcdef";
my $key = "api_key data:$private;";
my $name64 = 'n' x 64;

my $t = Test::Nginx::Klaviyo->new();

$ENV{KLAVIYO_TEST_KEY} = $private;
$ENV{KLAVIYO_TEST_EMPTY} = '';
delete $ENV{KLAVIYO_TEST_NONE};

key_file('key', "$private\n");
key_file('key_blanks', "$private \t\r\n\n");
key_file('key_plain', $private);
key_file('key_4096', $private . ' ' x (4096 - length $private));
key_file('key_4097', $private . ' ' x (4097 - length $private));
key_file('key_open', "$private\n", 0644);
key_file('key_group', "$private\n", 0640);
key_file('key_two', "$private\n$private\n");
key_file('key_empty', "\n");
key_file('key_none', '');
POSIX::mkfifo($t->dir() . '/fifo', 0600) or die "mkfifo: $!\n";

$t->write_file('ca.pem', "certificates\n");

$t->write_file('inc/limits.conf', "timeout 5s;\ninclude inc/more.conf;\n");
$t->write_file('inc/more.conf', "connect_timeout 1s;\n");
$t->write_file('inc/wrong.conf', "\n\ntimeout soon;\n");
$t->write_file('inc/twice.conf', "timeout 6s;\n");
$t->write_file('inc/open.conf', "property A {\n");
$t->write_file('inc/property.conf', "property  B  \$arg_b;\n");
$t->write_file('inc/when.conf', "when  \$arg_c;\n");

###############################################################################

# What is inside of "klaviyo_account shop { ... }", and what is said about it:
# nothing, a warning ("~" before it) or an error.

my @inside = (

    # the key

    [ '', 'no "api_key" in klaviyo_account "shop"' ],
    [ 'timeout 1s;', 'no "api_key" in klaviyo_account "shop"' ],
    [ $key ],
    [ 'api_key file:key;' ],
    [ 'api_key file:%%TESTDIR%%/key;' ],
    [ 'api_key file:key_blanks;' ],
    [ 'api_key file:key_plain;' ],
    [ 'api_key file:key_group;' ],
    [ 'api_key file:key_4096;' ],
    [ 'api_key file:key_4097;', '/key_4097" is too large for a key' ],
    [ 'api_key file:key_open;',
        '~the key in "%%TESTDIR%%/key_open" is readable by everyone' ],
    [ 'api_key file:key_two;', 'of klaviyo_account "shop" has blanks' ],
    [ 'api_key file:key_empty;', 'of klaviyo_account "shop" is empty' ],
    [ 'api_key file:key_none;', 'of klaviyo_account "shop" is empty' ],
    [ 'api_key file:;', 'no path in "api_key"' ],
    [ 'api_key file:none;', 'open() "%%TESTDIR%%/none" failed '
        . '(2: No such file or directory)' ],
    [ 'api_key file:inc;', '"%%TESTDIR%%/inc" is not a regular file' ],
    [ 'api_key file:fifo;', '"%%TESTDIR%%/fifo" is not a regular file' ],
    [ "api_key $private;",
        '"api_key" directive must be "file:PATH", "env:NAME" or "data:TEXT"' ],
    [ "api_key file:$private;", '"api_key" directive must be "file:PATH"' ],
    [ "api_key env:$private;", '"api_key" directive must be "file:PATH"' ],
    [ "api_key key:$private;", '"api_key" directive must be "file:PATH"' ],
    [ 'api_key data:;', 'of klaviyo_account "shop" is empty' ],
    [ "api_key 'data:$private $private';", 'shop" has blanks, control or' ],
    [ "api_key 'data:$private\\n';", 'shop" has blanks, control or' ],
    [ "api_key 'data:$private\x7f';", 'shop" has blanks, control or' ],
    [ "api_key 'data:$private\xc3\xa9';", 'shop" has blanks, control or' ],
    [ 'api_key data:5ecr3t;', 'shop" looks like the public company id' ],
    [ "api_key data:sk_$secret-0123456789;",
        '~shop" does not look like a private key of Klaviyo' ],
    [ "api_key data:pk_${secret}1;", '~shop" does not look like' ],
    [ "api_key data:pk_${secret}12;" ],
    [ "api_key data:$private-;", '~shop" does not look like' ],
    [ 'api_key data:' . 'x' x 512 . ';', '~shop" does not look like' ],
    [ "api_key data:$private" . 'x' x 512 . ';', 'shop" is too long' ],
    [ 'api_key data:$klaviyo_key;', '"api_key" directive can\'t have var' ],
    [ "api_key data:$private data:$private;",
        'invalid number of arguments in "api_key" directive', 'hint' ],
    [ 'api_key;',
        'invalid number of arguments in "api_key" directive', 'hint' ],
    [ 'api_key env:KLAVIYO_TEST_KEY;', '~no "env KLAVIYO_TEST_KEY;": a binary '
        . 'upgrade would lose the key of klaviyo_account "shop"' ],
    [ 'api_key env:KLAVIYO_TEST_NONE;',
        'environment variable "KLAVIYO_TEST_NONE" of "api_key" is not set' ],
    [ 'api_key env:KLAVIYO_TEST_EMPTY;', 'klaviyo_account "shop" is empty' ],
    [ 'api_key env:;', 'invalid name of the environment variable in "api_' ],
    [ 'api_key env:1A;', 'invalid name of the environment variable in "ap' ],
    [ "api_key env:KLAVIYO_TEST_KEY=$private;", 'invalid name of the env' ],

    # texts

    [ "$key company_id AbCd12;" ],
    [ "$key company_id AbCd123;",
        '~"AbCd123" in "company_id" has not the usual 6 characters' ],
    [ "$key company_id AbCd1-;", 'invalid value "AbCd1-" in "company_id"' ],
    [ "$key company_id '';", 'invalid value "" in "company_id"' ],
    [ "$key company_id " . 'a' x 65 . ';', 'in "company_id"' ],
    [ "$key company_id $private;",
        '"company_id" directive takes the public id, not a private key' ],
    [ "$key company_id \$host;", '"company_id" directive can\'t have var' ],

    [ "$key revision 2026-07-15;" ],
    [ "$key revision 2024-10-15;" ],
    (map { [ "$key revision '$_';", "invalid value \"$_\" in \"revision\"" ] }
        '', '2026-13-15', '2026-00-15', '2026-07-32', '2026-07-00', '26-07-15',
        '2026/07/15', '2026-07-15x', '2026-07-1', '20x6-07-15', '1999-01-01'),

    [ "$key service api;" ],
    [ "$key service " . 's' x 64 . ';' ],
    [ "$key service " . "\xc3\xa9" x 64 . ';' ],
    [ "$key service 'My shop';" ],
    [ "$key service " . 's' x 65 . ';', 'invalid value "sss' ],
    [ "$key service " . "\xc3\xa9" x 65 . ';', 'in "service"' ],
    [ "$key service '';", 'invalid value "" in "service"' ],
    [ "$key service 'a\\tb';", 'in "service"' ],
    [ "$key service 'a\x7fb';", 'in "service"' ],
    [ "$key service a\xc3;", 'in "service"' ],
    [ "$key service \xffa;", 'in "service"' ],
    [ "$key service \$host;", '"service" directive can\'t have variables' ],

    # numbers

    [ "$key queue 256k;" ],
    [ "$key queue 64M;" ],
    [ "$key queue 10000000;" ],
    [ "$key queue 255k;",
        '"queue" "255k" is too small, it must be at least 256k' ],
    (map { [ "$key queue '$_';", "invalid value \"$_\" in \"queue\"" ] }
        '', 'x', '-1', '1t', '1.5m', '99999999999g'),

    [ "$key batch events=1 bytes=16k linger=1ms;" ],
    [ "$key batch linger=1d bytes=5000000 events=1000;" ],
    [ "$key batch events=10;" ],
    [ "$key queue 1m; batch bytes=512k;" ],
    [ "$key queue 1m; batch bytes=513k;",
        '"batch" bytes must be at most half of "queue" in klaviyo_account "s' ],
    [ "$key batch bytes=513k; queue 1m;",
        '"batch" bytes must be at most half of "queue" in klaviyo_account "s' ],
    (map { [ "$key batch '$_';", "invalid parameter \"$_\"" ] }
        '', 'events', 'events=', 'events=0', 'events=1001', 'events=1k',
        'events=-1', 'bytes=', 'bytes=16383', 'bytes=5000001', 'bytes=5m',
        'linger=', 'linger=0', 'linger=0ms', 'linger=1x', 'linger=25h',
        'linger=-1s', 'size=1', 'Events=1'),
    [ "$key batch events=1 events=1;", 'invalid parameter "events=1"' ],
    [ "$key batch bytes=16k bytes=16k;", 'invalid parameter "bytes=16k"' ],
    [ "$key batch linger=1s linger=1s;", 'invalid parameter "linger=1s"' ],
    [ "$key batch events=1 bytes=16k linger=1s events=2;",
        'invalid number of arguments in "batch" directive', 'hint' ],
    [ "$key batch;", 'invalid number of arguments in "batch"', 'hint' ],

    [ "$key rate burst=1/s steady=1/m share=1%;" ],
    [ "$key rate share=100%;" ],
    [ "$key rate steady=700/m;" ],
    (map { [ "$key rate '$_';", "invalid parameter \"$_\"" ] }
        '', 'burst', 'burst=', 'burst=/s', 'burst=0/s', 'burst=10',
        'burst=10/m', 'burst=-1/s', 'burst=1.5/s', 'burst=1000001/s',
        'steady=10/s', 'steady=0/m', 'steady=150', 'share=0%', 'share=101%',
        'share=80', 'share=%', 'share=80%%', 'x=1/s'),
    [ "$key rate share=1% share=1%;", 'invalid parameter "share=1%"' ],

    [ "$key retry min=1ms max=1d;" ],
    [ "$key retry min=1s max=1s;" ],
    [ "$key retry max=2s min=1500ms;" ],
    [ "$key retry min=2s max=1s;",
        '"retry" min must not be more than max in klaviyo_account "shop"' ],
    [ "$key retry min=6m;", '"retry" min must not be more than max' ],
    [ "$key retry max=999ms;", '"retry" min must not be more than max' ],
    (map { [ "$key retry '$_';", "invalid parameter \"$_\"" ] }
        '', 'min=', 'min=0', 'min=x', 'max=0', 'max=25h', 'mean=1s'),
    [ "$key retry min=1s min=1s;", 'invalid parameter "min=1s"' ],

    [ "$key spool max=1m full=drop_new;" ],
    [ "$key spool full=drop_oldest max=100g;" ],
    (map { [ "$key spool '$_';", "invalid parameter \"$_\"" ] }
        '', 'max=', 'max=0', 'max=1023k', 'max=x', 'max=99999999999g',
        'full=', 'full=drop', 'full=drop_newest', 'path=/x'),
    [ "$key spool full=drop_new full=drop_new;",
        'invalid parameter "full=drop_new"' ],
    [ "$key spool max=1m max=1m;", 'invalid parameter "max=1m"' ],

    (map { [ "$key backfill $_;" ] } qw(off on after=1s after=1d)),
    (map { [ "$key backfill '$_';", "invalid value \"$_\" in \"backfill\"" ] }
        '', 'yes', 'after', 'after=', 'after=0', 'after=1ms', 'after=x',
        '1h'),

    (map {
        my $name = $_;

        ([ "$key $name 1ms;" ], [ "$key $name 1m;" ], [ "$key $name 1d;" ],
         map { [ "$key $name '$_';", "invalid value \"$_\" in \"$name\"" ] }
            '', '0', '0s', '25h', 'x', '-1')
    } qw(timeout connect_timeout)),

    (map {
        my $name = $_;

        ([ "$key $name on;" ], [ "$key $name ON;" ],
         [ "$key $name 1;", "invalid value \"1\" in \"$name\" directive, it "
            . 'must be "on" or "off"' ],
         [ "$key $name;", "invalid number of arguments in \"$name\"", 'hint' ])
    } qw(verify http2 dry_run)),

    [ "$key http2 off;" ],
    [ "$key dry_run off;" ],
    [ "$key verify off;", '~"verify off" in klaviyo_account "shop" lets others '
        . 'read the key' ],

    [ "$key trusted_certificate system;" ],
    [ "$key trusted_certificate ca.pem;" ],
    [ "$key trusted_certificate %%TESTDIR%%/ca.pem;" ],
    [ "$key trusted_certificate none.pem;",
        'open() "%%TESTDIR%%/none.pem" failed (2: No such file' ],
    [ "$key trusted_certificate inc;", '"%%TESTDIR%%/inc" is not a regular' ],
    [ "$key trusted_certificate fifo;", '"%%TESTDIR%%/fifo" is not a regular' ],
    [ "$key trusted_certificate '';", 'invalid value "" in "trusted_certifi' ],

    # where to

    (map { [ "$key endpoint $_;" ] }
        'https://a.klaviyo.com', 'https://a.klaviyo.com/',
        'HTTPS://a.klaviyo.com:8443', 'https://a.klaviyo.com:8443/',
        'https://10.0.0.1', 'https://[2001:db8::1]:8443/',
        'https://localhost.evil.com', 'http://127.0.0.1', 'http://127.0.0.1/',
        'http://127.0.0.1:8080', 'http://127.255.255.254:8080/',
        'http://localhost', 'http://LOCALHOST:80/', 'http://[::1]',
        'http://[::1]:8080/', 'http://unix:/run/x.sock',
        'http://unix:/run/x.sock:', 'http://unix:/run/x.sock:/'),

    (map { [ "$key endpoint '$_';", "invalid value \"$_\" in \"endpoint\": "
             . 'the key would travel in clear text' ] }
        'http://a.klaviyo.com', 'http://127.0.0.1.evil.com',
        'http://localhost.evil.com', 'http://localhost.', 'http://128.0.0.1',
        'http://12.7.0.1', 'http://0127.0.0.1', 'http://127.1',
        'http://127.0.0.01', 'http://127.0.0.08', 'http://127.0.0.1.',
        'http://127..0.1', 'http://127.0.0.256', 'http://0x7f.0.0.1',
        'http://2130706433', 'http://0', 'http://0.0.0.0', 'http://[::]',
        'http://[::2]', 'http://[::ffff:127.0.0.1]', 'http://127.0.0.1x'),

    (map { [ "$key endpoint '$_->[0]';",
             "invalid value \"$_->[0]\" in \"endpoint\": $_->[1]" ] }
        [ '', 'it must begin with "https://"' ],
        [ 'a.klaviyo.com', 'it must begin with "https://"' ],
        [ 'ftp://a.klaviyo.com', 'it must begin with "https://"' ],
        [ 'https:/a', 'it must begin with "https://"' ],
        [ 'https://', 'it must begin with "https://"' ],
        [ 'https:///', 'no host' ],
        [ 'https://:443', 'no host' ],
        [ 'https://unix:/run/x', 'no host' ],
        [ 'https://a:', 'invalid port' ],
        [ 'https://a:0', 'invalid port' ],
        [ 'https://a:65536', 'invalid port' ],
        [ 'https://a:b', 'invalid port' ],
        [ 'https://a/api', 'only a host and a port are allowed' ],
        [ 'https://a//', 'only a host and a port are allowed' ],
        [ 'https://a?x', 'only a host and a port are allowed' ],
        [ 'https://a/?x', 'only a host and a port are allowed' ],
        [ 'https://a#x', 'invalid host' ],
        [ 'https://a b', 'invalid host' ],
        [ 'https://a\\b', 'invalid host' ],
        [ 'https://a%2fb', 'invalid host' ],
        [ 'https://-a', 'invalid host' ],
        [ 'https://.a', 'invalid host' ],
        [ "https://\xc3\xa9", 'invalid host' ],
        [ 'https://[::1', 'invalid host' ],
        [ 'https://[x]', 'invalid IPv6 address' ],
        [ 'http://127.0.0.1:80/api', 'only a host and a port are allowed' ],
        [ 'http://unix:', 'no path in the unix domain socket' ],
        [ 'http://unix:run/x', 'the path is not absolute' ],
        [ 'http://unix:/x:/api', 'only a host and a port are allowed' ],
        [ 'http://unix:/' . 'x' x 108, 'too long path in the unix domain' ]),

    (map { [ "$key endpoint $_;", 'invalid value in "endpoint": ' ] }
        "http://127.0.0.1\@evil.com", "http://u:$secret\@127.0.0.1",
        "https://u:$secret\@a.klaviyo.com", "https://$secret\@a"),

    [ "$key endpoint https://\$host;", '"endpoint" directive can\'t have var' ],

    (map { [ "$key proxy $_;" ] }
        'none', 'http://proxy:3128', 'https://proxy.shop:443/',
        'socks5h://10.0.0.1', 'http://[::1]:3128', "http://u:$secret\@proxy:1",
        "socks5h://$secret\@proxy"),

    (map { [ "$key proxy '$_->[0]';",
             "invalid value \"$_->[0]\" in \"proxy\": $_->[1]" ] }
        [ '', 'it must begin with "http://", "https://" or "socks5h://"' ],
        [ 'proxy:3128', 'it must begin with' ],
        [ 'socks5://proxy', 'it must begin with' ],
        [ 'http://', 'it must begin with' ],
        [ 'http://:3128', 'no host' ],
        [ 'http://unix:/run/x', 'no host' ],
        [ 'http://proxy:x', 'invalid port' ],
        [ 'http://proxy/x', 'only a host and a port are allowed' ],
        [ 'http://pro xy', 'invalid host' ]),

    (map { [ "$key proxy '$_';", 'invalid value in "proxy": ' ] }
        "http://u:$secret\@", "http://u:$secret\@proxy/x",
        "http://u:$secret\@a\@b", "ftp://u:$secret\@proxy",
        "http://u:$secret\@proxy:x"),
    (map { [ "$key proxy '$_';", 'in "proxy": invalid user or password' ] }
        "http://u/$secret\@proxy", "http://u $secret\@proxy",
        "http://u?$secret\@proxy", "http://u#$secret\@proxy",
        "http://u\xc3\xa9$secret\@proxy"),

    [ "$key proxy http://proxy; endpoint http://127.0.0.1;",
        '"proxy" needs an "https://" endpoint, else it sees the key '
        . 'in klaviyo_account "shop"' ],
    [ "$key endpoint HTTP://unix:/x; proxy http://proxy;",
        '"proxy" needs an "https://" endpoint' ],
    [ "$key endpoint http://127.0.0.1; proxy none;" ],

    # twice

    (map { [ "$_ $_", (/^(\w+)/)[0] . '" directive is duplicate' ] }
        $key, 'api_key file:key;', 'company_id AbCd12;',
        'endpoint http://127.0.0.1;', 'endpoint http://unix:/x;',
        'revision 2026-07-15;', 'queue 1m;', 'batch events=1;',
        'batch bytes=16k;', 'batch linger=1s;', 'rate burst=1/s;',
        'rate steady=1/m;', 'rate share=1%;', 'retry min=1s;', 'retry max=1s;',
        'spool max=1m;', 'spool full=drop_new;', 'backfill off;', 'service a;',
        'timeout 1s;', 'connect_timeout 1s;', 'trusted_certificate system;',
        'trusted_certificate ca.pem;', 'verify on;', 'proxy none;',
        'proxy http://a;', 'http2 on;', 'dry_run on;'),
    [ "$key api_key file:key;", '"api_key" directive is duplicate' ],
    [ 'batch events=1; batch bytes=16k;', '"batch" directive is duplicate' ],

    # the block

    [ "$key include inc/limits.conf;" ],
    [ "$key include %%TESTDIR%%/inc/l*.conf;" ],
    [ "$key include inc/wrong.conf;",
        'invalid value "soon" in "timeout" in %%TESTDIR%%/inc/wrong.conf:3' ],
    [ "$key timeout 5s; include inc/twice.conf;",
        '"timeout" directive is duplicate in %%TESTDIR%%/inc/twice.conf:1' ],
    [ "$key include inc/none.conf;",
        'open() "%%TESTDIR%%/inc/none.conf" failed', 'hint' ],
    [ "$key nonsense;", 'unknown directive "nonsense"', 'hint' ],
    [ "$key property A b;", '"property" directive is not allowed here',
        'hint' ],
    [ "$key root /x;", '"root" directive is not allowed here', 'hint' ],
    [ "$key timeout { }", 'directive "timeout" is not terminated by ";"',
        'hint' ],
);

# The same for what stands in http { }.

my @http = (

    [ "klaviyo_account a { $key }" ],
    [ "klaviyo_account $name64 { $key }" ],
    [ "klaviyo_account A-b_c.9 { $key }" ],
    (map { [ "klaviyo_account '$_' { $key }",
             "invalid name \"$_\" of klaviyo_account" ] }
        '', "${name64}n", 'a b', 'a/b', "a\xc3", '$a'),
    [ "klaviyo_account { $key }",
        'invalid number of arguments in "klaviyo_account" directive' ],
    [ "klaviyo_account a;",
        'directive "klaviyo_account" has no opening "{"' ],
    [ "server { klaviyo_account a { $key } }",
        '"klaviyo_account" directive is not allowed here' ],
    [ "api_key data:$private;", '"api_key" directive is not allowed here' ],

    [ "klaviyo_account a { $key } klaviyo_account b { api_key data:pk_"
        . 'x' x 12 . '; }' ],
    [ "klaviyo_account a { $key } klaviyo_account a { $key }",
        'duplicate klaviyo_account "a"' ],
    [ "klaviyo_account a { $key } klaviyo_account b { api_key file:key; }",
        'klaviyo_account "b" has the "api_key" of klaviyo_account "a"' ],
    [ "klaviyo_account a { $key } klaviyo_account b { }",
        'no "api_key" in klaviyo_account "b"' ],

    # the lines

    [ "klaviyo_account a {\n$key\ntimeout x;\n}",
        'invalid value "x" in "timeout" in %%TESTDIR%%/test.conf:%%LINE+2%%' ],
    [ "klaviyo_account a {\n$key\ntimeout;\n}",
        'in "timeout" directive in %%TESTDIR%%/test.conf:%%LINE+2%%', 'hint' ],
    [ "klaviyo_account a {\ntimeout 1s;\n}\n",
        'account "a" in %%TESTDIR%%/test.conf:%%LINE+2%%' ],

    # after a block all is as before

    [ "klaviyo_account a { $key } root /x; server { root /y; }" ],
    [ "server { klaviyo_track A /a { property B \$arg_b; } root /x; }" ],

    # blocks in blocks

    [ 'klaviyo_track A /a {'
        . ' any { when $arg_a; when $arg_b; }'
        . ' object B { property C $arg_c; object D { property E $arg_e; } }'
        . ' property F $arg_f; }' ],
    [ 'klaviyo_track A /a { include inc/property.conf;'
        . ' any { include inc/when.conf; when $arg_a; }'
        . ' object D { include inc/property.conf; property C $arg_c; } }' ],
    [ 'klaviyo_track A /a { object B { when $arg_a; } }',
        '"when" directive is not allowed here', 'hint', 'object' ],
    [ 'klaviyo_track A /a { any { property B $arg_a; } }',
        '"property" directive is not allowed here', 'hint', 'any' ],
    [ 'klaviyo_track A /a { any $arg_a { when $arg_b; } }',
        'invalid number of arguments in "any" directive', 'hint',
        'klaviyo_track' ],
    [ 'klaviyo_track A /a { object B; }',
        'directive "object" has no opening "{"', 'hint', 'klaviyo_track' ],
    [ 'klaviyo_track A /a { timeout 1s; }',
        '"timeout" directive is not allowed here', 'hint', 'klaviyo_track' ],
    [ 'klaviyo_track A /a { object B { include inc/open.conf; } }',
        'directive "property" is not terminated by ";" '
        . 'in %%TESTDIR%%/inc/open.conf:1', 'hint', 'object' ],
    [ 'klaviyo_track A /a { object B { once 1h; } }',
        '"once" directive is not allowed here', 'hint', 'object' ],

    # patterns that were cut in two

    [ "klaviyo_track A\n~^/a{2}\$ {\nproperty B \$arg_b;\n}",
        'unknown directive "2}$"', 'hint', 'klaviyo_track', 1 ],
    [ "klaviyo_track A /a {\n\nwhen \$arg_a ~ ^a{2}\$;\n}",
        'directive "when" is not terminated by ";"', 'hint', 'klaviyo_track',
        0 ],
    [ "klaviyo_track A /a {\n\nwhen \$arg_a ~ a;b;\n}",
        'unknown directive "b"', 'hint', 'klaviyo_track', 0 ],
    [ "klaviyo_track A /a {\nany {\nwhen \$arg_a ~ a{2};\n}\n}",
        'directive "when" is not terminated by ";"', 'hint', 'any', 1 ],
);

# The same for a whole file, after the events.

my $env = 'klaviyo_account a { api_key env:KLAVIYO_TEST_KEY; }';

my @files = (

    [ "env KLAVIYO_TEST_KEY; http { $env }" ],
    [ "http { $env } env KLAVIYO_TEST_KEY;" ],
    [ "http { $env } env KLAVIYO_TEST_KEY=$private;" ],
    [ "http { $env } env KLAVIYO_TEST_KEY2; env KLAVIYO_TEST_KE;",
        '~no "env KLAVIYO_TEST_KEY;"' ],
    [ "http { $env } env XKLAVIYO_TEST_KEY;", '~no "env KLAVIYO_TEST_KEY;"' ],
    [ "http { klaviyo_account a {\n$key\n",
        'unexpected end of file, expecting "}"', 'hint' ],
);

###############################################################################

my @cases = (
    (map { [ "klaviyo_account shop { $_->[0] }", @$_[1 .. $#$_] ] } @inside),
    @http
);

for (@cases) {
    # a rule needs an account
    my $account = $_->[0] =~ /klaviyo_track/ ? "klaviyo_account a { $key }\n"
        : '';

    $_->[0] = "http {\n%%GLOBALS_HTTP%%\n$account$_->[0]\n}\n";
}

for (@files) {
    $_->[0] =~ s/http \{/http { %%GLOBALS_HTTP%%/;
    push @cases, $_;
}

$t->plan(@cases + 3);

my $said = '';

for my $case (@cases) {
    my ($text, $expected) = @$case;
    my ($code, $output) = $t->test_config("%%GLOBALS%%\nevents { }\n$text");
    my $error = defined $expected && $expected !~ /\A~/ ? 1 : 0;
    my @lines = expected_lines(@$case[1 .. $#$case]);
    my @bad = grep { /\[(?:warn|emerg|alert|crit|error)\]/ }
              split /\n/, $output;

    my $fits = $code == $error && @bad == @lines
        && !grep { $bad[$_] !~ $lines[$_] } 0 .. $#bad;

    ok($fits, title($text)) or diag("code $code, expected:\n",
        join("\n", @lines), "\nsaid:\n", $output);

    $said .= $output;
}

# the log of this configuration would not take it

my $quiet = Test::Nginx::Klaviyo->new(log => 'crit');
my ($code, $output) = $quiet->test_config("%%GLOBALS%%\nevents { }\n"
    . "http { %%GLOBALS_HTTP%% $env }\n");

like($output, qr/\[warn\] .*no "env KLAVIYO_TEST_KEY;"/, 'error_log crit');

unlike($said . $output, qr/$secret/, 'no key and no password is ever shown');

# an nginx that runs has more to say

$env =~ s/\}\z/endpoint http:\/\/127.0.0.1:%%PORT_0%%; }/;
$t->write_config("%%GLOBALS%%\nevents { }\nhttp { %%GLOBALS_HTTP%% $env }\n");
$t->run();
$t->stop();

unlike($t->log() . $t->read_file('nginx.out'), qr/$secret/, 'nor when it runs');

###############################################################################

# Patterns of the lines that nginx -t must say, and of no others.  $block is the
# one that the hint names, $lines how far it begins below the first line.

sub expected_lines {
    my ($expected, $hint, $block, $lines) = @_;

    return if !defined $expected;

    my $first = $t->read_file('test.conf') =~ /\A(.*\n)klaviyo_/s
        ? 1 + ($1 =~ tr/\n//) : 0;

    my $level = $expected =~ s/\A~// ? 'warn' : 'emerg';

    $expected =~ s/%%LINE\+(\d)%%/$first + $1/e;
    $expected = quotemeta $t->expand($expected);

    my @patterns = qr/\[$level\] .*$expected/;

    if ($hint) {
        my $begin = defined $lines ? $first + $lines : '\d+';

        $block ||= 'klaviyo_account';
        push @patterns, qr/\[emerg\] .*\Q"{", "}", ";" or blanks must be\E/
            . qr/ quoted, in the block of "$block" in \S+test\.conf:$begin\z/;
    }

    return @patterns;
}


sub title {
    my ($text) = @_;

    $text =~ s/\Ahttp \{\n%%GLOBALS_HTTP%%\n(.*)\n\}\n\z/$1/s;
    $text =~ s/klaviyo_account shop \{ (.*) \}/$1/s;
    $text =~ s/\Q$key\E //;
    $text =~ s/\s+/ /g;
    $text =~ s/[^ -~]/?/g;

    return length $text > 60 ? substr($text, 0, 60) . '...' : $text;
}


sub key_file {
    my ($name, $text, $mode) = @_;

    $t->write_file($name, $text);
    chmod $mode || 0600, $t->dir() . "/$name" or die "chmod: $!\n";
}

###############################################################################
