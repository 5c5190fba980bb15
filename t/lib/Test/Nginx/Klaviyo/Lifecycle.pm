package Test::Nginx::Klaviyo::Lifecycle;

# Copyright (C) ngx_http_klaviyo_module contributors

# A shop under load, faults, and the account of what became of each request.
#
#   my $l = Test::Nginx::Klaviyo::Lifecycle->new('a reload', %options);
#
#   $l->load();
#   $l->t()->reload();
#   $l->unload();
#   $l->account();
#
# The account knows of each number
#
#   - what the visitor got: the whole answer, or not (t/bin/load);
#   - what became of the event: $klaviyo_result in an access_log, which nginx
#     writes right after our handler, without a buffer;
#   - how often the stand-in has accepted it, by its unique_id;
#   - whether it is a dead letter.
#
# and allows nothing but this:
#
#   - each that was queued was accepted, once, or is a dead letter;
#   - one that was dropped, or that nobody asked for, came never;
#   - one that was answered has a line in the log.  Where a worker was killed,
#     one per worker may be without: it was killed between the answer and the
#     log phase, so it was the last one of a connection that broke.  That one,
#     and those that were not answered, may come or not, but once;
#   - twice came only what was out when the process that sends was killed, or
#     when an answer was lost, four requests each time; and one event for each
#     kill while the spool was read;
#   - the counters add up, and say the same.

###############################################################################

use warnings;
use strict;

use Cpanel::JSON::XS ();
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use List::Util qw(min sum0);
use POSIX ();
use Test::More ();
use Time::HiRes qw(sleep time);

use Test::Nginx::Klaviyo ();
use Test::Nginx::Klaviyo::Delivery
    qw(write_shop status emptied dead_letters key);
use Test::Nginx::Klaviyo::HTTP ();

###############################################################################

use constant {
    FLIGHTS => 4,       # requests that are out at a time
    NEAR    => 2,       # seconds
    SHOWN   => 8,
};

my $json = Cpanel::JSON::XS->new->utf8;
my $bin = abs_path(dirname(__FILE__) . '/../../../../bin');

my $server = <<'EOC';
        access_log  %%TESTDIR%%/access.log  lifecycle;

        location /p/slow {
            alias       %%TESTDIR%%/page;
            limit_rate  $arg_rate;
        }

        location /p { return 200 $arg_n; }
        location = /klaviyo { klaviyo_status; access_log off; }
EOC

###############################################################################

# Options: rate (of the load), connections, shop => those of write_shop(),
# harness, standin: theirs.

sub new {
    my ($class, $name, %opt) = @_;

    my $t = Test::Nginx::Klaviyo->new(daemon => 1, %{$opt{harness} || {}});

    $t->standin(bodies => '', validate => 0, %{$opt{standin} || {}});
    $t->write_file('page', 'x' x 20_000);

    my $self = bless {
        t => $t, name => $name, opt => \%opt, next => 1, loads => 0,
        answered => {}, broken => {}, last => {}, strange => [],
        workers => 0, senders => 0, away => 0, answers => 0, runs => 1,
    }, $class;

    $self->write();
    $t->run();

    return $self;
}


sub t { return $_[0]{t} }
sub k { return $_[0]{t}->klaviyo() }


# The configuration, another one than before with these options.

