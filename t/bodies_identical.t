#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# With capture, a response is the same, byte by byte, and so is what the
# upstream gets: from an nginx without the module, from one whose rules name
# all bodies, and from one whose limits are too small for any.

###############################################################################

use warnings;
use strict;

use Test::More;

use Compress::Zlib ();
use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::HTTP ();
use Test::Nginx::Klaviyo::HTTP2 ();
use Test::Nginx::Klaviyo::Upstream;

###############################################################################

my $config = <<'EOF';

%%GLOBALS%%

events { }

http {
    %%GLOBALS_HTTP%%

    proxy_cache_path  %%TESTDIR%%/cache  keys_zone=cache:1m;

    log_format  statuses  "$http_x_case $status";

    %%ACCOUNT%%

    server {
        listen       127.0.0.1:%%PORT_0%%;
        listen       127.0.0.1:%%PORT_1%% http2;
        server_name  localhost;
        root         %%FILES%%/html;

        access_log   %%TESTDIR%%/all.log  statuses;

        client_max_body_size  10m;

        location / {
            default_type  application/json;
            %%RULE%%
        }

        location /sendfile {
            alias     %%FILES%%/html;
            sendfile  on;
            tcp_nopush  on;
            directio  1m;
            %%RULE%%
        }

        location /gzip {
            alias            %%FILES%%/html;
            gzip             on;
            gzip_types       *;
            gzip_min_length  1;
            %%RULE%%
        }

        location /ssi {
            alias      %%FILES%%/html;
            ssi        on;
            ssi_types  *;
            %%RULE%%
        }

        location /sub {
            alias             %%FILES%%/html;
            sub_filter        x  yy;
            sub_filter_types  *;
            sub_filter_once   off;
            %%RULE%%
        }

        location /raw {
            proxy_pass  http://127.0.0.1:%%UPSTREAM%%;
            %%RULE%%
        }

        location /flow {
            proxy_buffering          off;
            proxy_request_buffering  off;
            proxy_http_version       1.1;
            proxy_pass               http://127.0.0.1:%%UPSTREAM%%/raw;
            %%RULE%%
        }

        location /gunzip {
            gunzip      on;
            proxy_pass  http://127.0.0.1:%%UPSTREAM%%/raw;
            %%RULE%%
        }

        location /cached {
            proxy_cache        cache;
            proxy_cache_valid  1h;
            proxy_pass         http://127.0.0.1:%%UPSTREAM%%/raw;
            %%RULE%%
        }

        location /sliced {
            slice              10k;
            proxy_cache        cache;
            proxy_cache_key    $uri$slice_range;
            proxy_set_header   Range  $slice_range;
            proxy_cache_valid  200 206 1h;
            proxy_pass         http://127.0.0.1:%%PORT_0%%/;
            %%RULE%%
        }

        location /slow {
            limit_rate  400k;
            alias       %%FILES%%/html;
            %%RULE%%
        }

        location /echo {
            proxy_pass  http://127.0.0.1:%%UPSTREAM%%;
            %%RULE%%
        }

        location /echo/flow {
            proxy_request_buffering  off;
            proxy_http_version       1.1;
            proxy_pass               http://127.0.0.1:%%UPSTREAM%%;
            %%RULE%%
        }

        location /echo/small {
            client_body_buffer_size  1k;
            proxy_pass               http://127.0.0.1:%%UPSTREAM%%;
            %%RULE%%
        }

        location /echo/tried {
            try_files  /none  @tried;
            %%RULE%%
        }

        location @tried {
            proxy_pass  http://127.0.0.1:%%UPSTREAM%%;
        }

        location /return {
            %%RULE%%
            return  200  "{\"a\":1}";
        }

        location /error {
            %%RULE%%
            error_page  404 =200 /file.json;
            return      404;
        }

        location /part {
            %%RULE%%
            return  200  "{\"part\":1}";
        }
    }
}

EOF

# not every nginx has these modules
my $built = (Test::Nginx::Klaviyo->new(module => 0)->nginx('-V'))[1];

