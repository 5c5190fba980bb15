#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Prometheus: its text, the examples, and a real one that scrapes nginx and
# whose alert fires when Klaviyo is away.

###############################################################################

use warnings;
use strict;

use Test::More;

use Cpanel::JSON::XS ();
use FindBin ();
use HTTP::Tiny ();
use POSIX ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

my $examples = "$FindBin::Bin/../conf.examples/monitoring";
my $json = Cpanel::JSON::XS->new->utf8;
my $server;

my $t = shop(rule => 'when not $arg_skip;', server => <<'EOS');
        klaviyo_track "a \"quoted\" \\ name" ~^/q$ { property n $arg_n; }
        klaviyo_track Viewed /p { property n $arg_n; when $arg_twin; }
EOS

text();
examples();

SKIP: {
    skip 'no prometheus', 1 if system('command -v promtool prometheus'
        . ' > /dev/null 2>&1');

    tools();
    alert();
}

Test::Nginx::Klaviyo->done();

###############################################################################

# { 'name{labels}' => value }
sub series {
    my $text = $t->get('/klaviyo?format=prometheus')->body();

    return map { /\A(\S+?(?:\{.*\})?) (\S+)\z/ ? ($1 => $2) : () }
           grep { !/^#/ } split /\n/, $text;
}


sub text {
    $t->klaviyo()->answer('ok', delay => .03);
    view($t, 1, 7);
    view($t, 1, 2, uri => sub { "/p?n=$_[0]&skip=1" });
    $t->get('/q?n=1');
    settled($t);

    my %series = series();
    my $twin = 'account="shop",metric="Viewed",routes="/p"';
    my $viewed = "$twin,twin=\"1\"";

    is($series{"klaviyo_events_seen_total{$viewed}"}, 9, 'seen');
    is($series{"klaviyo_events_sent_total{$viewed}"}, 7, 'sent');
    is($series{qq(klaviyo_events_skipped_total{$viewed,reason="condition"})},
        2, 'skipped, and why');
    is($series{qq(klaviyo_events_skipped_total{$twin,reason="condition"})}, 9,
        'a rule like another one');
    is($series{'klaviyo_events_sent_total{account="shop",'
        . 'metric="a \\"quoted\\" \\\\ name",routes="~^/q$"}'}, 1,
        'a name that must be escaped');
    is($series{'klaviyo_account_state{account="shop",state="ok"}'}, 1,
        'the state');
    is($series{'klaviyo_account_state{account="shop",state="stopped"}'}, 0,
        'and those that it is not in');
    is($series{'klaviyo_dispatcher_up'}, 1, 'the background process');

    my $account = account($t);
    my $name = 'klaviyo_request_duration_seconds';
    my @buckets = map { $series{qq(${name}_bucket{account="shop",le="$_"})} }
        qw(0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 10.0 30.0 +Inf);

    is(scalar(grep { defined } @buckets), 11, 'durations');
    is($buckets[0], $account->{answers}{'2xx'} - 1, 'one took longer');
    is("@buckets", join(' ', sort { $a <=> $b } @buckets), 'they add up');
    is($buckets[-1], $series{qq(${name}_count{account="shop"})}, 'to all');
    cmp_ok($series{qq(${name}_sum{account="shop"})}, '>=', .03, 'in seconds');

    my $text = $t->get('/klaviyo?format=prometheus')->body();
    my %families = map { $_ => 1 } $text =~ /^# TYPE (\S+)/mg;

    open my $in, '<', "$FindBin::Bin/../docs/status.md" or die;

    my %told = map { /^\| `(klaviyo_\w+)` \| / ? ($1 => 1) : () } <$in>;

    is(join(' ', sort keys %families), join(' ', sort keys %told),
        'all series are documented');
}


# What is asked for in the examples, is there.

sub examples {
    my $text = $t->get('/klaviyo?format=prometheus')->body();
    my %families = map { $_ => 1 } $text =~ /^# TYPE (\S+)/mg;

    for my $name (qw(klaviyo.rules.yml grafana-klaviyo.json)) {
        open my $in, '<', "$examples/$name" or die "$name: $!\n";
        my $example = join '', <$in>;
        my %asked = map { s/_(?:bucket|sum|count)\z//r => 1 }
            $example =~ /\b(klaviyo_[a-z_]+)\b/g;

        is(join(' ', grep { !$families{$_} } sort keys %asked), '',
            "$name: all series are there");
        next if $name !~ /json/;

        my $board = $json->decode($example);
        my %seen;

        is(join(' ', grep { $seen{$_}++ } map { $_->{id} }
            @{$board->{panels}}), '', "$name: panels have ids of their own");
        is($board->{templating}{list}[0]{type}, 'datasource',
            "$name: the source can be chosen");
    }
}


sub said { return scalar `$_[0] 2>&1 < /dev/null` }


sub tools {
    $t->write_file('metrics', $t->get('/klaviyo?format=prometheus')->body());

    local $?;

    is(said('promtool check metrics < ' . $t->dir() . '/metrics'), '',
        'promtool check metrics');
    like(said("promtool check rules $examples/klaviyo.rules.yml"),
        qr/SUCCESS: \d+ rules found/, 'promtool check rules');
    like(said("promtool check config $examples/prometheus.yml"),
        qr/SUCCESS/, 'promtool check config');
    like(said("cd $examples && promtool test rules klaviyo.rules.test.yml"),
        qr/SUCCESS/, 'promtool test rules');
}

###############################################################################

# The examples with shorter times.

sub alert {
    my $dir = $t->dir() . '/prometheus';
    my $port = $t->port(1);

    mkdir $dir;

    for my $name (qw(prometheus.yml klaviyo.rules.yml)) {
        open my $in, '<', "$examples/$name" or die;
        my $text = join '', <$in>;

        $text =~ s/127\.0\.0\.1:80\b/'127.0.0.1:' . $t->port(0)/ge;
        $text =~ s/\b15s\b/1s/g;
        $text =~ s/^(\s+for:) \S+/$1 1s/mg;
        $t->write_file("prometheus/$name", $text);
    }

    my $pid = fork() // die "fork: $!\n";

    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$dir/log";
        open STDERR, '>&', \*STDOUT;
        exec 'prometheus', "--config.file=$dir/prometheus.yml",
            "--storage.tsdb.path=$dir/data", '--web.enable-lifecycle',
            "--web.listen-address=127.0.0.1:$port" or POSIX::_exit(127);
    }

    $server = $pid;

    my $up = $t->wait_for(sub {
        my $result = ask("query?query=up%7Bjob%3D%22klaviyo%22%7D")
            ->{result}[0] or return 0;

        return $result->{value}[1] eq '1';
    }, 20);

    ok($up, 'Prometheus scrapes nginx') or diag(scalar `tail $dir/log`);
    ok($t->wait_for(sub { ask('query?query=klaviyo_dispatcher_up')
        ->{result}[0] }, 10), 'and keeps what it was told');
    is(join(' ', firing()), '', 'no alert while all is well');

    $t->klaviyo()->stop();
    view($t, 100, 103);
    ok($t->wait_for(sub { grep { $_ eq 'KlaviyoUnavailable shop' } firing() },
        20), 'Klaviyo is away: an alert') or diag(firing());

    $t->klaviyo()->start();
    ok($t->wait_for(sub { !firing() }, 20), 'it is back: no alert')
        or diag(firing());
}


sub ask {
    my $answer = HTTP::Tiny->new(timeout => 5)->get('http://127.0.0.1:'
        . $t->port(1) . "/api/v1/$_[0]");

    return $answer->{success} ? $json->decode($answer->{content})->{data} : {};
}


sub firing {
    return map { "$_->{labels}{alertname} " . ($_->{labels}{account} // '') }
           grep { $_->{state} eq 'firing' } @{ask('alerts')->{alerts} || []};
}


END {
    local $?;

    if ($server) {
        kill 'TERM', $server;
        waitpid $server, 0;
    }
}

###############################################################################
