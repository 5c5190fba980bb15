package Klaviyo::StandIn::Server;

# Copyright (C) ngx_http_klaviyo_module contributors

# The process of the stand-in: HTTP/1.1 for many connections in one
# non-blocking loop, and a control port by which a test tells it what to do.
# What an answer looks like is in Klaviyo::StandIn::Answer, what a good body is
# in Klaviyo::StandIn::Contract.

###############################################################################

use warnings;
use strict;

use Cpanel::JSON::XS ();
use Digest::SHA ();
use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use IO::Handle ();
use IO::Poll qw(POLLIN POLLOUT POLLERR POLLHUP);
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use List::Util qw(min);
use Socket qw(SOL_SOCKET SO_LINGER IPPROTO_TCP TCP_NODELAY);
use Time::HiRes ();

use Klaviyo::StandIn::Answer ();
use Klaviyo::StandIn::Contract ();
use Klaviyo::StandIn::Judge ();
use Klaviyo::StandIn::Message ();

###############################################################################

use constant {
    MAX_INPUT => 2 * Klaviyo::StandIn::Message::MAX_BODY,
    MAX_SAVED => 64 * 1024 * 1024,
    CHUNK     => 65_536,
    TICK      => 0.5,
};

my %defaults = (
    %Klaviyo::StandIn::Judge::defaults,
    delay => 0,               # seconds before each answer
);

my $json = Cpanel::JSON::XS->new->utf8->canonical;

###############################################################################

# Options: listen => [ "127.0.0.1:PORT" or "unix:PATH", ... ], control => PORT,
# record => FILE, bodies => DIR, tls => [ CERT, KEY ], orphan => 1 to outlive
# the parent; anything of %defaults.

sub new {
    my ($class, %opt) = @_;

    my $self = bless {
        opt => \%opt, settings => { %defaults }, script => [], conns => {},
        saved => 0, parent => getppid(),
        stats => { map { $_ => 0 } qw(requests accepted refused throttled
                                      events duplicates connections) },
    }, $class;

    for my $name (keys %defaults) {
        $self->{settings}{$name} = $opt{$name} if defined $opt{$name};
    }

    $self->{judge} = Klaviyo::StandIn::Judge->new($self->{settings});

    if (defined $opt{record}) {
        open $self->{record}, '>>', $opt{record}
            or die "open $opt{record}: $!\n";
        $self->{record}->autoflush(1);
    }

    require IO::Socket::SSL if $opt{tls};

    $self->{listeners} = { map { my $s = listener($_); (fileno $s => $s) }
                           @{$opt{listen}} };

    my $control = listener('127.0.0.1:' . ($opt{control} || 0));

    $self->{control} = fileno $control;
    $self->{listeners}{fileno $control} = $control;

    return $self;
}


sub listener {
    my ($where) = @_;
    my $socket;

    if ($where =~ /\Aunix:(.+)/) {
        unlink $1;
        $socket = IO::Socket::UNIX->new(Local => $1, Listen => 511);
        chmod 0666, $1 if $socket;

    } else {
        $socket = IO::Socket::INET->new(LocalAddr => $where, Listen => 511,
            Proto => 'tcp', ReuseAddr => 1);
    }

    die "listen on $where: $!\n" if !$socket;

    $socket->blocking(0);

    return $socket;
}


# The ports, the control port last.

sub ports {
    my ($self) = @_;
    my $control = $self->{listeners}{$self->{control}};

    return map { $_->sockport() }
           (grep { $_->can('sockport') && $_ != $control }
            values %{$self->{listeners}}), $control;
}


sub run {
    my ($self) = @_;

    local $SIG{PIPE} = 'IGNORE';

    $self->turn() while $self->{opt}{orphan} || getppid() == $self->{parent};
}


sub turn {
    my ($self) = @_;
    my $now = Time::HiRes::time();
    my $wait = TICK;
    my $poll = IO::Poll->new();

    $poll->mask($_ => POLLIN) for values %{$self->{listeners}};

    for my $c (values %{$self->{conns}}) {
        my $mask = 0;

        if ($c->{wake}) {
            $wait = min($wait, $c->{wake} > $now ? $c->{wake} - $now : 0);

        } elsif ($c->{handshake}) {
            $mask = $c->{handshake};

        } elsif ($c->{out} ne '' || $c->{endless}) {
            $mask = POLLOUT;
        }

        # a close of the other side is news at any time
        $mask |= POLLIN if !$c->{handshake} && !$c->{full};
        $poll->mask($c->{socket} => $mask) if $mask;
    }

    $poll->poll($wait);
    $now = Time::HiRes::time();

    for my $fd (keys %{$self->{listeners}}) {
        my $socket = $self->{listeners}{$fd};

        $self->accept_all($fd, $socket) if $poll->events($socket);
    }

    # a copy: the control connection may close all others
    my @conns = values %{$self->{conns}};

    for my $c (@conns) {
        next if !defined fileno $c->{socket};
        $self->serve($c, $poll->events($c->{socket}), $now);
    }
}


