#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Bodies over a limit, bombs and depths: an event without these fields, or none
# where a condition needs them, counted, at a bounded cost in memory and time.

###############################################################################

use warnings;
use strict;

use Test::More;

use Compress::Zlib ();
use FindBin ();
use Time::HiRes qw(time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Table;
use Test::Nginx::Klaviyo::Upstream;

###############################################################################

my $table = Test::Nginx::Klaviyo::Table->new(server => <<'EOS');
        root                  %%TESTDIR%%/html;
        client_max_body_size  64m;
EOS

my $t = $table->harness();
my %raw;

sub raw {
    my ($name, $type, $body, @headers) = @_;

    $raw{$name} = join "\r\n", 'HTTP/1.1 200 OK', "Content-Type: $type",
        (grep { $_ ne '' } @headers), '', $body;

    return "proxy_pass http://127.0.0.1:%%PORT_1%%/raw/$name";
}


sub gzip { return Compress::Zlib::memGzip($_[0]) }
sub json { return '{"a":"b","x":"' . 'x' x ($_[0] - 16) . '"}' }

# The case and how often it counts as limited.
my %limited;

sub limited {
    my ($n, $name, $rule, %opt) = @_;

    $limited{$table->add($name, $rule, undef, %opt)} = $n;
}

my $echo = 'proxy_pass http://127.0.0.1:%%PORT_1%%';
my $request = 'property A @request.a; property T $klaviyo_request_body;'
    . ' property G @graphql.operation; property Z z;';
my $response = 'property A @response.a; property T $klaviyo_response_body'
    . ' | regex ^.; property Z z;';

# The defaults, to the byte; chunks and unknown lengths too.

for my $case (
    [ 65_536, 'queued', '{"A":"b","Z":"z"}', 0 ],
    [ 65_537, 'queued', '{"Z":"z"}', 1 ],
    [ 3_000_000, 'queued', '{"Z":"z"}', 1 ],
) {
    my ($size, $result, $text, $n) = @$case;

    limited($n, "request: $size", 'property A @request.a; property Z z;',
        method => 'POST', body => json($size), answer => $_,
        headers => { 'Content-Type' => 'application/json' },
        events => [ $text ])
        for $echo, 'return 200', 'client_body_buffer_size 1k;'
            . " proxy_request_buffering off; $echo";
}

for my $case (
    [ 262_144, '{"A":"b","Z":"z"}', 0 ],
    [ 262_145, '{"Z":"z"}', 1 ],
    [ 5_000_000, '{"Z":"z"}', 1 ],
) {
    my ($size, $text, $n) = @$case;
    my $body = json($size);

    limited($n, "response: $size, $_->[0]", 'property A @response.a;'
        . ' property Z z;', events => [ $text ],
        answer => raw("$_->[0]-$size", 'application/json', $body, @$_[1 .. 1]))
        for [ 'length', "Content-Length: $size" ], [ 'close', '' ];

    limited($n, "response: $size, encoded", 'property A @response.a;'
        . ' property Z z;', events => [ $text ],
        answer => raw("gzip-$size", 'application/json', gzip($body),
                      "Content-Encoding: gzip"));
}

# Of the level; 0 is nothing at all.

limited(3, 'request: small', $request, method => 'POST', body => 'a=12',
    level => 'klaviyo_request_body_limit 3;', events => [ '{"Z":"z"}' ]);
limited(0, 'request: just so', 'property A @request.a;', method => 'POST',
    body => 'a=1', level => 'klaviyo_request_body_limit 3;',
    events => [ '{"A":"1"}' ]);
limited(3, 'request: off', $request, method => 'POST', body => 'a=1',
    level => 'klaviyo_request_body_limit 0;', events => [ '{"Z":"z"}' ]);
limited(2, 'response: small', $response, events => [ '{"Z":"z"}' ],
    level => 'klaviyo_response_body_limit 3;',
    answer => 'return 200 "{\"a\":1}"');
limited(2, 'response: off', $response, events => [ '{"Z":"z"}' ],
    level => 'klaviyo_response_body_limit 0;',
    answer => 'return 200 "{\"a\":1}"');
limited(1, 'a page: off', 'property J @jsonld.Product.name; property Z z;',
    level => 'klaviyo_response_body_limit 0;', events => [ '{"Z":"z"}' ],
    answer => 'default_type text/html; return 200 "<script type=\'application/'
        . 'ld+json\'>{\"@type\":\"Product\",\"name\":\"x\"}</script>"');
limited(0, 'response: large', 'property A @response.a;',
    level => 'klaviyo_response_body_limit 1m;', events => [ '{"A":"b"}' ],
    answer => raw('large', 'application/json', json(900_000), ''));

# Where a condition needs it there is no event, and the reason is told.

for my $condition ('@request.a', 'not @request.a', '@request.a = 1',
                   'not @request.a = 1', '$klaviyo_request_body',
                   'not @graphql.operation')
{
    limited(1, "request: $condition", "when $condition; property A x;",
        method => 'POST', body => 'a=12', result => 'skipped:limit',
        level => 'klaviyo_request_body_limit 3;', events => []);
}

for my $condition ('@response.a', 'not @response.a',
                   'not $klaviyo_response_body')
{
    limited(1, "response: $condition", "when $condition; property A x;",
        result => 'skipped:limit', answer => 'return 200 "{\"a\":1}"',
        level => 'klaviyo_response_body_limit 3;', events => []);
}

limited(1, 'each', 'each @response.a[*]; property A .;', events => [],
    result => 'skipped:limit', answer => 'return 200 "{\"a\":[1]}"',
    level => 'klaviyo_response_body_limit 3;');
limited(0, 'each of nothing', 'each @response.b[*]; property A .;',
    events => [], result => 'skipped:empty',
    answer => 'return 200 "{\"a\":[1]}"');

# Bombs.

my $bomb = gzip('x' x 50_000_000);
my $deep = '[' x 100_000;
my $page = '<script type="application/ld+json">{"@type":"Product",'
    . '"name":"Hat"}</script>';

limited(1, 'a bomb: request', 'property A @request.a; property Z z;',
    method => 'POST', body => $bomb, answer => $echo,
    headers => { 'Content-Encoding' => 'gzip',
                 'Content-Type' => 'application/json' },
    events => [ '{"Z":"z"}' ]);
limited(2, 'a bomb: response', $response, events => [ '{"Z":"z"}' ],
    answer => raw('bomb', 'application/json', $bomb,
                  "Content-Encoding: gzip"));
limited(1, 'a bomb: a page', 'property J @jsonld.Product.name; property Z z;',
    answer => raw('bomb-page', 'text/html', gzip($page . ' ' x 50_000_000),
                  "Content-Encoding: gzip"), events => [ '{"Z":"z"}' ]);
limited(0, 'a long page', 'property J @jsonld.Product.name;',
    answer => raw('long-page', 'text/html', ' ' x 3_000_000 . $page, ''),
    events => [ '{"J":"Hat"}' ]);
limited(0, 'a long page, encoded', 'property J @jsonld.Product.name;',
    answer => raw('long-page-gzip', 'text/html',
                  gzip(' ' x 3_000_000 . $page), "Content-Encoding: gzip"),
    events => [ '{"J":"Hat"}' ]);
limited(1, 'a page without an end', 'property J @jsonld.Product.name;'
    . ' property Z z;', answer => raw('endless', 'text/html',
    $page . ' ' x 4_300_000, ''), events => [ '{"Z":"z"}' ]);

$table->add('depth: request', 'property A @request; property Z z;', undef,
    method => 'POST', body => substr($deep, 0, 60_000),
    headers => { 'Content-Type' => 'application/json' },
    events => [ '{"Z":"z"}' ]);
$table->add('depth: response', 'property A @response; property Z z;', undef,
    answer => raw('deep', 'application/json', $deep, ''),
    events => [ '{"Z":"z"}' ]);

# A pattern meets no text of more than 64 KB: it is unknown then.

$table->add('a pattern', 'property A $klaviyo_response_body | regex ^.;'
    . ' property Z z;', undef, events => [ '{"Z":"z"}' ],
    answer => raw('pattern', 'application/json', json(65_537), ''));
$table->add('a pattern that fits', 'property A $klaviyo_response_body'
    . ' | regex ^.;', undef, events => [ '{"A":"{"}' ],
    answer => raw('pattern-fits', 'application/json', json(65_536), ''));
$table->add('a condition with one', 'when $klaviyo_response_body ~ ^.;', undef,
    result => 'skipped:limit', events => [],
    answer => raw('pattern-when', 'application/json', json(65_537), ''));

# The slice module's later parts are not seen: that is not the whole.

my $slices = 'slice 1k; proxy_set_header Range $slice_range; '
    . 'proxy_set_header X-Case ""; proxy_pass http://127.0.0.1:%%PORT_0%%/';

$table->add('response: sliced', 'property A @response.b | default none;'
    . ' property Z z;', undef, answer => $slices . 'sliced.json',
    events => [ '{"Z":"z"}' ]);
$table->add('response: a sliced page', 'property Z z;'
    . ' property A @jsonld.Product.name | default none;', undef,
    answer => $slices . 'sliced.html', events => [ '{"Z":"z"}' ]);
$table->add('response: of one slice', 'property A @response.a;'
    . ' property Z z;', undef, answer => $slices . 'slice.json',
    events => [ '{"A":"b","Z":"z"}' ]);

# An array of the visitor's for each element of another one.

limited(1_400, 'where: too often', 'items L @request.l[*] { property A'
    . ' @request.p | where id .id | first | json n; } property Z z;',
    method => 'POST', headers => { 'Content-Type' => 'application/json' },
    body => '{"l":[' . join(',', map { "{\"id\":\"x$_\"}" } 1 .. 1_500)
        . '],"p":[' . join(',', map { "{\"id\":\"$_\"}" } 1 .. 2_500) . ']}',
    answer => 'return 200', events => [ '{"Z":"z"}' ]);

# Strange bytes.

$table->add("bytes: $_->[0]", 'property A @response.a; property Z z;', undef,
    answer => raw("bytes$_->[0]", 'application/json', $_->[1], ''),
    events => [ $_->[2] ])
    for [ 'nul', "{\"a\":\"x\\u0000y\"}", '{"A":"xy","Z":"z"}' ],
        [ 'raw nul', "{\"a\":\"x\0y\"}", '{"Z":"z"}' ],
        [ 'utf8', "{\"a\":\"x\xffy\"}", "{\"A\":\"x\xef\xbf\xbdy\",\"Z\":\"z\"}" ],
        [ 'twice', '{"a":1,"a":2}', '{"A":2,"Z":"z"}' ],
        [ 'type', '{"a":{"b":[1]}}', '{"A":{"b":[1]},"Z":"z"}' ],
        [ 'null', '{"a":null}', '{"Z":"z"}' ];

###############################################################################

mkdir $t->dir() . '/html';
$t->write_file('html/sliced.json', json(3_000));
$t->write_file('html/sliced.html', '<script type="application/ld+json">'
    . '{"@type":"Product","name":"Hat"}</script>' . ' ' x 3_000);
$t->write_file('html/slice.json', json(900));
$t->port(2);
$t->write_file($_ =~ s/ /_/r, $raw{$_}) for keys %raw;

$_->{answer} =~ s{(/raw/bytes\w+) }{$1_} for grep { $_->{answer} }
    @{$table->{cases}};

$table->start();

Test::Nginx::Klaviyo::Upstream::http($t->port(1), $t->dir());

# all of it, again and again: nothing stays

my (@memory, @times);

for my $round (1 .. 4) {
    for my $n (0 .. $#{$table->{cases}}) {
        my $start = time();

        $table->send($n);
        $times[$n] = time() - $start;
    }

    push @memory, resident($t->processes('worker'));
}

SKIP: {
    Test::More::skip('a sanitizer keeps what is freed', 1)
        if ($t->nginx('-V'))[1] =~ /-fsanitize/;

    cmp_ok($memory[3] - $memory[1], '<', 2_000, 'a worker grows by, in KB')
        or diag("@memory");
}

# a worker under a sanitizer is slower
my ($slowest) = sort { $times[$b] <=> $times[$a] } 0 .. $#times;

cmp_ok($times[$slowest], '<', 5, 'the time of a request')
    or diag($table->name($slowest));

$table->finish();

# each case was sent four times

for my $n (0 .. $#{$table->{cases}}) {
    my @results = split / /, $table->result($n);
    my @events = $table->events($n);

    is(join(' ', @results[0 .. $#results / 4]),
       join(' ', @results[@results / 4 * 3 .. $#results]),
       $table->name($n) . ': the same each time');

    $table->{results}{$n} = [ $results[0] ];
    $table->{events}{$n} = [ @events[0 .. @events / 4 - 1] ];
}

$table->judge();

for my $n (sort { $a <=> $b } keys %limited) {
    is($table->counters($n)->{limited}, 4 * $limited{$n},
        $table->name($n) . ': counted');
}

$t->done();

###############################################################################

sub resident {
    my ($worker) = @_;

    open my $file, '<', "/proc/$worker->{pid}/status" or return 0;
    local $/;

    return <$file> =~ /^VmRSS:\s+(\d+)/m ? $1 : 0;
}

###############################################################################
