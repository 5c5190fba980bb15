#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# What a request's body says reaches the event, whoever reads the body: each
# kind of upstream, buffered or not, in memory or a file, and nobody.  The
# upstream gets it as it would without us.

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
    upstream kept {
        server     127.0.0.1:%%PORT_1%%;
        keepalive  4;
    }

    map $klaviyo_request_body $of_body {
        volatile;
        default  none;
        ~x       some;
    }

    server {
        listen      127.0.0.1:%%PORT_4%% http2;
        access_log  %%TESTDIR%%/results.log results;
        klaviyo_profile  external_id $http_x_case;

        location /h2/proxy {
            proxy_pass  http://127.0.0.1:%%PORT_1%%;
            klaviyo_track h2 POST /h2/proxy { property N @request.n; }
        }

        location /h2/return {
            klaviyo_track h2 POST /h2/return { property N @request.n; }
            return  200;
        }
    }
EOH
        client_body_timeout  1s;
        client_max_body_size  1m;
        large_client_header_buffers  4 16k;

        location @named {
            proxy_pass  http://127.0.0.1:%%PORT_1%%;
        }

        location /elsewhere {
            return  200;
        }

        if ($uri = /server/return) {
            return  200;
        }

        klaviyo_track server POST =/server/return {
            profile   external_id $http_x_case;
            property  A @request.a;
            property  B 1;
        }
EOS

my $t = $table->harness();

my %answers = (
    http => 'proxy_pass http://127.0.0.1:%%PORT_1%%',
    unbuffered => 'proxy_request_buffering off; proxy_http_version 1.1;'
        . ' proxy_pass http://127.0.0.1:%%PORT_1%%',
    small => 'client_body_buffer_size 16; proxy_pass'
        . ' http://127.0.0.1:%%PORT_1%%',
    file => 'client_body_in_file_only clean; proxy_pass'
        . ' http://127.0.0.1:%%PORT_1%%',
    fastcgi => 'fastcgi_param A b; fastcgi_pass 127.0.0.1:%%PORT_2%%',
    fastcgi_unbuffered => 'fastcgi_request_buffering off; fastcgi_param A b;'
        . ' fastcgi_pass 127.0.0.1:%%PORT_2%%',
    named => 'try_files /none @named',
    rewritten => 'rewrite ^ /elsewhere last',
    error => 'error_page 404 = @named; return 404',
    return => 'return 200',
    static => 'root %%TESTDIR%%/html; rewrite ^ /elsewhere break;'
        . ' error_page 405 =200 /elsewhere',
    mirror => 'mirror /elsewhere; proxy_pass http://127.0.0.1:%%PORT_1%%',
);

my (@small, @large, %cases);

###############################################################################

# Everybody reads it: a JSON text, whole, in pieces, in chunks.

my $text = '{"id":38,"name":"H\u00fct","list":[{"a":1},{"a":2}]}';
my $rule = 'property I @request.id; property N @request.name;'
    . ' property L @request.list[*].a;';
my $said = '{"I":38,"N":"Hüt","L":[1,2]}';

for my $kind (sort keys %answers) {
    push @small, $table->add("$kind: a JSON text", $rule, undef,
        method => 'POST', body => $text, answer => $answers{$kind},
        headers => { 'Content-Type' => 'application/json' },
        events => [ $said ]);

    next if $kind =~ /return|static|error|rewritten/;

    $cases{chunked}{$table->add("$kind: in chunks", $rule, undef,
        method => 'POST', answer => $answers{$kind},
        events => [ $said ])} = 1;

    $cases{pieces}{$table->add("$kind: byte by byte", $rule, undef,
        method => 'POST', answer => $answers{$kind},
        events => [ $said ])} = 1;

    # nearly as much as the limit, more than nginx keeps in memory
    push @large, $table->add("$kind: a large one", 'property N'
        . ' @request.list[-1].n; property C @request.list | count;',
        undef, method => 'POST', answer => $answers{$kind},
        body => $json->encode({ list => [ map { { n => $_ } } 1 .. 5000 ] }),
        headers => { 'Content-Type' => 'application/json' },
        events => [ '{"N":5000,"C":5000}' ]);
}

for my $kind (qw(return static error rewritten)) {
    $cases{pieces}{$table->add("$kind: byte by byte", $rule, undef,
        method => 'POST', answer => $answers{$kind},
        events => [ $said ])} = 1;
}

# What is not read, nobody can know: a body in chunks that "return" leaves, and
# PUT, which may be wanted in a file.

