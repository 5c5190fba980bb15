package Klaviyo::StandIn;

# Copyright (C) ngx_http_klaviyo_module contributors

# A test's handle of the stand-in for Klaviyo: starts and stops it, tells it
# what to answer, and reads what it received.
#
#   my $k = Klaviyo::StandIn->new(dir => $dir, port => $port)->start();
#
#   $k->answer('503', times => 3, retry_after => 1);
#   $k->poison('Price', '13', 'none');
#   my @events = $k->wait_events(10);
#   my @profiles = $k->wait_profiles(1);
#
# Answers, for the next "times" requests, 0 for ever:
#
#   ok            what Klaviyo would say: 202, or the errors of the body
#   lose          the same, but the connection closes without an answer
#   400           pointer => deep | entry | none | wrong | beyond, entry => N,
#                 detail => TEXT
#   repeated      400 for the unique_id of entry => N
#   403-html, 400-html    as Cloudflare says it
#   401 403 404 405 408 409 410 413 415 429 500 502 503 504 301 ...
#                 retry_after => TEXT, body => TEXT, headers => {},
#                 location => URL, close => 1
#   garbage chatty-body chatty-headers     not HTTP; without an end
#   hang drop reset close          never answers; closes after the request;
#                                  resets; closes before the request
#
# and for all: delay => SECONDS, trickle => BYTES (written each 20 ms).

###############################################################################

use warnings;
use strict;

use Cpanel::JSON::XS ();
use File::Basename qw(dirname);
use File::Spec ();
use IO::Socket::INET ();
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

###############################################################################

my $json = Cpanel::JSON::XS->new->utf8;
my $lib = File::Spec->rel2abs(dirname(dirname(__FILE__)));

# Options: dir, for its files; port, control: else any that is free; tls => 1;
# unix => PATH instead of a port; bodies => DIR ('' for none), else
# KLAVIYO_RECORD says it; any of the settings, see settings().

sub new {
    my ($class, %opt) = @_;

    my $self = bless {
        dir => delete $opt{dir}, port => delete $opt{port} || 0,
        control => delete $opt{control} || 0, tls => delete $opt{tls},
        unix => delete $opt{unix},
        bodies => delete $opt{bodies} // $ENV{KLAVIYO_RECORD} // '',
        settings => \%opt, requests => [], events => [], profiles => [],
        subscriptions => [], offset => 0,
    }, $class;

    $self->{record} = "$self->{dir}/klaviyo.json";

    return $self;
}


sub start {
    my ($self) = @_;

    die "the stand-in runs already\n" if $self->{pid};

    my @command = ($^X, "$lib/../bin/klaviyo-standin",
        '--listen', $self->{unix} ? "unix:$self->{unix}"
                                  : "127.0.0.1:$self->{port}",
        '--control', $self->{control}, '--record', $self->{record},
        '--bodies', $self->{bodies},
        '--settings', $json->encode($self->{settings}));

    push @command, '--tls', $self->certificate() if $self->{tls};

    pipe my $read, my $write or die "pipe: $!\n";

    my $pid = fork() // die "fork: $!\n";

    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>&', $write;
        open STDERR, '>>', "$self->{dir}/klaviyo.log";
        exec { $command[0] } @command or POSIX::_exit(127);
    }

    close $write;
    $self->{pid} = $pid;

    my $line = <$read> // '';

    if ($line !~ /\Aready ((?:\d+ )*)(\d+)$/) {
        $self->stop();
        die "the stand-in doesn't start, see $self->{dir}/klaviyo.log\n";
    }

    $self->{control} = $2;
    ($self->{port}) = split ' ', $1 if $1;

    return $self;
}


sub stop {
    my ($self, $signal) = @_;
    my $pid = delete $self->{pid} or return;

    local $?;

    kill 'CONT', $pid;
    kill $signal || 'TERM', $pid;
    waitpid $pid, 0;

    return $self;
}


# a frozen one: connections are taken by the kernel, nothing is answered
sub freeze { kill 'STOP', $_[0]{pid} }
sub thaw { kill 'CONT', $_[0]{pid} }


sub pid { return $_[0]{pid} }
sub port { return $_[0]{port} }


# What goes into the directive endpoint.

sub url {
    my ($self) = @_;

    return "http://unix:$self->{unix}" if $self->{unix};
    return "https://localhost:$self->{port}" if $self->{tls};
    return "http://127.0.0.1:$self->{port}";
}


# the file of the authority that signed the stand-in's certificate
sub ca { return "$_[0]{dir}/klaviyo.crt" }


sub certificate {
    my ($self) = @_;
    my @files = map { "$self->{dir}/klaviyo.$_" } qw(crt key);

    if (!-f $files[0]) {
        require IO::Socket::SSL::Utils;

        my ($cert, $key) = IO::Socket::SSL::Utils::CERT_create(
            CA => 1, subject => { commonName => 'localhost' },
            subjectAltNames => [ [ DNS => 'localhost' ],
                                 [ IP => '127.0.0.1' ] ],
            purpose => 'server,client');

        IO::Socket::SSL::Utils::PEM_cert2file($cert, $files[0]);
        IO::Socket::SSL::Utils::PEM_key2file($key, $files[1]);
        chmod 0644, $files[0];
    }

    return @files;
}

###############################################################################

# What it answers to the next requests; clears what was said before.

sub answer {
    my ($self, @step) = @_;

    return $self->script({ answer => @step });
}


# Several steps, one after the other; then "ok" again.

sub script {
    my ($self, @steps) = @_;

    return $self->order(script => \@steps);
}


# Refuses each body with an event whose property "key" is "value".  Without
# arguments: none.

sub poison {
    my ($self, $key, $value, $pointer) = @_;

    return $self->settings(poison => defined $key
        ? [ { key => $key, value => $value, pointer => $pointer } ] : []);
}