$config =~ s/^.*\bsub_filter.*\n//gm if $built !~ /--with-http_sub_module/;
$config =~ s/^.*\bgunzip  .*\n//gm if $built !~ /--with-http_gunzip_module/;

my $rule = 'klaviyo_track All GET POST { when not @response.errors[*];'
    . ' property A @request.a; property B @response.a; property C'
    . ' @jsonld.Product.name; property D $klaviyo_request_body; property E'
    . ' $klaviyo_response_body; property F @graphql.operation; }'
    . ' klaviyo_track Pages { property C @jsonld.Product.name; }'
    . ' klaviyo_track Answers POST { property C @response.a; }';

my %account = (
    without => '',
    rules => '',
    limits => 'klaviyo_request_body_limit 10; klaviyo_response_body_limit 10;',
);

# the same files, with the same times, and the same upstream
my $files = Test::Nginx::Klaviyo->new(module => 0);
my $page = '<script type="application/ld+json">{"@type":"Product","name":'
    . '"x"}</script>';
my %files = (
    'empty.json' => '',
    'file.json' => '{"a":"x"}',
    'page.html' => "$page<p>x</p>",
    'large.html' => $page . join('', map { "<p>line $_ x</p>\n" } 1 .. 20_000),
    'large.json' => '{"a":"' . 'x' x 300_000 . '"}',
    'huge.json' => '{"a":"' . 'xyz' x 1_500_000 . '"}',
    'parts.html' => "$page<!--#include virtual=\"/part\" -->"
        . '<!--#echo var="uri" -->',
    'image.png' => join('', map { chr } 0 .. 255) x 100,
);

$files->write_file("html/$_", $files{$_}) for keys %files;

for my $name (keys %files) {
    my $type = $name =~ /json/ ? 'application/json'
        : $name =~ /html/ ? 'text/html' : 'image/png';
    my $text = $files{$name};
    my $gzip = Compress::Zlib::memGzip($text);
    my $head = "HTTP/1.1 200 OK\r\nContent-Type: $type\r\n";
    my $chunks = join '', map { sprintf "%x\r\n%s\r\n", length, $_ }
                          $text =~ /.{1,4000}/gs;

    $files->write_file("length-$name", "${head}ETag: \"x\"\r\nContent-Length: "
        . length($text) . "\r\n\r\n$text");
    $files->write_file("cut-$name", "${head}Content-Length: "
        . (length($text) + 10) . "\r\n\r\n$text");
    $files->write_file("close-$name", "$head\r\n$text");
    $files->write_file("gzip-$name", "${head}Content-Encoding: gzip\r\n"
        . "Content-Length: " . length($gzip) . "\r\n\r\n$gzip");
    $files->write_file("chunked-$name", "${head}Transfer-Encoding: chunked"
        . "\r\n\r\n${chunks}0\r\n\r\n");
    $files->write_file("open-$name", "${head}Transfer-Encoding: chunked"
        . "\r\n\r\n$chunks");
}

my $upstream = $files->port(0);

Test::Nginx::Klaviyo::Upstream::http($upstream, $files->dir());

my @files = grep { $_ ne 'huge.json' } sort keys %files;