sub accept_all {
    my ($self, $fd, $listener) = @_;

    while (my $socket = $listener->accept()) {
        my $control = $fd == $self->{control};

        $socket->blocking(0);
        setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1
            if $socket->can('sockport');

        my $c = {
            socket => $socket, in => '', out => '', control => $control,
            n => $control ? 0 : ++$self->{stats}{connections},
        };

        if ($self->{opt}{tls} && !$control) {
            my ($cert, $key) = @{$self->{opt}{tls}};

            IO::Socket::SSL->start_SSL($socket, SSL_server => 1,
                SSL_startHandshake => 0, SSL_cert_file => $cert,
                SSL_key_file => $key, SSL_alpn_protocols => ['http/1.1'])
                or next;

            $c->{handshake} = POLLIN;
            $c->{tls} = 1;
        }

        $self->{conns}{fileno $socket} = $c;
    }
}


sub serve {
    my ($self, $c, $events, $now) = @_;

    if ($c->{wake}) {
        return if $c->{wake} > $now && !$events;
        $c->{wake} = 0 if $c->{wake} <= $now;
    }

    if ($c->{handshake}) {
        return if !$events || !$self->handshake($c);
        $events = POLLIN;
    }

    if ($events & (POLLIN | POLLHUP | POLLERR)) {
        $self->receive($c) or return $self->close($c);
    }

    $self->advance($c);
}


sub handshake {
    my ($self, $c) = @_;

    if ($c->{socket}->accept_SSL()) {
        delete $c->{handshake};
        return 1;
    }

    if ($! == EAGAIN || $! == EWOULDBLOCK) {
        $c->{handshake} = IO::Socket::SSL::errstr() =~ /wants a write/
            ? POLLOUT : POLLIN;

    } else {
        $self->close($c);
    }

    return 0;
}


# false when the other side has gone
sub receive {
    my ($self, $c) = @_;

    if (!$c->{control} && $c->{in} eq '' && !$c->{busy}
        && $self->next_answer('close'))
    {
        $self->step();
        $self->note({ answer => 'close', conn => $c->{n} });
        return 0;
    }

    while (1) {
        my $n = sysread $c->{socket}, $c->{in}, CHUNK, length $c->{in};

        if (!defined $n) {
            return $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
        }

        return 0 if $n == 0;

        # a request that is being answered may be followed by others
        if (length $c->{in} > MAX_INPUT) {
            $c->{full} = 1;
            return 1;
        }
    }
}


# as far as it goes: what is to be written, then the next request
sub advance {
    my ($self, $c) = @_;

    while (!$c->{wake}) {

        if ($c->{pending}) {
            $c->{out} .= (delete $c->{pending})->();
        }

        if ($c->{out} ne '' || $c->{endless}) {
            $self->transmit($c) or return;
            next if $c->{wake};
        }

        if ($c->{done}) {
            my $how = delete $c->{done};

            $self->answered($c);

            return $self->close($c, $how) if $how ne 'keep';
            $c->{busy} = 0;
            $c->{full} = 0;
        }

        return if $c->{busy};

        my $request = $self->parse($c) or return;

        $c->{busy} = 1;

        if ($c->{control}) {
            $self->control($c, $request);

        } else {
            $self->request($c, $request);
        }
    }
}


# true when there is nothing left to write; false: wait, or it is gone
sub transmit {
    my ($self, $c) = @_;

    while ($c->{out} ne '' || $c->{endless}) {
        $c->{out} .= $c->{endless} if $c->{endless} && $c->{out} eq '';

        my $size = $c->{trickle} || CHUNK;
        my $n = syswrite $c->{socket}, $c->{out}, $size;

        if (!defined $n) {
            return 0 if $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
            $self->close($c);
            return 0;
        }

        substr($c->{out}, 0, $n, '');

        if ($c->{trickle} && $c->{out} ne '') {
            $c->{wake} = Time::HiRes::time() + 0.02;
            return 1;
        }
    }

    return 1;
}


