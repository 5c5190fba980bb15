package Bench::Request;

# Copyright (C) ngx_http_klaviyo_module contributors

# What a shopper's browser sends, and the programs that send it many times.

###############################################################################

use warnings;
use strict;

use MIME::Base64 qw(encode_base64);

use Bench;

###############################################################################

# Every case gets the same headers, so that reading them costs the same.

my $AGENT = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 '
    . '(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36';

my $ACCEPT = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';

my $CART = '%7B%22id%22%3A%22c1-8f14e45f%22%2C%22currency%22%3A%22EUR%22%2C'
    . '%22total%22%3A129.5%2C%22lines%22%3A%5B%7B%22sku%22%3A%22MS-40913%22%2C'
    . '%22quantity%22%3A2%7D%5D%7D';

my $URI = '/products/merino-scarf?variant=40913&price=39.50&color=red'
    . '&size=m&list=winter&position=3';


sub headers {
    my ($case) = @_;
    my $agent = $AGENT =~ s/Chrome/$case->{browser} \/\/ 'Chrome'/er;
    my $kla_id = kla_id($case->{nobody} ? 'last_source' : 'exchange_id');

    my @headers = (
        "User-Agent: $agent",
        "Accept: $ACCEPT",
        'Accept-Language: en-US,en;q=0.9',
        "Cookie: session=6f1c0a52b7d94e3f; __kla_id=$kla_id; currency=EUR; "
            . "cart=$CART",
        'X-Customer: anna.schmidt@example.com',
    );

    push @headers, 'Content-Type: application/json' if $case->{body};

    return map { ('-H', $_) } @headers;
}


# Klaviyo's cookie, as its script writes it
sub kla_id {
    my ($name) = @_;

    return encode_base64('{"cid":"ZjQ5ZDRmNWEtNmQxYy00Y2Vm","$' . $name
        . '":"Vb3xT0mQ9sKpR4wYz1nLcE7uHd2aGf5oJi8kMq6tXrU.AbC123"}', '');
}


sub uri { return $_[0]{uri} // $URI }


# A cart that is put into JSON of about so many bytes, as a storefront's API
# takes it.

sub body {
    my ($bytes) = @_;
    my $text = '{"id":"40913","quantity":2,"price":"39.50","currency":"EUR",'
        . '"customer":{"country":"DE","language":"de"},"lines":[';

    for (my $i = 0; length($text) < $bytes - 130; $i++) {
        $text .= ',' if $i;
        $text .= sprintf '{"sku":"MS-%05d","title":"Merino scarf %d",'
            . '"quantity":%d,"price":"%d.50","options":{"color":"red",'
            . '"size":"m"}}', $i, $i, 1 + $i % 3, 10 + $i;
    }

    return "$text]}";
}

###############################################################################

# "n" requests over one connection, in the background; see finish_h2load()
sub start_h2load {
    my ($run, $n) = @_;
    my $case = $run->{case};
    my @body;

    if ($case->{body}) {
        write_file("$run->{dir}/body", body($case->{body}));
        @body = ('-d', "$run->{dir}/body");
    }

    $run->{requests} = $n;
    $run->{load} = spawn("$run->{dir}/load.log", 'h2load', '--h1', '-c1',
        "-n$n", @body, headers($case), "$run->{base}" . uri($case));
}


sub finish_h2load {
    my ($run) = @_;

    reap($run->{load});

    my $log = slurp("$run->{dir}/load.log");
    $log =~ / $run->{requests} 2xx/ or die "h2load failed:\n$log";
}


# As fast as it goes for some seconds, over 16 connections; returns the requests
# and the requests per second.

sub wrk {
    my ($run, $seconds) = @_;
    my $case = $run->{case};
    my $script = "$run->{dir}/wrk.lua";

    write_file($script, 'wrk.method = "POST"', "\n", 'wrk.body = [[',
        body($case->{body}), ']]') if $case->{body};

    my $out = command('wrk.log', pinned(1), 'wrk', '-t1', '-c16', "-d$seconds",
        $case->{body} ? ('-s', $script) : (), headers($case),
        $run->{base} . uri($case));

    die "wrk failed: $out\n" if $out =~ /Non-2xx|Socket errors/;

    my ($requests) = $out =~ /^ *(\d+) requests in/m;
    my ($rate) = $out =~ m{^Requests/sec: *([\d.]+)}m;

    return ($requests, $rate) if $requests;
    die "wrk failed: $out\n";
}

###############################################################################

1;

###############################################################################
