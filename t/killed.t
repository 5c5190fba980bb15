#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Signal 9 for the master and all: what was queued lies in a file of a tmpfs,
# and the next start delivers it.  Also what that file costs nobody: a disk in
# its place, a tmpfs that is full, files that others have left.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use File::Path qw(remove_tree);
use List::Util qw(uniq);
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;
use Test::Nginx::Klaviyo::Spool;

###############################################################################

my $shm = '/dev/shm';

plan(skip_all => "no tmpfs in $shm")
    if !grep { m{^\S+ $shm tmpfs } }
             split /^/, Test::Nginx::Klaviyo::slurp('/proc/mounts');

away();
under_load();
orphans();
read_back();
written();
again();
in_order();
reloads();
strangers();
another();
without();
full();

Test::Nginx::Klaviyo->done();

###############################################################################

sub rings {
    my ($t, $pattern) = @_;
    my $dir = Test::Nginx::Klaviyo::queues($t->dir()) // return;

    return map { s{.*/}{}r } glob "$dir/" . ($pattern || '*.ring');
}


sub ring_path { return Test::Nginx::Klaviyo::queues($_[0]->dir()) . "/$_[1]" }


# all of it, and what says that it runs
sub killed {
    my ($t) = @_;
    my $gone = $t->kill_all();

    unlink $t->dir() . '/nginx.pid';

    return $gone;
}


# each at least once, none that was not asked for
sub arrived_all {
    my ($k, $numbers, $name) = @_;
    my $wanted = uniq(@$numbers);
    my %wanted = map { $_ => 1 } @$numbers;

    $k->wait_for($wanted, 30, sub { uniq(grep { $wanted{$_} } numbers($k)) });
    is(missed([ uniq(numbers($k)) ], $numbers), '', $name);
}


# the sum of what is counted, all of it in these places
sub restored {
    my ($t, $restored, $seen, $name) = @_;

    ok(settled($t), "$name: settled");

    my $total = status($t)->{total};

    is("$total->{restored} $total->{seen} $total->{sent}",
        join(' ', $restored, $seen, $restored + $seen), "$name: counted");
    conserved($t, "$name: and the sums are right");
}

###############################################################################

# Nothing is on its way: each event comes once.

sub away {
    my $t = shop(workers => 2);
    my $k = $t->klaviyo();

    $k->stop();
    view($t, 1, 1500);

    my ($ring, @more) = rings($t);

    is(scalar @more, 0, 'away: one file');
    like($ring, qr/\Ashop\.[0-9a-f]{16}-00000001\.ring\z/, 'away: its name');

    my @stat = stat ring_path($t, $ring);
    my @spool = stat $t->dir() . '/spool';

    is(sprintf('%o %d', $stat[2] & 07777, $stat[4]), "600 $spool[4]",
        'away: for nginx alone');

    killed($t);
    is(join(' ', rings($t)), $ring, 'away: the file is there');

    $t->mark();
    $k->start();
    $t->run();
    view($t, 1501, 1600);
    arrived($k, 1, 1600, 'away, then killed: all arrive, each once');
    restored($t, 1500, 100, 'away, then killed');
    like($t->log(), qr/"shop": 1500 events of a run that was killed are /,
        'away, then killed: told');
    ok($t->wait_for(sub { 1 == rings($t) }), 'the old file is gone');
    isnt(join(' ', rings($t)), $ring, 'there is a new one');

    # by rule, too
    is(account($t)->{rules}[0]{events}{restored}, 1500, 'the rule is known');

    $t->quit();
    is(scalar rings($t), 0, 'and at the end none');
    ok(!-e Test::Nginx::Klaviyo::queues($t->dir()), 'nor its folder');
}

###############################################################################

# Killed at any time; the answer comes before the event, so of each worker the
# last answered request may not have got so far.

sub under_load {
    my $workers = 2;
    my $t = shop(workers => $workers,
        account => 'batch events=50 linger=20ms;', standin => { delay => 0.05 });
    my $k = $t->klaviyo();
    my $stop = load($t);
    my $kills = 3;

    for my $n (1 .. $kills) {
        ok($t->wait_for(sub { (account($t)->{events}{sent} || 0) > 100 }),
            "under load, kill $n: events are sent");
        ok(killed($t), "kill $n: all are gone");
        $t->run();
    }

    my @answered = $stop->();
    my $last = $answered[-1];

    ok(settled($t, 30), 'under load: settled');

    my %came = map { $_ => 1 } numbers($k);
    my @lost = grep { !$came{$_} } @answered;

    cmp_ok(scalar @lost, '<=', $kills * $workers,
        'under load: nothing that was queued is lost');
    is(missed([ uniq(numbers($k)) ], [], [ 1 .. $last + 50 ]), '',
        'under load: nothing else comes');
    cmp_ok(scalar $k->duplicates(), '<=', $kills * 4 * 50 + $kills,
        'under load: only what was on its way comes twice');
    conserved($t, 'under load: counted');
}

