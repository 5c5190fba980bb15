#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# The queue gets full: the spool takes over, up to its own bound; and a disk that
# can't be written stops nobody.


###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use List::Util qw(max sum0 uniq);
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;
use Test::Nginx::Klaviyo::Spool;

###############################################################################

full_ring();
hanging();
over_max('drop_oldest');
over_max('drop_new');
over_max('drop_oldest', 2000, 'queue 8m; batch events=1000 bytes=2m;', 2);
at_the_end();
unwritable();
disk();

Test::Nginx::Klaviyo->done();

###############################################################################

# The ring is more than half full: nothing is dropped, however much comes.

sub full_ring {
    my $t = shop(account => 'queue 2m; batch events=100 bytes=256k;', text());
    my $k = $t->klaviyo();

    $k->stop();

    # the process gets its turns
    for my $n (0 .. 39) {
        big($t, $n * 100 + 1, $n * 100 + 100);
        sleep 0.05;
    }

    my $events = account($t)->{events};

    is($events->{dropped}{full}, 0, 'full ring: nothing is dropped');
    cmp_ok($events->{spooled}, '>', 2000, 'most is in the spool');

    $k->start();
    arrived($k, 1, 4000, 'full ring: all arrive, each once');
    conserved($t, 'and are counted');
    is(scalar(() = segments($t)), 0, 'the spool is empty');
}


# Klaviyo takes requests and never answers: what is out doesn't hold back what
# is behind it.

sub hanging {
    my $t = shop(text(),
        account => 'queue 2m; batch events=100 bytes=256k; timeout 60s;');
    my $k = $t->klaviyo();

    $k->script({ answer => 'hang', times => 0 });

    for my $n (0 .. 39) {
        big($t, $n * 50 + 1, $n * 50 + 50);
        sleep 0.15;
    }

    my $events = account($t)->{events};

    is($events->{dropped}{full}, 0, 'no answer: nothing is dropped');
    cmp_ok($events->{spooled}, '>', 800, 'most is in the spool');

    $k->script();
    $k->disconnect();
    arrived($k, 1, 2000, 'answers again: all arrive, each once');
    conserved($t, 'and are counted');
}

###############################################################################

# No more than "max" on disk: the oldest go, or no more is taken in and the ring
# gets full.  What is dropped is counted, to the event.  A batch that comes back
# may be as large as the spool.

sub over_max {
    my ($full, $more, $account, $max) = @_;

    $account //= 'queue 2m; batch events=100 bytes=256k;';
    $max //= 1;

    my $t = shop(text(), account => "$account spool max=${max}m full=$full;");
    my $k = $t->klaviyo();
    my $size = 0;
    my $events = 2000 + ($more || 0);

    $k->stop();

    for my $n (0 .. $events / 100 - 1) {
        big($t, $n * 100 + 1, $n * 100 + 100);
        sleep 0.05;
        $size = max($size, sum0(map { -s $t->dir() . "/spool/$_" || 0 }
            segments($t)));
    }

    quiet($t);

    my $dropped = account($t)->{events}{dropped}{full};

    cmp_ok($dropped, '>', 100, "$full: events are dropped");
    cmp_ok($size, '<=', $max * 1024 * 1024, 'there is never more on disk');
    cmp_ok($size, '>', 500_000, 'nor much less');
    conserved($t, 'all is counted', busy => 1);

    $k->start();
    ok($t->wait_for(sub { my $events = account($t)->{events};
        return !$events->{queued} && !$events->{spooled} }, 20), 'it is back');
    conserved($t, 'and all is counted when it is back');

    my @numbers = sort { $a <=> $b } numbers($k);

    is(scalar uniq(@numbers), @numbers, 'each comes once');
    is(scalar(@numbers), $events - account($t)->{events}{dropped}{full},
        'all but the dropped ones');

    my $last = grep { $_ > $events - 200 } @numbers;
    my $first = grep { $_ <= 200 } @numbers;

    $full eq 'drop_new'
        ? cmp_ok($first, '>', $last, 'the first ones came')
        : cmp_ok($last, '>=', $first, 'the last ones came');
    is(scalar(() = $t->log() =~ /the spool is full/g), 1, 'it is told once');
}


