#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# What a response says reaches the event, however it comes: each kind of
# location and transfer, each encoding, and only where it was wholly seen.

###############################################################################

use warnings;
use strict;

use Test::More;

use Compress::Zlib ();
use Cpanel::JSON::XS ();
use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::HTTP2 ();
use Test::Nginx::Klaviyo::Table;
use Test::Nginx::Klaviyo::Upstream;

###############################################################################

my $json = Cpanel::JSON::XS->new->utf8->canonical;

my $table = Test::Nginx::Klaviyo::Table->new(http => <<'EOH', server => <<'EOS');
    proxy_cache_path  %%TESTDIR%%/cache  keys_zone=cache:1m;
    log_format  bodies  "$http_x_case $klaviyo_response_body";

    map $upstream_http_x_up $of_header {
        default  none;
        yes      some;
    }

    server {
        listen      127.0.0.1:%%PORT_3%% http2;
        access_log  off;
        klaviyo_profile  external_id $http_x_case;

        location / {
            proxy_pass  http://127.0.0.1:%%PORT_1%%;
            klaviyo_track h2 /raw { property N @response.n; }
        }
    }
EOH
        proxy_http_version  1.1;
        root                %%TESTDIR%%/html;
        gzip_types          *;
        gzip_min_length     1;
        access_log          %%TESTDIR%%/bodies.log bodies;

        location /part {
            return  200  "{\"part\":1}";
        }

        location /accelerated {
            internal;
            default_type  application/json;
            return        200  "{\"n\":7}";
        }

        location @answers {
            default_type  application/json;
            return        200  "{\"n\":8}";
        }
EOS

my $t = $table->harness();

# not every nginx has these modules
my $built = ($t->nginx('-V'))[1];
my %has = map { $_ => scalar $built =~ /--with-http_${_}_module\b/ }
    qw(gunzip sub);
my $gunzip = $has{gunzip} ? 'gunzip on;' : '';

# What upstreams answer: by name, head and body.

my %raw;