###############################################################################

# The workers outlive their master: what they queue is theirs until they go.

sub orphans {
    my $t = shop(workers => 2);
    my $k = $t->klaviyo();

    $k->stop();
    view($t, 1, 100);
    kill 'KILL', $t->master_pid();
    view($t, 101, 200);

    my @pids = map { $_->{pid} } $t->processes();

    # another nginx that shares the spool
    my $other = shop(start => 0);
    my $text = $other->read_file('nginx.conf');

    $text =~ s{(klaviyo_spool) \S+;}{$1 $t->{dir}/spool;};
    $other->write_file('nginx.conf', $text);
    $other->run();
    ok($other->wait_for(sub { status($other)->{dispatcher}{pid} }),
        'orphans: another nginx looks');
    view($other, 1001, 1010);
    arrived($other->klaviyo(), 1001, 1010, 'orphans: it works');
    sleep 1.5;      # and has looked more than once
    is(scalar numbers($other->klaviyo()), 10, 'orphans: what lives is theirs');
    is(scalar(grep { -e ring_path($t, $_) } rings($t)), 2,
        'orphans: both files are there');

    kill 'KILL', @pids;

    # found while it runs
    arrived_all($other->klaviyo(), [ 1 .. 200, 1001 .. 1010 ],
        'orphans: when they are gone it takes what is left');
    restored($other, 200, 10, 'orphans');
}

###############################################################################

# While a segment is read back: it is read on, not from its beginning.

sub read_back {
    my $t = shop(account => 'batch events=100 linger=20ms;',
        standin => { delay => 0.2 }, text());
    my $k = $t->klaviyo();

    $k->stop();
    big($t, 1, 1600);
    $t->quit();
    is(scalar segments($t), 1, 'read back: a segment');

    $k->start();
    $t->run();
    $k->wait_for(300, 30, sub { numbers($k) });
    ok(killed($t), 'read back: killed');
    $k->settings(delay => 0);
    $t->run();

    arrived_all($k, [ 1 .. 1600 ], 'read back: all arrive');
    cmp_ok(scalar $k->duplicates(), '<=', 401,
        'read back: twice only what was on its way');
    ok(settled($t), 'read back: settled');
    conserved($t, 'read back: counted');
    is(scalar segments($t), 0, 'read back: the spool is empty');
}


# What was being written to a segment is in the ring; it counts there.

sub written {
    my $t = shop(account => 'batch events=50 linger=20ms;');
    my $k = $t->klaviyo();

    $k->stop();
    view($t, 1, 300);
    ok($t->wait_for(sub { spooled($t) > 0 }, 20), 'written: a segment');
    view($t, 301, 400);
    ok(killed($t), 'written: killed');

    my ($segment) = segments($t);

    # half a batch more than what is in force
    my @lines = split /^/, $t->read_file("spool/$segment");

    open my $file, '>>', $t->dir() . "/spool/$segment" or die;
    print $file @lines[0 .. 4], substr $lines[5], 0, 100;
    close $file;

    $k->start();
    $t->run();
    arrived($k, 1, 400, 'written: all arrive, each once');
    restored($t, 400, 0, 'written');
}

###############################################################################

# Killed while it rescues, and with Klaviyo away: then it goes to the disk.

sub again {
    my $t = shop(account => 'queue 2m; batch events=20 bytes=256k;', text());
    my $k = $t->klaviyo();

    $k->stop();
    big($t, 1, 400);
    killed($t);

    for my $n (1 .. 3) {
        $t->run();
        ok($t->wait_for(sub { my $events = account($t)->{events};
                              ($events->{restored} || 0) > 0 }),
            "again, $n: events are restored");
        killed($t);
    }

    $t->run();
    ok($t->wait_for(sub { my $events = account($t)->{events};
        ($events->{spooled} || 0) > 200 && 1 == rings($t) }, 30),
        'again: with Klaviyo away all goes to the disk');
    $k->start();
    arrived_all($k, [ 1 .. 400 ], 'again: all arrive');
    cmp_ok(scalar $k->duplicates(), '<=', 8, 'again: hardly any twice');
    ok(settled($t), 'again: settled');
    conserved($t, 'again: counted');
}


# An end in good order takes along what it has not come to.

sub in_order {
    my $t = shop(account => 'queue 2m; batch events=100 bytes=256k;',
        drain => '50ms', text());
    my $k = $t->klaviyo();

    $k->stop();
    big($t, 1, 400);
    killed($t);
    $t->run();
    ok($t->quit(), 'in order: ends');
    is(scalar rings($t), 0, 'in order: no file is left');
    cmp_ok(scalar segments($t), '>', 0, 'in order: it is in the spool');
    $k->start();
    $t->run();
    arrived($k, 1, 400, 'in order: all arrive, each once');
    conserved($t, 'in order: counted');
}

