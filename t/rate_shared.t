#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Two masters with one account and one directory of the spool make no more
# requests together than one: two nginx, and the two of a binary upgrade.

###############################################################################

use warnings;
use strict;

use Test::More;

use File::Temp ();
use FindBin ();
use List::Util qw(min);
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

second();
minute();
pauses();
upgrade();
hostile();

Test::Nginx::Klaviyo->done();

###############################################################################

# Two shops whose spool is one folder, outside of both; the second one has the
# stand-in of the first.

sub two {
    my ($account, %standin) = @_;
    my $spool = File::Temp::tempdir(CLEANUP => 1, TMPDIR => 1);
    my $one = shop(account => $account, start => 0, drain => '100ms',
        standin => \%standin);
    my $two = Test::Nginx::Klaviyo->new();

    chmod 0777, $spool;
    write_shop($two, account => $account, drain => '100ms',
        endpoint => $one->klaviyo()->url());

    for my $t ($one, $two) {
        $t->write_file('nginx.conf', $t->read_file('nginx.conf')
            =~ s/(klaviyo_spool) \S+;/$1 $spool;/r);
        $t->run();
    }

    return ($one, $two, $spool);
}


# the shortest time in which "n" + 1 requests came
sub shortest {
    my ($k, $n) = @_;
    my @at = map { $_->{received} } bodies($k);

    return min(map { $at[$_ + $n] - $at[$_] } 0 .. $#at - $n);
}


sub throttled {
    my ($t) = @_;

    return $t->wait_for(sub { my $account = account($t);
        return $account->{state} eq 'throttled' && !$account->{in_flight} });
}

###############################################################################

# Any second has no more than "burst", wherever it begins.

sub second {
    my ($one, $two, $spool) = two('batch events=5 linger=20ms;'
        . ' rate burst=10/s steady=60000/m share=100%;');
    my $k = $one->klaviyo();

    view($one, 1, 100);
    view($two, 101, 200);
    arrived($k, 1, 200, 'a second: all arrive, each once');

    cmp_ok(shortest($k, 10), '>', 0.8, 'no second has more than ten');
    cmp_ok(account($_)->{events}{sent}, '==', 100, 'each sends its own')
        for $one, $two;

    my @stat = stat "$spool/shop.rate";

    is(sprintf('%o', $stat[2] & 07777), '600', 'the file is of one user');
    cmp_ok($stat[7], '<', 1024, 'and small');
}


# Nor has any minute more than "steady".

sub minute {
    my ($one, $two) = two('batch events=5 linger=20ms;'
        . ' rate burst=1000/s steady=10/m share=100%;', steady => 10,
        ratelimit => 'off');
    my $k = $one->klaviyo();

    for my $n (0 .. 9) {
        view($one, 10 * $n + 1, 10 * $n + 5);
        view($two, 10 * $n + 6, 10 * $n + 10);
    }

    $k->wait_requests(10);

    # whoever was slower has more left
    my ($slow) = sort { account($b)->{events}{queued}
                        <=> account($a)->{events}{queued} } $one, $two;

    ok(throttled($slow), 'a minute: throttled');
    sleep 0.5;
    is(scalar bodies($k), 10, 'after ten requests of both');
    is($k->stats()->{throttled}, 0, 'Klaviyo need not say no');

    # the next run of one of them goes on counting
    $two->quit();
    $two->run();
    view($two, 200, 250);
    ok(throttled($two), 'a restart changes nothing');
    is(scalar bodies($k), 10, 'no more requests');
}


# What Klaviyo said to one of them, 429 or what is left, holds for both.

sub pauses {
    my ($one, $two) = two('');
    my $k = $one->klaviyo();

    $k->answer('429', retry_after => 3);
    view($one, 1, 5);
    ok(throttled($one), 'Retry-After: the one that was told waits');

    view($two, 6, 10);
    arrived($k, 1, 10, 'Retry-After: all arrive');

    my @at = map { $_->{received} } bodies($k);

    cmp_ok(min(@at[1 .. $#at]) - $at[0], '>=', 2.9, 'so does the other one');

    $k->forget();
    $k->answer('202', headers => { 'RateLimit-Limit' => 100,
        'RateLimit-Remaining' => 2, 'RateLimit-Reset' => 30 });
    view($one, 11, 15);
    $k->wait_requests(1);
    ok($one->wait_for(sub { (account($one)->{quota_left} // -1) == 2 }),
        'two are left');
    view($_ % 2 ? $one : $two, 20 + $_, 20 + $_), sleep 0.2 for 1 .. 6;
    ok(throttled($_), 'a budget that is eaten: throttled') for $one, $two;
    is(scalar bodies($k), 3, 'two more were sent, by both together');
}

###############################################################################

# USR2: the old master and the new one run side by side.

sub upgrade {
    my $t = shop(drain => '100ms', account => 'batch events=5 linger=20ms;'
        . ' rate burst=1000/s steady=10/m share=100%;',
        harness => { daemon => 1 }, main => 'env ASAN_OPTIONS;');
    my $k = $t->klaviyo();
    my $old = $t->master_pid();

    view($t, 1, 20);
    $k->wait_requests(4);

    kill 'USR2', $old;
    ok($t->wait_for(sub { my $pid = $t->master_pid();
        return $pid && $pid != $old && 2 == $t->processes('master')
               && 2 == $t->processes('helper') }),
        'upgrade: two masters');

    # both have workers
    view($t, 20 + 5 * $_, 24 + 5 * $_) for 1 .. 30;
    $k->wait_requests(10);
    sleep 1;
    is(scalar bodies($k), 10, 'upgrade: ten requests of both');

    kill 'QUIT', $old;
    ok($t->wait_for(sub { !kill 0, $old }), 'upgrade: the old one ends');
    sleep 1.2;
    is(scalar bodies($k), 10, 'upgrade: and no more by the new one');
}

###############################################################################

# Whatever happens to the file: sending goes on, and not faster.

sub hostile {
    my ($one, $two, $spool) = two('batch events=5 linger=20ms;'
        . ' rate burst=10/s steady=60000/m share=100%;');
    my $k = $one->klaviyo();
    my $file = "$spool/shop.rate";

    my @harm = (
        sub { open my $f, '>', $file; print $f 'garbage' },
        sub { truncate $file, 50 },
        sub { open my $f, '+<', $file; print $f "\xff" x 100 },
        sub { unlink $file },
        sub { unlink $file; mkdir $file },
        sub { rmdir $file; symlink '/etc/passwd', $file },
        sub { unlink $file },
    );

    for my $harm (@harm) {
        $harm->();
        view($one, 1, 20);
        sleep 0.2;
    }

    $k->wait_events(140);
    settled($one);
    is(scalar numbers($k), 140, 'a file that is harmed: all arrive');
    cmp_ok(shortest($k, 10), '>', 0.8, 'not faster than they may');
    cmp_ok(scalar(() = $one->log() =~ /"shop".*rate/g), '<', 8,
        'told, but not each time');
    conserved($one, 'a file that is harmed: counted');
}

###############################################################################