sub raw {
    my ($name, $type, $body, %opt) = @_;
    my $length = $opt{length} // length $body;

    $raw{$name} = join "\r\n", 'HTTP/1.1 ' . ($opt{status} // '200 OK'),
        defined $type ? "Content-Type: $type" : (),
        $opt{chunked} ? 'Transfer-Encoding: chunked'
                      : $length ne '' ? "Content-Length: $length" : (),
        @{$opt{headers} || []}, 'Connection: close', '', '';

    $raw{$name} .= $opt{chunked} ? chunked($body) . ($opt{end} // "0\r\n\r\n")
                                 : $body;

    return $name;
}


sub chunked {
    return join '', map { sprintf "%x\r\n%s\r\n", length, $_ }
                    $_[0] =~ /.{1,11}/gs;
}


sub from {
    my ($name, $more) = @_;

    return ($more // '')
        . " proxy_pass http://127.0.0.1:%%PORT_1%%/raw/$name";
}

###############################################################################

# How it comes.

my $text = '{"n":1,"name":"H\u00fct","lines":[{"p":"19.99","q":3},'
    . '{"p":"5","q":1}]}';
my $rule = 'property N @response.n; property H @response.name;'
    . ' property T @response.lines[*].p;';
my $said = '{"N":1,"H":"Hüt","T":["19.99","5"]}';
my @whole;

raw(length => 'application/json', $text);
raw(chunked => 'application/json; charset=utf-8', $text, chunked => 1);
raw(close => 'application/json', $text, length => '');

for my $name (qw(length chunked close)) {
    for my $how ('', 'proxy_buffering off;',
                 'proxy_max_temp_file_size 0; proxy_buffers 4 1k;'
                 . ' proxy_buffer_size 1k; proxy_busy_buffers_size 2k;',
                 'gzip on;', 'sendfile on; tcp_nopush on;',
                 'proxy_cache cache; proxy_cache_valid 1h;',
                 $has{sub} ? 'sub_filter n N; sub_filter_types *;'
                     . ' sub_filter_once off;' : (),
                 'ssi on; ssi_types *;', 'add_header X-A b;')
    {
        push @whole, $table->add("$name: $how", $rule, undef,
            answer => from($name, $how), events => [ $said ],
            headers => { 'Accept-Encoding' => 'gzip' });
    }

    push @whole, $table->add("$name: byte by byte", $rule, undef,
        answer => from("$name?piece=1", 'proxy_buffering off;'),
        events => [ $said ]);
}

my $cached = $table->add('cached', $rule, undef,
    answer => from('length', 'proxy_cache cache; proxy_cache_valid 1h;'
    . ' proxy_cache_key cached; add_header X-C $upstream_cache_status;'),
    events => [ ($said) x 2 ], result => 'queued queued');

$table->add('return', 'property A @response.a;', undef,
    answer => 'default_type application/json; return 200 "{\"a\":\"b\"}"',
    events => [ '{"A":"b"}' ]);
$table->add('no type', 'property A @response.a;', undef,
    answer => 'default_type ""; return 200 "{\"a\":\"b\"}"',
    events => [ '{"A":"b"}' ]);
$table->add('a file', 'property N @response.n;', undef,
    answer => 'sendfile on; try_files /file.json =404',
    events => [ '{"N":5}' ]);
$table->add('a file, in pieces', 'property N @response.n;', undef,
    answer => 'output_buffers 1 16; try_files /file.json =404',
    events => [ '{"N":5}' ]);
$table->add('a range of it', 'property N @response.n; property B b;', undef,
    headers => { Range => 'bytes=0-8' },
    answer => 'try_files /file.json =404', events => [ '{"B":"b"}' ]);
$table->add('ranges of it', 'when not @response.n; property B b;', undef,
    headers => { Range => 'bytes=0-1,3-4' },
    answer => 'try_files /file.json =404', result => 'skipped:limit',
    events => []);
$table->add('a range of a page', 'property N @jsonld.Product.name;'
    . ' property B b;', undef, headers => { Range => 'bytes=0-8' },
    answer => 'try_files /page.html =404', events => [ '{"B":"b"}' ]);
$table->add('X-Accel-Redirect', 'property N @response.n;', undef,
    answer => from(raw(accel => 'text/html', '{"n":6}',
                       headers => [ 'X-Accel-Redirect: /accelerated' ])),
    events => [ '{"N":7}' ]);
$table->add('error_page', 'property N @response.n;', undef,
    answer => 'error_page 404 =200 @answers; return 404',
    events => [ '{"N":8}' ]);
$table->add('intercepted', 'property N @response.n;', undef,
    answer => 'error_page 404 =200 @answers; proxy_intercept_errors on; '
        . from(raw(missing => 'application/json', '{"n":9}',
                   status => '404 Not Found')),
    events => [ '{"N":8}' ]);
$table->add('with parts of others', 'property A $klaviyo_response_body;',
    undef, answer => 'ssi on; '
        . from(raw(ssi => 'text/html',
                   'a<!--#include virtual="/part" -->b')),
    events => [ '{"A":"a<!--#include virtual=\"/part\" -->b"}' ]);
$table->add('FastCGI', 'property A @response.body;', undef,
    answer => 'fastcgi_param A b; fastcgi_pass 127.0.0.1:%%PORT_2%%',
    method => 'POST', body => 'a=b', events => [ '{"A":"a=b"}' ]);
$table->add('request and response', 'property A @request.a;'
    . ' property B @response.body | form | pick a | first;', undef,
    method => 'POST', body => 'a=b', answer => 'proxy_request_buffering off;'
        . ' proxy_pass http://127.0.0.1:%%PORT_1%%',
    events => [ '{"A":"b","B":"b"}' ]);

# What is not whole.

$table->add("cut: $_->[0]", 'property N @response.n; property R'
    . ' $klaviyo_response_body; property J @jsonld; property B b;', undef,
    answer => from(@$_), events => [ '{"B":"b"}' ])
    for [ raw(cut_length => 'text/html', '{"n":1}', length => 20) ],
        [ raw(cut_chunks => 'text/html', '{"n":1}', chunked => 1, end => '') ],
        [ raw(cut_unbuffered => 'text/html', '{"n":1}', length => 20),
          'proxy_buffering off;' ];

$table->add('cut: a condition', 'when not @response.errors; property B b;',
    undef, answer => from(raw(cut_json => 'application/json', '{"n":1}',
                              length => 20)),
    result => 'skipped:limit', events => []);

my $aborted = $table->add('aborted by the visitor', 'property N @response.n;'
    . ' property R $klaviyo_response_body; property B b;', undef,
    answer => from(raw(long => 'application/json', '{"n":1,"x":"' . 'x' x 9_000,
        length => 100_000) . '?stay', 'proxy_buffering off;'));

# Types.

my $page = '<html><script type="application/ld+json">'
    . '{"@type":"Product","name":"Hat"}</script>' . '<p>x</p>' x 5000;
my $all = 'property R @response.n; property T $klaviyo_response_body | regex'
    . ' ^.; property J @jsonld.Product.name; property B b;';

for my $case (
    [ 'application/json', '{"n":1}', '"R":1,"T":"{"' ],
    [ 'application/problem+json', '{"n":1}', '"R":1,"T":"{"' ],
    [ 'Application/JSON;charset=x', '{"n":1}', '"R":1,"T":"{"' ],
    [ 'text/plain', '{"n":1}', '"R":1,"T":"{"' ],
    [ 'text/x-script', '[{"n":1}]', '"T":"["' ],
    [ 'text/html', '{"n":1}', '"R":1,"T":"{"' ],
    [ undef, '{"n":1}', '"R":1,"T":"{"' ],
    [ 'text/xml', '<n>1</n>', '"T":"<"' ],
    [ 'image/png', '{"n":1}', '' ],
    [ 'application/octet-stream', '{"n":1}', '' ],
    [ 'text/html', $page, '"J":"Hat"' ],
    [ 'application/xhtml+xml', $page, '"J":"Hat"' ],
    [ 'text/plain', "$page", '' ],
    [ 'application/json', '', '' ],
    [ 'application/json', '"n"', '"T":"\""' ],
) {
    my ($type, $body, $expected) = @$case;
    my $n = keys %raw;

    my $rule = $body eq $page ? 'property J @jsonld.Product.name;'
        . ' property B b;' : $all;

    $table->add('type: ' . ($type // 'none'), $rule, undef,
        answer => from(raw("type$n", $type, $body)),
        events => [ $expected eq '' ? '{"B":"b"}' : "{$expected,\"B\":\"b\"}" ]
    );
}

$table->add('JSON behind blanks', 'property N $klaviyo_response_body | json n;'
    . ' property R @response.n;', undef, events => [ '{"N":1,"R":1}' ],
    answer => from(raw(blanks => 'text/html', " \r\n\t{\"n\":1}")
                   . '?piece=1', 'proxy_buffering off;'));

# Encodings: the visitor gets them as they are.

my %encoded = (
    gzip => Compress::Zlib::memGzip($text),
    members => Compress::Zlib::memGzip(substr $text, 0, 20)
        . Compress::Zlib::memGzip(substr $text, 20),
    deflate => Compress::Zlib::compress($text),
    raw => scalar deflated($text),
    identity => $text,
);

my %header = (members => 'gzip', raw => 'deflate');

if ((my $br = brotli($text)) ne '') {
    $encoded{br} = $br;
}

for my $name (sort keys %encoded) {
    my $encoding = $header{$name} // $name;

    raw("encoded_$name", 'application/json', $encoded{$name},
        headers => [ "Content-Encoding: $encoding" ]);

    $table->add("encoded: $name$_", "$rule property R"
        . ' $klaviyo_response_body | json n;', undef,
        events => [ $said =~ s/}$/,"R":1}/r ],
        answer => from("encoded_$name" . ($_ ? '?piece=1' : ''),
                       "proxy_buffering off; gzip on; $gunzip"))
        for '', ', byte by byte';
}

raw(page_gzip => 'text/html', Compress::Zlib::memGzip($page),
    headers => [ 'Content-Encoding: gzip' ]);
raw(page_br => 'text/html', brotli($page),
    headers => [ 'Content-Encoding: br' ]);

$table->add("a page: $_->[0]", 'property J @jsonld.Product.name;'
    . ' property B b;', undef, answer => from(@$_),
    events => [ '{"J":"Hat","B":"b"}' ])
    for [ 'page_gzip' ], [ 'page_gzip?piece=1', 'proxy_buffering off;' ],
        exists $encoded{br} ? [ 'page_br?piece=7' ] : ();

raw(page_cut => 'text/html', $page, length => 10 + length $page);
raw(page_gzip_cut => 'text/html',
    substr(Compress::Zlib::memGzip($page), 0, -12),
    headers => [ 'Content-Encoding: gzip' ]);

$table->add("a page, not whole: $_", 'property J @jsonld.Product.name;'
    . ' property B b;', undef, answer => from($_), events => [ '{"B":"b"}' ])
    for qw(page_cut page_gzip_cut);

for my $case (
    [ 'something else', 'zstd', $text ],
    [ 'two', 'gzip, gzip', Compress::Zlib::memGzip($encoded{gzip}) ],
    [ 'broken', 'gzip', substr($encoded{gzip}, 0, 20) . 'x' x 20 ],
    [ 'cut', 'gzip', substr $encoded{gzip}, 0, -12 ],
    [ 'not at all', 'gzip', $text ],
    [ 'garbage behind', 'deflate', "$encoded{deflate}xyz" ],
) {
    my $n = keys %raw;

    $table->add("encoded: $case->[0]", 'property N @response.n; property J'
        . ' @jsonld.Product; property R $klaviyo_response_body;'
        . ' property B b;', undef, events => [ '{"B":"b"}' ],
        answer => from(raw("encoded$n", 'text/html', $case->[2],
                           headers => [ "Content-Encoding: $case->[1]" ])));
}

# Which responses: those that the rule is for, and for no other reason.

my $other = $table->add('another status', 'property N'
    . ' $klaviyo_response_body;', undef,
    answer => from('missing'), result => 'skipped:status', events => []);
$table->add('asked for', 'when $status = 404; property N @response.n;', undef,
    answer => from('missing'), events => [ '{"N":9}' ]);
$table->add('success is in the body', 'when not @response.errors[*];'
    . ' property N @response.n;', undef, answer => from('length'),
    events => [ '{"N":1}' ]);
$table->add('failure is in the body', 'when not @response.errors[*];'
    . ' property N @response.n;', undef, result => 'skipped:condition',
    events => [], answer => from(raw(errors => 'application/json',
                                     '{"errors":["e"],"n":1}')));
$table->add('a condition on the head', 'when $arg_a = 2; when @response.n;'
    . ' property N @response.n;', 'a=1', answer => from('length'),
    result => 'skipped:condition', events => []);

my $unseen = $table->add('nothing is copied then', 'when $arg_a = 2;'
    . ' property N $klaviyo_response_body;', 'a=1', answer => from('length'),
    result => 'skipped:condition', events => []);
my $page_of_api = $table->add('what is no JSON', 'property N @response.n;'
    . ' property B b;', undef, answer => from(raw(page_of_api => 'text/html',
    "\r\n$page")), events => [ '{"B":"b"}' ]);
my $seen = $table->add('else it is', 'when $arg_a = 1;'
    . ' property N $klaviyo_response_body | json n;', 'a=1',
    answer => from('length'), events => [ '{"N":1}' ]);

$table->add('a map of the response', 'when $of_header = some;'
    . ' property N @response.n;', undef, events => [ '{"N":3}' ],
    answer => from(raw(up => 'application/json', '{"n":3}',
                       headers => [ 'X-Up: yes' ])));
$table->add('304', 'property N @response.n; property B b;', undef,
    headers => { 'If-Modified-Since' => 'Fri, 01 Jan 2100 00:00:00 GMT' },
    answer => 'if_modified_since before; try_files /file.json =404',
    events => [ '{"B":"b"}' ]);
$table->add('204', 'when not @response; property B b;', undef,
    answer => 'return 204', events => [ '{"B":"b"}' ]);
$table->add('302 for POST', 'when not @response; property A @request.a;',
    undef, method => 'POST', body => 'a=b', answer => 'return 302 /x',
    events => [ '{"A":"b"}' ]);

# React Router's twins: a page that was shown, and one that was not.

for my $case (
    [ 'shown', '200 OK', [], 'queued' ],
    [ 'moved', '202 Accepted', [], 'skipped:status' ],
    [ 'moved, by header', '204 No Content', [ 'X-Remix-Redirect: /x' ],
      'skipped:status' ],
    [ 'status, by header', '200 OK', [ 'x-remix-status: 302' ],
      'skipped:status' ],
) {
    my ($name, $status, $headers, $result) = @$case;
    my $n = keys %raw;

    $table->add("a twin: $name", 'property B b;', undef, uri => '/%d/p.data',
        answer => "rewrite ^ /raw/twin$n break;"
            . ' proxy_pass http://127.0.0.1:%%PORT_1%%', result => $result,
        events => $result eq 'queued' ? [ '{"B":"b"}' ] : []);
    raw("twin$n", 'text/x-script', $status =~ /204/ ? '' : '[{"_1":2}]',
        status => $status, headers => $headers,
        $status =~ /204/ ? (length => '') : ());
}

$table->add('a twin: POST', 'property B b;', undef, uri => '/%d/p.data',
    method => 'POST', body => 'a=b',
    answer => "rewrite ^ /raw/accepted break;"
        . ' proxy_pass http://127.0.0.1:%%PORT_1%%',
    events => [ '{"B":"b"}' ]);
raw(accepted => 'text/x-script', '[{"_1":2}]', status => '202 Accepted');
$table->add('no twin', 'property B b;', undef, answer => from('accepted'),
    events => [ '{"B":"b"}' ]);

# Money is exact: by a constant, by a sibling's exponent.

$table->add('money', 'items Items @response.lines[*] { property P .p | number;'
    . ' property T .p | multiply .q; } value @Items[*].T | sum;', undef,
    answer => from('length'),
    events => [ '{"Items":[{"P":19.99,"T":59.97},{"P":5,"T":5}]}' ]);

raw(cart => 'application/json', $json->encode({ items => [ map { {
    id => $_, name => "Nr $_", quantity => $_ % 3 + 1, prices => {
        price => '1800', currency_minor_unit => 2, currency_code => 'USD' },
    totals => { line_total => '' . 1800 * ($_ % 3 + 1) } } } 1 .. 3 ],
    totals => { total_price => '10800', currency_minor_unit => 3 } }));

$table->add('minor units', 'let cart @response; items Items @cart.items[*] {'
    . ' property I .id | string; property P .prices.price | scale'
    . ' .prices.currency_minor_unit; property R .prices.price'
    . ' | multiply .quantity | scale 2; }'
    . ' property T @response.totals.total_price'
    . ' | scale @response.totals.currency_minor_unit;'
    . ' property N @cart.items[*].name | join ", ";'
    . ' property S @Items[*].R | sum;', undef, answer => from('cart'),
    events => [ '{"Items":[{"I":"1","P":18,"R":36},{"I":"2","P":18,"R":54},'
        . '{"I":"3","P":18,"R":18}],"T":10.8,"N":"Nr 1, Nr 2, Nr 3","S":108}'
    ]);

# One event per line, and each request of a batch beside its own answer.

$table->add('one per line', 'each @response.items[*]; unique_id'
    . ' "o-$http_x_case" | suffix .id; property I .id; property Q .quantity;',
    undef, answer => from('cart'), events => [ '{"I":1,"Q":2}',
        '{"I":2,"Q":3}', '{"I":3,"Q":1}' ]);

raw(batch => 'application/json', $json->encode({ responses => [
    { status => 201, body => { items => [ { id => 26, name => 'Hat' } ] } },
    { status => 409, body => { code => 'out_of_stock' } },
    { status => 201, body => { items => [ { id => 26, name => 'Hat' },
                                          { id => 28, name => 'Sock' } ] } },
] }), status => '207 Multi-Status');

$table->add('a batch', 'each @request.requests[*] | zip'
    . ' @response.responses[*]; when .[0].path ~ "/add-item$";'
    . ' when .[1].status < 300;'
    . ' let line .[1].body.items[*] | where id .[0].body.id | first;'
    . ' property I .[0].body.id; property Q .[0].body.quantity;'
    . ' property N @line.name;', undef, method => 'POST',
    headers => { 'Content-Type' => 'application/json' },
    body => $json->encode({ requests => [ map { {
        path => '/wc/store/v1/cart/add-item', body => { id => $_,
        quantity => 1 } } } 26, 27, 28 ] }),
    answer => from('batch'), result => 'queued',
    events => [ '{"I":26,"Q":1,"N":"Hat"}', '{"I":28,"Q":1,"N":"Sock"}' ]);

###############################################################################

mkdir $t->dir() . '/html';
$t->write_file('html/file.json', '{"n":5,"x":"' . 'x' x 50_000 . '"}');
$t->write_file('html/page.html', $page);
$t->port(4);

$t->write_file($_, $raw{$_}) for keys %raw;

$table->start();

Test::Nginx::Klaviyo::Upstream::http($t->port(1), $t->dir());
Test::Nginx::Klaviyo::Upstream::fastcgi($t->port(2));

for my $n (grep { $_ != $aborted } 0 .. $#{$table->{cases}}) {
    my $answer = $table->send($n);

    $table->send($n) if $n == $cached;
}

is($table->answer($cached)->header('X-C'), 'HIT', 'from the cache');
is($table->answer($_)->status(), 200, $table->name($_)) for @whole;

# The visitor leaves in the middle.

my $c = $t->connect();

$c->send("GET /$aborted HTTP/1.1\r\nHost: localhost\r\n"
    . "User-Agent: Mozilla/5.0 Firefox/140.0\r\nX-Case: $aborted\r\n\r\n");
ok($t->wait_for(sub { $c->more(); length $c->{in} > 1000 }), 'it begins');
$c->close();

my @h2 = Test::Nginx::Klaviyo::HTTP2::get($t->port(3),
    map { [ "/raw/$_", 'x-case' => $_, 'user-agent' => 'Firefox' ] }
    qw(length chunked close));

is(join(' ', map { $_->{status} } @h2), '200 200 200', 'HTTP/2');
is($_->{body}, $text, 'HTTP/2: the body') for @h2;

$t->wait_for(sub { $t->read_file('results.log') =~ /^$aborted /m });
$table->finish();
$table->judge();

is(join(' ', map { $_->{properties}{N} } $t->klaviyo()->events('h2')), '1 1 1',
    'HTTP/2: the events');

my ($event) = $table->events($aborted);

is($event && $event->{text}, '{"B":"b"}', 'aborted: without the body');

my $log = $t->read_file('bodies.log');

like($log, qr/^$_ -$/m, $table->name($_) . ': not copied')
    for $unseen, $other, $page_of_api;
like($log, qr/^$seen \{/m, 'what is wanted is a variable too');

$t->done();

###############################################################################

sub deflated {
    my ($text) = @_;
    my ($d) = Compress::Zlib::deflateInit(-WindowBits => -15);

    return $d->deflate($text) . $d->flush();
}


# empty where the module can't read it either
sub brotli {
    my ($text) = @_;
    my $file = $t->dir() . '/plain';

    $t->write_file('plain', $text);

    my $linked = `ldd $Test::Nginx::Klaviyo::MODULE` =~ /libbrotlidec/;
    my $encoded = $linked ? `brotli -c $file 2>/dev/null` : '';

    return $encoded;
}

###############################################################################
