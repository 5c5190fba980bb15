package Test::Nginx::Klaviyo::Delivery;

# Copyright (C) ngx_http_klaviyo_module contributors

# What the tests of delivery share: a shop whose pages /p?n=N make one event
# each, with N as visitor and property; many such requests; what came of them
# at the stand-in; and what the status page says about it.
#
#   my $t = shop(account => 'batch events=10 linger=50ms;');
#
#   view($t, 1, 100);
#   arrived($t->klaviyo(), 1, 100, 'each event once');
#   conserved($t, 'and all are counted');

###############################################################################

use warnings;
use strict;

use Cpanel::JSON::XS ();
use Exporter qw(import);
use IO::Handle ();
use IO::Select ();
use POSIX ();
use Test::More ();
use Time::HiRes qw(sleep);

use Test::Nginx::Klaviyo ();
use Test::Nginx::Klaviyo::HTTP ();

###############################################################################

our @EXPORT = qw(shop write_shop status account settled emptied dispatcher view
                 views load numbers missed arrived conserved bodies
                 dead_letters spent key);

my $json = Cpanel::JSON::XS->new->utf8;
my $lenient = Cpanel::JSON::XS->new;

###############################################################################

# A private key that looks like one, other ones by number.

sub key { return 'pk_' . sprintf '%034d', $_[0] || 0 }


# A harness with a stand-in and this configuration, running.  Options: those of
# write_shop(); standin => {}, harness => {}: theirs; start => 0: not yet.

sub shop {
    my (%opt) = @_;

    my $t = Test::Nginx::Klaviyo->new(%{$opt{harness} || {}});

    $t->standin(bodies => '', %{$opt{standin} || {}});
    write_shop($t, %opt);
    $t->run() if $opt{start} // 1;

    return $t;
}


# The configuration.  Options: account => directives of the account "shop",
# in place of the small pauses below if they are the same; endpoint; rule =>
# directives of the rule; accounts, main, http, server => more of that level;
# workers; drain => klaviyo_drain_timeout; klaviyo => 0 for a shop without any
# of ours.

