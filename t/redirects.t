#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# One event per rule and request, judged by the path that came and the location
# that was chosen first, whatever nginx does with the request then.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use IO::Socket::INET ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Cases;
use Test::Nginx::Klaviyo::HTTP2 ();

###############################################################################

my $t = Test::Nginx::Klaviyo->new()->standin();

$t->write_file('html/page', 'page');
$t->write_file('html/dir/index.html', 'index');
$t->write_file('html/empty/x', '');
$t->write_file('html/ssi.html', join '',
    map { "<!--#include virtual=\"/$_\" -->" } qw(ends part?case=1 proxied));
$t->write_file('html/big', 'x' x 5_000_000);
$t->write_file('html/sliced', 'x' x 5_000);
$t->write_file('data/x', 'data');

# not every nginx has these modules: a line of the configuration that needs one
# says so at its end
my $built = ($t->nginx('-V'))[1];
my %has = map { $_ => scalar $built =~ /--with-http_${_}_module\b/ }
    qw(addition auth_request slice v2);

my $config = <<'EOF';

%%GLOBALS%%

events { }

http {
    %%GLOBALS_HTTP%%

    proxy_cache_path  %%TESTDIR%%/cache  keys_zone=cache:1m;

    klaviyo_account shop { api_key data:pk_0123456789; endpoint %%KLAVIYO%%; }

    # some requests have no headers

    map $http_x_case $case {
        ""       $arg_case;
        default  $http_x_case;
    }

    klaviyo_ignore   off;
    klaviyo_profile  external_id $case;

    server {
        listen       127.0.0.1:%%PORT_0%%;
        listen       127.0.0.1:%%PORT_3%% http2;  # v2
        server_name  localhost;

        root         %%TESTDIR%%/html;
        index        index.html;

        proxy_http_version  1.1;

        # what each request must meet once, and what it sees of it

        klaviyo_track Seen {
            property  A  $arg_a;
            property  M  $request_method;
            property  U  $uri;
        }

        # what would be met by a path that a request only comes to

        klaviyo_track Wrong /ends { when $request_uri !~ ^/ends; }
        klaviyo_track Wrong =/dir/index.html { }
        klaviyo_track Wrong =/page { }

        location /ends {
            klaviyo_track Ends { }
            return 200 ends;
        }

        location @named {
            klaviyo_track Named { }
            return 200 named;
        }

        location / {
            klaviyo_track Root { }
        }

        # server rewrites

        if ($uri = /server/if) {
            return 200;
        }

        rewrite  ^/server/last$   /chosen/last?a=lost  last;
        rewrite  ^/server/break$  /chosen/break        break;
        rewrite  ^/server/other$  /ends                last;

        location /server {
            klaviyo_track Server { }
            return 200;
        }

        location /chosen {
            klaviyo_track Chosen { }
            return 200;
        }

        # location rewrites

        location /rewrite/ {
            klaviyo_track First { }

            location /rewrite/last {
                rewrite ^ /ends?a=lost last;
            }

            location /rewrite/break {
                rewrite ^ /page?a=lost break;
            }

            location /rewrite/permanent {
                rewrite ^ /ends permanent;
            }

            location /rewrite/set {
                set $args a=lost;
                return 200;
            }

            location /rewrite/if {
                if ($arg_a) {
                    return 200;
                }
                return 404;
            }

            location /rewrite/inside {
                if ($arg_a) {
                    rewrite ^ /ends last;
                }
                return 404;
            }

            location /rewrite/header {
                if ($arg_a) {
                    add_header X-A b;
                }
                proxy_pass http://127.0.0.1:%%PORT_1%%;
            }
        }

        # files

        location /try/ {
            klaviyo_track First { }

            location /try/found { try_files /page =404; }
            location /try/uri { try_files /none /ends?a=lost; }
            location /try/named { try_files /none @named; }
            location /try/status { try_files /none =404; }
            location /try/good { try_files /none =204; }
        }

        location /alias/ {
            klaviyo_track First { property F $request_filename; }
            alias %%TESTDIR%%/data/;
        }

        location ~ ^/regex/(?<file>.*)$ {
            klaviyo_track First { }
            alias %%TESTDIR%%/data/$file;

            location ~ /deep$ {
                klaviyo_track Deep { }
                return 200;
            }
        }

        location ~ ^/regex {
            klaviyo_track Later { }
            return 200;
        }

        # an alias that is longer than the path that came

        location /to {
            klaviyo_track First { property F $request_filename; }
            rewrite ^ /some/longer/path/to/x last;
        }

        location /some/longer/path/to/ {
            alias %%TESTDIR%%/data/;
        }

        # errors

        location /error/ {
            klaviyo_track First { }

            location /error/page { error_page 404 /ends; return 404; }
            location /error/good { error_page 404 =200 /ends; return 404; }
            location /error/own { error_page 404 = /ends; return 404; }
            location /error/named { error_page 404 = @named; return 404; }
            location /error/other { error_page 404 =201 @named; return 404; }
            location /error/none { error_page 404 /none; return 404; }
            location /error/url { error_page 404 http://x/; return 404; }
            location /error/see { error_page 404 =303 /see; return 404; }

            location /error/twice {
                recursive_error_pages  on;
                error_page             404 = /error/again;
                return                 404;
            }

            location /error/again { error_page 410 =200 @named; return 410; }

            location /error/proxy {
                error_page              500 =200 /ends?a=lost;
                proxy_intercept_errors  on;
                proxy_pass              http://127.0.0.1:%%PORT_1%%/fail;
            }

            location /error/down {
                error_page  502 504 = @named;
                proxy_pass  http://127.0.0.1:1;
            }
        }

        location /see {
            return 303 /page;
        }

        location /empty/good/ {
            error_page  403 =200 /ends;
            alias       %%TESTDIR%%/html/empty/;
        }

        # nginx answers as soon as it has found the location

        location /slash/ {
            klaviyo_track Slash { when $status = 301; }
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }

        location /large {
            klaviyo_track Large { when $status = 413; }
            client_max_body_size 1;
            return 200;
        }

        location /large/off {
            klaviyo off;
            client_max_body_size 1;
            return 200;
        }

        klaviyo_track "Large server" /large { when $status = 413; }

        # proxying

        location /proxied {
            klaviyo_track First { }
            log_subrequest on;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }

        location /accel {
            klaviyo_track First { }
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }

        location /cached {
            klaviyo_track First { }

            proxy_cache                    cache;
            proxy_cache_key                $uri;
            proxy_cache_valid              200 1s;
            proxy_cache_use_stale          http_500 updating;
            proxy_cache_background_update  on;

            add_header  X-Cache  $upstream_cache_status;
            proxy_pass  http://127.0.0.1:%%PORT_1%%;
        }

        location /peer {
            klaviyo_track First { when $status = 200; when $request_uri ~ 101; }
            klaviyo_track Aborted { when $status = 499; }
            klaviyo_track Upgraded { when $status = 101; }

            proxy_set_header  Upgrade     $http_upgrade;
            proxy_set_header  Connection  upgrade;
            proxy_pass        http://127.0.0.1:%%PORT_2%%;
        }

        # subrequests

        location /auth {
            klaviyo_track First { }
            auth_request  /proxied/check?case=$arg_case;  # auth_request
            try_files     /page =404;
        }

        location /denied {
            klaviyo_track First { }
            auth_request  /proxied/deny;  # auth_request
            try_files     /page =404;
        }

        location /mirror {
            klaviyo_track First { }
            mirror     /proxied/mirror;
            try_files  /page =404;
        }

        location = /ssi.html {
            klaviyo_track First { }
            ssi on;
        }

        location /part {
            klaviyo_track Part { }
            return 200 part;
        }

        location = /addition {
            klaviyo_track First { }
            addition_types  *;         # addition
            add_before_body /part;     # addition
            add_after_body  /proxied;  # addition
            try_files       /page =404;
        }

        location = /sliced {
            klaviyo_track First { }
            slice             1k;                   # slice
            proxy_set_header  Range $slice_range;  # slice
            proxy_pass        http://127.0.0.1:%%PORT_1%%;
        }

        location /post {
            klaviyo_track First { }
            post_action  /ends?case=$arg_case;
            return       200;
        }

        # access

        location /limit {
            klaviyo_track First { }
            limit_except GET { deny all; }
            try_files /page =404;
        }

        location /satisfy/ {
            klaviyo_track First { }
            satisfy                any;
            auth_basic             closed;
            auth_basic_user_file   /dev/null;
            location /satisfy/any { allow 127.0.0.1; try_files /page =404; }
            location /satisfy/none { deny all; try_files /page =404; }
        }

        location /internal {
            klaviyo_track Internal { }
            internal;
            return 200;
        }
    }

    # a server whose requests never come to a location

    server {
        listen       127.0.0.1:%%PORT_0%%;
        server_name  returns;

        klaviyo_track Seen { property U $uri; }

        location / {
            klaviyo_track Wrong { }
        }

        return 200;
    }

    # or only by an error

    server {
        listen       127.0.0.1:%%PORT_0%%;
        server_name  errors;

        klaviyo_track Seen { property U $uri; }
        error_page    404 = @named;
        error_page    403 =200 /page;

        location / {
            klaviyo_track Wrong { }
        }

        location @named {
            klaviyo_track Wrong { }
            return 200;
        }

        if ($uri = /denied) {
            return 403;
        }

        if ($uri != /page) {
            return 404;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_1%%;
        root    %%TESTDIR%%/html;

        klaviyo off;

        location / {
            return 200 proxied;
        }

        location = /sliced { }

        location /fail {
            return 500;
        }

        location /proxied/deny {
            return 403;
        }

        location /accel {
            add_header  X-Accel-Redirect $arg_to;
            return      200;
        }

        location /cached {
            if ($http_x_fail) {
                return 500;
            }
            return 200 cached;
        }
    }
}

EOF

$config =~ s/^.*# (\w+)\n/$has{$1} ? $& : ''/gme;
$t->write_config($config);

# what answers as no nginx would
my $peer = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5,
    LocalPort => $t->port(2), Proto => 'tcp', ReuseAddr => 1)
    or die "listen: $!\n";

$t->run();

my $c = Test::Nginx::Klaviyo::Cases->new($t);

###############################################################################

# a response that is stale after a second
is(once('a miss', '/cached', 'First')->header('X-Cache'), 'MISS', 'it is');
is(once('a hit', '/cached', 'First')->header('X-Cache'), 'HIT', 'it is');

my $cached = time();

# The server rewrite phase, which some requests never leave.

once('a return of the server', '/x', '', headers => { Host => 'returns' },
    seen => 'Seen{U=/x}');
once('an error of the server, a name', '/x', '', headers => {
    Host => 'errors' }, seen => 'Seen{U=/x}');
once('an error of the server, a page', '/denied', '', headers => {
    Host => 'errors' }, seen => 'Seen{U=/denied}');
once('an if of the server', '/server/if', '');
once('a rewrite of the server, last', '/server/last', 'Chosen');
once('a rewrite of the server, break', '/server/break', 'Chosen');
once('to where others end', '/server/other', 'Ends', wrong => 'Wrong');
once('no rewrite', '/server/none', 'Server');

# Rewrites, of which the second pass finds another location.

once('rewrite, last', '/rewrite/last', 'First', wrong => 'Wrong');
once('rewrite, break', '/rewrite/break', 'First');
never('rewrite, permanent', '/rewrite/permanent');
once('set $args', '/rewrite/set', 'First');
once('if, return', '/rewrite/if', 'First');
never('if, not', '/rewrite/if', query => '');
once('if, rewrite', '/rewrite/inside', 'First', wrong => 'Wrong');
once('if, a header', '/rewrite/header', 'First');

# Files, and internal redirects that clear the contexts of modules.

once('try_files, a file', '/try/found', 'First');
once('try_files, a URI', '/try/uri', 'First');
once('try_files, a name', '/try/named', 'First');
never('try_files, a status', '/try/status');
once('try_files, a good status', '/try/good', 'First');
once('index', '/dir/', 'Root');
never('a directory without a slash', '/dir');
never('a directory without an index', '/empty/');
never('no file', '/none');
once('an error of no index', '/empty/good/', '');
once('alias', '/alias/x', "First{F=" . $t->dir() . "/data/x}");
once('alias, a regex', '/regex/x', 'First');
once('a nested regex', '/regex/x/deep', 'First, Deep');
once('an alias that is longer', '/to', "First{F=" . $t->dir() . "/html/to}");

# Errors: the status is the last one, all else the first.

never('error_page', '/error/page');
once('error_page =200', '/error/good', 'First');
once('error_page =', '/error/own', 'First');
once('error_page, a name', '/error/named', 'First');
once('error_page, another status', '/error/other', 'First');
never('error_page, no page', '/error/none');
never('error_page, a URL', '/error/url');
once('recursive_error_pages', '/error/twice', 'First');
once('proxy_intercept_errors', '/error/proxy', 'First');
once('an upstream that is away', '/error/down', 'First');
never('error_page, another URL', '/error/see');
send_('POST: the method is the first', '/error/see', 'First');
send_('POST: error_page', '/error/good', 'First');
never('internal', '/internal');

# Answers before the rewrite phase: they are the location's as well.

$c->get('a slash', '/slash', 'Slash');
$c->post('a body', '/large', 'too large', 'Large, Large server');
$c->post('a body, off', '/large/off', 'too large', '');

# Proxying.

is(once('proxied', '/proxied', 'First')->body(), 'proxied', 'it is');
send_('proxied POST', '/proxied', 'First');
is(once('X-Accel-Redirect', '/accel', 'First', query => '?a=1&to=/ends')
    ->body(), 'ends', 'it is');
is(once('X-Accel-Redirect, a name', '/accel', 'First',
    query => '?a=1&to=@named')->body(), 'named', 'it is');
never('X-Accel-Redirect, no file', '/accel', query => '?a=1&to=/none');
send_('X-Accel-Redirect of a POST', '/accel', 'First',
    query => '?a=1&to=/ends');

# Subrequests: never tracked, though they are requests of the same server, and
# have a log phase if they are told to.

if ($has{auth_request}) {
    once('auth_request', '/auth', 'First', query => '?a=1&case=auth');
    never('auth_request, denied', '/denied');
}

once('mirror', '/mirror', 'First', query => '?a=1&case=mirror');
send_('mirror of a POST', '/mirror', 'First', none => 1);
like(once('SSI', '/ssi.html', 'First')->body(), qr/endspartproxied/, 'it is');
is(once('addition', '/addition', 'First')->body(),
    $has{addition} ? 'partpageproxied' : 'page', 'it is');
is(length once('slice', '/sliced', 'First')->body(), 5000, 'it is');
once('post_action', '/post', 'First', query => '?a=1&case=post');

# Access.

once('limit_except', '/limit', 'First');
send_('limit_except, denied', '/limit', 'First', none => 1);
once('satisfy any', '/satisfy/any', 'First');
never('satisfy none', '/satisfy/none');

# Connections: the context of a request that was before, or none at all.

my $connection = $t->connect();

for my $n (1 .. 3) {
    $connection->send($c->text('GET', "keep-alive $n", "/ends?a=$n",
        "Seen{A=$n M=GET U=/ends}, Ends"));
    is($connection->response()->status(), 200, "keep-alive $n");
}

$connection->send(join '', map {
    $c->text('GET', "pipelined $_", "/ends/$_?a=$_",
        "Seen{A=$_ M=GET U=/ends/$_}, Ends")
} 1 .. 8);

is(join(' ', map { $connection->response()->status() } 1 .. 8),
    join(' ', (200) x 8), 'pipelined');

http2() if $has{v2};

once('HTTP/1.0', '/ends', 'Ends', version => '1.0');

my $old = $c->expect('HTTP/0.9', 'Seen{M=GET U=/ends}, Ends');

is($t->raw("GET /ends?case=$old\r\n"), 'ends', 'HTTP/0.9');

# request lines
$t->raw($c->text('GET', 'absolute form', 'http://localhost/ends?a=1',
    'Seen{A=1 M=GET U=/ends}, Ends', close => 1));
$t->raw($c->text($_->[0], "$_->[0] $_->[1]", $_->[1], '', close => 1))
    for [ 'GET', '/%00' ], [ 'GET', '/../..' ], [ 'GET', 'ends' ],
        [ 'G(T', '/ends' ], [ 'TRACE', '/ends' ], [ 'OPTIONS', '*' ];
$t->raw("GET / HTTP/1.1\r\n\r\n");
$t->raw("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
$t->raw("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n");
$t->raw("GET / HTTP/9.9\r\n\r\n");

# bodies
for my $uri ('/proxied', '/ends') {
    my $last = $uri eq '/ends' ? 'Ends' : 'First';

    my $text = $c->text('POST', "chunked, $uri", "$uri?a=1",
        "Seen{A=1 M=POST U=$uri}, $last", close => 1,
        headers => { 'Transfer-Encoding' => 'chunked' });

    like($t->raw("${text}5\r\nabcde\r\n3\r\nfgh\r\n0\r\n\r\n"), qr/ 200 OK/,
        "chunked, $uri");
}

$connection = $t->connect();
$connection->send($c->text('POST', 'Expect', '/proxied?a=1',
    'Seen{A=1 M=POST U=/proxied}, First', close => 1,
    headers => { Expect => '100-continue', 'Content-Length' => 3 }));
$connection->more();
like($connection->{in}, qr/^HTTP\/1.1 100 Continue\r\n/, 'Expect');
$connection->send('abc');
is($connection->response()->body(), 'proxied', 'and the body');

# a visitor who goes, before and amid the answer
$connection = $t->connect();
$connection->send($c->text('GET', 'aborted', '/peer?a=1', 'Aborted'));
my $waiting = $peer->accept();
$connection->close();

is(length once('a big answer', '/big', 'Root')->body(), 5_000_000, 'big');

$connection = $t->connect();
$connection->send($c->text('GET', 'read in part', '/big?a=1',
    'Seen{A=1 M=GET U=/big}, Root'));
$connection->more();
$connection->close();

# an upgrade, which ends with the connection
$connection = $t->connect();
$connection->send($c->text('GET', 'upgrade', '/peer?a=1', 'Upgraded',
    headers => { Upgrade => 'x', Connection => 'upgrade' }));

my $upgraded = $peer->accept();

sysread $upgraded, my $request, 10_000;
syswrite $upgraded,
    "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
is($connection->response()->status(), 101, 'upgrade');
$connection->send('ping');
sysread $upgraded, $request, 10_000;
is($request, 'ping', 'and what goes through it');
close $upgraded;
ok($connection->rest() eq '', 'and its end');

# the cache again
select undef, undef, undef, 0.1 while time() < $cached + 2;

is(once('stale', '/cached', 'First', headers => { 'X-Fail' => 1 })
    ->header('X-Cache'), 'STALE', 'it is');

$t->wait_for(sub { 0 }, 0.2);
close $waiting;

$c->judge();
$t->done();

###############################################################################

sub http2 {
    my $n = $c->expect('HTTP/2', 'Seen{A=1 M=GET U=/ends}, Ends');

    $c->expect('HTTP/2, a redirect', 'Seen{A=2 M=GET U=/try/uri}, First');
    $c->expect('HTTP/2, not found', '');
    $c->expect('HTTP/2, escapes', 'Seen{A=4 M=GET U=/ends/a b}, Ends');

    my @answers = Test::Nginx::Klaviyo::HTTP2::get($t->port(3),
        [ '/ends?a=1', 'x-case' => $n ],
        [ '/try/uri?a=2', 'x-case' => $n + 1 ],
        [ '/none?a=3', 'x-case' => $n + 2 ],
        [ '/ends//a%20b?a=4', 'x-case' => $n + 3 ]);

    is(join(' ', map { $_->{status} } @answers), '200 200 404 200', 'HTTP/2');
    is($answers[1]{body}, 'ends', 'its body');
}


# Met by the rule of the server and by those of its first location.

sub once { return any('GET', @_) }
sub send_ { return any('POST', @_) }


sub any {
    my ($method, $name, $uri, $rules, %opt) = @_;
    my $query = delete $opt{query} // '?a=1';
    my $seen = delete $opt{seen} // "Seen{A=1 M=$method U=$uri}";
    my $events = join ', ', grep { $_ ne '' } $seen, $rules;

    $opt{body} = 'b=1' if $method eq 'POST';

    return $c->request($method, "$name: $uri", "$uri$query",
        delete $opt{none} ? '' : $events, %opt);
}


sub never {
    my ($name, $uri, %opt) = @_;

    return any('GET', $name, $uri, '', %opt, none => 1);
}

###############################################################################
