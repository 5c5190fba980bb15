#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Deep, huge, cut, doubled, broken, compressed and confused: from every place a
# stranger writes to, through every filter.  The worker lives, the answer is as
# without us, what it costs has a bound, and the event is counted.

###############################################################################

use warnings;
use strict;

use Test::More;

use Compress::Zlib ();
use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;
use Test::Nginx::Klaviyo::Upstream;

###############################################################################

# Every place, and every filter, a rule for some of these: what one takes of a
# request's memory is not there for the next one.

my @terms = qw(@args @args.a @args[*] @cookies @cookies.a $http_x_a $args
    $arg_a $cookie_a @request @request.a @request[*] $klaviyo_request_body
    @graphql @graphql.fields @graphql.variables.a @response @response.a
    @response[*].a $klaviyo_response_body @jsonld @jsonld.Product.offers.price);

my @filters = (
    [ '', 'urldecode', 'formdecode', 'base64', 'base64url' ],
    [ 'json', 'json a', 'jwt', 'jwt a', 'form' ],
    [ 'kv', 'kv \x3d ";"', 'unescape', 'trim', 'lower' ],
    [ 'upper', 'first', 'last', 'at -1', 'keys' ],
    [ 'pick *a*', 'where a @args.a', 'unique', 'zip @request' ],
    [ 'default @response', 'regex (a+)+$', 'split , ', 'split a 0' ],
    [ 'join ,', 'prefix @args.a', 'suffix $http_x_a', 'gid' ],
    [ 'sha256', 'e164 US', 'number', 'integer', 'boolean' ],
    [ 'string', 'date', 'count', 'sum', 'min' ],
    [ 'max', 'multiply @args.a', 'divide 3', 'scale @args.a' ],
);

# CPU time of one request, milliseconds; memory of the worker, KB
my $cpu = 100;
my $room = 64 * 1024;
my $growth = 4 * 1024;

###############################################################################

my $big = 24_000;
my $deep = 10_000;
my $ones = join ',', (1) x ($big / 2);
my $bomb = Compress::Zlib::memGzip('[' . '0,' x 2_000_000 . '0]');

my %texts = (
    empty => '',
    nul => "a=\0&\0a=1\0",
    utf8 => "\xff\xfe\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80",
    long => 'a' x $big,
    percents => '%' x $big,
    escapes => '%00%ff%c0%80' x ($big / 12),
    ampersands => '&' x $big,
    pairs => 'a=1&' x ($big / 4),
    brackets => 'a' . '[a]' x ($big / 3) . '=1',
    commas => ',' x $big,
    entities => '&#x110000;&lt' x ($big / 13),
    digits => '9' x $big,
    exponent => '1e999999999',
    pattern => 'a' x 30_000 . '!',
    json_deep => '[' x $deep . ']' x $deep,
    json_objects => '{"a":' x 10_000 . '1' . '}' x 10_000,
    json_cut => '{"a":[1,{"b":"x',
    json_doubles => '{' . join(',', ('"a":1') x 10_000) . '}',
    json_wide => "[$ones]",
    json_names => '{' . join(',', map { "\"$_\":0" } 1 .. 6_000) . '}',
    json_types => '{"a":{"a":[null,true,"x",1e400,-0]},"query":[],"Product":1}',
    json_nul => '{"a":"\u0000","\u0000":1,"b":"\ud800"}',
    json_utf8 => "{\"a\":\"\xff\xc0\x80\"}",
    json_number => '{"a":' . '1' x $big . '}',
    jwt => 'a.' . ('W1tb' x 10_000) . '.c',
    graphql => '{"query":"' . '{a' x 5_000 . '"}',
    graphql_spread => '{"query":"{...A} fragment A on T {...A ...B}'
        . ' fragment B on T {...A}"}',
    graphql_batch => '[' . join(',', ('{"query":"{a}"}') x 3_000) . ']',
    graphql_types => '{"query":{"a":1},"variables":[1],"operationName":7}',
    action => '["$0:0","$1","$K1","$F","$",{"a":"$0"}]',
    turbo => '[' . join(',', map { "[$_,$_]" } 1 .. 5_000) . ']',
);

sub multipart {
    my ($parts, $last) = @_;

    return join '', map({ "--b\r\nContent-Disposition: form-data; name=\"$_->[0]\""
        . "\r\n\r\n$_->[1]\r\n" } @$parts), $last;
}

