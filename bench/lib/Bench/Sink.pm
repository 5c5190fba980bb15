package Bench::Sink;

# Copyright (C) ngx_http_klaviyo_module contributors

# What stands in the place of Klaviyo: takes any request with Content-Length,
# forgets its body, answers 202, at once or after some seconds.  GET tells how
# many came since the last GET, and when.

###############################################################################

use warnings;
use strict;

use IO::Socket::INET ();
use JSON::PP ();
use Time::HiRes qw(time);

use Bench;

###############################################################################

# arrivals that are told one by one, at most
my $TIMES = 10000;


sub new {
    my ($class, $delay) = @_;

    my $listen = IO::Socket::INET->new(Listen => 128,
        LocalAddr => '127.0.0.1') or die "listen: $!\n";
    my $port = $listen->sockport();

    my $self = bless { url => "http://127.0.0.1:$port", port => $port },
        $class;

    $self->{pid} = spawn(dir() . '/sink.log',
        sub { serve($listen, $delay // 0) });

    system "taskset -pc 1 $self->{pid} > /dev/null" if pinned(1);

    return $self;
}


# bodies, bytes, seconds from the first header to the last answer, and times
sub told { return get_json("$_[0]{url}/") }


sub stop { end($_[0]{pid}) }


sub serve {
    my ($listen, $delay) = @_;
    my (%connections, %stat);

    $SIG{PIPE} = 'IGNORE';

    while (1) {
        my $bits = '';
        vec($bits, $_, 1) = 1 for fileno $listen, keys %connections;

        my @due = sort { $a <=> $b }
            map { $_->{due} // () } values %connections;

        select $bits, undef, undef, @due ? left($due[0]) : undef;

        if (vec $bits, fileno $listen, 1) {
            my $c = $listen->accept() or next;
            $connections{fileno $c} = { socket => $c, head => '', left => 0,
                delay => $delay };
        }

        for my $c (values %connections) {
            my $fd = fileno $c->{socket};

            answer($c) if $c->{due} && $c->{due} <= time();

            delete $connections{$fd}
                if vec($bits, $fd, 1) && !take($c, \%stat);
        }
    }
}


sub left {
    my ($due) = @_;
    my $left = $due - time();

    return $left > 0 ? $left : 0;
}


sub take {
    my ($c, $stat) = @_;

    sysread $c->{socket}, my $data, 1 << 18 or return 0;

    if ($c->{left}) {
        $c->{left} -= length $data;

    } else {
        $c->{head} .= $data;
        $c->{head} =~ s/\A(.*?)\r\n\r\n//s or return 1;

        my ($head, $rest) = ($1, length $c->{head});
        $c->{head} = '';

        return report($c, $stat) if $head =~ /\AGET /;

        my ($length) = $head =~ /^Content-Length: *(\d+)/mi or return 0;

        $stat->{first} //= time();
        $stat->{bodies}++;
        $stat->{bytes} += $length;
        $c->{left} = $length - $rest;

        push @{$stat->{times}}, time()
            if @{$stat->{times} // []} < $TIMES;
    }

    return 1 if $c->{left} > 0;

    $stat->{last} = time();
    $c->{due} = $stat->{last} + $c->{delay};

    return $c->{delay} ? 1 : answer($c);
}


sub answer {
    my ($c) = @_;

    delete $c->{due};

    return syswrite $c->{socket},
        "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
}


sub report {
    my ($c, $stat) = @_;

    $stat->{seconds} = ($stat->{last} // 0) - ($stat->{first} // 0);

    my $text = JSON::PP::encode_json($stat);
    %$stat = ();

    return syswrite $c->{socket}, "HTTP/1.1 200 OK\r\nContent-Length: "
        . length($text) . "\r\n\r\n$text";
}

###############################################################################

1;

###############################################################################
