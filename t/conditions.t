#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Which requests of a rule make an event: "when" in all its forms, and the
# statuses that count.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;

###############################################################################

# A case: the rule's body, the query, and what becomes of it: how many events
# are queued, or why none.  Each has a rule, a path and a location of its own;
# behind the query stands what answers, and further lines of the request.

my $each = 'each @args.i | split ,;';

my @cases = (

    # alone: a truth that is none, or "not" that forgets what is missing

    [ 'when $arg_a;', 'a=1', 1 ],
    [ 'when $arg_a;', 'a=x', 1 ],
    [ 'when $arg_a;', 'a=00', 1 ],
    [ 'when $arg_a;', 'a=+', 1 ],
    [ 'when $arg_a;', 'a=no', 1 ],
    [ 'when $arg_a;', 'a=FALSE', 1 ],
    [ 'when $arg_a;', 'a=0', 'condition' ],
    [ 'when $arg_a;', 'a=false', 'condition' ],
    [ 'when $arg_a;', 'a=', 'condition' ],
    [ 'when $arg_a;', 'b=1', 'condition' ],
    [ 'when $arg_a;', '', 'condition' ],
    [ 'when not $arg_a;', 'a=1', 'condition' ],
    [ 'when not $arg_a;', 'a=0', 1 ],
    [ 'when not $arg_a;', 'a=false', 1 ],
    [ 'when not $arg_a;', 'a=', 1 ],
    [ 'when not $arg_a;', '', 1 ],
    [ 'when on;', '', 1 ],
    [ 'when "";', '', 'condition' ],
    [ 'when "$arg_a-$arg_b";', 'a=1&b=1', 1 ],
    [ 'when "$arg_a-$arg_b";', 'a=1', 'condition' ],
    [ 'when @args;', 'a=1', 1 ],
    [ 'when @args.a;', 'a=1', 1 ],
    [ 'when @args.a;', 'a=0', 'condition' ],
    [ 'when @args.a[1];', 'a=1&a=2', 1 ],
    [ 'when @args.a[1];', 'a=1', 'condition' ],
    [ 'when @args.a | number;', 'a=0.0', 'condition' ],
    [ 'when @args.a | number;', 'a=0.1', 1 ],
    [ 'when @args.a | number;', 'a=x', 'condition' ],
    [ 'when not @args.a | number;', 'a=x', 1 ],
    [ 'when @args.a | boolean;', 'a=yes', 1 ],
    [ 'when @args.a | boolean;', 'a=no', 'condition' ],
    [ 'when not @args.a | boolean;', 'a=no', 1 ],
    [ 'when $cookie_a;', '', 1, undef, { Cookie => 'a=1' } ],
    [ 'when @cookies.a = 1;', '', 1, undef, { Cookie => 'b=2; a=1' } ],
    [ 'when $http_x_a = b;', '', 1, undef, { 'X-A' => 'b' } ],

    # equal and not equal: texts are compared as texts, numbers as numbers

    [ 'when $arg_a = b;', 'a=b', 1 ],
    [ 'when $arg_a = b;', 'a=B', 'condition' ],
    [ 'when $arg_a = b;', 'a=bb', 'condition' ],
    [ 'when $arg_a = b;', 'a=', 'condition' ],
    [ 'when $arg_a = b;', '', 'condition' ],
    [ 'when $arg_a = "";', 'a=', 'condition' ],
    [ 'when $arg_a = "b c";', 'a=b+c', 1 ],
    [ 'when $arg_a = b\x20c;', 'a=b%20c', 1 ],
    [ 'when $arg_a = \x3d;', 'a=%3d', 1 ],
    [ 'when $arg_a = =;', 'a==', 1 ],
    [ 'when $arg_a = |;', 'a=|', 1 ],
    [ 'when $arg_a = not;', 'a=not', 1 ],
    [ 'when $arg_a = \$b;', 'a=\$b', 1 ],
    [ 'when $arg_a = $arg_b;', 'a=1&b=1', 'condition' ],
    [ 'when $arg_a = 1;', 'a=1.0', 'condition' ],
    [ 'when $arg_a | number = 1;', 'a=1.0', 1 ],
    [ 'when $arg_a | number = 1e1;', 'a=10', 1 ],
    [ 'when $arg_a | number = x;', 'a=1', 'condition' ],
    [ 'when $arg_a | number = 1;', 'a=x', 'condition' ],
    [ 'when $arg_a | integer = 1;', 'a=1', 1 ],
    [ 'when $arg_a | boolean = true;', 'a=on', 1 ],
    [ 'when not $arg_a = b;', 'a=c', 1 ],
    [ 'when not $arg_a = b;', 'a=b', 'condition' ],
    [ 'when not $arg_a = b;', 'a=', 'condition' ],
    [ 'when not $arg_a = b;', '', 'condition' ],
    [ 'when $arg_a != b;', 'a=c', 1 ],
    [ 'when $arg_a != b;', 'a=b', 'condition' ],
    [ 'when $arg_a != b;', '', 'condition' ],
    [ 'when not $arg_a != b;', 'a=b', 1 ],
    [ 'when not $arg_a != b;', 'a=c', 'condition' ],
    [ 'when not $arg_a != b;', '', 'condition' ],
    [ 'when $arg_a | number != 1;', 'a=1.00', 'condition' ],
    [ 'when $arg_a | number != x;', 'a=1', 1 ],
    [ 'when @args = 1;', 'a=1', 'condition' ],
    [ 'when @args != 1;', 'a=1', 'condition' ],
    [ 'when $arg_a | trim | lower = b;', 'a=+B+', 1 ],
    [ 'when $arg_a | split , 1 = c;', 'a=b,c', 1 ],
    [ 'when $arg_a | split , = c;', 'a=c', 'condition' ],

    # patterns: characters, not bytes; what is too long is unknown

    [ 'when $arg_a ~ ^b.$;', 'a=bc', 1 ],
    [ 'when $arg_a ~ ^b.$;', 'a=b%C3%A9', 1 ],
    [ 'when $arg_a ~ ^b.$;', 'a=b', 'condition' ],
    [ 'when $arg_a ~ ^b.$;', 'a=Bc', 'condition' ],
    [ 'when $arg_a ~ c;', 'a=bcd', 1 ],
    [ 'when $arg_a ~ "^b{2}$";', 'a=bb', 1 ],
    [ 'when $arg_a ~ ^$;', 'a=', 'condition' ],
    [ 'when $arg_a ~ b;', '', 'condition' ],
    [ 'when not $arg_a ~ b;', 'a=c', 1 ],
    [ 'when not $arg_a ~ b;', 'a=b', 'condition' ],
    [ 'when not $arg_a ~ b;', '', 'condition' ],
    [ 'when $arg_a ~* ^b.$;', 'a=BC', 1 ],
    [ 'when $arg_a ~* ^%C3%89;', 'a=x', 'condition' ],
    [ "when \$arg_a ~* ^\xc3\x89\$;", 'a=%C3%A9', 1 ],
    [ 'when $arg_a !~ b;', 'a=c', 1 ],
    [ 'when $arg_a !~ b;', 'a=b', 'condition' ],
    [ 'when $arg_a !~ b;', '', 'condition' ],
    [ 'when not $arg_a !~ b;', 'a=b', 1 ],
    [ 'when not $arg_a !~ b;', '', 'condition' ],
    [ 'when $arg_a !~* b;', 'a=B', 'condition' ],
    [ 'when $arg_a !~* b;', 'a=c', 1 ],
    [ 'when $arg_a | number ~ ^1\.5$;', 'a=1.50', 1 ],
    [ 'when $arg_a ~ (a+a+)+$;', 'a=' . 'a' x 60 . 'b', 'limit' ],
    [ 'when not $arg_a ~ (a+a+)+$;', 'a=' . 'a' x 60 . 'b', 'limit' ],
    [ 'when $arg_a !~ (a+a+)+$;', 'a=' . 'a' x 60 . 'b', 'limit' ],

    # an order is one of numbers, as long as they are

    [ 'when $arg_a < 10;', 'a=9', 1 ],
    [ 'when $arg_a < 10;', 'a=9.99', 1 ],
    [ 'when $arg_a < 10;', 'a=-100', 1 ],
    [ 'when $arg_a < 10;', 'a=10', 'condition' ],
    [ 'when $arg_a < 10;', 'a=11', 'condition' ],
    [ 'when $arg_a < 10;', 'a=x', 'condition' ],
    [ 'when $arg_a < 10;', 'a=9x', 'condition' ],
    [ 'when $arg_a < 10;', '', 'condition' ],
    [ 'when not $arg_a < 10;', 'a=10', 1 ],
    [ 'when not $arg_a < 10;', 'a=9', 'condition' ],
    [ 'when not $arg_a < 10;', 'a=x', 'condition' ],
    [ 'when not $arg_a < 10;', '', 'condition' ],
    [ 'when $arg_a <= 10;', 'a=10.0', 1 ],
    [ 'when $arg_a <= 10;', 'a=10.01', 'condition' ],
    [ 'when $arg_a > 10;', 'a=10.01', 1 ],
    [ 'when $arg_a > 10;', 'a=9', 'condition' ],
    [ 'when $arg_a > 10;', 'a=10', 'condition' ],
    [ 'when $arg_a >= -0.5;', 'a=-0.50', 1 ],
    [ 'when $arg_a >= -0.5;', 'a=-0.51', 'condition' ],
    [ 'when $arg_a > 12345678901234567890;', 'a=12345678901234567891', 1 ],
    [ 'when $arg_a > 12345678901234567890;', 'a=12345678901234567890',
        'condition' ],
    [ 'when @args.a | count > 1;', 'a=1&a=2', 1 ],
    [ 'when @args.a | count > 1;', 'a=1', 'condition' ],
    [ 'when @args.a | count < 1;', '', 1 ],

    # several: all of them, and of any one

    [ 'when $arg_a; when $arg_b;', 'a=1&b=1', 1 ],
    [ 'when $arg_a; when $arg_b;', 'a=1', 'condition' ],
    [ 'when $arg_a; when $arg_b;', 'b=1', 'condition' ],
    [ 'any { when $arg_a; when $arg_b = 2; }', 'a=1', 1 ],
    [ 'any { when $arg_a; when $arg_b = 2; }', 'b=2', 1 ],
    [ 'any { when $arg_a; when $arg_b = 2; }', 'b=1', 'condition' ],
    [ 'any { when $arg_a; when not $arg_b; }', 'b=1', 'condition' ],
    [ 'any { when $arg_a; when not $arg_b; }', '', 1 ],
    [ 'when $arg_c; any { when $arg_a; when $arg_b; }', 'b=1', 'condition' ],
    [ 'any { when $arg_a; when $arg_b; } any { when $arg_c; }', 'b=1',
        'condition' ],
    [ 'any { when $arg_a; when $arg_b; } any { when $arg_c; }', 'b=1&c=1', 1 ],
    [ 'any { when $arg_a ~ (a+a+)+$; when $arg_b; }',
        'a=' . 'a' x 60 . 'b', 'limit' ],
    [ 'any { when $arg_a ~ (a+a+)+$; when $arg_b; }',
        'b=1&a=' . 'a' x 60 . 'b', 1 ],

    # names

    [ 'let x $arg_a | lower; when @x = b;', 'a=B', 1 ],
    [ 'let x $arg_a | lower; when @x = b;', 'a=C', 'condition' ],
    [ 'object O { property P $arg_a; } when @O.P = b;', 'a=b', 1 ],
    [ 'object O { property P $arg_a; } when @O;', '', 'condition' ],
    [ "items I \@args.i { property P .; } when \@I[1].P = b;", 'i=a&i=b', 1 ],

    # per element: the rest of the rule counts once, elements count each

    [ "$each", 'i=a,b,c', 3 ],
    [ "$each", '', 'empty' ],
    [ "$each when . = b;", 'i=a,b,c', 1 ],
    [ "$each when not . = b;", 'i=a,b,c', 2 ],
    [ "$each when . = d;", 'i=a,b,c', 'condition' ],
    [ "$each when \$arg_a;", 'i=a,b,c', 'condition' ],
    [ "when \$arg_a; $each", 'a=1&i=a,b,c', 3 ],
    [ "let x .; $each when \@x = c;", 'i=a,b,c', 1 ],
    [ "$each any { when . = a; when \$arg_a; }", 'i=a,b,c', 1 ],
    [ "$each any { when . = a; when \$arg_a; }", 'i=a,b,c&a=1', 3 ],
    [ "$each each . | split -; when .. ~ ^a; when . != y;",
        'i=ax-y,a,bz', 2 ],

    # statuses: of an answer that is none, or that a POST only may have

    (map { [ '', '', 1, "return $_" ] } 200, 201, 202, 204, 206, 299),
    [ '', '', 1, 'root %%TESTDIR%%/html; try_files /page =404' ],
    [ '', '', 1, 'root %%TESTDIR%%/html; try_files /page =404',
        { 'If-Modified-Since' => 'Fri, 01 Jan 2100 00:00:00 GMT' } ],
    [ '', '', 1, 'root %%TESTDIR%%/html; try_files /page =404',
        { Range => 'bytes=0-1' } ],
    [ '', '', 'status', 'root %%TESTDIR%%/html; try_files /page =404',
        { Range => 'bytes=100-' } ],
    [ '', '', 'status', 'root %%TESTDIR%%/html; try_files /page =404',
        { 'If-Unmodified-Since' => 'Mon, 01 Jan 2001 00:00:00 GMT' } ],
    (map { [ '', '', 'status', "return $_ /x" ] } 301, 302, 303, 307, 308),
    (map { [ '', '', 1, "return $_ /x", 'POST' ] } 302, 303),
    (map { [ 'route PUT /;', '', 'status', "return $_ /x", 'PUT' ] } 302, 303),
    (map { [ '', '', 'status', "return $_ /x", 'POST' ] } 301, 307, 308),
    (map { [ '', '', 'status', "return $_" ] }
        300, 400, 401, 403, 404, 410, 429, 444, 499, 500, 502, 503, 504),
    [ '', '', 'status', 'return 404', 'POST' ],
    [ '', '', 'status', 'proxy_pass http://127.0.0.1:%%PORT_1%%' ],

    # a condition on the status is all that there is on it

    [ 'when $status = 404;', '', 1, 'return 404' ],
    [ 'when $status = 404;', '', 'condition' ],
    [ 'when $status >= 300; when $status < 400;', '', 1, 'return 307 /x' ],
    [ 'when not $status = 200;', '', 1, 'return 503' ],
    [ 'when "${status}" ~ ^4;', '', 1, 'return 410' ],
    [ 'when "s$STATUS" = s500;', '', 1, 'return 500' ],
    [ 'when $status | number = 500;', '', 1, 'return 500' ],
    [ 'let s $status; when @s = 404;', '', 1, 'return 404' ],
    [ 'object O { property S $status; } when @O.S = 404;', '', 1,
        'return 404' ],
    [ 'any { when $arg_a; when $status = 404; }', 'a=1', 1, 'return 500' ],
    [ 'any { when $arg_a; when $status = 404; }', '', 1, 'return 404' ],
    [ 'any { when $arg_a; when $status = 404; }', '', 'condition',
        'return 500' ],
    [ "$each when \$status = 404;", 'i=a,b', 2, 'return 404' ],
    [ 'when $arg_a | default $status = 404;', '', 1, 'return 404' ],

    # other variables and other places are not that

    [ 'when $sent_http_location;', '', 'status', 'return 302 /x' ],
    [ 'property S $status;', '', 'status', 'return 404' ],
    [ 'when $arg_status = 404;', 'status=404', 'status', 'return 404' ],

    # conditions come first, then the status, then who it is

    [ 'when $arg_a;', '', 'condition', 'return 404' ],
    [ 'profile external_id "";', '', 'status', 'return 404' ],
    [ 'profile external_id "";', '', 'unidentified' ],
);