# A batch larger than the spool, when nginx ends: the last of it are kept.

sub at_the_end {
    my $t = shop(text(), drain => '100ms', account => 'queue 16m; '
        . 'batch events=1000 bytes=4m linger=500ms; '
        . 'spool max=1m full=drop_oldest;', start => 0);
    my $k = $t->klaviyo();
    my $text = $t->read_file('nginx.conf');

    $t->write_file('nginx.conf',
        $text =~ s{(klaviyo_spool \S+);}{$1 queue=off;}r);
    $t->run();
    $k->stop();

    big($t, 1, 900);
    ok($t->wait_for(sub { account($t)->{state} eq 'backoff' }),
        'at the end: Klaviyo is away');
    big($t, 901, 1000);
    ok($t->quit(), 'at the end: nginx ends');

    $k->start();
    $t->run();
    ok(emptied($t, 20), 'at the end: what was kept is sent');

    my %came = map { $_ => 1 } numbers($k);

    cmp_ok(scalar keys %came, '>', 200, 'at the end: as much as there is room');
    is(scalar(grep { $came{$_} } 901 .. 1000), 100, 'at the end: the last');
}

###############################################################################

# The directory is missing, or can't be written: nginx starts and serves, and
# what is in memory is delivered.

sub unwritable {
    my $t = shop(start => 0, http => '');
    my $k = $t->klaviyo();
    my $text = $t->read_file('nginx.conf');

    $t->write_file('nginx.conf',
        $text =~ s{(klaviyo_spool) \S+;}{$1 $t->{dir}/no/such/folder;}r);
    $t->run();
    like($t->log(), qr/\[warn\].*klaviyo_spool/, 'no directory: a warning');

    $k->stop();
    view($t, 1, 20);
    ok($t->wait_for(sub { account($t)->{state} eq 'backoff' }), 'it serves');
    $k->start();
    arrived($k, 1, 20, 'no directory: all arrive');
    conserved($t, 'and are counted');

    # what is lost at the end is told, to the event
    $k->stop();
    view($t, 21, 60);
    $t->quit();
    like($t->log(), qr/klaviyo account "shop": 40 events are lost/,
        'what is lost is told');
    $t->expect_log(qr/events are lost/);

    # a file in its place
    $t->write_file('nginx.conf', $text);
    $t->write_file('spool', 'a file');
    $t->run();
    $k->start();
    view($t, 61, 80);
    arrived($k, 61, 80, 'a file in its place: all arrive');
}


# A disk that gets full: events stay in memory, and go to the spool when there
# is room again.

sub disk {
    my $t = shop(start => 0, drain => '100ms',
        account => 'queue 2m; batch events=100 bytes=256k;', text());
    my $k = $t->klaviyo();
    my $spool = $t->dir() . '/spool';

    mkdir $spool or die;

    SKIP: {
        skip 'no mount', 6 if system(
            "mount -t tmpfs -o size=512k none $spool 2> /dev/null") != 0;

        $t->run();
        $k->stop();

        big($t, $_ * 100 + 1, $_ * 100 + 100), sleep 0.1 for 0 .. 7;

        my $events = account($t)->{events};

        cmp_ok($events->{spooled}, '>', 50, 'full disk: what fits is there');
        cmp_ok($events->{queued}, '>', 300, 'the rest is in the ring');
        is(scalar(() = $t->log() =~ /\[crit\].*can't be written/g), 1,
            'it is told once');
        conserved($t, 'all is counted', busy => 1);

        $k->start();
        $t->wait_for(sub { my $events = account($t)->{events};
            return !$events->{queued} && !$events->{spooled} });
        conserved($t, 'full disk: all is counted when it is back');

        my @numbers = numbers($k);

        is(scalar(uniq @numbers) . ' ' . @numbers, join(' ',
            (800 - account($t)->{events}{dropped}{full}) x 2), 'each once');
        $t->quit();
        system("umount $spool");
    }
}

###############################################################################