sub write {
    my ($self, %more) = @_;
    my %opt = (workers => 2, %{$self->{opt}{shop} || {}}, %more);
    my $ours = $opt{klaviyo} // 1;

    $opt{http} = 'log_format  lifecycle  "$arg_n $klaviyo_result";'
        . ' client_body_timeout 60s; ' . ($opt{http} // '');
    $opt{rule} = 'unique_id  $arg_n; ' . ($opt{rule} // '');
    $opt{server} = $server . ($opt{server} // '');
    $opt{server} =~ s/^.*klaviyo_status.*\n//m;
    $opt{account} .= ' queue 8m;' if ($opt{account} //= '') !~ /\bqueue /;

    write_shop($self->{t}, %opt);

    my $text = $self->{t}->read_file('nginx.conf');

    $text =~ s/(location = \/klaviyo \{ klaviyo_status;)/$1 access_log off;/;
    $text = $opt{change}->($text) if $opt{change};
    $self->{t}->write_file('nginx.conf', $text);

    return $self;
}


# The same without the account "shop": its rules have another one.  And with
# both, since what the other one has spooled waits for it.

sub without {
    my ($self, %more) = @_;

    return $self->write(%more,
        change => sub { $_[0] =~ s/klaviyo_account shop/$&2/r });
}


sub with_both {
    my ($self, %more) = @_;

    return $self->write(%more, accounts => 'klaviyo_account shop2 {'
        . ' api_key data:' . key(2) . '; endpoint %%KLAVIYO%%;'
        . ' retry min=20ms max=100ms;'
        . ' rate burst=1000/s steady=60000/m share=100%; }');
}

###############################################################################

# Requests all the time, until unload().

sub load {
    my ($self) = @_;
    my $opt = $self->{opt};
    my $out = $self->{t}->dir() . '/load' . ++$self->{loads};
    my $port = $self->{t}->port(0);
    my $pid = fork() // die "fork: $!\n";

    if (!$pid) {
        exec $^X, "$bin/load",
            '--port', $port, '--out', $out, '--from', $self->{next},
            '--rate', $opt->{rate} // 5000,
            '--connections', $opt->{connections} // 16
            or POSIX::_exit(127);
    }

    $self->{load} = { pid => $pid, out => $out };

    return $self;
}


sub unload {
    my ($self) = @_;
    my $load = delete $self->{load} or return $self;

    local $?;

    kill 'TERM', $load->{pid};
    waitpid $load->{pid}, 0;

    open my $in, '<', $load->{out} or die "open $load->{out}: $!\n";

    while (<$in>) {
        my ($what, $n) = /^(\w) (.*)$/ or next;

        if ($what eq 'e') {
            push @{$self->{strange}}, $n;
            next;
        }

        $self->{{ a => 'answered', b => 'broken', l => 'last' }->{$what}}{$n}
            = 1;
        $self->{next} = $n + 1 if $n >= $self->{next};
    }

    return $self;
}


# So many requests came to an end since, in the log.

sub more {
    my ($self, $n, $timeout) = @_;
    my $log = $self->{t}->dir() . '/access.log';
    my $from = -s $log || 0;

    # "NUMBER queued\n"
    return $self->{t}->wait_for(sub { (-s $log || 0) > $from + 10 * $n },
        $timeout || 20);
}


# Slow downloads, ones that end by themselves from "from" to "to" seconds
# later; finish_slow() reads them.

sub slow {
    my ($self, $count, $from, $to) = @_;

    for my $i (1 .. $count) {
        my $n = 900_000_000 + ++$self->{slow_count};
        my $rate = int 20_000 / ($from + ($to - $from) * $i / $count);
        my $c = $self->{t}->connect(timeout => 60) or die "no connection\n";

        $c->send(Test::Nginx::Klaviyo::HTTP::text('GET',
            "/p/slow?n=$n&rate=$rate"));
        push @{$self->{slow}}, [ $n, $c ];
    }

    # a worker has all of them when their first bytes are here
    for my $slow (@{$self->{slow}}) {
        $slow->[1]->more() if $slow->[1]{in} eq '';
    }

    return $self;
}


sub finish_slow {
    my ($self) = @_;

    for my $slow (splice @{$self->{slow} || []}) {
        my ($n, $c) = @$slow;
        my $answer = $c->response();

        $self->{$answer->status() == 200
                && length $answer->body() == 20_000 ? 'answered' : 'broken'}
            {$n} = 1;
    }

    return $self;
}

###############################################################################

# Faults that the account has to know of.

sub kill_worker {
    my ($self) = @_;
    my @workers = $self->{t}->processes('worker') or return;

    $self->{workers}++;
    $self->{t}->expect_kill();

    return kill 'KILL', $workers[rand @workers]{pid};
}


# The one that is started last, which the status page needn't know yet.

sub kill_sender {
    my ($self) = @_;
    my @helpers = $self->{t}->processes('helper') or return;

    $self->{senders}++;
    push @{$self->{killed}}, time();
    $self->{t}->expect_kill();

    return kill 'KILL', $helpers[-1]{pid};
}


sub away {
    my ($self) = @_;

    $self->{away}++;
    $self->k()->stop();

    return $self;
}


sub back {
    my ($self) = @_;

    $self->k()->start();

    return $self;
}


# Klaviyo takes requests, never answers one.  heal() gives them up.

sub hang {
    my ($self) = @_;

    $self->k()->answer('hang', times => 0);

    return $self;
}


sub heal {
    my ($self) = @_;

    # an answer that is delayed is lost, too
    $self->{answers}++;
    $self->k()->script();
    $self->k()->disconnect();

    return $self;
}


# So many answers don't arrive, though Klaviyo has the events.

sub lose {
    my ($self, $times) = @_;

    $self->{answers} += $times;
    $self->k()->answer('lose', times => $times);

    return $self;
}


# nginx ends by a signal; the seconds that it took, undef if it didn't.

sub end {
    my ($self, $signal, $timeout) = @_;
    my $begin = time();

    $self->{t}->end($signal, $timeout || 20) or return;

    return time() - $begin;
}


sub start {
    my ($self) = @_;

    $self->{runs}++;
    $self->{t}->run();

    return $self;
}


# The counters began anew.

sub anew { $_[0]{runs}++ }


# A binary upgrade: the new master's processes beside the old one's.

sub upgrade {
    my ($self) = @_;
    my $t = $self->{t};
    my $old = $t->master_pid();

    kill 'USR2', $old;

    $t->wait_for(sub {
        my $new = $t->master_pid();

        return $new && $new != $old
               && grep { $_->{ppid} == $new } $t->processes('worker');
    }, 20) or die "no new master\n" . $t->log();

    $self->{runs}++;

    return $old;
}

###############################################################################

# The account.  Options: drops => 'newest' or 'oldest': requests, or also what
# was queued, may be dropped as full, counted; settle => seconds.  One test for
# each part; returns whether all is well.

sub account {
    my ($self, %opt) = @_;
    my $name = $self->{name};

    $self->unload();
    $self->finish_slow();

    # the log phase comes after the answer
    $self->{t}->wait_for(sub {
        my $results = $self->results();

        return !grep { !exists $results->{$_} } keys %{$self->{answered}};
    }, $self->{workers} ? 1 : 5);

    my $settled = emptied($self->{t}, $opt{settle} || 30);

    return $self->judge('settles', $settled ? ()
            : ('not settled: ' . $json->encode(status($self->{t})->{total})))
        & $self->judge('visitors', $self->visitors())
        & $self->judge('events', $self->lost(%opt), $self->uncalled())
        & $self->judge('copies', $self->copies())
        & $self->judge('counters', $self->counters(%opt));
}


sub judge {
    my ($self, $what, @wrong) = @_;

    return Test::More::is(join('; ', @wrong), '', "$self->{name}: $what")
        ? 1 : 0;
}


sub numbers_of {
    my ($what, @n) = @_;

    return if !@n;

    @n = sort { $a <=> $b } @n;

    return "$what " . @n . ": @n[0 .. min($#n, SHOWN)]";
}


# What nginx said of each: { NUMBER => RESULT }.

sub results {
    my ($self) = @_;
    my %results;

    for (split /\n/, $self->{t}->read_file('access.log')) {
        my ($n, $result) = /^(\d+) (\S+)$/ or next;

        $results{$n} = $result;
    }

    return \%results;
}


# How often each was accepted.

sub accepted {
    my ($self) = @_;
    my %count;

    for my $request ($self->k()->requests()) {
        next if $request->{status} != 202;
        $count{$_}++ for @{$request->{unique_ids}};
    }

    return \%count;
}


sub dead {
    my ($self) = @_;

    return { map { my $event = $_->{event};
                   ($event->{attributes}{events}{data}[0]{attributes}
                          {unique_id} // 'none') => 1 }
             map { dead_letters($self->{t}, $_) } qw(shop shop2) };
}


# Each answered one has its line; but for the hole.

sub visitors {
    my ($self) = @_;
    my $results = $self->{results} = $self->results();
    my @hole = grep { !exists $results->{$_} } keys %{$self->{answered}};
    my @others = grep { !$self->{last}{$_} } @hole;

    $self->{hole} = { map { $_ => 1 } @hole };

    return map({ "strange: $_" } @{$self->{strange}}),
        !%{$self->{answered}} ? 'none was answered' : (),
        @hole > $self->{workers}
            ? numbers_of('answered, not logged', @hole) : (),
        numbers_of('answered, not logged, not the last', @others);
}


sub lost {
    my ($self, %opt) = @_;
    my $results = $self->{results};
    my $accepted = $self->{accepted} = $self->accepted();
    my $dead = $self->{dead} = $self->dead();

    my @lost = grep { $results->{$_} eq 'queued' && !$accepted->{$_}
                      && !$dead->{$_} } keys %$results;

    $self->{lost} = @lost;

    my $drops = $opt{drops} // '';
    my @dropped = grep { $results->{$_} =~ /dropped/ } keys %$results;

    # the counters have to know the oldest ones
    return $drops eq 'oldest' ? () : numbers_of('lost', @lost),
        $drops ? () : numbers_of('dropped', @dropped);
}


# What came though it was not queued.

sub uncalled {
    my ($self) = @_;
    my ($results, $dead) = @$self{qw(results dead)};
    my @uncalled;

    for my $n (keys %{$self->{accepted}}, keys %$dead) {
        my $result = $results->{$n};

        next if defined $result ? $result eq 'queued'
                                : $self->{hole}{$n} || $self->{broken}{$n};

        push @uncalled, $n;
    }

    return numbers_of('not queued, but came', @uncalled),
        numbers_of('dead, but came',
            grep { $self->{accepted}{$_} } keys %$dead);
}


# What was accepted twice, and which request was not believed: one whose answer
# was not given to the kernel, or shortly before or after a process that sends
# was killed.

sub copies {
    my ($self) = @_;
    my (%last, %doubted, %believed, @copies);

    for my $request (grep { $_->{status} == 202 } $self->k()->requests()) {
        for my $n (@{$request->{unique_ids}}) {
            my $before = $last{$n};

            $last{$n} = $request;
            next if !$before;

            if ($self->doubted($before)) {
                $doubted{$before} = 1;

            } else {
                push @copies, $n;
                $believed{join ' ', @$before{qw(n received answered)},
                    'again', @$request{qw(n received)}} = 1;
            }
        }
    }

    my $faults = $self->{away} + $self->{answers} + $self->{senders};

    # one that is killed while it reads the spool reads a line again
    my $again = $self->{senders};

    return (@copies > $again
            ? (numbers_of('twice', @copies), 'requests, when received and'
               . ' answered: ' . join ', ', sort keys %believed) : (),
        keys %doubted > $faults * FLIGHTS
            ? 'requests that were not believed: ' . keys %doubted : ());
}


sub doubted {
    my ($self, $request) = @_;
    my $at = $request->{answered} or return 1;

    return grep { abs($at - $_) < NEAR } @{$self->{killed} || []};
}


# They add up, and say what we know.  After a second start they are those of
# that run.

sub counters {
    my ($self, %opt) = @_;
    my $total = status($self->{t})->{total} or return 'no status';
    my ($seen, $dropped) = ($total->{seen}, $total->{dropped}{full});
    my $places = sum0(map { $_ // 0 } @$total{qw(sent damaged queued spooled
        dead)}, values %{$total->{skipped}}, values %{$total->{dropped}});
    my @wrong;

    push @wrong, 'they don\'t add up: ' . $json->encode($total)
        if $seen + $total->{restored} != $places;
    push @wrong, "damaged: $total->{damaged}" if $total->{damaged};

    return @wrong if $self->{runs} > 1;

    my $results = $self->{results};
    my $logged = grep { $results->{$_} ne '-' } keys %$results;
    my $refused = grep { $results->{$_} =~ /dropped/ } keys %$results;
    my $came = keys %{$self->{accepted}};
    my $dead = keys %{$self->{dead}};

    # a worker that was killed between the queue and the log
    push @wrong, "seen $seen, logged $logged"
        if $seen < $logged || $seen > $logged + $self->{workers};
    push @wrong, "sent $total->{sent}, came $came" if $total->{sent} != $came;
    push @wrong, "dead $total->{dead}, letters $dead"
        if $total->{dead} != $dead;
    push @wrong, "dropped $dropped, by requests $refused, lost $self->{lost}"
        if $dropped != $refused + $self->{lost};

    return @wrong;
}

###############################################################################

# Whoever dies leaves no load behind.

sub DESTROY {
    my ($self) = @_;
    my $load = $self->{load} or return;

    local $?;

    kill 'KILL', $load->{pid};
    waitpid $load->{pid}, 0;
}

###############################################################################

1;
