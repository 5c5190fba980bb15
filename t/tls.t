#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# The way to Klaviyo: certificates, HTTP/2, proxies.  The key goes to nobody
# who isn't Klaviyo.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use IO::Select ();
use IO::Socket::INET ();
use IO::Socket::SSL::Utils ();
use List::Util qw(uniq);
use POSIX ();
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

my $proxy;

certificates();
http2();
proxies();

Test::Nginx::Klaviyo->done();

###############################################################################

# A certificate that isn't good is refused before anything is sent; nothing is
# lost by it.

sub certificates {
    my $t = shop(standin => { tls => 1 }, start => 0);
    my $k = $t->klaviyo();
    my $good = "trusted_certificate " . $k->ca() . ';';
    my $n = 0;

    certificate($t, 'other', {});

    write_shop($t, account => $good);
    $t->run();

    my $next = sub {
        my ($name, $account) = @_;

        write_shop($t, account => $account);
        $t->reload();
        view($t, ++$n, $n);
    };

    view($t, ++$n, $n);
    arrived($k, 1, $n, 'own authority: accepted');
    is(($k->requests())[0]{tls}, 1, 'by TLS');

    # each of these would send the key to a stranger
    for my $wrong (
        [ 'another authority', "trusted_certificate "
            . $t->dir() . '/other.crt;' ],
        [ 'the authorities of the system', '' ],
        [ 'an expired certificate', $good,
            { not_before => time() - 9999, not_after => time() - 999 } ],
        [ 'another name', $good, { subjectAltNames =>
            [ [ DNS => 'klaviyo.example' ] ] } ])
    {
        my ($name, $account, $certificate) = @$wrong;

        replace($t, $k, $certificate) if $certificate;
        $k->forget();
        $t->mark();
        $next->($name, $account);
        ok($t->wait_for(sub { account($t)->{state} eq 'backoff'
                              && account($t)->{retries} >= 2 }),
            "$name: refused");
        is(scalar(grep { $_->{headers} } $k->requests()), 0,
            "$name: nothing was sent");
        like($t->log(), qr/\[warn\].*not available: .*certificate/i,
            "$name: it is told why");

        replace($t, $k, {}) if $certificate;
        $t->mark();
        $next->($name, $good);
        arrived($k, $n - 1, $n, "$name: nothing is lost");
        settled($t);
    }

    replace($t, $k, { subjectAltNames => [ [ DNS => 'klaviyo.example' ] ] });
    $t->mark();
    $next->('verify off', 'verify off;');
    arrived($k, $n, $n, 'verify off: accepted');
    like($t->log(), qr/\[warn\].*verify off/, 'with a warning');
    conserved($t, 'certificates: counted');
}


# a pair of files of this name, self-signed
sub certificate {
    my ($t, $name, $opt) = @_;

    my ($cert, $key) = IO::Socket::SSL::Utils::CERT_create(CA => 1,
        subject => { commonName => 'localhost' }, purpose => 'server,client',
        subjectAltNames => [ [ DNS => 'localhost' ], [ IP => '127.0.0.1' ] ],
        %$opt);

    $t->write_file("$name.crt", IO::Socket::SSL::Utils::PEM_cert2string($cert));
    $t->write_file("$name.key", IO::Socket::SSL::Utils::PEM_key2string($key));
}


# another certificate for the stand-in, which is the authority as well
sub replace {
    my ($t, $k, $opt) = @_;

    $k->stop();
    certificate($t, 'klaviyo0/klaviyo', $opt);
    $k->start();
}

###############################################################################

# HTTP/2, by nginx in front of the stand-in: bodies that are larger than its
# window, and a window that stays closed.

