package Test::Nginx::Klaviyo::Upstream;

# Copyright (C) ngx_http_klaviyo_module contributors

# Servers behind nginx: one that speaks HTTP, one that speaks FastCGI.
#
#   Test::Nginx::Klaviyo::Upstream::http($t->port(1), $t->dir());
#   Test::Nginx::Klaviyo::Upstream::fastcgi($t->port(2));
#
# Of HTTP "/raw/NAME" is answered with the file NAME of the folder as it is,
# headers included, and then closed; "?piece=N" writes it N bytes at a time,
# "?stay" does not close.  All else is answered with a JSON text: method, uri,
# head (as it came) and body (without its chunks) of the request; FastCGI
# likewise, with its parameters.  They end with the test.

###############################################################################

use warnings;
use strict;

use Cpanel::JSON::XS ();
use IO::Socket::INET ();
use POSIX ();
use Socket qw(IPPROTO_TCP TCP_NODELAY);

###############################################################################

my $json = Cpanel::JSON::XS->new->utf8->canonical;
my @pids;

sub http {
    my ($port, $dir) = @_;

    return server($port, sub { http_answer($_[0], $dir) });
}


sub fastcgi { return server($_[0], \&fastcgi_answer) }


# Each connection has a process, so that none waits for another.

sub server {
    my ($port, $answer) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $port, Proto => 'tcp', Listen => 64, ReuseAddr => 1)
        or die "listen on $port: $!\n";

    my $pid = fork() // die "fork: $!\n";

    if ($pid) {
        push @pids, $pid;
        return;
    }

    my $parent = getppid();

    # one signal ends those of the connections, too
    setpgrp;

    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    $SIG{CHLD} = 'IGNORE';
    $SIG{PIPE} = 'IGNORE';

    while (getppid() == $parent) {
        my $c = accepted($listen) or next;

        if (!fork()) {
            $c->setsockopt(IPPROTO_TCP, TCP_NODELAY, 1);
            binmode $c;
            $answer->($c);
            POSIX::_exit(0);
        }

        close $c;
    }

    POSIX::_exit(0);
}


# a test that was killed must not leave us behind
sub accepted {
    my ($listen) = @_;

    vec(my $in = '', fileno($listen), 1) = 1;
    select($in, undef, undef, 0.5) > 0 or return;

    return $listen->accept();
}


sub http_answer {
    my ($c, $dir) = @_;
    my $all = '';

    while ($all !~ /\r\n\r\n/) {
        sysread $c, $all, 65_536, length $all or return;
    }

    my ($head, $body) = split /\r\n\r\n/, $all, 2;
    my ($method, $uri) = $head =~ /\A(\S+) (\S+)/;

    $body = whole($c, $head, $body);

    if ($uri =~ m{\A/raw/([\w.-]+)}) {
        open my $file, '<', "$dir/$1" or die "open $1: $!\n";
        binmode $file;
        local $/;
        my $text = <$file>;
        my $piece = $uri =~ /piece=(\d+)/ ? $1 : length $text;

        for (my $at = 0; $at < length $text; $at += $piece) {
            write_all($c, substr $text, $at, $piece) or return;
        }

        sleep 30 if $uri =~ /stay/;

        return;
    }

    my $text = $json->encode({ method => $method, uri => $uri, head => $head,
        body => $body });

    write_all($c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        . 'Content-Length: ' . length($text)
        . "\r\nConnection: close\r\n\r\n$text");
}


sub whole {
    my ($c, $head, $body) = @_;

    if ($head =~ /^Content-Length: (\d+)/mi) {
        while (length $body < $1) {
            sysread $c, $body, 65_536, length $body or last;
        }

        return $body;
    }

    return $body if $head !~ /^Transfer-Encoding: chunked/mi;

    while ($body !~ /(?:\A|\r\n)0\r\n\r\n\z/) {
        sysread $c, $body, 65_536, length $body or last;
    }

    my $text = '';

    while ($body =~ s/\A([0-9a-f]+)\r\n//i && hex $1) {
        $text .= substr $body, 0, hex $1, '';
        $body =~ s/\A\r\n//;
    }

    return $text;
}


sub write_all {
    my ($c, $text) = @_;

    while ($text ne '') {
        my $n = syswrite $c, $text or return 0;
        substr($text, 0, $n, '');
    }

    return 1;
}

###############################################################################

# types of FastCGI's records
use constant { FCGI_END => 3, FCGI_PARAMS => 4, FCGI_STDIN => 5,
               FCGI_STDOUT => 6 };

sub fastcgi_answer {
    my ($c) = @_;
    my ($params, $body) = ('', '');

    while (1) {
        my (undef, $type, undef, $length, $pad) = unpack 'CCnnC',
            exactly($c, 8) // return;
        my $text = exactly($c, $length) // return;

        exactly($c, $pad);

        $params .= $text if $type == FCGI_PARAMS;
        $body .= $text if $type == FCGI_STDIN;
        last if $type == FCGI_STDIN && $length == 0;
    }

    my $text = $json->encode({ params => length $params, body => $body });
    my $all = "Content-Type: application/json\r\n\r\n$text";
    my $out = '';

    while ($all ne '') {
        $out .= record(FCGI_STDOUT, substr $all, 0, 30_000, '');
    }

    write_all($c, $out . record(FCGI_STDOUT, '') . record(FCGI_END, "\0" x 8));
}


sub record {
    my ($type, $text) = @_;

    return pack('CCnnCC', 1, $type, 1, length $text, 0, 0) . $text;
}


sub exactly {
    my ($c, $n) = @_;
    my $text = '';

    while (length $text < $n) {
        sysread $c, $text, $n - length $text, length $text or return;
    }

    return $text;
}

###############################################################################

my $main = $$;

END {
    if ($$ == $main) {
        local $?;
        kill 'KILL', map { ($_, -$_) } @pids;
        waitpid $_, 0 for @pids;
    }
}

1;