sub close {
    my ($self, $c, $how) = @_;

    delete $self->{conns}{fileno $c->{socket}};

    if (($how || '') eq 'reset') {
        setsockopt $c->{socket}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
        $c->{socket}->close(SSL_no_shutdown => 1) if $c->{tls};
    }

    CORE::close $c->{socket};

    return;
}

###############################################################################

# One request from the buffer, undef if it isn't complete.  What can't be read
# at all gets its answer here.

sub parse {
    my ($self, $c) = @_;
    my ($r, $status) = Klaviyo::StandIn::Message::parse(\$c->{in});

    if ($status) {
        $self->refuse_head($c, $status);
        return;
    }

    if ($r && !$r->{complete}) {

        if ($r->{expects} && !$c->{continued}) {
            $c->{continued} = 1;
            syswrite $c->{socket}, "HTTP/1.1 100 Continue\r\n\r\n";
        }

        return;
    }

    $c->{continued} = 0 if $r;

    return $r;
}


sub refuse_head {
    my ($self, $c, $status) = @_;

    $c->{in} = '';
    $c->{busy} = 1;
    $self->{stats}{requests}++;
    $self->note({ answer => 'unreadable', status => $status,
                  conn => $c->{n} });

    $c->{out} .= Klaviyo::StandIn::Answer::plain($status);
    $c->{done} = 'close';
    $self->transmit($c) and $self->close($c);

    return;
}

###############################################################################

# a request of the module: what the script says, else what Klaviyo would say
sub request {
    my ($self, $c, $r) = @_;

    my $n = ++$self->{stats}{requests};
    my $step = $self->step() || $self->broken($r) || { answer => 'ok' };
    my $name = $step->{answer};

    $r->{lane} = $Klaviyo::StandIn::Contract::lanes{$r->{path}};
    $r->{received} = Time::HiRes::time();

    my $verdict = $name eq 'ok' || $name eq 'lose'
        ? $self->{judge}->judge($r, $r->{received})
        : Klaviyo::StandIn::Answer::scripted($step, $r, $self->entries($r));

    if ($verdict->{accepted}) {
        $self->{stats}{accepted}++;
        $self->{stats}{events} += $verdict->{count} || 0;

    } elsif ($verdict->{throttled}) {
        $self->{stats}{throttled}++;

    } elsif ($verdict->{status}) {
        $self->{stats}{refused}++;
    }

    $verdict->{end} = 'close' if $name eq 'lose';
    $verdict->{silent} = 1 if $name eq 'lose';

    $self->save($r, $verdict, $n);
    $self->remember($c, $r, $verdict, $n, $name);

    my $delay = $step->{delay} || $self->{settings}{delay};

    $c->{trickle} = $step->{trickle};
    $c->{wake} = Time::HiRes::time() + $delay if $delay;

    return if $verdict->{hang};

    $c->{done} = $verdict->{end}
        || (lc($r->{headers}{connection} || '') eq 'close' ? 'close' : 'keep');
    $c->{endless} = $verdict->{endless};
    $c->{answering} = $verdict->{silent} ? 0 : $n;
    $c->{pending} = sub { $verdict->{text} } if !$verdict->{silent};
}

###############################################################################

# the script: a step is used up after "times" requests, 0 is for ever

sub next_answer {
    my ($self, $name) = @_;
    my $step = $self->{script}[0];

    return $step && $step->{answer} eq $name;
}


sub step {
    my ($self) = @_;
    my $step = $self->{script}[0] or return;

    if ($step->{times} && --$step->{times} == 0) {
        shift @{$self->{script}};
    }

    return $step;
}


# what a body is answered because of a text in it

sub broken {
    my ($self, $r) = @_;

    for my $step (@{$self->{settings}{broken} || []}) {
        return $step if index($r->{body}, $step->{text}) >= 0;
    }

    return;
}


sub entries {
    my ($self, $r) = @_;

    return if !$self->{settings}{validate};

    my $found = Klaviyo::StandIn::Contract::examine($r->{body},
        lane => $r->{lane}, revision => $r->{headers}{revision},
        identifiers => $self->{settings}{identifiers});

    $r->{entries} = $found->{entries};
    $r->{job} = $found->{job};
    $r->{flaws} = $found->{errors};

    return $found->{entries};
}