my %parts = (
    cut => multipart([ [ 'a', 1 ] ], '--b'),
    many => multipart([ map { [ "a[$_]", '' ] } 1 .. 900 ], '--b--'),
    same => multipart([ ([ 'a', 'x' ]) x 900 ], '--b--'),
    names => multipart([ [ "a\0b", 1 ], [ "\xff", "\xff" ], [ '[[', 1 ],
        [ 'operations', '[[[[' ], [ '0', '["$1","$0"]' ] ], '--b--'),
    delimiters => "--b\r\n" x 12_000,
);

sub script { '<script type="application/ld+json">' . $_[0] . '</script>' }

my %pages = (
    deep => script('{"@type":"Product","offers":' . '[' x $deep . ']' x $deep
        . '}'),
    ring => script('[{"@id":"#a","@type":"Product","isVariantOf":{"@id":"#a"},'
        . '"offers":{"@id":"#a"}}]'),
    cut => '<script type="application/ld+json">{"@type":"Product"',
    tags => '<' x $big . '<!--' x 1_000,
    scripts => script('{"@type":"Product"}') x 1_000,
    types => script('{"@type":[1,{"a":2}],"@graph":7,"offers":"x"}'),
    nul => script("{\"\@type\":\"Prod\0uct\",\"name\":\"\xff\"}"),
);

my @json = ('Content-Type' => 'application/json');

###############################################################################

my @requests;