sub http2 {
    my $t = Test::Nginx::Klaviyo->new()->standin(bodies => '');
    my $k = $t->klaviyo();

    certificate($t, 'h2', {});

    # nobody can connect to it any more
    my $full = IO::Socket::INET->new(Proto => 'tcp', Listen => 1,
        LocalAddr => '127.0.0.1', LocalPort => $t->port(2)) or die;
    my @fill = map { IO::Socket::INET->new(Proto => 'tcp', Blocking => 0,
        PeerAddr => '127.0.0.1:' . $t->port(2)) } 1 .. 4;

    my $account = 'timeout 20s; trusted_certificate %%TESTDIR%%/h2.crt;';
    my $front = <<'EOC';
    upstream klaviyo {
        server 127.0.0.1:%%PORT_2%% max_fails=0;
        server %%STANDIN%% backup;
    }

    server {
        listen 127.0.0.1:%%PORT_1%% ssl http2;
        ssl_certificate %%TESTDIR%%/h2.crt;
        ssl_certificate_key %%TESTDIR%%/h2.key;
        client_max_body_size 10m;
        location / {
            klaviyo off;
            proxy_pass http://%%UPSTREAM%%;
            proxy_request_buffering off;
            proxy_connect_timeout 1500ms;
            proxy_http_version 1.1;
            proxy_set_header X-Protocol $server_protocol;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
        }
    }
EOC

    my $write = sub {
        my ($upstream, $more) = @_;
        my ($standin) = $k->url() =~ m{//(.*)};

        write_shop($t, endpoint => 'https://localhost:' . $t->port(1),
            http => $front =~ s/%%STANDIN%%/$standin/r
                =~ s/%%UPSTREAM%%/$upstream eq 'full' ? 'klaviyo' : $standin/er,
            account => "$account $more");
    };

    $write->('open', '');
    $t->run();
    view($t, 1, 10);
    arrived($k, 1, 10, 'HTTP/1.1: all arrive');
    is(($k->requests())[0]{headers}{'x-protocol'}, 'HTTP/1.1',
        'unless it is asked for');

    $write->('open', 'http2 on;');
    $t->reload();
    settled($t);
    $k->forget();

    view($t, 1, 5000);
    arrived($k, 1, 5000, 'HTTP/2: all arrive, each once');
    is(join(' ', uniq map { $_->{headers}{'x-protocol'} } bodies($k)),
        'HTTP/2.0', 'by HTTP/2');
    cmp_ok(account($t)->{retries}, '<=', 2, 'without need to ask again');

    # libcurl would spin as long as the window is closed, which it is until
    # nginx has somebody to give the body to
    settled($t);
    $k->forget();
    $write->('full', 'http2 on;');
    $t->reload();

    my $pid = dispatcher($t);

    view($t, 1, 1000);
    ok($t->wait_for(sub { (account($t)->{in_flight} // 0) >= 1 }),
        'HTTP/2, a closed window');

    my ($before) = spent($pid);

    sleep 1;

    my ($after) = spent($pid);

    is(scalar bodies($k), 0, 'is closed indeed');
    cmp_ok($after - $before, '<', 30, 'it does not keep us busy');
    arrived($k, 1, 1000, 'and it is over');
    conserved($t, 'HTTP/2: counted');
}

###############################################################################

# A proxy sees the name of the host, not the key; when it refuses, Klaviyo is
# away.

sub proxies {
    my $t = Test::Nginx::Klaviyo->new()->standin(bodies => '', tls => 1);
    my $k = $t->klaviyo();

    start_proxy($t);
    write_shop($t, account => 'trusted_certificate ' . $k->ca() . '; '
        . 'proxy http://user:pass@127.0.0.1:%%PORT_1%%;');
    $t->run();

    view($t, 1, 10);
    arrived($k, 1, 10, 'a proxy: all arrive');

    my @seen = split /\n\n/, $t->read_file('proxy.log');

    is(scalar @seen, 1, 'by one connection of it');
    like($seen[0], qr/^CONNECT localhost:\d+ HTTP/, 'a tunnel');
    like($seen[0], qr/^Proxy-Authorization: Basic /mi, 'with its password');
    unlike($seen[0], qr/^Authorization|pk_|revision/mi, 'but not our key');

    for my $answer ('407 Proxy Authentication Required', '502 Bad Gateway',
                    '403 Forbidden', '302 Found', '')
    {
        my $name = $answer || 'no answer';
        my ($first) = sort { $b <=> $a } numbers($k);

        $t->write_file('proxy.answer', $answer || 'none');
        $k->disconnect();
        view($t, ++$first, $first);
        ok($t->wait_for(sub { account($t)->{state} eq 'backoff' }),
            "proxy, $name: away");
        is(account($t)->{events}{queued}, 1, "proxy, $name: kept");

        $t->write_file('proxy.answer', '');
        arrived($k, $first, $first, "proxy, $name: arrives at last");
        settled($t);
    }

    is(account($t)->{events}{dead}, 0, 'proxies: nothing died');
    conserved($t, 'proxies: counted');
    kill 'KILL', $proxy;
}


# It tunnels, unless the file proxy.answer has something to say.
sub start_proxy {
    my ($t) = @_;

    my $listen = IO::Socket::INET->new(Proto => 'tcp', Listen => 10,
        LocalAddr => '127.0.0.1', LocalPort => $t->port(1), ReuseAddr => 1)
        or die "listen: $!\n";

    my $parent = $$;

    $proxy = fork() // die "fork: $!\n";
    return if $proxy;

    local $SIG{CHLD} = 'IGNORE';

    while (getppid() == $parent) {
        IO::Select->new($listen)->can_read(0.5) or next;

        my $client = $listen->accept() or next;

        next if fork();
        close $listen;
        eval { tunnel($t, $client) };
        POSIX::_exit(0);
    }

    POSIX::_exit(0);
}


sub tunnel {
    my ($t, $client) = @_;
    my $head = '';

    1 while $head !~ /\r\n\r\n/ && sysread $client, $head, 1, length $head;
    $head =~ s/\r\n/\n/g;

    open my $log, '>>', $t->dir() . '/proxy.log' or die;
    syswrite $log, $head;

    my $answer = $t->read_file('proxy.answer');

    return if $answer eq 'none';

    if ($answer) {
        syswrite $client, "HTTP/1.1 $answer\r\nContent-Length: 0\r\n"
            . "Location: http://127.0.0.1/\r\n\r\n";
        return;
    }

    my ($port) = $head =~ /^CONNECT localhost:(\d+) /;
    my $server = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") or return;

    syswrite $client, "HTTP/1.1 200 Go ahead\r\n\r\n";

    while (my @ready = IO::Select->new($client, $server)->can_read(20)) {
        for my $from (@ready) {
            sysread $from, my $data, 65536 or return;
            syswrite $from == $client ? $server : $client, $data;
        }
    }
}

###############################################################################
