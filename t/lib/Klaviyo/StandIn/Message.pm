package Klaviyo::StandIn::Message;

# Copyright (C) ngx_http_klaviyo_module contributors

# An HTTP/1.1 request out of a buffer, read strictly.

###############################################################################

use warnings;
use strict;

###############################################################################

use constant {
    MAX_HEAD => 65_536,
    MAX_BODY => 6_000_000,
};

# Takes a request from the buffer: { complete, method, path, headers, repeated,
# body, chunked, expects }.  Nothing while even the head isn't there; without
# "complete" while the body isn't.  ( undef, STATUS ) if it is refused.

sub parse {
    my ($in) = @_;
    my $end = index $$in, "\r\n\r\n";

    return length $$in > MAX_HEAD ? (undef, 431) : () if $end < 0;

    my $r = head(substr $$in, 0, $end) or return (undef, 400);
    my $headers = $r->{headers};
    my $used = $end + 4;

    $r->{expects} = lc($headers->{expect} || '') eq '100-continue';

    if (lc($headers->{'transfer-encoding'} || '') eq 'chunked') {
        my ($body, $size) = chunked($in, $used);

        return (undef, 400) if exists $headers->{'content-length'}
                               || defined $size && $size < 0;
        return (undef, 413) if length $body > MAX_BODY;
        return $r if !defined $size;

        @$r{qw(body chunked)} = ($body, 1);
        $used = $size;

    } else {
        my $length = $headers->{'content-length'} || 0;

        return (undef, 400) if $length !~ /\A[0-9]{1,10}\z/;
        return (undef, 413) if $length > MAX_BODY;
        return $r if length($$in) - $used < $length;

        $r->{body} = substr $$in, $used, $length;
        $used += $length;
    }

    substr($$in, 0, $used, '');
    $r->{complete} = 1;

    return $r;
}


sub head {
    my ($text) = @_;
    my ($line, @lines) = split /\r\n/, $text, -1;
    my (%headers, @repeated);

    my ($method, $path) = $line =~ m{\A([A-Z]+) (\S+) HTTP/1\.1\z} or return;

    for (@lines) {
        my ($name, $value)
            = /\A([!#\$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*\z/ or return;

        $name = lc $name;
        push @repeated, $name if exists $headers{$name};
        $headers{$name} = $value;
    }

    return {
        method => $method, path => $path, headers => \%headers,
        repeated => \@repeated,
    };
}


# the decoded body and where it ended; undef: not there yet; -1: broken
sub chunked {
    my ($in, $at) = @_;
    my $body = '';

    while (1) {
        pos($$in) = $at;

        if ($$in !~ /\G([0-9A-Fa-f]{1,8})(?:;[^\r\n]*)?\r\n/gc) {
            return ($body, index($$in, "\r\n", $at) < 0 ? undef : -1);
        }

        my $size = hex $1;

        $at = pos $$in;

        if ($size == 0) {
            my $end = index $$in, "\r\n", $at;

            return ($body, $end < 0 ? undef : $end + 2);
        }

        return ($body, undef) if length($$in) < $at + $size + 2;
        return ($body, -1) if substr($$in, $at + $size, 2) ne "\r\n";

        $body .= substr $$in, $at, $size;
        $at += $size + 2;

        return ($body, undef) if length $body > MAX_BODY;
    }
}

###############################################################################

1;
