#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# What can't be delivered outlives nginx: the spool over the end of nginx, with
# files that somebody else has left, and dead letters that are moved there.  Each
# event arrives once, and all are counted.


###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use List::Util qw(sum0);
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;
use Test::Nginx::Klaviyo::Spool;

###############################################################################

restart('QUIT');
restart('TERM');
single();
frozen();
strangers();
letters();

Test::Nginx::Klaviyo->done();

###############################################################################

# The end of nginx with Klaviyo away, its next start, Klaviyo back.

sub restart {
    my ($signal) = @_;
    my $t = shop(drain => '300ms', workers => 2);
    my $k = $t->klaviyo();

    $k->stop();
    view($t, 1, 1500);

    my $begin = time();

    ok($t->end($signal), "$signal: ends");
    cmp_ok(time() - $begin, '<', 4, 'soon');

    my @files = segments($t);

    cmp_ok(scalar @files, '>=', 1, 'there is a segment');

    for my $file (@files) {
        my @stat = stat $t->dir() . "/spool/$file";
        my @dir = stat $t->dir() . '/spool';

        is(sprintf('%o', $stat[2] & 07777), '600', 'for the user alone');
        is($stat[4], $dir[4], 'who owns it');
    }

    # each line is JSON that tells the event, for people too
    my $events = sum0(map { my $file = $_;
        my $n = () = $t->read_file("spool/$file")
            =~ /^\{"crc":"[0-9a-f]{8}",.*"event":\{.*\}\}$/mg;
        $n } @files);

    is($events, 1500, 'with all events');
    is(scalar(() = files($t, '*.lock')), 0, 'and no lock is left');

    $t->run();
    view($t, 1501, 1600);

    # some are kept to be tried next
    my $last = 1600;
    my $spool = $t->wait_for(sub {
        view($t, ++$last, $last);

        my $account = account($t);
        return $account->{spool}{segments} ? $account->{spool} : 0;
    });

    ok($spool->{bytes} && $spool->{oldest}, 'the status page tells of it');

    $k->start();
    arrived($k, 1, $last, "$signal: all arrive, each once");
    conserved($t, 'and are counted');

    my $total = status($t)->{total};

    is("$total->{restored} $total->{seen} $total->{sent}",
        '1500 ' . ($last - 1500) . " $last",
        'as restored ones');
    is(scalar(() = segments($t)), 0, 'the spool is empty');
    is($t->quit(), 1, 'and nginx ends');
    is(scalar(() = segments($t)), 0, 'with an empty spool');
}


# master_process off: it has no other master.

sub single {
    my $t = shop(drain => '200ms', harness => { master => 0 });
    my $k = $t->klaviyo();

    $k->stop();
    view($t, 1, 50);
    ok($t->end('QUIT'), 'single process: ends');
    is(scalar(() = segments($t)), 1, 'there is a segment');

    $t->run();
    $k->start();
    arrived($k, 1, 50, 'single process: all arrive');
    conserved($t, 'and are counted');
}


# The process that would do it can't: the master does, as the last one.

sub frozen {
    my $t = shop(drain => '300ms', workers => 2);
    my $k = $t->klaviyo();

    $k->stop();
    view($t, 1, 700);
    ok($t->wait_for(sub { account($t)->{state} eq 'backoff' }), 'frozen: away');
    $t->signal('STOP', 'helper');
    view($t, 701, 1000);
    ok($t->end('TERM'), 'frozen: nginx ends');
    $t->expect_kill();
    like($t->log(), qr/"shop": 1000 events are moved to the spool/,
        'the master has written them');

    $t->run();
    $k->start();
    arrived($k, 1, 1000, 'frozen: all arrive, each once');
    conserved($t, 'and are counted');
}

###############################################################################

# Files that a crash or somebody else has left.