sub write_shop {
    my ($t, %opt) = @_;
    my $account = $opt{account} // '';

    # fast, and far from any limit
    my %small = (
        batch => 'events=1000 linger=50ms',
        retry => 'min=20ms max=100ms',
        rate  => 'burst=1000/s steady=60000/m share=100%',
        timeout => '10s',
        endpoint => $opt{endpoint} // '%%KLAVIYO%%',
        queue => '16m',
    );

    for my $name (sort keys %small) {
        $account .= " $name $small{$name};" if $account !~ /(?:\A|;)\s*$name\s/;
    }

    my $ours = $opt{klaviyo} // 1;
    my $spool = $ours ? '' : '# ';
    my $text = <<"EOC";
%%GLOBALS%%
worker_processes @{[ $opt{workers} // 1 ]};
@{[ $opt{main} // '' ]}
events { }
http {
    %%GLOBALS_HTTP%%
    keepalive_requests 1000000;
    @{[ $opt{http} // '' ]}
EOC

    $text .= <<"EOC" if $ours;
    klaviyo_drain_timeout @{[ $opt{drain} // '1s' ]};
    klaviyo_ignore off;
    klaviyo_profile external_id \$arg_n;
    klaviyo_account shop { api_key data:@{[ key() ]}; $account }
    @{[ $opt{accounts} // '' ]}
EOC

    $text .= <<"EOC";
    server {
        listen 127.0.0.1:%%PORT_0%%;
        @{[ $opt{server} // '' ]}
        location / { return 200 ok; }
EOC

    $text .= <<"EOC" if $ours;
        location = /klaviyo { klaviyo_status; }
        klaviyo_track Viewed /p {
            property n \$arg_n;
            @{[ $opt{rule} // '' ]}
        }
EOC

    $text .= "    }\n}\n";
    $text =~ s/^\s*klaviyo_spool.*\n//m if !$ours;

    return $t->write_config($text);
}

###############################################################################

# The status page.

sub status {
    my ($t) = @_;
    my $body = $t->get('/klaviyo')->body();

    return eval { $json->decode($body) } || {};
}


sub account {
    my ($t, $name) = @_;

    return status($t)->{accounts}{$name || 'shop'} || {};
}


# Until nothing is queued, spooled or in flight.

sub settled {
    my ($t, $timeout) = @_;

    return $t->wait_for(sub {
        my $status = status($t);

        return $status->{total} && !$status->{total}{queued}
               && !$status->{total}{spooled}
               && !grep { $_->{in_flight} } values %{$status->{accounts}};
    }, $timeout);
}


# The same, and no segment is left either: those of another nginx that has ended
# are found within a second, and in no counter before.

sub emptied {
    my ($t, $timeout) = @_;

    return $t->wait_for(sub {
        return !(() = glob $t->dir() . '/spool/*.spool') && settled($t, 0.5);
    }, $timeout);
}


# The pid of the process that sends, when it does, and isn't "not".

sub dispatcher {
    my ($t, $not) = @_;

    return $t->wait_for(sub {
        my $dispatcher = status($t)->{dispatcher};
        my $pid = $dispatcher->{pid};

        return $pid && $pid != ($not || 0) && kill(0, $pid) ? $pid : 0;
    });
}


# CPU ticks and voluntary switches of a process.

sub spent {
    my ($pid) = @_;
    my @stat = split ' ',
        Test::Nginx::Klaviyo::slurp("/proc/$pid/stat") =~ s/.*\) //sr;
    my ($switches) = Test::Nginx::Klaviyo::slurp("/proc/$pid/status")
        =~ /^voluntary_ctxt_switches:\s*(\d+)/m;

    return ($stat[11] + $stat[12], $switches);
}

###############################################################################

# Requests for the pages from .. to on one connection, pipelined.  Returns how
# many were answered by 200.  Options: uri => code, of the number; port.

sub view {
    my ($t, $from, $to, %opt) = @_;
    my $uri = $opt{uri} || sub { "/p?n=$_[0]" };
    my $c = $t->connect(%opt) or return 0;
    my $good = 0;

    while ($from <= $to) {
        my $last = $from + 199 < $to ? $from + 199 : $to;

        $c->send(join '', map {
            Test::Nginx::Klaviyo::HTTP::text('GET', $uri->($_)) }
            $from .. $last);

        for ($from .. $last) {
            $good++ if $c->response()->status() == 200;
        }

        $from = $last + 1;
    }

    return $good;
}


# The same by several at once, in processes of their own, for [ FROM, TO ] ...

sub views {
    my ($t, @ranges) = @_;
    my @running;

    for my $range (@ranges) {
        my $pid = open(my $out, '-|') // die "fork: $!\n";

        if (!$pid) {
            print view($t, @$range), "\n";
            STDOUT->flush();
            POSIX::_exit(0);
        }

        push @running, $out;
    }

    my $good = 0;

    for my $out (@running) {
        local $?;

        $good += readline($out) // 0;
        close $out;
    }

    return $good;
}


# The same one by one in a process of its own, until the code that is returned
# is called: it tells how many were answered; those that weren't are asked for
# once more, under the next number.  Options: from.

sub load {
    my ($t, %opt) = @_;
    my $n = ($opt{from} || 1) - 1;

    pipe my $stop, my $stopping or die "pipe: $!\n";
    pipe my $result, my $write or die "pipe: $!\n";

    my $pid = fork() // die "fork: $!\n";

    if (!$pid) {
        close $stopping;
        close $result;

        my @answered = loading($t, $n, $stop);

        print $write "@answered\n";
        close $write;
        POSIX::_exit(0);
    }

    close $stop;
    close $write;

    return sub {
        local $?;

        close $stopping;
        my @answered = split ' ', readline($result) // '';
        waitpid $pid, 0;

        return @answered;
    };
}


sub loading {
    my ($t, $n, $stop) = @_;
    my $select = IO::Select->new($stop);
    my ($c, @answered);

    while (!$select->can_read(0)) {
        if (!$c) {
            $c = $t->connect() or sleep 0.01;
            next;
        }

        my $answer = $c->get('/p?n=' . ++$n);

        if ($answer->status() == 200) {
            push @answered, $n;
            next if ($answer->header('Connection') // '') ne 'close';
        }

        undef $c;
    }

    return @answered;
}

###############################################################################

# The numbers of the events that the stand-in accepted, in their order.

sub numbers {
    my ($k, $metric) = @_;

    return map { $_->{properties}{n} } $k->events($metric);
}


# What is wrong with the numbers that came, if each of "all" must have come
# once: '' or a text.  Those in "maybe" may have come, once too.

sub missed {
    my ($came, $all, $maybe) = @_;
    my (%count, @lost, @twice, @others);

    $count{$_}++ for @$came;

    for my $n (@$all) {
        push @lost, $n if !$count{$n};
        push @twice, $n if ($count{$n} || 0) > 1;
    }

    my %known = map { $_ => 1 } @$all, @{$maybe || []};

    @others = grep { !$known{$_} } sort keys %count;

    return join '; ', map { my ($what, @n) = @$_;
        @n ? "$what " . @n . ": @n[0 .. ($#n < 9 ? $#n : 9)]" : () }
        [ lost => @lost ], [ twice => @twice ], [ others => @others ];
}


# A test: all of from .. to have been accepted, each once.  Waits for them.

sub arrived {
    my ($k, $from, $to, $name, $timeout) = @_;

    my $came = sub { grep { $_ >= $from && $_ <= $to } numbers($k) };

    $k->wait_for($to - $from + 1, $timeout || 30, $came);

    Test::More::is(missed([ $came->() ], [ $from .. $to ]), '', $name);
}


# A test: what was seen is somewhere, by account, rule and in total.  Exact
# when idle, so it waits for that; busy => 1: doesn't.

sub conserved {
    my ($t, $name, %opt) = @_;

    settled($t) if !$opt{busy};

    my $status = status($t);
    my @wrong = !$status->{total} ? 'no status'
        : unbalanced('total', $status->{total});

    for my $account (sort keys %{$status->{accounts}}) {
        my $rules = $status->{accounts}{$account}{rules};
        my $events = $status->{accounts}{$account}{events};
        my ($seen, $sent) = (0, 0);

        push @wrong, unbalanced($account, $events);

        for my $rule (@$rules) {
            push @wrong, unbalanced("$account: $rule->{metric}",
                $rule->{events});
            $seen += $rule->{events}{seen};
            $sent += $rule->{events}{sent};
        }

        push @wrong, "$account: rules $seen, $sent"
            if $seen != $events->{seen} || $sent != $events->{sent};
    }

    Test::More::is(join('; ', @wrong), '', $name);
}


sub unbalanced {
    my ($where, $events) = @_;
    my $places = 0;

    $places += $_ // 0 for @$events{qw(sent damaged queued spooled dead)},
        values %{$events->{skipped}}, values %{$events->{dropped}};

    return $events->{seen} + $events->{restored} == $places
           && !grep({ !ref && $_ < 0 } values %$events)
        ? () : "$where: " . $lenient->canonical->encode($events);
}

###############################################################################

# The requests that were bodies of events.

sub bodies { return grep { $_->{entries} } $_[0]->requests() }


# The lines of the dead letters of an account, decoded; one that isn't JSON is
# undef.

sub dead_letters {
    my ($t, $name) = @_;

    return map { scalar eval { $json->decode($_) } }
           split /\n/, $t->read_file('spool/' . ($name || 'shop') . '.dead');
}

###############################################################################

1;
