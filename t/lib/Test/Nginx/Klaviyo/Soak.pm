package Test::Nginx::Klaviyo::Soak;

# Copyright (C) ngx_http_klaviyo_module contributors

# Faults at random, under load, for some time; then the account.
#
#   soak(20, 4711);
#
# The same seed makes the same faults in the same order, with the same pauses;
# what happens in between is up to the machine.

###############################################################################

use warnings;
use strict;

use Exporter qw(import);
use Test::More ();
use Time::HiRes qw(sleep time);

use Test::Nginx::Klaviyo::Lifecycle ();

###############################################################################

our @EXPORT = qw(soak);

# one in so many is refused by Klaviyo
use constant POISON => '\d*7000';

# how often, and what happens; those with a state toggle it
my @faults = (
    [ 6, reload   => sub { $_[0]->t()->reload() } ],
    [ 2, storm    => \&storm ],
    [ 4, resize   => \&resize ],
    [ 3, remove   => \&remove ],
    [ 8, worker   => sub { $_[0]->kill_worker() } ],
    [ 4, sender   => sub { $_[0]->kill_sender() } ],
    [ 6, away     => \&away ],
    [ 5, hang     => \&hang ],
    [ 5, lose     => sub { my $times = 1 + int rand 3;
                           $_[0]->lose($times)
                               if !$_[0]{is_away} && !$_[0]{hangs} } ],
    [ 5, refuse   => \&refuse ],
    [ 5, delay    => sub { my $seconds = (0, 0.05, 0.3)[rand 3];
                           $_[0]->k()->settings(delay => $seconds)
                               if !$_[0]{is_away} } ],
    [ 4, slow     => sub { $_[0]->slow(5, 0.5, 4) } ],
    [ 2, quit     => sub { ended(@_, 'QUIT') } ],
    [ 2, term     => sub { ended(@_, 'TERM') } ],
    [ 2, upgrade  => \&upgraded ],
    [ 1, rollback => \&rolled_back ],
);

my @dice = map { my $fault = $_; ($fault) x $fault->[0] } @faults;

###############################################################################

# One test for each part of the account; what happened is told as a comment.

sub soak {
    my ($seconds, $seed) = @_;

    Test::More::diag("seed $seed, $seconds seconds");

    my $l = Test::Nginx::Klaviyo::Lifecycle->new("seed $seed",
        standin => { poison_ids => POISON },
        shop => { drain => '1s', main => 'env ASAN_OPTIONS;',
                  account => 'queue 16m;' });

    # nginx's own words for a visitor who is left at the end, ours for 401
    $l->t()->expect_log(qr/open socket #\d+ left/, qr/\[alert\] \S+ aborting/,
        qr/Klaviyo refused the request with status 401/);

    # the ports are found by the same numbers, as many as it takes
    srand $seed;

    $l->load();

    my $begin = time();
    my @happened;

    while (time() - $begin < $seconds) {
        my $fault = $dice[rand @dice];

        push @happened, sprintf '%.1f %s', time() - $begin, $fault->[1];
        Test::More::note($happened[-1]);

        if (!eval { $fault->[2]->($l); 1 }) {
            Test::More::fail("seed $seed: $fault->[1]: $@");
            last;
        }

        sleep 0.05 + rand 1;
    }

    healed($l);

    my $good = $l->account(drops => 'newest', settle => 75);

    Test::More::diag(sprintf 'seed %s: %d requests answered, %d in doubt, '
        . '%d faults, %d events accepted, %d dead', $seed,
        scalar keys %{$l->{answered}}, scalar keys %{$l->{broken}},
        scalar @happened, scalar keys %{$l->{accepted}},
        scalar keys %{$l->{dead}});
    Test::More::diag("it happened: @happened") if !$good;

    return $good;
}


# All is as in the beginning.

sub healed {
    my ($l) = @_;

    $l->back() if delete $l->{is_away};
    $l->k()->settings(delay => 0);
    $l->heal();
    $l->with_both()->t()->reload();
    $l->more(500);
}

###############################################################################

sub storm {
    my ($l) = @_;

    $l->t()->reload(0), sleep rand 0.05 for 1 .. 8;
    $l->t()->reload();
}


sub resize {
    my ($l) = @_;
    my $queue = (qw(4m 8m 16m))[rand 3];

    $l->write(account => "queue $queue;")->t()->reload();
}


sub remove {
    my ($l) = @_;

    $l->{is_removed} = !$l->{is_removed};
    $l->{is_removed} ? $l->without() : $l->write();
    $l->t()->reload();
}


sub away {
    my ($l) = @_;

    $l->{is_away} = !$l->{is_away};
    $l->{is_away} ? $l->away() : $l->back();
}


sub hang {
    my ($l) = @_;

    return if $l->{is_away};

    $l->{hangs} = !$l->{hangs};
    $l->{hangs} ? $l->hang() : $l->heal();
}


sub refuse {
    my ($l) = @_;
    my $answer = (qw(429 500 503 401 413 403-html))[rand 6];

    return if $l->{is_away} || $l->{hangs};

    $l->k()->answer($answer, times => 1 + int rand 3);
}


sub ended {
    my ($l, $signal) = @_;
    my $took = $l->end($signal, 20);

    # a slow answer, for which there was no time
    $l->{answers}++;

    die "nginx doesn't end by $signal\n" . $l->t()->log() if !defined $took;

    $l->finish_slow()->start();
}


sub children {
    my ($t, $master) = @_;

    return grep { $_->{ppid} == $master } $t->processes('worker|helper');
}


sub upgraded {
    my ($l) = @_;
    my $t = $l->t();
    my $old = $l->upgrade();

    sleep rand 1;
    kill 'WINCH', $old;
    $t->wait_for(sub { !children($t, $old) }) or die "WINCH does nothing\n";
    kill 'QUIT', $old;
    $t->wait_for(sub { !kill 0, $old }) or die "the old one stays\n";
}


sub rolled_back {
    my ($l) = @_;
    my $t = $l->t();
    my $old = $l->upgrade();
    my $new = $t->master_pid();

    kill 'WINCH', $old;
    $t->wait_for(sub { !children($t, $old) }) or die "WINCH does nothing\n";
    sleep rand 1;
    kill 'HUP', $old;
    $t->wait_for(sub { children($t, $old) > 2 }) or die "HUP does nothing\n";
    kill 'QUIT', $new;
    $t->wait_for(sub { !kill 0, $new }) or die "the new one stays\n";
    $t->wait_for(sub { $t->master_pid() == $old }) or die "no pid file\n";
}

###############################################################################

1;