my @requests = (
    (map { my $where = $_; map { [ 'GET', "$where/$_" ] } @files }
        '', qw(/sendfile /gzip /ssi /sub /slow /sliced)),
    (map { my $where = $_; map { [ 'GET', "$where-$_" ] } @files }
        map { my $way = $_; map { "$way/$_" }
            qw(length cut close gzip chunked open) }
        qw(/raw /flow /gunzip /cached)),
    (map { [ 'GET', $_ ] } '/huge.json', '/sendfile/huge.json',
        '/raw/length-huge.json', '/flow/chunked-huge.json'),

    # once more: from the cache
    (map { [ 'GET', "/cached/$_" ] } 'length-large.json', 'gzip-page.html',
        'chunked-file.json'),

    (map { my $uri = $_; map { [ 'GET', $uri, headers => { Range => $_ } ] }
        'bytes=0-0', 'bytes=2-5', 'bytes=-3', 'bytes=0-1,4-5', 'bytes=9999999-',
        'bytes=5-' } '/file.json', '/sendfile/large.json', '/page.html',
        '/cached/length-large.html', '/sliced/large.html'),
    (map { [ 'GET', $_, headers => { 'Accept-Encoding' => 'gzip' } ] }
        '/gzip/large.json', '/gzip/page.html', '/gzip/file.json',
        '/raw/gzip-page.html', '/gunzip/gzip-page.html'),
    (map { [ 'GET', $_, version => '1.0' ] } '/file.json', '/large.html',
        '/raw/chunked-large.json', '/gzip/page.html', '/ssi/parts.html'),
    [ 'GET', '/file.json', headers => { 'If-Modified-Since' =>
        'Fri, 01 Jan 2100 00:00:00 GMT' } ],
    (map { [ 'HEAD', $_ ] } '/file.json', '/page.html', '/raw/length-page.html',
        '/ssi/parts.html'),
    (map { my $uri = $_; map { [ 'POST', $uri, body => $_ ] } '', '{"a":1}',
        'a=b&c=d', "\0\xff" x 2_000, 'x=' . 'y' x 70_000,
        'x=' . 'y' x 2_000_000 } qw(/return /error /echo /echo/flow
        /echo/small /echo/tried)),
    [ 'POST', '/return', headers => { Expect => '100-continue' },
        body => 'a=b' ],
    [ 'POST', '/echo', headers => { Expect => '100-continue' }, body => 'a' ],
    (map { [ 'POST', $_, chunks => [ 'a=', 'b', 'c' x 5_000 ] ] }
        qw(/return /error /echo /echo/flow /echo/small /echo/tried)),
    [ 'PUT', '/echo', body => '{"a":1}' ],
    [ 'PUT', '/return', body => '{"a":1}' ],
);

my (%answers, %nginx, %log, %h2, %left);

for my $name (sort keys %account) {
    my $t = $nginx{$name} = Test::Nginx::Klaviyo->new(
        module => $name ne 'without');

    $t->standin() if $name ne 'without';
    $t->write_config(config($name))->run();
    $answers{$name} = answers($t);
    $h2{$name} = [ Test::Nginx::Klaviyo::HTTP2::get($t->port(1),
        map { [ $_ ] } '/file.json', '/page.html', '/raw/chunked-page.html',
        '/ssi/parts.html', '/gzip/page.html', '/flow/cut-page.html') ];
    $left{$name} = left($t);

    ok($t->quit(), "$name: nginx ends");
    $log{$name} = $t->read_file('all.log');
}

is(scalar(grep { $_ ne '' } @{$answers{without}}), @requests + 1,
    'there are answers');
cmp_ok(length $left{without}, '>', 1000, 'and a part of one');

for my $name (qw(rules limits)) {
    for my $n (0 .. @requests) {
        ok($answers{$name}[$n] eq $answers{without}[$n],
            "$name: " . title($n)) or diag(differ($answers{without}[$n],
            $answers{$name}[$n]));
    }

    is_deeply($h2{$name}, $h2{without}, "$name: HTTP/2");
    ok($left{$name} eq $left{without}, "$name: a visitor who leaves");
    is(join("\n", sort split /\n/, $log{$name}),
       join("\n", sort split /\n/, $log{without}), "$name: the log");
}

# and there was something to copy
my @events = $nginx{rules}->klaviyo()->events('All');

cmp_ok(scalar(grep { $_->{properties}{B} } @events), '>', 20, 'answers');
cmp_ok(scalar(grep { $_->{properties}{C} } @events), '>', 20, 'pages');
cmp_ok(scalar(grep { $_->{properties}{D} } @events), '>', 10, 'requests');

$nginx{rules}->done();

###############################################################################