$cases{chunked}{$table->add('return: in chunks', 'property A @request.id;'
    . ' property B 1;', undef, method => 'POST',
    events => [ '{"B":"1"}' ])} = 1;
$cases{chunked}{$table->add('return: in chunks, a condition',
    'when not @request.id; property B 1;', undef, method => 'POST',
    result => 'skipped:limit', events => [])} = 1;
$table->add('PUT is left alone', 'property A @request.id; property B 1;',
    undef, method => 'PUT', pattern => 'PUT /%d', body => $text,
    headers => { 'Content-Type' => 'application/json' },
    events => [ '{"B":"1"}' ]);
$table->add('PUT, read by another', 'property A @request.id;',
    undef, method => 'PUT', pattern => 'PUT /%d', body => $text,
    answer => $answers{http},
    headers => { 'Content-Type' => 'application/json' },
    events => [ '{"A":38}' ]);
$table->add('client_body_in_file_only', 'property A @request.id;'
    . ' property B 1;', undef, method => 'POST', body => $text,
    answer => 'client_body_in_file_only on; return 200',
    headers => { 'Content-Type' => 'application/json' },
    events => [ '{"B":"1"}' ]);
$table->add('no body', 'property A @request.id; property B 1;', undef,
    method => 'POST', body => '', events => [ '{"B":"1"}' ]);
$table->add('no body is missing', 'when not @request.id; property B 1;',
    undef, method => 'POST', body => '', events => [ '{"B":"1"}' ]);
$table->add('GET', 'when not @request; property B 1;', '',
    events => [ '{"B":"1"}' ]);

# Other types, and the raw text.

$table->add('a form', 'property A @request.a; property B @request.b[1].c;',
    undef, method => 'POST', body => 'a=1+2&b[0][c]=x&b[1][c]=%C3%BC',
    events => [ '{"A":"1 2","B":"ü"}' ]);
$table->add('JSON as a plain text', 'property A @request.a;', undef,
    method => 'POST', body => '{"a":"b"}',
    headers => { 'Content-Type' => 'text/plain' }, events => [ '{"A":"b"}' ]);
$table->add('the text itself', 'property A $klaviyo_request_body;'
    . ' property B $klaviyo_request_body | json a[1];'
    . ' property C "<$klaviyo_request_body>"; property D @request.a[0];',
    undef, method => 'POST', body => '{"a":["b","c"]}',
    events => [ '{"A":"{\"a\":[\"b\",\"c\"]}","B":"c",'
                . '"C":"<{\"a\":[\"b\",\"c\"]}>","D":"b"}' ]);
$table->add('the text alone', 'property A $klaviyo_request_body | form'
    . ' | keys;', undef, method => 'POST', body => 'a=1&b=2',
    headers => { 'Content-Type' => 'x/y' }, events => [ '{"A":["a","b"]}' ]);
$table->add('a pattern', 'property A $klaviyo_request_body | regex a=(.);',
    undef, method => 'POST', body => 'b=2&a=1', events => [ '{"A":"1"}' ]);
$table->add('GraphQL', 'when @graphql.operation = AddToCart;'
    . ' property V @graphql.variables.id;', undef, method => 'POST',
    answer => $answers{http},
    body => '{"operationName":"AddToCart","variables":{"id":"x"},'
        . '"query":"mutation AddToCart { addToCart { id } }"}',
    headers => { 'Content-Type' => 'application/json' },
    events => [ '{"V":"x"}' ]);
$table->add('GraphQL in the query', 'property O @graphql.operation;',
    'operationName=Search&query=query+Search+%7B+products+%7B+id+%7D+%7D',
    events => [ '{"O":"Search"}' ]);

for my $level (qw(property profile consent)) {
    my %line = (
        property => 'klaviyo_property A @request.a;',
        profile => 'klaviyo_profile external_id @request.a;',
        consent => 'klaviyo_consent @request.a = b;',
    );

    $table->add("of the level: $level", 'property B 1;', undef,
        method => 'POST', body => 'a=b', level => $line{$level},
        $level eq 'profile' ? (who => 1) : (),
        events => [ $level eq 'property' ? '{"B":"1","A":"b"}' : '{"B":"1"}' ]);
}

# Encodings.

my $gzip = Compress::Zlib::memGzip($text);
my $deflate = Compress::Zlib::compress($text);
my ($d) = Compress::Zlib::deflateInit(-WindowBits => -15);
my $raw = $d->deflate($text) . $d->flush();
my %encoded = (gzip => $gzip, 'x-gzip' => $gzip, deflate => $deflate,
               'Deflate' => $raw, identity => $text);