# Answers each body that holds one of the texts so, e.g. broken('"n":"7"', '500');
# without arguments: none.

sub broken {
    my ($self, $text, @step) = @_;

    return $self->settings(broken => defined $text
        ? [ { text => $text, answer => @step } ] : []);
}


# key, validate, identifiers (one, any), repeated (accept, refuse), errors,
# burst, steady, others, ratelimit (plain, windows, off), delay, poison,
# poison_ids, broken.

sub settings {
    my ($self, %settings) = @_;

    %{$self->{settings}} = (%{$self->{settings}}, %settings);

    return $self->order(settings => \%settings);
}


# closes all connections to it
sub disconnect { return $_[0]->order(disconnect => 1) }


# requests, accepted, refused, throttled, events, duplicates, connections;
# script: steps that are left; open: connections
sub stats { return $_[0]->order() }


sub order {
    my ($self, %order) = @_;
    my $body = $json->encode(\%order);

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $self->{control}, Proto => 'tcp', Timeout => 5)
        or die "the stand-in's control port: $!\n";

    print $socket "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body";

    local $/;
    my ($answer) = (<$socket> // '') =~ /\r\n\r\n(.*)\z/s
        or die "the stand-in doesn't answer\n";

    $answer = $json->decode($answer);
    die "the stand-in: $answer->{error}\n" if $answer->{error};

    return $answer;
}

###############################################################################

# Reads what came since the last look.

sub refresh {
    my ($self) = @_;

    open my $file, '<', $self->{record} or return;
    seek $file, $self->{offset}, 0;

    while (my $line = <$file>) {
        last if $line !~ /\n\z/;

        $self->{offset} += length $line;
        $line = $json->decode($line);

        if ($line->{type} eq 'request') {
            push @{$self->{requests}}, $line;
            $self->{by_n}{$line->{n}} = $line;

        } elsif ($line->{type} eq 'answered') {
            $self->{by_n}{$line->{n}}{answered} = $line->{at};

        } elsif ($line->{type} eq 'events') {
            push @{$self->{events}}, flat($line);

        } else {
            push @{$self->{$line->{type}}}, flat_profile($line);
        }
    }
}


# an accepted event as a test wants to see it
sub flat {
    my ($line) = @_;

    my $attributes = $line->{entry}{attributes};
    my $profile = $attributes->{profile}{data};
    my $event = $attributes->{events}{data}[0]{attributes};
    my %who = %{$profile->{attributes}};

    $who{id} = $profile->{id} if defined $profile->{id};

    return {
        metric     => $event->{metric}{data}{attributes}{name},
        service    => $event->{metric}{data}{attributes}{service},
        profile    => \%who,
        who        => join(' ', map { "$_:$who{$_}" } grep { defined $who{$_} }
                          qw(id email phone_number external_id anonymous_id
                             _kx)),
        properties => $event->{properties},
        unique_id  => $event->{unique_id},
        time       => $event->{time},
        value      => $event->{value},
        currency   => $event->{value_currency},
        backfill   => $event->{backfill} // $attributes->{backfill},
        request    => $line->{request},
        entry      => $line->{entry},
    };
}


# A profile: attributes, id, request; of a subscription also job, what was said
# around it.

sub flat_profile {
    my ($line) = @_;
    my $entry = $line->{entry};

    return { id => $entry->{id}, attributes => $entry->{attributes},
             request => $line->{request}, job => $line->{job} };
}


# The events that were accepted, those of a metric if it is named.

sub events {
    my ($self, $metric) = @_;

    $self->refresh();

    return grep { !defined $metric || $_->{metric} eq $metric }
           @{$self->{events}};
}


# The updates, and those who subscribed, that were accepted.

sub profiles {
    my ($self) = @_;

    $self->refresh();

    return @{$self->{profiles}};
}


sub subscriptions {
    my ($self) = @_;

    $self->refresh();

    return @{$self->{subscriptions}};
}


# All requests: n, received, path, status, answer, errors, headers, entries,
# unique_ids, bytes, digest (of the body), conn (which connection), answered
# (when the whole answer was given to the kernel).

sub requests {
    my ($self) = @_;

    $self->refresh();

    return @{$self->{requests}};
}


# Waits until there are at least "n" of them, of a metric if it is named, and
# returns what there is then.

sub wait_events {
    my ($self, $n, $metric, $timeout) = @_;

    return $self->wait_for($n, $timeout, sub { $self->events($metric) });
}


sub wait_profiles {
    my ($self, $n, $timeout) = @_;

    return $self->wait_for($n, $timeout, sub { $self->profiles() });
}


sub wait_subscriptions {
    my ($self, $n, $timeout) = @_;

    return $self->wait_for($n, $timeout, sub { $self->subscriptions() });
}


sub wait_requests {
    my ($self, $n, $timeout) = @_;

    return $self->wait_for($n, $timeout, sub { $self->requests() });
}


sub wait_for {
    my ($self, $n, $timeout, $look) = @_;
    my $end = time() + ($timeout || 15);

    while (1) {
        my @found = $look->();

        return @found if @found >= $n || time() > $end;
        sleep 0.02;
    }
}


# Forgets what was received so far.

sub forget {
    my ($self) = @_;

    $self->refresh();
    $self->{$_} = [] for qw(requests events profiles subscriptions);

    return $self;
}


# Events that were accepted more than once, by profile, metric and unique_id:
# the second and further ones.

sub duplicates {
    my ($self) = @_;
    my %seen;

    return grep { $seen{"$_->{who}\n$_->{metric}\n" . ($_->{service} // '')
                        . "\n$_->{unique_id}"}++ } $self->events();
}


sub DESTROY { $_[0]->stop() }

###############################################################################

1;
