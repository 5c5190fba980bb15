#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# dry_run: a file gets what Klaviyo would get.

###############################################################################

use warnings;
use strict;

use Test::More;

use Cpanel::JSON::XS ();
use FindBin ();

use lib "$FindBin::Bin/lib";
use Klaviyo::StandIn::Contract;
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

my $max = 64 * 1024 * 1024;

written();
bounded();
unwritable();

Test::Nginx::Klaviyo->done();

###############################################################################

# Each line is a body that Klaviyo would accept; Klaviyo hears nothing of it.

sub written {
    my $t = shop(account => 'dry_run on; batch events=10 linger=50ms;');
    my $k = $t->klaviyo();
    my $path = $t->dir() . '/spool/shop.dry-run';

    view($t, 1, 95);
    ok($t->wait_for(sub { account($t)->{events}{sent} == 95 }),
        'they count as sent');
    ok(account($t)->{dry_run}, 'the status page tells that they are not');
    is($k->stats()->{connections}, 0, 'nobody was asked');
    is(sprintf('%04o', (stat $path)[2] & 07777), '0600', 'for nobody else');

    my $text = $t->read_file('spool/shop.dry-run');
    my @lines = split /\n/, $text;
    my @found = map { Klaviyo::StandIn::Contract::examine($_,
        revision => '2026-07-15', identifiers => 'one') } @lines;

    is(scalar @lines, 10, 'a line for each body');
    is(scalar(grep { @{$_->{errors}} } @found), 0, 'each would be accepted');
    is(missed([ map { $_->{attributes}{events}{data}[0]{attributes}
            {properties}{n} } map { @{$_->{entries}} } @found ], [ 1 .. 95 ]),
        '', 'each event is in it once');
    unlike($text, qr/pk_/, 'the key is not');
    conserved($t, 'dry run: counted');

    # it is over: what was written is not sent, what comes is
    write_shop($t, account => 'batch linger=50ms;');
    $t->reload();
    view($t, 96, 100);
    arrived($k, 96, 100, 'without it events are sent');
    is(missed([ numbers($k) ], [ 96 .. 100 ]), '', 'no others');
    is(-s $path, length $text, 'and not written');
    conserved($t, 'after it: counted');
}

###############################################################################

# It doesn't fill the disk, nor the queue when it is full, nor the log.

sub bounded {
    my $t = shop(account => 'dry_run on; batch events=5 linger=10ms;');
    my $path = $t->dir() . '/spool/shop.dry-run';

    $t->write_file('spool/shop.dry-run', '');
    chown((stat $t->dir() . '/spool')[4, 5], $path);
    truncate $path, $max - 6000 or die "truncate: $!\n";

    view($t, 1, 100);
    ok($t->wait_for(sub { account($t)->{events}{sent} == 100 }),
        'a full file: they count as sent');
    cmp_ok(-s $path, '<=', $max, 'it has not grown further');
    cmp_ok(-s $path, '>', $max - 3000, 'but so far');
    is(scalar(() = $t->log() =~ /\[warn\].*dry-run" is full/g), 1,
        'it is told once');
    conserved($t, 'a full file: counted');
    $t->quit();
    like($t->log(), qr/\[warn\].*: \d+ requests were not written/,
        'and how many, at the end');
}

###############################################################################

# What can't be written waits, as if Klaviyo was away.

sub unwritable {
    my $t = shop(account => 'dry_run on; batch linger=10ms;');
    my $path = $t->dir() . '/spool/shop.dry-run';

    mkdir $path or die "mkdir: $!\n";
    view($t, 1, 10);
    ok($t->wait_for(sub { account($t)->{state} eq 'backoff' }),
        'no file: they wait');
    is(account($t)->{events}{queued}, 10, 'all of them');

    rmdir $path or die "rmdir: $!\n";
    ok($t->wait_for(sub { account($t)->{events}{sent} == 10 }),
        'and are written at last');
    is(scalar(() = $t->read_file('spool/shop.dry-run') =~ /"n":"\d+"/g), 10,
        'once');
    conserved($t, 'no file: counted');
}

###############################################################################