for my $encoding (sort keys %encoded) {
    push @small, $table->add("encoded: $encoding", $rule, undef,
        method => 'POST', body => $encoded{$encoding},
        answer => $answers{http}, events => [ $said ],
        headers => { 'Content-Type' => 'application/json',
                     'Content-Encoding' => $encoding });
}

$table->add("encoded: $_->[0]", 'property A @request.id; property B 1;',
    undef, method => 'POST', body => $_->[2], events => [ '{"B":"1"}' ],
    headers => { 'Content-Type' => 'application/json',
                 'Content-Encoding' => $_->[1] })
    for [ 'something else', 'zstd', $text ],
        [ 'two', 'gzip, gzip', Compress::Zlib::memGzip($gzip) ],
        [ 'broken', 'gzip', substr($gzip, 0, 20) . 'x' x 20 ],
        [ 'cut', 'gzip', substr $gzip, 0, -12 ],
        [ 'not at all', 'gzip', $text ];

# Several rules share one copy; one that failed before the body came does not
# count as one that wants it, and fails for its own reason.

my $shared = $table->add('two rules', 'property A @request.a; }'
    . ' klaviyo_track other POST { property B @request.b;', undef,
    method => 'POST', body => 'a=1&b=2', pattern => 'POST',
    result => 'queued,queued', events => [ '{"A":"1"}' ]);
$table->add('a condition on the head', 'when $arg_x = 1; when @request.a;'
    . ' property A @request.a;', undef, method => 'POST', body => 'a=1',
    result => 'skipped:condition', events => []);
$table->add('a condition on the body', 'when @request.a = 2;'
    . ' property A @request.a;', undef, method => 'POST', body => 'a=1',
    result => 'skipped:condition', events => []);
$table->add('a condition on a name', 'let a @request.a; let b $arg_b;'
    . ' when @b = 1; when @a = 1; property A @a; property B @b;', 'b=1',
    method => 'POST', body => 'a=1', events => [ '{"A":"1","B":"1"}' ]);
$table->add('a capture', 'when $handle = hat; property A @request.a;'
    . ' property H $handle;', undef, method => 'POST', body => 'a=1',
    uri => '/%d/hat', pattern => 'POST ~^/%d/(?<handle>\w+)$',
    events => [ '{"A":"1","H":"hat"}' ]);
$table->add('of a map', 'when $of_body = some; property A $of_body;'
    . ' property B @request.a;', undef, method => 'POST', body => 'a=x',
    events => [ '{"A":"some","B":"x"}' ]);
$table->add('an id', 'unique_id "o-$klaviyo_request_body"; property A 1;',
    undef, method => 'POST', body => 'a', events => [ '{"A":"1"}' ]);
$table->add('not in this location', 'property A @request.a;', undef,
    method => 'POST', body => 'a=1', level => 'klaviyo off;', result => '-',
    events => []);

# for those that are sent by hand
my $return = $table->add('by hand', $rule, undef);

# React's calls of the server

$table->add('an action', 'property V @request[1] | gid;', undef,
    method => 'POST', answer => $answers{http},
    body => '["$undefined","gid://shopify/ProductVariant/43210"]',
    headers => { 'Content-Type' => 'text/plain;charset=UTF-8',
                 'Next-Action' => '40c1d2' },
    events => [ '{"V":"43210"}' ]);

###############################################################################

$t->write_file('html/elsewhere', 'x');
$t->port(5);

$table->start();

Test::Nginx::Klaviyo::Upstream::http($t->port(1), $t->dir());
Test::Nginx::Klaviyo::Upstream::fastcgi($t->port(2));

for my $n (grep { $_ != $return } 0 .. $#{$table->{cases}}) {
    if ($cases{chunked}{$n} || $cases{pieces}{$n}) {
        by_hand($n);
    } else {
        $table->send($n);
    }
}

# What the upstream got.

for my $n (@small, @large) {
    my $answer = $table->answer($n)->body();

    next if $answer !~ /"body"/;

    is($json->decode($answer)->{body}, $table->{cases}[$n]{body},
        $table->name($n) . ': the upstream gets it');
}

is($json->decode($table->{cases}[$_]{got}->body())->{body}, $text,
    $table->name($_) . ': the upstream gets it')
    for grep { ($table->{cases}[$_]{got}->body()) =~ /"body"/ }
        map { keys %$_ } values %cases;

###############################################################################

# Expect, a slow visitor, one who leaves, the next request behind the body.


