#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# A full ring: what doesn't fit is dropped and counted, what was queued is not
# touched by it, nobody waits, and the log doesn't grow.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use List::Util qw(max);
use Time::HiRes qw(time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

# what became of each event, by access_log
my @access = (http => <<'EOC', server => <<'EOS');
    log_format  klaviyo  "$arg_n $klaviyo_result";
    large_client_header_buffers  4 64k;
EOC
    access_log  %%TESTDIR%%/access.log  klaviyo;
EOS

full();
around();
too_large();
quiet();

Test::Nginx::Klaviyo->done();

###############################################################################

sub results {
    my ($t) = @_;
    my %results;

    for (split /\n/, $t->read_file('access.log')) {
        my ($n, $result) = /^(\d+) (\S+)$/ or next;

        push @{$results{$result}}, $n;
    }

    return %results;
}

###############################################################################

# Klaviyo has stopped to answer, two workers put in what they can.

sub full {
    my $t = shop(@access, workers => 2, start => 0,
        account => 'queue 256k; batch events=100 linger=20ms; timeout 20s;');
    my $k = $t->klaviyo();

    # no spool, which would make room
    $t->write_file('spool', 'a file')->run();

    view($t, 1, 10);
    arrived($k, 1, 10, 'an empty ring');
    settled($t);

    $t->mark();
    $k->freeze();

    my $begin = time();

    is(views($t, [ 11, 1000 ], [ 1001, 2000 ]), 1990,
        'full: the visitors have their pages');
    cmp_ok(time() - $begin, '<', 10, 'and did not wait');

    my %results;

    # an access_log's line comes after the answer
    $t->wait_for(sub {
        %results = results($t);
        return @{$results{queued} || []} + @{$results{'dropped:full'} || []}
               == 2000;
    });

    is(join(' ', sort keys %results), 'dropped:full queued',
        'each was queued, or dropped');

    my $account = account($t);
    my $dropped = @{$results{'dropped:full'}};

    is($account->{events}{dropped}{full}, $dropped, 'the dropped are counted');
    is($account->{events}{queued} + 10, 2000 - $dropped, 'and the queued');
    is($account->{events}{queued}, $account->{queue}{events},
        'which the ring has');
    cmp_ok($account->{queue}{used}, '>', 0.99 * $account->{queue}{size} - 2000,
        'it is full indeed');
    cmp_ok($account->{queue}{used}, '<=', $account->{queue}{size},
        'not fuller');
    conserved($t, 'full: counted', busy => 1);

    # one that tells of each would fill the disk
    my @lines = grep { /klaviyo/ } split /\n/, $t->log();

    cmp_ok(scalar @lines, '<', 5, 'the log is silent');

    $k->thaw();
    $k->wait_events(2000 - $dropped);
    settled($t);
    is(missed([ numbers($k) ], $results{queued}), '',
        'what was queued arrives, each once');

    view($t, 2001, 2100);
    arrived($k, 2001, 2100, 'and there is room again');
    conserved($t, 'full: all counted');
    is(account($t)->{queue}{used}, 0, 'the ring is empty');
}

###############################################################################

# Many times around a small ring, with events of all sizes.

sub around {
    my $t = shop(@access, rule => 'property  Text  $arg_text;',
        account => 'queue 256k; batch linger=5ms;');
    my $k = $t->klaviyo();
    my $n = 0;

    for my $round (1 .. 16) {
        view($t, $n + 1, $n += 150, uri => sub {
            "/p?n=$_[0]&text=" . 'x' x ($_[0] * $_[0] * 13 % 1200) });
        settled($t);
    }

    arrived($k, 1, $n, 'around the ring: all arrive');
    is(account($t)->{events}{dropped}{full}, 0, 'none was dropped');
    conserved($t, 'around the ring: counted');
}

###############################################################################

# An event that no body can hold is dropped; one that just fits is not, and
# those around them are as ever.

sub too_large {
    my $t = shop(@access, rule => 'property  Text  $arg_text;',
        account => 'batch bytes=16k linger=50ms;');
    my $k = $t->klaviyo();
    my %size = (5 => 17_000, 6 => 30_000, 8 => 15_600);

    view($t, 1, 10, uri => sub {
        "/p?n=$_[0]&text=" . 'x' x ($size{$_[0]} || 10) });

    $k->wait_events(8);
    settled($t);
    is(missed([ numbers($k) ], [ 1 .. 4, 7 .. 10 ]), '',
        'too large: the others arrive');
    is(join(' ', @{{results($t)}->{'dropped:too_large'}}), '5 6',
        'it is told of them');
    is(account($t)->{events}{dropped}{too_large}, 2, 'they are counted');
    cmp_ok(max(map { $_->{bytes} } bodies($k)), '<=', 16384,
        'no body is too large');
    conserved($t, 'too large: counted');
}

###############################################################################

# Klaviyo is away, it is tried often: a line when it begins, then one in a
# second at most.

sub quiet {
    my $t = shop(account => 'retry min=1ms max=1ms; batch linger=1ms;');
    my $k = $t->klaviyo();

    $k->stop();
    $t->mark();
    view($t, 1, 50);

    my $begin = time();

    ok($t->wait_for(sub { account($t)->{retries} >= 300 }, 30), 'away: tried');

    my @lines = grep { /klaviyo/ } split /\n/, $t->log();

    is(scalar(grep { /\[warn\]/ } @lines), 1, 'one warning');
    cmp_ok(scalar @lines, '<=', 3 + time() - $begin, 'and a line a second');
    conserved($t, 'away: counted', busy => 1);
}

###############################################################################