sub strangers {
    my $t = shop(drain => '100ms');
    my $k = $t->klaviyo();

    $k->stop();
    view($t, 1, 100);
    $t->quit();

    my ($file) = segments($t);
    my $path = $t->dir() . "/spool/$file";
    my @lines = split /^/, $t->read_file("spool/$file");
    my @owner = (stat $path)[4, 5];

    is(scalar @lines, 100, 'strangers: a segment');

    # one is damaged, the last is cut
    $lines[49] =~ s/"event":\{/"event":[/;
    $lines[99] = substr $lines[99], 0, 150;

    $t->write_file("spool/$file", join '', @lines);
    $t->write_file('spool/gone.aabbccddeeff0011-00000001.spool', $lines[0]);
    $t->write_file('spool/gone.aabbccddeeff0011-00000002.spool', $lines[0]);
    $t->write_file('spool/shop.noise.spool', "\0\xff nonsense\n\n[]\n");
    $t->write_file('spool/shop.empty.spool', '');
    $t->write_file('spool/README', 'not ours');
    symlink '/etc/passwd', $t->dir() . '/spool/shop.link.spool' or die;
    system('mkfifo', '-m', '666', $t->dir() . '/spool/shop.pipe.spool') == 0
        or die;
    mkdir $t->dir() . '/spool/shop.folder.spool' or die;
    chown @owner, grep { -f } glob $t->dir() . '/spool/*';

    # not ours to read
    $t->write_file('spool/shop.private.spool', $lines[0]);
    chmod 0, $t->dir() . '/spool/shop.private.spool';

    $t->mark();
    $k->start();
    $t->run();
    view($t, 101, 110);

    $k->wait_events(108);
    ok($t->wait_for(sub { status($t)->{total}{damaged} == 4 }),
        'the damaged ones are counted');
    is(missed([ numbers($k) ], [ 1 .. 49, 51 .. 99, 101 .. 110 ]), '',
        'all others arrive, each once');
    conserved($t, 'all are counted');

    my $damaged = $t->read_file('spool/shop.damaged');

    is(scalar(() = $damaged =~ /\n/g), 4, 'they are set aside');
    like($damaged, qr/nonsense/, 'as they were');
    is(join(' ', files($t, 'gone.*')), 'gone.aabbccddeeff0011-00000001.spool '
        . 'gone.aabbccddeeff0011-00000002.spool', 'an unknown account is kept');
    is(scalar(() = $t->log() =~ /no klaviyo account "gone"/g), 1,
        'and told once');
    is(join(' ', files($t, 'shop.*.spool')), 'shop.folder.spool '
        . 'shop.link.spool shop.pipe.spool shop.private.spool',
        'what is no segment stays');
}


# A file of dead letters that is moved into the spool is sent again.

sub letters {
    my $t = shop(account => 'batch events=10 linger=20ms;');
    my $k = $t->klaviyo();

    $k->poison('n', '7', 'none');
    view($t, 1, 20);
    ok($t->wait_for(sub { account($t)->{events}{dead} }), 'letters: one');
    arrived($k, 8, 20, 'letters: the others arrive');
    conserved($t, 'and are counted');

    my ($letter) = dead_letters($t);

    is(join(' ', map { $letter->{$_} // 'none' } qw(len decided)) . ' '
        . length($letter->{key}), join(' ', $letter->{len}, 1, 32),
        'it has what a line of the spool has');
    is($letter->{error}{status}, 400, 'and the error');

    $k->poison();
    rename $t->dir() . '/spool/shop.dead',
           $t->dir() . '/spool/shop.again.spool' or die;

    arrived($k, 1, 20, 'moved into the spool it is sent');
    conserved($t, 'and counted');

    my $events = account($t)->{events};

    is("$events->{seen} $events->{restored} $events->{sent} $events->{dead}",
        '20 1 20 1', 'as a restored one');
    is(join(' ', files($t, 'shop.[!r]*')), '', 'the file is gone');
}

###############################################################################
