#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# No more requests than the account may make: in a second, in a minute, by what
# Klaviyo's headers say, and none before a Retry-After is over; across reloads
# and the death of the process that counts.

###############################################################################

use warnings;
use strict;

use Test::More;

use Compress::Zlib qw(crc32);
use FindBin ();
use List::Util qw(min);
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

burst();
steady();
headers('plain');
headers('windows');
reset_passes();
retry_after();
reboot();

Test::Nginx::Klaviyo->done();

###############################################################################

# Any second has no more than the share of "burst", wherever it begins.

sub burst {
    my $t = shop(account => 'batch events=5 linger=50ms;'
        . ' rate burst=10/s steady=600/m share=50%;',
        standin => { burst => 5, ratelimit => 'off' });
    my $k = $t->klaviyo();

    view($t, 1, 75);
    arrived($k, 1, 75, 'a burst: all arrive');

    my @at = map { $_->{received} } bodies($k);
    my @gaps = map { $at[$_ + 5] - $at[$_] } 0 .. $#at - 5;

    # what is read late by the stand-in seems to be nearer to what follows
    cmp_ok(min(@gaps), '>', 0.8, 'five in any second');
    cmp_ok($at[-1] - $at[0], '<', 4, 'and not much less');
    cmp_ok($k->stats()->{throttled}, '<=', 1, 'Klaviyo need not say no');
    conserved($t, 'a burst: counted');
}

###############################################################################

# Any minute has no more than the share of "steady"; whoever comes next, by a
# reload or because this one was killed, goes on counting.

sub steady {
    my $t = shop(drain => '100ms', account => 'batch events=5 linger=20ms;'
        . ' rate burst=1000/s steady=10/m share=60%;');
    my $k = $t->klaviyo();

    $t->expect_kill();
    view($t, 1, 100);

    my $throttled = sub {
        my $account = account($t);

        return $account->{state} eq 'throttled' && !$account->{in_flight}
               && $account->{events}{sent} == 30;
    };

    ok($t->wait_for($throttled), 'a minute: throttled');
    is(scalar bodies($k), 6, 'after six requests');

    my $account = account($t);

    ok($account->{retry_at}, 'it is known for how long');
    is($account->{events}{queued}, 70, 'the others wait');

    my $pid = dispatcher($t);

    $t->reload();
    $pid = dispatcher($t, $pid);
    ok($t->wait_for($throttled), 'a minute: throttled after a reload');

    kill 'KILL', $pid;
    dispatcher($t, $pid);

    # it looks at its ring each second
    sleep 1.2;
    is(scalar bodies($k), 6, 'no more requests, who ever counts');
    conserved($t, 'a minute: counted', busy => 1);
}

###############################################################################

# What other programs use is taken from what is left, and their share is not
# touched: of 20 others have used 12, and 20 percent are theirs for good.

sub headers {
    my ($shape) = @_;

    # the stand-in's windows begin with the minute
    sleep 0.1 while time() % 60 >= 55;

    my $t = shop(drain => '100ms', account => 'batch events=5 linger=20ms;'
        . ' rate burst=1000/s steady=60000/m share=80%;',
        standin => { steady => 20, others => 12, ratelimit => $shape });
    my $k = $t->klaviyo();

    # the first answer must have come before there is more to send
    view($t, 1, 5);
    $k->wait_events(5);
    settled($t);
    is(account($t)->{quota_left}, 7, "headers, $shape: read");

    view($t, 6, 50);
    ok($t->wait_for(sub { account($t)->{state} eq 'throttled'
                          && !account($t)->{in_flight} }),
        "headers, $shape: throttled");
    sleep 0.3;
    is(scalar bodies($k), 4, 'with four requests left to others');
    is($k->stats()->{throttled}, 0, 'Klaviyo has not said no');
    conserved($t, "headers, $shape: counted", busy => 1);
}


# And it goes on when their minute is over.

sub reset_passes {
    my $t = shop();
    my $k = $t->klaviyo();

    $k->answer('202', headers => { 'RateLimit-Limit' => 100,
        'RateLimit-Remaining' => 0, 'RateLimit-Reset' => 1 });
    view($t, 1, 5);
    $k->wait_events(5);
    settled($t);
    view($t, 6, 10);
    arrived($k, 1, 10, 'reset: all arrive');

    my @at = map { $_->{received} } bodies($k);

    is(scalar @at, 2, 'by two requests');
    cmp_ok($at[1] - $at[0], '>=', 1, 'not before the reset');
    cmp_ok($at[1] - $at[0], '<', 5, 'but then');
    conserved($t, 'reset: counted');
}

###############################################################################

# Klaviyo has asked to wait, and who didn't hear it keeps to it as well.

sub retry_after {
    my $t = shop();
    my $k = $t->klaviyo();

    $k->answer('429', retry_after => 2);
    view($t, 1, 5);
    ok($t->wait_for(sub { account($t)->{state} eq 'throttled' }),
        'Retry-After: throttled');

    my $pid = dispatcher($t);

    $t->reload();
    isnt(dispatcher($t, $pid), $pid, 'a reload');
    view($t, 6, 10);
    arrived($k, 1, 10, 'Retry-After: all arrive');

    my @bodies = bodies($k);

    cmp_ok($bodies[1]{received} - $bodies[0]{received}, '>=', 1.99,
        'not before, after a reload too');
    cmp_ok($bodies[1]{received} - $bodies[0]{received}, '<', 6, 'but then');
    conserved($t, 'Retry-After: counted');
}

###############################################################################

# A pause is in the file: the next run waits, but not that of another boot, of
# whose clock nobody knows what it said.

sub reboot {
    my $t = shop(drain => '100ms');
    my $k = $t->klaviyo();

    $k->answer('429', retry_after => 600);
    view($t, 1, 5);

    my $throttled = sub { account($t)->{state} eq 'throttled' };

    ok($t->wait_for($throttled), 'a boot: throttled');
    $t->quit();
    $t->run();
    view($t, 6, 10);
    ok($t->wait_for($throttled), 'the same boot: the next run is, too');
    sleep 1.2;
    is(scalar bodies($k), 1, 'the same boot: no more requests');
    $t->quit();

    another_boot($t->dir() . '/spool/shop.rate');
    $t->run();
    arrived($k, 1, 10, 'another boot: all arrive');
    unlike($t->log(), qr/was damaged/, 'another boot: nothing is damaged');
}


# as if the file had been written before one that was an hour ago
sub another_boot {
    my ($file) = @_;

    open my $f, '+<:raw', $file or die "$file: $!";
    local $/;
    my ($text) = <$f> =~ /^(.*).{4}$/s;

    substr($text, 8, 36) = '01234567-89ab-cdef-0123-456789abcdef';
    substr($text, 48, 8) = pack 'Q', unpack('Q', substr $text, 48) - 3600_000;

    seek $f, 0, 0;
    print $f $text, pack 'L', crc32($text);
    close $f or die "$file: $!";
}

###############################################################################
