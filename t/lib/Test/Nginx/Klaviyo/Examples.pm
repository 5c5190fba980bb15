package Test::Nginx::Klaviyo::Examples;

# Copyright (C) ngx_http_klaviyo_module contributors

# Runs the examples of a page of the documentation: what the page says comes
# out must come out, to the letter.
#
#   Test::Nginx::Klaviyo::Examples->new("$root/docs/cookbook.md")->run();
#
# An example is one or more blocks of "nginx" one after the other, and behind
# them requests, each with what comes of it:
#
#   ```nginx              directives of http (map, split_clients), of server
#                         (all others), or a whole file (load_module first)
#   ```http request       what the visitor sends
#   ```http response      what the server behind nginx answers, else an empty
#                         200
#   ```json event         an event; several for several
#   ```text result        $klaviyo_result, if it is not "queued"
#
# and what nginx refuses is
#
#   ```nginx invalid
#   ```text error         what it says, without time, process and file
#
# "nginx frame" is what stands around the examples of the page; the line with
# "# ..." in it is replaced.  A line that begins with a blank goes on with the
# head's line before; a form's body may be broken anywhere.
#
# Of an event "metric", "properties", "value" and "currency" are compared, what
# is not shown must not be there; "account", "profile", "time" and "unique_id"
# if they are shown.  Numbers are compared as they were written.

###############################################################################

use warnings;
use strict;

use Cpanel::JSON::XS ();
use Test::More ();

use Test::Nginx::Klaviyo ();
use Test::Nginx::Klaviyo::Table ();
use Test::Nginx::Klaviyo::Upstream ();

###############################################################################

my $json = Cpanel::JSON::XS->new->utf8->canonical->allow_nonref;
my %blocks = map { $_ => 1 } 'nginx', 'nginx frame', 'http request',
    'nginx invalid', 'http response', 'json event', 'json profile',
    'json subscription', 'text result', 'text error';

sub new {
    my ($class, $file) = @_;

    my $self = bless { file => $file, name => $file =~ s{.*/}{}r,
        examples => [], invalid => [], frame => '' }, $class;

    $self->read();

    return $self;
}