sub control {
    my ($self, $c, $r) = @_;
    my $order = eval { $json->decode($r->{body}) } || {};
    my $answer = $self->{stats};

    if ($order->{script}) {
        for my $step (@{$order->{script}}) {
            return $self->control_answer($c,
                { error => "no answer '$step->{answer}'" })
                if !Klaviyo::StandIn::Answer::known($step->{answer});
        }

        $_->{times} //= 1 for @{$order->{script}};
        $self->{script} = [ ($order->{append} ? @{$self->{script}} : ()),
                            @{$order->{script}} ];
    }

    if ($order->{settings}) {
        for my $name (keys %{$order->{settings}}) {
            return $self->control_answer($c, { error => "no $name" })
                if !exists $defaults{$name};
            $self->{settings}{$name} = $order->{settings}{$name};
        }

        $self->{judge}->new_windows();
    }

    if ($order->{disconnect}) {
        $self->close($_) for grep { !$_->{control} } values %{$self->{conns}};
    }

    $self->control_answer($c, { %$answer,
        script => scalar @{$self->{script}},
        open => scalar grep { !$_->{control} } values %{$self->{conns}} });
}


sub control_answer {
    my ($self, $c, $answer) = @_;
    my $body = $json->encode($answer);

    $c->{done} = 'close';
    $c->{out} .= "HTTP/1.1 200 OK\r\nContent-Length: " . length($body)
        . "\r\nConnection: close\r\n\r\n$body";
}

###############################################################################

# one line for each event, or profile, that was accepted, then one for the
# request; written before the answer, so that whoever saw the answer finds the lines
sub remember {
    my ($self, $c, $r, $verdict, $n, $name) = @_;
    my $lines = '';

    for my $entry (@{$verdict->{events} || []}) {
        my $again = $self->{judge}->remember($r->{lane}, $entry) ? 1 : 0;

        $self->{stats}{duplicates} += $again;
        $lines .= $json->encode({ type => $r->{lane}, request => $n,
            entry => $entry, $r->{job} ? (job => $r->{job}) : (),
            $again ? (duplicate => 1) : () }) . "\n";
    }

    my $entries = $r->{entries};
    my %line = (
        type => 'request', n => $n, received => $r->{received}, answer => $name,
        status => $verdict->{status}, conn => $c->{n}, method => $r->{method},
        path => $r->{path}, headers => $r->{headers},
        bytes => length $r->{body},
        digest => Digest::SHA::sha256_hex($r->{body}),
        entries => $entries ? scalar @$entries : $verdict->{count} || 0,
        errors => $verdict->{errors} || [],
    );

    $line{flaws} = $r->{flaws} if $r->{flaws} && @{$r->{flaws}};
    $line{tls} = 1 if $c->{tls};
    $line{chunked} = 1 if $r->{chunked};

    if ($entries && $r->{lane} eq 'events') {
        $line{unique_ids} = [ map { eval {
            $_->{attributes}{events}{data}[0]{attributes}{unique_id} } }
            @$entries ];

    } elsif (!$self->{settings}{validate}) {
        $line{unique_ids} = Klaviyo::StandIn::Judge::unique_ids($r);
        $line{entries} = @{$line{unique_ids}};
    }

    $self->write_lines($lines . $json->encode(\%line) . "\n");
}


# the kernel has all of the answer: if it doesn't arrive now, the other side
# has not waited for it
sub answered {
    my ($self, $c) = @_;
    my $n = delete $c->{answering} or return;

    $self->write_lines($json->encode({ type => 'answered', n => $n,
        at => Time::HiRes::time() }) . "\n");
}


sub note {
    my ($self, $line) = @_;

    $self->write_lines($json->encode({ type => 'request', entries => 0,
        received => Time::HiRes::time(), n => $self->{stats}{requests},
        %$line }) . "\n");
}


sub write_lines {
    my ($self, $lines) = @_;

    print { $self->{record} } $lines if $self->{record};
}


# the body itself, for a look at it by Klaviyo's own specification
sub save {
    my ($self, $r, $verdict, $n) = @_;
    my $dir = $self->{opt}{bodies};

    return if !$dir || $r->{body} eq '';
    return if ($self->{saved} += length $r->{body}) > MAX_SAVED;

    my $kind = $verdict->{accepted} ? 'accepted' : 'refused';
    my $lane = $r->{lane} || 'events';

    open my $file, '>', "$dir/$$-$n.$lane.$kind" or return;
    binmode $file;
    print $file $r->{body};
    CORE::close $file;
}

###############################################################################

1;
