package Test::Nginx::Klaviyo::HTTP2;

# Copyright (C) ngx_http_klaviyo_module contributors

# As much of HTTP/2 in clear text as a test needs: some requests at once on one
# connection, and their statuses and bodies.
#
#   my @answers = Test::Nginx::Klaviyo::HTTP2::get($port,
#       [ '/a', 'x-case' => 1 ], [ '/b', 'x-case' => 2 ],
#       [ '/c', ':method' => 'POST', ':body' => [ 'a', 'b' ] ]);
#
# The parts of a body are frames; all bodies together have at most 65,535
# bytes, each frame 16,384.

###############################################################################

use warnings;
use strict;

use Test::Nginx::Klaviyo::HTTP ();

###############################################################################

# types of frames and their flags
use constant { DATA => 0, HEADERS => 1, RST_STREAM => 3, SETTINGS => 4,
               PUSH_PROMISE => 5, END_STREAM => 1, ACK => 1,
               END_HEADERS => 4 };

sub get {
    my ($port, @requests) = @_;
    my $c = Test::Nginx::Klaviyo::HTTP->new($port) or return;
    my $text = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(SETTINGS, 0, 0, '');
    my (%streams, @answers);

    for my $i (0 .. $#requests) {
        my ($uri, %headers) = @{$requests[$i]};
        my $stream = 2 * $i + 1;

        my $method = delete $headers{':method'} // 'GET';
        my @body = @{delete $headers{':body'} || []};

        $streams{$stream} = $answers[$i] = { ended => 0, body => '' };

        $text .= frame(HEADERS, (@body ? 0 : END_STREAM) | END_HEADERS,
            $stream,
            join '', literal(':method' => $method),
                literal(':scheme' => 'http'),
                literal(':authority' => 'localhost'), literal(':path' => $uri),
                map { literal($_ => $headers{$_}) } sort keys %headers);

        $text .= frame(DATA, $_ == $#body ? END_STREAM : 0, $stream, $body[$_])
            for 0 .. $#body;
    }

    $c->send($text);

    while (grep { !$_->{ended} } @answers) {
        my ($type, $flags, $stream, $payload) = next_frame($c) or last;
        my $answer = $streams{$stream};

        if ($type == SETTINGS && !($flags & ACK)) {
            $c->send(frame(SETTINGS, ACK, 0, ''));
        }

        next if !$answer;

        $answer->{status} = status($payload) if $type == HEADERS;
        $answer->{body} .= $payload if $type == DATA;
        $answer->{ended} = 1 if $type == RST_STREAM
            || ($flags & END_STREAM && ($type == DATA || $type == HEADERS));
    }

    return @answers;
}


sub frame {
    my ($type, $flags, $stream, $payload) = @_;
    my $length = length $payload;

    return pack('CnCCN', $length >> 16, $length & 0xffff, $type, $flags,
        $stream) . $payload;
}


sub next_frame {
    my ($c) = @_;

    while (length $c->{in} < 9) {
        $c->more() or return;
    }

    my ($high, $low, $type, $flags, $stream) = unpack 'CnCCN', $c->{in};
    my $length = ($high << 16) + $low;

    while (length $c->{in} < 9 + $length) {
        $c->more() or return;
    }

    my $payload = substr $c->{in}, 9, $length;

    substr($c->{in}, 0, 9 + $length, '');

    return ($type, $flags, $stream, $payload);
}


# a header field without an index, whose texts are as they are
sub literal {
    my ($name, $value) = @_;

    return "\0" . string($name) . string($value);
}


sub string {
    my ($text) = @_;
    my $length = length $text;

    return chr($length) . $text if $length < 127;

    # an integer with a prefix of 7 bits
    my $bytes = chr 127;

    for ($length -= 127; $length >= 128; $length >>= 7) {
        $bytes .= chr(128 | $length & 127);
    }

    return $bytes . chr($length) . $text;
}


# nginx says :status first: by its index, or as a text with the name's index
sub status {
    my ($payload) = @_;
    my $first = ord $payload;
    my @known = (200, 204, 206, 304, 400, 404, 500);

    return $known[$first - 136] if $first >= 136 && $first <= 142;
    return $1 if $payload =~ /\A[\x08\x48]\x03(\d{3})/;

    return 0;
}

###############################################################################

1;