###############################################################################

# A queue of another size has another file; the old one goes when it is empty.

sub reloads {
    my $t = shop();
    my $k = $t->klaviyo();
    my ($first) = rings($t);

    view($t, 1, 20);
    arrived($k, 1, 20, 'reloads: some arrive');
    $t->reload();
    is(join(' ', rings($t)), $first, 'reloads: the same queue, the same file');

    $k->stop();
    view($t, 21, 40);
    write_shop($t, account => 'queue 20m;');
    $t->reload();
    view($t, 41, 60);
    isnt(join(' ', rings($t)), $first, 'reloads: another size, another file');

    # both at once
    killed($t);
    $k->start();
    $t->run();
    arrived_all($k, [ 1 .. 60 ], 'reloads, then killed: all arrive');
    conserved($t, 'reloads, then killed: counted');
    ok($t->wait_for(sub { 1 == rings($t) }), 'reloads: one file is left');

    # in order
    my ($second) = rings($t);

    write_shop($t);
    $t->reload();
    ok($t->wait_for(sub { 1 == rings($t) && (rings($t))[0] ne $second }),
        'reloads: the old one goes');

    # with the folder of another spool
    my $old = Test::Nginx::Klaviyo::queues($t->dir());
    my $text = $t->read_file('nginx.conf');
    my ($third) = rings($t);

    $t->write_file('nginx.conf',
        $text =~ s{(klaviyo_spool) \S+;}{$1 $t->{dir}/other;}r);
    $t->reload();
    ok(!-e $old, 'another spool: nothing is left in the old place');
    $t->write_file('nginx.conf', $text);
    $t->reload();
    is(join(' ', rings($t)), $third, 'and back: it is there again');

    $t->write_file('nginx.conf',
        $text =~ s{(klaviyo_spool \S+);}{$1 queue=off;}r);
    $t->reload();
    is(scalar rings($t), 0, 'off: no file');
    view($t, 61, 80);
    arrived($k, 61, 80, 'off: it goes on');
}

###############################################################################

# Files that are damaged, of another version, or of nobody.

