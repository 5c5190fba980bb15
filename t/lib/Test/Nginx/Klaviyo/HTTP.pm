package Test::Nginx::Klaviyo::HTTP;

# Copyright (C) ngx_http_klaviyo_module contributors

# An HTTP client on a raw socket, which sends what it is given, byte by byte:
# keep-alive, pipelining, broken requests.  Nothing waits longer than "timeout"
# seconds (10).

###############################################################################

use warnings;
use strict;

use IO::Select ();
use IO::Socket::INET ();
use Time::HiRes qw(time);

###############################################################################

sub new {
    my ($class, $port, %opt) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => $opt{host} || '127.0.0.1',
        PeerPort => $port, Proto => 'tcp', Timeout => 5) or return;

    $socket->autoflush(1);
    $socket->blocking(0);

    return bless { socket => $socket, in => '',
                   timeout => $opt{timeout} || 10 }, $class;
}


# a visitor's, unless the test has another one, or undef
my $agent = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101'
    . ' Firefox/140.0';

# A whole request and its answer.  Options: headers => { NAME => TEXT or
# [TEXT...] }, body, close => 1, version => '1.0'.

sub request {
    my ($self, $method, $uri, %opt) = @_;

    $self->send(text($method, $uri, %opt));

    return $self->response($method eq 'HEAD');
}


sub get { my ($self, $uri, %opt) = @_; $self->request('GET', $uri, %opt) }


sub post {
    my ($self, $uri, $body, %opt) = @_;

    return $self->request('POST', $uri, body => $body, %opt);
}


sub text {
    my ($method, $uri, %opt) = @_;
    my %headers = %{$opt{headers} || {}};
    my %given = map { lc $_ => 1 } keys %headers;

    $headers{Host} = 'localhost' if !$given{host};
    $headers{'User-Agent'} = $agent if !$given{'user-agent'};
    $headers{Connection} = 'close' if $opt{close};

    if (defined $opt{body}) {
        $headers{'Content-Length'} //= length $opt{body};
        $headers{'Content-Type'} //= 'application/x-www-form-urlencoded';
    }

    my $text = "$method $uri HTTP/" . ($opt{version} || '1.1') . "\r\n";

    for my $name (sort keys %headers) {
        my $value = $headers{$name} // next;

        $text .= "$name: $_\r\n" for ref $value ? @$value : $value;
    }

    return "$text\r\n" . ($opt{body} // '');
}


sub send {
    my ($self, $text) = @_;
    my $end = time() + $self->{timeout};

    local $SIG{PIPE} = 'IGNORE';

    while ($text ne '' && time() < $end) {
        IO::Select->new($self->{socket})->can_write(0.5) or next;

        my $n = syswrite $self->{socket}, $text;

        last if !defined $n && !$!{EAGAIN};
        substr($text, 0, $n, '') if $n;
    }

    return $self;
}


# The next answer on this connection; with "head" one without a body.

sub response {
    my ($self, $head) = @_;
    my ($at, $response);

    do {
        while (($at = index $self->{in}, "\r\n\r\n") < 0) {
            $self->more() or return none($self->{in});
        }

        $response = parse(substr $self->{in}, 0, $at + 4, '');

    } while ($response->{status} == 100);

    return $response if $head || $response->{status} =~ /\A(?:1..|204|304)\z/;

    my $length = $response->header('Content-Length');

    if (lc($response->header('Transfer-Encoding') // '') eq 'chunked') {
        $response->{body} = $self->chunks();

    } elsif (defined $length) {
        1 while length $self->{in} < $length && $self->more();
        $response->{body} = substr $self->{in}, 0, $length, '';

    } else {
        $response->{body} = $self->rest();
    }

    $response->{raw} .= $response->{body};

    return $response;
}


sub chunks {
    my ($self) = @_;
    my $body = '';

    while (1) {
        my ($line, $hex);

        while (!(($line, $hex) = $self->{in}
                 =~ /\A(([0-9a-fA-F]+)[^\r\n]*\r\n)/))
        {
            $self->more() or return $body;
        }

        my ($size, $skip) = (hex $hex, length $line);

        1 while length $self->{in} < $skip + $size + 2 && $self->more();
        $body .= substr $self->{in}, $skip, $size;
        substr($self->{in}, 0, $skip + $size + 2, '');

        return $body if $size == 0;
    }
}


# All until the other side closes.

sub rest {
    my ($self) = @_;

    1 while $self->more();

    my $all = $self->{in};

    $self->{in} = '';

    return $all;
}


# Has the other side closed, and nothing is left to read?

sub closed {
    my ($self) = @_;

    return 0 if $self->{in} ne '';
    return 0 if !IO::Select->new($self->{socket})->can_read(0);

    my $n = sysread $self->{socket}, $self->{in}, 65_536;

    return defined $n ? $n == 0 : !$!{EAGAIN};
}


sub more {
    my ($self) = @_;
    my $end = time() + $self->{timeout};

    while (1) {
        my $left = $end - time();

        return 0 if $left <= 0;
        next if !IO::Select->new($self->{socket})->can_read($left);

        my $n = sysread $self->{socket}, $self->{in}, 65_536,
            length $self->{in};

        return $n if defined $n;
        return 0 if !$!{EAGAIN} && !$!{EINTR};
    }
}


sub close { CORE::close $_[0]{socket} }

###############################################################################

# An answer: status, header(NAME) (all of that name, comma-separated), body,
# raw.

sub parse {
    my ($head) = @_;
    my ($status) = $head =~ m{\AHTTP/1\.[01] ([0-9]{3})};
    my %headers;

    while ($head =~ /^([^:\r\n]+):[ \t]*(.*?)[ \t]*\r$/gm) {
        push @{$headers{lc $1}}, $2;
    }

    return bless { status => $status // 0, headers => \%headers,
                   body => '', raw => $head }, 'Test::Nginx::Klaviyo::Answer';
}


# status 0: there was no answer
sub none {
    my ($text) = @_;

    return bless { status => 0, headers => {}, body => '',
                   raw => $text // '' }, 'Test::Nginx::Klaviyo::Answer';
}


sub Test::Nginx::Klaviyo::Answer::status { return $_[0]{status} }
sub Test::Nginx::Klaviyo::Answer::body { return $_[0]{body} }
sub Test::Nginx::Klaviyo::Answer::raw { return $_[0]{raw} }


sub Test::Nginx::Klaviyo::Answer::header {
    my ($self, $name) = @_;
    my $values = $self->{headers}{lc $name} or return;

    return join ', ', @$values;
}

###############################################################################

1;