sub read {
    my ($self) = @_;
    my ($example, $group, $before) = (undef, undef, '');

    for my $block (blocks($self->{file})) {
        my ($info, $text, $line) = @$block;
        my $at = "$self->{name}:$line";

        if ($info eq 'nginx frame') {
            $self->{frame} = $text;

        } elsif ($info eq 'nginx') {
            if ($before ne 'nginx') {
                $example = { at => $at, texts => [], groups => [] };
                push @{$self->{examples}}, $example;
            }

            push @{$example->{texts}}, $text;

        } elsif ($info eq 'nginx invalid') {
            push @{$self->{invalid}}, { at => $at, texts => [ $text ] };

        } elsif ($info eq 'text error') {
            $self->{invalid}[-1]{error} = $text;

        } elsif ($info eq 'http request') {
            $group = { at => $at, request => message($text), events => [] };
            push @{$example->{groups}}, $group;

        } elsif ($info eq 'http response') {
            $group->{response} = message($text);

        } elsif ($info eq 'json event') {
            push @{$group->{events}}, $text;

        } elsif ($info eq 'json profile' || $info eq 'json subscription') {
            push @{$group->{updates}}, [ $info =~ s/json //r, $text ];

        } else {
            $group->{result} = $text =~ s/\s+\z//r;
        }

        $before = $info;
    }

    $self->{frame} =~ /\A(?:.*\n)*?[ ]*klaviyo_account .*\n(?:.*\n)*?
        ([ ]*server[ ]\{\n(?:.*\n)*?)[ ]*\#[ ]\.\.\..*\n((?:.*\n)*)\}\s*\z/x
        or die "$self->{name}: no frame\n";
    @$self{qw(head tail)} = ($1, $2);
}


# ( [ INFO, TEXT, LINE ] ... ), of all kinds that this is about.

sub blocks {
    my ($file) = @_;
    my (@blocks, $block, $indent);

    open my $in, '<', $file or die "open $file: $!\n";

    while (my $line = <$in>) {
        if (!$block) {
            ($indent, $block) = ($1, [ $2, '', $. ])
                if $line =~ /^( *)```(\w[\w ]*?)\s*$/;

        } elsif ($line =~ /^ *```\s*$/) {
            push @blocks, $block if $blocks{$block->[0]};
            undef $block;

        } else {
            $block->[1] .= $line =~ s/^$indent//r;
        }
    }

    return @blocks;
}


# A request or an answer, as it is written: { first, headers => [ [ NAME, TEXT ]
# ... ], body }.

sub message {
    my ($text) = @_;
    my ($head, $body) = split /\n\n/, $text, 2;

    $head =~ s/\n[ ]+//g;

    my ($first, @lines) = split /\n/, $head;
    my @headers = map { [ split /: */, $_, 2 ] } @lines;
    my ($type) = map { $_->[1] } grep { lc $_->[0] eq 'content-type' }
        @headers;

    if (defined $body) {
        $body =~ s/\n\z//;
        $body =~ s/\s*\n\s*//g if ($type || '') =~ /urlencoded/;
        $body =~ s/\n/\r\n/g if ($type || '') =~ /multipart/;
    }

    return { first => $first, headers => \@headers, body => $body };
}

###############################################################################

# All that can share an nginx do; a whole file has one of its own.

sub run {
    my ($self) = @_;
    my (@shared, @own);

    for my $example (@{$self->{examples}}) {
        if ($example->{texts}[0] =~ /^load_module /m) {
            push @own, $example;
        } else {
            push @shared, $example;
        }
    }

    $self->run_some($_) for (@shared ? \@shared : ()), map { [ $_ ] } @own;
    $self->invalid();
    $self->frame();
}


# What stands around the examples is a whole file.

sub frame {
    my ($self) = @_;
    my $t = Test::Nginx::Klaviyo->new()->standin();
    my ($code, $out) = $t->test_config(whole(
        { texts => [ $self->{frame} ], port => 1 }));

    Test::More::is($code ? $out : '', '', "$self->{name}: the frame");
}


# What nginx must refuse, with these words.

sub invalid {
    my ($self) = @_;
    my $t = Test::Nginx::Klaviyo->new()->standin();

    for my $example (@{$self->{invalid}}) {
        @$example{qw(account port)} = ('0123456789', 1);

        my ($code, $out) = $t->test_config($self->config($t, [ $example ]));

        $out = join '', map { /\[emerg\] \S+ (.*)/
            ? $1 =~ s/ in \S+\.conf:\d+//r . "\n" : () } split /\n/, $out;
        Test::More::is($out, $example->{error}, "$example->{at}: the error");
    }
}


sub run_some {
    my ($self, $examples) = @_;
    my $t = Test::Nginx::Klaviyo->new();
    my $dir = $t->dir();
    my $bodies = $ENV{KLAVIYO_RECORD} || "$dir/bodies";

    mkdir $bodies;
    $t->standin(bodies => $bodies);

    my ($n, $port) = (0, 1);

    for my $example (@$examples) {
        $example->{port} = $port++;
        $example->{account} = sprintf '%010d', $example->{port};
        $_->{n} = ++$n for @{$example->{groups}};
    }

    $t->port($port);

    my ($code, $out) = $t->test_config($self->config($t, $examples));

    # an account for each example are more than the status can tell of
    my @warnings = grep { !/ klaviyo accounts with .* lanes included/ }
        grep { /\[warn\]/ } split /\n/, $out;

    Test::More::is($code ? $out : '', '', "$examples->[0]{at}: nginx -t");
    Test::More::is(join("\n", @warnings), '',
        "$examples->[0]{at}: no warnings");
    return if $code;

    Test::Nginx::Klaviyo::Upstream::server($t->port(0),
        sub { answer($_[0], $dir) });

    $t->write_config($self->config($t, $examples))->run();

    for my $example (@$examples) {
        send_one($t, $t->port($example->{port}), $_) for @{$example->{groups}};
    }

    # what is still queued at the end would be in the spool
    $t->klaviyo()->wait_events(scalar map { map { @{$_->{events}} }
        @{$_->{groups}} } @$examples);

    Test::More::ok($t->quit(), 'nginx ends');
    judge($t, $_, $bodies) for @$examples;
    refused($t);
}


sub refused {
    my ($t) = @_;

    Test::More::is(join("\n", map { $json->encode($_->{errors} || []) }
        grep { $_->{status} !~ /\A2/ } $t->klaviyo()->requests()), '',
        'Klaviyo refuses nothing');
}

###############################################################################

sub config {
    my ($self, $t, $examples) = @_;

    return whole($examples->[0])
        if $examples->[0]{texts}[0] =~ /^load_module /m;

    my ($http, $servers) = ('', '');

    for my $example (@$examples) {
        my $server = '';

        for my $text (@{$example->{texts}}) {
            if ($text =~ /\A(?:\s*#.*\n)*\s*(?:map|split_clients|geo) /) {
                $http .= $text;
            } else {
                $server .= $text;
            }
        }

        $http .= account($example->{account}, 'queue 256k;');
        $servers .= mended($self->{head} . "klaviyo_use_account"
            . " $example->{account};\n$server$self->{tail}",
            $example->{port});
    }

    return <<"EOC";
%%GLOBALS%%
worker_rlimit_nofile 4096;
events { worker_connections 2048; }
http {
    %%GLOBALS_HTTP%%
    log_format results '\$http_x_case \$klaviyo_result';
$http
$servers
}
EOC
}


# A file as it is written, with the paths and the ports of this test.

sub whole {
    my ($example) = @_;
    my $text = join '', @{$example->{texts}};

    $text =~ s/^load_module .*$/%%GLOBALS%%/m;
    $text =~ s/^http \{$/http {\n%%GLOBALS_HTTP%%\nlog_format results
        '\$http_x_case \$klaviyo_result';/m;
    $text =~ s/klaviyo_account\s+(\w+)\s+\{[^}]*\}/
        account($1, '')/gex;

    return mended($text, $example->{port});
}


sub account {
    my ($name, $more) = @_;

    return "klaviyo_account $name { api_key data:pk_0123456789_$name; $more"
        . " endpoint %%KLAVIYO%%; }\n";
}


sub mended {
    my ($text, $port) = @_;

    $text =~ s/listen +80;/listen 127.0.0.1:%%PORT_$port%%;
        access_log %%TESTDIR%%\/results.log results;/g;
    $text =~ s/127\.0\.0\.1:8080/127.0.0.1:%%PORT_0%%/g;
    $text =~ s{^\s*access_log +/var.*\n}{}mg;

    return $text;
}

###############################################################################

sub send_one {
    my ($t, $port, $group) = @_;
    my ($request, $response) = @$group{qw(request response)};
    my ($method, $uri) = $request->{first} =~ m{\A(\S+) (\S+) HTTP/1\.1\z}
        or die "$group->{at}: \"$request->{first}\" is no request\n";
    my %headers = ('X-Case' => $group->{n});

    push @{$headers{$_->[0]}}, $_->[1] for @{$request->{headers}};

    $response ||= { first => 'HTTP/1.1 200 OK', headers => [], body => '' };
    $t->write_file("answer$group->{n}", answer_text($response));

    my $client = Test::Nginx::Klaviyo::HTTP->new($port)
        or die "$group->{at}: connect: $!\n";
    my $got = $client->request($method, $uri, headers => \%headers, close => 1,
        defined $request->{body} ? (body => $request->{body}) : ());

    Test::More::is($got && $got->status(),
        $response->{first} =~ s/\S+ (\d+).*/$1/r,
        "$group->{at}: the visitor's answer") if $group->{response};
}


sub answer_text {
    my ($response) = @_;
    my $body = $response->{body} // '';
    my $text = join "\r\n", $response->{first}, 'Connection: close',
        map { "$_->[0]: $_->[1]" } @{$response->{headers}};

    $text .= "\r\nContent-Length: " . length $body
        if $response->{first} !~ / (?:204|304)/;

    return "$text\r\n\r\n$body";
}


# What the server behind nginx says, by the number of the request.

sub answer {
    my ($c, $dir) = @_;
    my $all = '';

    while ($all !~ /\r\n\r\n/) {
        sysread $c, $all, 65_536, length $all or return;
    }

    my ($head, $body) = split /\r\n\r\n/, $all, 2;
    my ($n) = $head =~ /^X-Case: (\d+)/mi;

    Test::Nginx::Klaviyo::Upstream::whole($c, $head, $body);

    open my $file, '<', "$dir/answer$n" or die "open answer$n: $!\n";
    binmode $file;
    local $/;

    Test::Nginx::Klaviyo::Upstream::write_all($c, scalar <$file>);
}

###############################################################################

sub judge {
    my ($t, $example, $bodies) = @_;
    my %results = $t->read_file('results.log') =~ /^(\d+) (.*)$/mg;
    my $whole = $example->{texts}[0] =~ /^load_module /m;
    my @got = events($t, $bodies, $whole ? undef : $example->{account});
    my %updates;

    for my $group (@{$example->{groups}}) {
        my @expected = map { read_event($_, $group->{at}) } @{$group->{events}};
        my @updates = @{$group->{updates} || []};
        my $result = $group->{result} // join ',', ('queued') x !!@expected,
            ('queued') x @updates;

        Test::More::is($results{$group->{n}}, $result,
            "$group->{at}: the result");

        for my $expected (@expected) {
            Test::More::is(told(taken(\@got, $expected), $expected),
                told($expected, $expected), "$group->{at}: the event");
        }

        for my $update (@updates) {
            my ($lane, $text) = @$update;

            Test::More::is(updated($t, \%updates, $lane, $example->{account}),
                $json->encode($json->decode($text)),
                "$group->{at}: the $lane");
        }
    }

    Test::More::is(join("\n", map { told($_, {}) } @got), '',
        "$example->{at}: no other events");
}


# The next one; accounts are sent to in any order.

sub taken {
    my ($got, $expected) = @_;
    my ($i) = grep { !exists $expected->{account}
                     || $expected->{account} eq $got->[$_]{account} }
              0 .. $#$got;

    return defined $i ? splice @$got, $i, 1 : undef;
}


# The next profile update or subscription of the account.

sub updated {
    my ($t, $seen, $lane, $account) = @_;
    my $k = $t->klaviyo();
    my %key = map { $_->{n} => $_->{headers}{authorization} } $k->requests();
    my @got = grep { $key{$_->{request}} =~ /_$account\z/ }
        $lane eq 'profile' ? $k->profiles() : $k->subscriptions();
    my $got = $got[$seen->{$lane}++] or return 'none';
    my %told = (%{$got->{attributes}}, %{$got->{job} || {}});

    $told{id} = $got->{id} if defined $got->{id};

    return $json->encode(\%told);
}


# The events of an account, or all, as they were sent.

sub events {
    my ($t, $bodies, $account) = @_;
    my $pid = $t->klaviyo()->pid();
    my (%key, %texts, @events);

    $key{$_->{n}} = ($_->{headers}{authorization} || '') =~ /pk_\d+_(\S+)/
        ? $1 : '' for $t->klaviyo()->requests();

    for my $event ($t->klaviyo()->events()) {
        my $n = $event->{request};

        next if defined $account && $key{$n} ne $account;

        $texts{$n} ||= { Test::Nginx::Klaviyo::Table::texts_of(
            "$bodies/$pid-$n.events.accepted") };

        my $text = $texts{$n}{$event->{unique_id}} || {};

        push @events, { %$event, account => $key{$n},
            properties => $text->{text} // 'not found',
            value => $text->{value_text} };
    }

    return @events;
}


# What the page says, with the properties and the value as texts.

sub read_event {
    my ($text, $at) = @_;
    my $event = eval { $json->decode($text) }
        or die "$at: not JSON: $@\n$text\n";

    $text =~ s/("(?:[^"\\]|\\.)*")|\s+/$1 \/\/ ''/ge;

    my ($properties) = $text =~ /"properties":(\{(?:"(?:[^"\\]|\\.)*"
                                 |[^{}"]++|(?1))*\})/x;
    my ($value) = $text =~ /,"value":([^,"}]+)/;

    $event->{properties} = $properties // '{}';
    $event->{value} = $value;

    return $event;
}


# As one text, with what the page's event shows.

sub told {
    my ($event, $shown) = @_;

    return 'none' if !$event;

    return join "\n", map {
        my $value = $event->{$_};

        defined $value ? "$_: " . (ref $value ? $json->encode($value) : $value)
            : ();
    } grep {
        /\A(?:metric|properties|value|currency)\z/ || exists $shown->{$_}
    } qw(account metric profile properties value currency time unique_id);
}

###############################################################################

1;