sub strangers {
    my $t = shop();
    my $k = $t->klaviyo();

    $k->stop();
    view($t, 1, 50);
    killed($t);

    my ($ring) = rings($t);
    my $path = ring_path($t, $ring);
    my @owner = (stat $path)[4, 5];
    my $image = Test::Nginx::Klaviyo::slurp($path);
    my $name = sub { $ring =~ s/\Ashop\.[0-9a-f]{16}/$_[0]/r };
    my $write = sub {
        my ($file, $data) = @_;
        open my $out, '>', ring_path($t, $file) or die;
        print $out $data;
        close $out;
        chown @owner, ring_path($t, $file);
    };

    my $version = $image =~ s/klavring\K./\xff/rs;
    my $event = $image =~ s/\{("type":"event-bulk-create")/[$1/r;

    isnt($event, $image, 'strangers: there is an event');

    $write->($name->('shop.00000000000000aa'), $version);
    $write->($name->('shop.00000000000000bb'), 'nonsense' x 100);
    $write->($name->('shop.00000000000000cc'), substr $image, 0, 20_000);
    $write->($name->('shop.00000000000000dd'), '');
    $write->($name->('shop.00000000000000ee'), "\0" x 100_000);
    $write->($name->('gone.00000000000000aa'), $image);
    $write->($ring, $event);
    symlink '/etc/passwd', ring_path($t, $name->('shop.00000000000000ff'))
        or die;
    mkdir ring_path($t, $name->('shop.0000000000000011')) or die;

    $t->mark();
    $k->start();
    $t->run();
    view($t, 51, 60);
    arrived_all($k, [ 2 .. 60 ], 'strangers: the whole ones arrive');
    ok(settled($t), 'strangers: settled');
    conserved($t, 'strangers: counted');
    is(status($t)->{total}{damaged}, 1, 'strangers: the damaged one too');
    like($t->read_file('spool/shop.damaged'), qr/^\["type"/,
        'strangers: it is kept');

    # one of them a second, in any order; and it has looked more than once

    my $stay = sub { return join ' ',
        map { /(..)-00000001\.(.*)/ ? "$1.$2" : $_ }
        grep { !/00(?:ff|11)-/ } rings($t, '*{aa,bb,cc,dd,ee}-*') };
    my $stayed = 'aa.ring aa.ring bb.ring.damaged cc.ring.damaged';

    $t->wait_for(sub { $stay->() eq $stayed });
    sleep 1.5;

    is(scalar(() = $t->log() =~ /00aa.*of another version/g), 1,
        'strangers: another version is told once');
    is(scalar(() = $t->log() =~ /can't be read, it is kept as/g), 2,
        'strangers: what is damaged too');
    is(scalar(() = $t->log() =~ /no klaviyo account "gone" for a queue/g), 1,
        'strangers: an unknown account too');
    is($stay->(), $stayed, 'strangers: these stay');
}

###############################################################################

# A directory with the numbers of another nginx's, as on a file system that was
# made anew: it has not what that one left.

sub another {
    my $t = shop();
    my $other = shop(start => 0);
    my @spool = map { $_->dir() . '/spool' } $t, $other;

    $t->klaviyo()->stop();
    view($t, 1, 20);
    killed($t);

    my ($ring) = rings($t);

    ok($ring, 'another: something is left');
    rmdir $spool[1];
    ok(rename($spool[0], $spool[1]), 'another: has the same directory');

    $other->run();
    view($other, 21, 30);
    arrived($other->klaviyo(), 21, 30, 'another: sends its own events');
    ok($other->wait_for(sub { $other->log() =~ /dispatcher started/ }),
        'another: has looked');
    ok($other->quit(), 'another: ends');
    is(join(' ', sort { $a <=> $b } numbers($other->klaviyo())),
        join(' ', 21 .. 30), 'another: and no others');

    rename $spool[1], $spool[0];
    is(join(' ', rings($t)), $ring, 'another: what was left is there');
    $t->klaviyo()->start();
    $t->run();
    arrived($t->klaviyo(), 1, 20, 'another: whose it is finds it');
}

###############################################################################

# Where it is no tmpfs nothing is kept, and nothing else changes.

sub without {
    my $t = shop(start => 0);
    my $k = $t->klaviyo();
    my $text = $t->read_file('nginx.conf');

    mkdir $t->dir() . '/disk';
    $t->write_file('nginx.conf',
        $text =~ s{(klaviyo_spool \S+);}{$1 queue=/no/such;}r);
    $t->run();
    like($t->log(), qr{\[notice\].*"/no/such/klaviyo-.*it can't be created},
        'without: no such folder');
    view($t, 1, 10);
    arrived($k, 1, 10, 'without: all arrive');
    is(scalar rings($t), 0, 'without: no file');
    $t->quit();

    # a folder that others can write
    my $dir = Test::Nginx::Klaviyo::queues($t->dir());

    mkdir $dir or die;
    chmod 0777, $dir;
    $t->write_file('nginx.conf', $text);
    $t->run();
    like($t->log(), qr{\[notice\].*it is no directory of nginx's user alone},
        'without: a folder of all');
    is(scalar rings($t), 0, 'without: no file there');
    $t->quit();
    rmdir $dir;

    for my $value ('queue=', 'queue=shm', 'memory=off', 'queue=off/') {
        my ($code, $said) = $t->test_config(
            $text =~ s{(klaviyo_spool \S+);}{$1 $value;}r);

        like($said, qr/invalid parameter "\Q$value\E" of "klaviyo_spool"/,
            "without: $value");
    }
}


# A disk, where a store may wait, and a tmpfs without room.

sub full {
    my $t = shop(start => 0, account => 'queue 16m;');
    my $k = $t->klaviyo();
    my $text = $t->read_file('nginx.conf');
    my ($type) = `stat -f -c %T $t->{dir}`;

    SKIP: {
        skip 'the temporary folder is a tmpfs', 2 if $type =~ /tmpfs/;

        mkdir $t->dir() . '/disk';
        chmod 0777, $t->dir() . '/disk';
        $t->write_file('nginx.conf',
            $text =~ s{(klaviyo_spool \S+);}{$1 queue=$t->{dir}/disk;}r);
        $t->run();
        like($t->log(), qr{\[notice\].*"it is not on a tmpfs|not on a tmpfs},
            'full: a disk is refused');
        is(join(' ', glob $t->dir() . '/disk/*'), '', 'full: nothing is there');
        $t->quit();
    }

    SKIP: {
        mkdir $t->dir() . '/small';
        skip 'no mount', 3
            if $> != 0 || system('mount', '-t', 'tmpfs', '-o', 'size=4m',
                'tmpfs', $t->dir() . '/small') != 0;

        $t->write_file('nginx.conf',
            $text =~ s{(klaviyo_spool \S+);}{$1 queue=$t->{dir}/small;}r);
        $t->run();
        like($t->log(), qr/\[notice\].*bytes in ".*" can't be had/,
            'full: told at the start');
        view($t, 1, 10);
        arrived($k, 1, 10, 'full: all arrive');
        is(join(' ', glob $t->dir() . '/small/*/*'), '', 'full: no file');
        $t->quit();
        system('umount', $t->dir() . '/small');
    }
}

###############################################################################
