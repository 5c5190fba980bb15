#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# A binary upgrade that is taken back, while requests come: USR2, WINCH for the
# old master, then HUP for it and QUIT for the new one, in either order.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

rollback('HUP first', 1);
rollback('QUIT first', 0);
rollback('Klaviyo away', 1, 1);

Test::Nginx::Klaviyo->done();

###############################################################################

sub rollback {
    my ($name, $hup_first, $away) = @_;
    my $t = shop(account => 'batch events=20 linger=20ms;', drain => '1s',
        harness => { daemon => 1 }, main => 'env ASAN_OPTIONS;');
    my $k = $t->klaviyo();
    my $old = $t->master_pid();
    my $stop = load($t);

    $k->stop() if $away;
    some($t);
    kill 'USR2', $old;

    my $new;

    ok($t->wait_for(sub { $new = $t->master_pid();
        return $new && $new != $old && 2 == $t->processes('master')
               && 2 == $t->processes('helper') }), "$name: two masters");
    some($t);

    kill 'WINCH', $old;
    ok($t->wait_for(sub { !grep { $_->{ppid} == $old && $_->{role} ne 'master' } $t->processes() }, 20),
        "$name: the old one has a master only");
    some($t);

    my $hup = sub { kill 'HUP', $old };
    my $quit = sub {
        kill 'QUIT', $new;
        ok($t->wait_for(sub { !kill 0, $new }, 20),
            "$name: the new one ends");
    };

    $_->() for $hup_first ? ($hup, $quit) : ($quit, $hup);

    ok($t->wait_for(sub {
        my @its = grep { $_->{ppid} == $old } $t->processes();
        return grep({ $_->{role} eq 'worker' } @its)
               && grep { $_->{role} eq 'helper' } @its }),
        "$name: the old one works again");
    some($t);

    my @answered = $stop->();

    $k->start() if $away;
    ok(emptied($t, 40), "$name: all is sent");
    cmp_ok(scalar @answered, '>', 50, "$name: under load");
    is(missed([ numbers($k) ], \@answered, [ 1 .. $answered[-1] + 500 ]), '',
        "$name: each arrives once");
    conserved($t, "$name: counted");
    is(scalar(() = glob $t->dir() . '/spool/*.spool'), 0,
        "$name: no segment is left");
    is(scalar(() = glob $t->dir() . '/spool/*.lock'), 1,
        "$name: one lock is left");
    is($t->master_pid(), $old, "$name: the old one has its pid file");
}


# until some more requests were made
sub some {
    my ($t) = @_;

    my $seen = sub { status($t)->{total}{seen} // 0 };
    my $begin = $seen->();

    ok($t->wait_for(sub { my $now = $seen->();
        $begin = 0 if $now < $begin;
        return $now > $begin + 20 }, 20), 'requests are made');
}

###############################################################################