sub config {
    my ($name) = @_;
    my $text = $config;
    my $rules = $name eq 'without' ? '' : $rule;
    my $account = $name eq 'without' ? '' : 'klaviyo_account shop { api_key'
        . ' data:pk_0123456789; endpoint %%KLAVIYO%%; } klaviyo_profile'
        . ' external_id x$http_x_case; klaviyo_ignore off;' . $account{$name};
    my $where = $files->dir();

    $text =~ s/%%RULE%%/$rules/g;
    $text =~ s/%%ACCOUNT%%/$account/;
    $text =~ s/%%FILES%%/$where/g;
    $text =~ s/%%UPSTREAM%%/$upstream/g;

    return $text;
}


sub answers {
    my ($t) = @_;
    my @answers = map { $t->raw(text($_)) } 0 .. $#requests;

    # several on one connection, at once
    push @answers, $t->raw(join '', map {
        Test::Nginx::Klaviyo::HTTP::text($_->[0], $_->[1], @$_[2 .. $#$_])
    } [ 'POST', '/return', body => '{"a":1}' ], [ 'GET', '/file.json' ],
        [ 'POST', '/return', body => 'x' x 70_000 ], [ 'POST', '/error',
        body => 'a=b' ], [ 'POST', '/echo', body => 'a=b' ],
        [ 'GET', '/page.html', close => 1 ]);

    for my $answer (@answers) {
        $answer =~ s/^Date: .*\r\n//mg;

        # chosen by chance
        my ($boundary) = $answer =~ /boundary=(\d+)/;
        $answer =~ s/$boundary/BOUNDARY/g if defined $boundary;

        # as large as what came at once
        my ($head, $body) = split /(?<=\r\n\r\n)/, $answer, 2;

        $answer = $head . joined($body)
            if $head =~ /^Transfer-Encoding: chunked/m;
    }

    return \@answers;
}


sub joined {
    my ($body) = @_;
    my $text = '';

    while ($body =~ s/\A([0-9a-f]+)\r\n//) {
        my $size = hex $1 or return "$text, END $body";

        $text .= substr $body, 0, $size, '';
        $body =~ s/\A\r\n//;
    }

    return "$text, CUT $body";
}


# what comes until the visitor has enough of it
sub left {
    my ($t) = @_;
    my $c = $t->connect();

    $c->send(Test::Nginx::Klaviyo::HTTP::text('GET', '/slow/large.json'));
    $t->wait_for(sub { $c->more(); length $c->{in} > 3_000 });
    $c->close();

    $c->{in} =~ s/^Date: .*\r\n//m;

    return substr $c->{in}, 0, 2_000;
}


sub text {
    my ($n) = @_;
    my ($method, $uri, %opt) = @{$requests[$n]};
    my $chunks = delete $opt{chunks};

    $opt{headers} = { %{$opt{headers} || {}}, 'X-Case' => $n };
    $opt{headers}{'Transfer-Encoding'} = 'chunked' if $chunks;

    return Test::Nginx::Klaviyo::HTTP::text($method, $uri, %opt, close => 1)
        . join '', map { sprintf "%x\r\n%s\r\n", length, $_ }
                   $chunks ? (@$chunks, '') : ();
}


sub title {
    my ($n) = @_;

    return 'pipelined' if $n == @requests;

    my ($method, $uri, %opt) = @{$requests[$n]};

    return join ' ', $method, $uri, $opt{version} || (),
        %{$opt{headers} || {}}, defined $opt{body} ? length $opt{body} : (),
        $opt{chunks} ? 'chunks' : ();
}


sub differ {
    my ($one, $two) = @_;
    my $at = 0;

    $at++ while $at < length $one && $at < length $two
        && substr($one, $at, 1) eq substr $two, $at, 1;

    my $from = $at < 50 ? 0 : $at - 50;

    return "they differ at $at of " . length($one) . ' and ' . length($two)
        . ":\n" . substr($one, $from, 200) . "\n---\n"
        . substr($two, $from, 200);
}

###############################################################################