sub head {
    my ($length, %more) = @_;

    return join "\r\n", "POST /$return HTTP/1.1", 'Host: localhost',
        'User-Agent: Mozilla/5.0 Firefox/140.0', "Content-Length: $length",
        'Content-Type: application/json', (map { "$_: $more{$_}" } keys %more),
        '', '';
}

my $c = $t->connect();

$c->send(head(length $text, Expect => '100-continue', 'X-Case' => 'expect'));
ok($t->wait_for(sub { $c->more(); $c->{in} =~ /\AHTTP\/1.1 100 / }),
    'it is asked to go on');
$c->send($text);
is($c->response()->status(), 200, 'and goes on');

$c->send(head(length $text, 'X-Case' => 'first') . $text
    . head(length $text, 'X-Case' => 'second') . $text
    . "GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
is($c->response()->status(), 200, "pipelined: $_") for 1 .. 3;

$c = $t->connect();
$c->send(head(length $text, 'X-Case' => 'slow') . substr $text, 0, 10);
is($c->response()->status(), 0, 'a slow visitor: closed');

$c = $t->connect();
$c->send(head(length $text, 'X-Case' => 'gone') . substr $text, 0, 10);
$c->close();

$c = $t->connect();
$c->send(head(2_000_000, 'X-Case' => 'too large'));
is($c->response()->status(), 413, 'client_max_body_size');

$c = $t->connect();
$c->send(head(70_000, 'X-Case' => 'over') . 'x' x 70_000);
is($c->response()->status(), 200, 'over the limit: not waited for');

is($t->post('/server/return', 'a=b', headers => { 'X-Case' => 'server' })
    ->status(), 200, 'the return of a server');

# HTTP/2, with a length and without

my @h2 = map { my $kind = $_;
    ([ "/h2/$kind", ':method' => 'POST', 'x-case' => "1$kind",
       'user-agent' => 'Firefox', 'content-type' => 'application/json',
       'content-length' => 10, ':body' => [ '{"n":', '42.5', '}' ] ],
     [ "/h2/$kind", ':method' => 'POST', 'x-case' => "2$kind",
       'user-agent' => 'Firefox', 'content-type' => 'application/json',
       ':body' => [ '{"n":', '42.5', '}' ] ]) } qw(proxy return);

my @got = Test::Nginx::Klaviyo::HTTP2::get($t->port(4), @h2);

is(join(' ', map { $_->{status} } @got), '200 200 200 200', 'HTTP/2');
is($json->decode($_->{body})->{body}, '{"n":42.5}', 'HTTP/2: the upstream')
    for @got[0, 1];

$table->finish();
$table->judge();

my %h2 = map { $_->{profile}{external_id} => $_->{properties}{N} }
    $t->klaviyo()->events('h2');

is_deeply(\%h2, { '1proxy' => 42.5, '2proxy' => 42.5, '1return' => 42.5,
    '2return' => undef }, 'HTTP/2: the events');

my @others = $t->klaviyo()->events('other');

is(join(' ', map { $_->{properties}{B} } @others), '2', 'the other rule');

my @more = grep { $_->{properties}{I} } $t->klaviyo()->events($return);

is(scalar @more, 3, 'Expect and pipelined ones are events');
like($t->read_file('results.log'), qr/^over queued$/m, 'over: an event');
unlike($t->read_file('results.log'), qr/^(?:slow|gone) queued$/m,
    'slow and gone: none');
cmp_ok($table->counters($return)->{limited} // 0, '>=', 1, 'over: counted');

is(join(' ', map { $json->encode($_->{properties}) }
             $t->klaviyo()->events('server')), '{"B":"1"}',
    'the return of a server: an event without the body');

is(join(' ', glob($t->dir() . '/client_body/*')), '', 'no files stay');

$t->done();

###############################################################################

sub by_hand {
    my ($n) = @_;
    my $c = $t->connect();
    my $head = join "\r\n", "POST /$n HTTP/1.1", 'Host: localhost',
        'User-Agent: Mozilla/5.0 Firefox/140.0', "X-Case: $n",
        'Content-Type: application/json', 'Connection: close', '';

    if ($cases{chunked}{$n}) {
        $c->send("${head}Transfer-Encoding: chunked\r\n\r\n");
        $c->send(sprintf "%x\r\n%s\r\n", length, $_) for $text =~ /.{1,7}/gs;
        $c->send("0\r\n\r\n");

    } else {
        $c->send("${head}Content-Length: " . length($text) . "\r\n\r\n");
        $c->send($_) for split //, $text;
    }

    $table->{cases}[$n]{got} = $c->response();
}

###############################################################################