###############################################################################

my $t = Test::Nginx::Klaviyo->new()->standin()->plan(@cases + 1);

$t->write_file('html/page', 'page');

# PORT_1 is nobody's
my ($rules, $locations) = ('', '');

for my $n (0 .. $#cases) {
    my ($body, undef, undef, $answer) = @{$cases[$n]};

    $answer //= 'return 200';
    $body =~ s/route PUT \/;/route PUT =\/$n;/;

    $rules .= "        klaviyo_track \"Case $n\" =/$n { $body }\n";
    $locations .= "        location = /$n { $answer; }\n";
}

my $config = <<'EOF';

%%GLOBALS%%

events { }

http {
    %%GLOBALS_HTTP%%

    log_format  results  "$request_uri $klaviyo_result";

    klaviyo_account shop { api_key data:pk_0123456789; endpoint %%KLAVIYO%%; }

    klaviyo_ignore   off;
    klaviyo_profile  external_id visitor;

    server {
        listen      127.0.0.1:%%PORT_0%%;
        access_log  %%TESTDIR%%/results.log results;

%%RULES%%
    }
}

EOF

$t->write_config($config =~ s/%%RULES%%/$rules$locations/r)->run();

for my $n (0 .. $#cases) {
    my (undef, $query, undef, undef, $more) = @{$cases[$n]};
    my $method = $more && !ref $more ? $more : 'GET';

    $t->request($method, "/$n?$query", headers => ref $more ? $more : {});
}

# all that is queued is delivered then

ok($t->quit(), 'nginx ends');

my %result = $t->read_file('results.log') =~ m{^/(\d+)\?.* (.*)$}mg;
my %events;

$events{$_->{metric}}++ for $t->klaviyo()->events();

for my $n (0 .. $#cases) {
    my ($body, $query, $expected, $answer, $more) = @{$cases[$n]};

    $more = ref $more ? join ' ', %$more : $more || '';
    $expected = $expected =~ /\A\d+\z/ ? "queued, $expected"
                                       : "skipped:$expected, 0";

    is(($result{$n} || 'nothing') . ', ' . ($events{"Case $n"} || 0), $expected,
        join '  ', grep { defined && $_ ne '' } $body, substr($query, 0, 40),
            $answer, $more);
}

###############################################################################