# where headers end a text does, too
sub header { my ($s) = @_; $s =~ tr/\0\r\n//d; return substr $s, 0, 30_000 }
sub escaped { $_[0] =~ s/([^\w.~-])/sprintf '%%%02x', ord $1/ger }

for my $name (sort keys %texts) {
    my $text = $texts{$name};
    my $short = substr $text, 0, 9_000;

    push @requests,
        { name => "$name: arguments", method => 'GET',
          args => 'a=' . escaped($short) },
        { name => "$name: raw arguments", method => 'GET',
          args => header($short) =~ s/[^!-~]|#/%ff/gr },
        { name => "$name: a cookie", method => 'GET', args => 'a=1',
          headers => [ Cookie => 'a=' . header($text) ] },
        { name => "$name: a header", method => 'GET', args => 'a=1',
          headers => [ 'X-A' => header($text) ] },
        map({ { name => "$name: a body, $_", method => 'POST', args => 'a=1',
                body => $text, headers => [ 'Content-Type' => $_ ] } }
            'application/json', 'application/x-www-form-urlencoded',
            'application/graphql'),
        { name => "$name: a call", method => 'POST', args => '', body => $text,
          headers => [ 'Next-Action' => 'x', 'Content-Type' => 'text/plain' ] },
        map({ { name => "$name: an answer, $_", method => 'GET', args => 'a=1',
                answer => $text, type => $_ } }
            'application/json', 'text/x-script', 'text/html');
}

push @requests, map { { name => "parts: $_", method => 'POST', args => '',
    body => $parts{$_},
    headers => [ 'Content-Type' => 'multipart/form-data; boundary=b' ] } }
    sort keys %parts;

push @requests, map { { name => "page: $_", method => 'GET', args => '',
    answer => $pages{$_}, type => 'text/html' } } sort keys %pages;

push @requests,
    { name => 'a bomb', method => 'POST', args => '', body => $bomb,
      headers => [ @json, 'Content-Encoding' => 'gzip' ] },
    { name => 'a cut one', method => 'POST', args => '',
      body => substr($bomb, 0, 300),
      headers => [ @json, 'Content-Encoding' => 'gzip' ] },
    map { { name => "a bomb: an answer, $_", method => 'GET', args => '',
            answer => $bomb, type => $_, encoding => 'gzip' } }
        'application/json', 'text/html';

###############################################################################

my $t = shop(start => 0, server => server());

$t->port($_) for 1, 2;
answers();
$t->run();
Test::Nginx::Klaviyo::Upstream::http($t->port(1), $t->dir());

my ($worker) = $t->processes('worker');
my $pid = $worker->{pid};
my $sent = 0;

ok(send_all('at first', 1), 'the answers are as without us');

my $before = memory('VmRSS');

ok(send_all('again', 6), 'and again, some of them');

my $status = status($t)->{total};

is($status->{seen}, $sent, 'each is counted');
is($status->{skipped}{unidentified}, 0, 'with its visitor');
cmp_ok($status->{limited}, '>', @requests, 'and what was too much');

SKIP: {
    skip 'a sanitizer keeps what is freed', 2 if sanitized();

    cmp_ok(memory('VmRSS') - $before, '<', $growth, 'nothing stays');
    cmp_ok(memory('VmHWM'), '<', $room, 'the most memory that it ever had');
}

is(($t->processes('worker'))[0]{pid}, $pid, 'the worker lives');
ok(settled($t, 30), 'all is sent');
conserved($t, 'and counted');
is(scalar dead_letters($t), 0, 'Klaviyo refuses none');

$t->done();

###############################################################################

# one group of filters each, and one path without us

sub server {
    my $text = "client_max_body_size 1m; client_body_buffer_size 128k;\n"
        . "large_client_header_buffers 8 64k;\n"
        . "proxy_http_version 1.1;\n";

    my $places = sub {
        my ($path, $off) = @_;

        return "location $path/ok { $off return 200 ok; }\n"
            . "location $path/up/ { $off"
            . ' proxy_pass http://127.0.0.1:%%PORT_1%%/raw/; }' . "\n";
    };

    $text .= $places->('/off', 'klaviyo off;');

    for my $n (0 .. $#filters) {
        my $i = 0;

        $text .= $places->("/on$n", '') . "klaviyo_track T$n /on$n/ {\n"
            . "profile external_id visitor;\n"
            . join('', map { my $filter = $_;
                map { sprintf("property P%d %s%s;\n", $i++, quoted($_),
                              length $filter ? " | $filter" : '') } @terms }
                map { s/\(a\+\)\+\$/"(a+)+\$"/r } @{$filters[$n]})
            . "}\n";
    }

    return $text;
}


sub quoted { return "'$_[0]'" }


sub answers {
    for my $n (0 .. $#requests) {
        my $r = $requests[$n];
        next if !defined $r->{answer};

        $t->write_file("a$n", join "\r\n", 'HTTP/1.1 200 OK',
            "Content-Type: $r->{type}",
            'Content-Length: ' . length $r->{answer},
            ($r->{encoding} ? "Content-Encoding: $r->{encoding}" : ()), '',
            $r->{answer});
    }
}


# Whether all is right; the most expensive one is told.

sub send_all {
    my ($round, $step) = @_;
    my $wrong = 0;
    my ($most, $slowest) = (0, '');

    for my $n (grep { $_ % $step == 0 } 0 .. $#requests) {
        my $plain = answer('/off', $n);

        for my $i (0 .. $#filters) {
            my $start = spent_ns();
            my $answer = answer("/on$i", $n);
            my $ms = (spent_ns() - $start) / 1e6;

            ($most, $slowest) = ($ms, "$requests[$n]{name}: @{$filters[$i]}")
                if $ms > $most;

            $sent++;

            next if $answer eq $plain;

            diag("$requests[$n]{name}, $filters[$i][0]: ",
                 substr $answer, 0, 100);
            return 0 if ++$wrong > 5;
        }
    }

    cmp_ok($most, '<', $cpu * (sanitized() ? 20 : 1),
        "$round: the most expensive request, in milliseconds of CPU time")
        or diag($slowest);

    note("$most ms: $slowest");

    return !$wrong;
}


# status and body; a request line may be wrong for nginx, too

sub answer {
    my ($path, $n) = @_;
    my $r = $requests[$n];
    my $uri = $path . (defined $r->{answer} ? "/up/a$n" : '/ok')
        . "?$r->{args}";

    my $answer = $t->request($r->{method}, $uri,
        headers => { @{$r->{headers} || []} },
        (defined $r->{body} ? (body => $r->{body}) : ()));

    return join ' ', $answer->status(), $answer->body();
}


# nanoseconds on a processor
sub spent_ns {
    return (split ' ', Test::Nginx::Klaviyo::slurp("/proc/$pid/schedstat"))[0];
}


sub memory {
    my ($what) = @_;

    return (Test::Nginx::Klaviyo::slurp("/proc/$pid/status")
        =~ /^$what:\s*(\d+)/m)[0];
}


sub sanitized { return ($t->nginx('-V'))[1] =~ /-fsanitize/ }

###############################################################################
