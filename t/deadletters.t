#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# klaviyo-deadletters: lists what Klaviyo refused, and sends it again.

###############################################################################

use warnings;
use strict;

use Test::More;

use Cpanel::JSON::XS ();
use Fcntl qw(:DEFAULT);
use File::Temp ();
use FindBin ();
use IO::Select ();
use POSIX ();
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

my $program = "$FindBin::Bin/../util/klaviyo-deadletters";
my $json = Cpanel::JSON::XS->new->utf8->canonical;

with_nginx();
beside_a_writer();
interrupted();
wrong();

Test::Nginx::Klaviyo->done();

###############################################################################

# What it says, and its exit code.

sub run {
    my (@arguments) = @_;

    local $?;

    my $pid = open(my $out, '-|') // die "fork: $!\n";

    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        exec { $program } $program, @arguments or POSIX::_exit(127);
    }

    local $/;
    my $text = <$out> // '';

    close $out;

    return wantarray ? ($text, $? >> 8) : $text;
}


sub lines {
    my ($file) = @_;

    open my $in, '<', $file or return;

    return <$in>;
}

###############################################################################

# Letters of a real nginx, listed, and sent again in three ways.

sub with_nginx {
    my $t = shop(account => 'batch events=1 linger=20ms;',
        rule => 'profile email $arg_email;');
    my $k = $t->klaviyo();
    my $spool = $t->dir() . '/spool';
    my $file = "$spool/shop.dead";

    $k->script(map { { answer => $_ } } qw(400 413 400));
    view($t, 1, 3,
        uri => sub { "/p?n=$_[0]&email=somebody$_[0]\@example.org" });
    ok($t->wait_for(sub { 3 == dead_letters($t) }), 'three letters');

    my @letters = dead_letters($t);
    my @rows = map { [ split /\t/, $_, -1 ] } split /\n/, run('list', '-d',
        $spool, 'shop');

    is(scalar @rows, 3, 'list: three lines');

    my @codes = map { $_->[2] } @rows;
    my ($large) = grep { $codes[$_] eq 'too_large' } 0 .. 2;

    is(join(' ', sort @codes), 'invalid invalid too_large', 'list: codes');
    is($rows[$large][1], 413, 'list: status');
    like($rows[0][0], qr/\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\z/, 'list: when');
    is($rows[$_][4], $letters[$_]{error}{detail}, "list: detail $_")
        for 0 .. 2;
    is($rows[0][5], 'Viewed', 'list: metric');
    is($rows[$_][6], attributes($letters[$_])->{unique_id}, "list: id $_")
        for 0 .. 2;
    unlike(run('list', '-d', $spool), qr/somebody/, 'list: no personal data');
    is(() = run('list', '-d', $spool, '--full') =~ /somebody/g, 3,
        'list: but all of it on demand');
    is(run('list', '-d', $spool, 'other'), '', 'list: another account');

    # one code, one id, all
    my @before = lines($file);
    my @stat = stat $file;

    is(run('replay', '-d', $spool, 'shop', '--code', 'too_large'),
        "1 events are given to nginx\n", 'replay: a code');
    arrives($t, $letters[$large], 'it arrives');
    is(join('', lines($file)), join('', @before[grep { $_ != $large } 0 .. 2]),
        'the others stay as they were');

    my @now = stat $file;

    is("@now[2, 4, 5]", "@stat[2, 4, 5]", 'of the same owner and mode');

    my @left = @letters[grep { $_ != $large } 0 .. 2];

    is(run('replay', '-d', $spool, 'shop', '--id',
        attributes($left[1])->{unique_id}), "1 events are given to nginx\n", 'replay: an id');
    arrives($t, $left[1], 'it arrives');
    is(run('replay', '-d', $spool, 'shop', '--code', 'none'),
        "0 events are given to nginx\n", 'replay: nothing fits');
    is(run('replay', '-d', $spool, 'shop'), "1 events are given to nginx\n", 'replay: all');
    arrives($t, $left[0], 'it arrives');
    is(run('replay', '-d', $spool, 'shop'), "0 events are given to nginx\n",
        'replay: nothing is left');
    is(run('list', '-d', $spool), '', 'nor is anything to list');

    settled($t);
    is(join(' ', map { s{.*/}{}r } grep { !/\.(?:lock|rate)\z/ }
        glob "$spool/* $spool/.k*"), '', 'no file is left');
    is(scalar $k->events(), 3, 'each came once');

    my $events = account($t)->{events};

    is("$events->{restored} $events->{dead} $events->{damaged}", '3 3 0',
        'counted as restored');
    conserved($t, 'and all of it adds up');
}


sub attributes {
    my ($letter) = @_;

    return $letter->{event}{attributes}{events}{data}[0]{attributes};
}


sub arrives {
    my ($t, $letter, $name) = @_;
    my $id = attributes($letter)->{unique_id};

    is(scalar $t->klaviyo()->wait_for(1, 10,
        sub { grep { $_->{unique_id} eq $id } $t->klaviyo()->events() }), 1,
        $name);
}

###############################################################################

# A line as nginx would write it, but for the sum.

sub letter {
    my ($n, $code) = @_;

    return $json->encode({ at => '2026-01-01T00:00:00Z', error => {
        code => $code, status => 400, pad => 'x' x (($n * 37) % 5000) },
        event => { attributes => { events => { data => [ { attributes =>
            { unique_id => "id-$n" } } ] } } } }) . "\n";
}


# One who appends as nginx does, until the code that is returned is called: it
# tells how many there are.

sub writer {
    my ($file, $pause) = @_;

    pipe my $stop, my $stopping or die "pipe: $!\n";
    pipe my $result, my $write or die "pipe: $!\n";

    my $pid = fork() // die "fork: $!\n";

    if (!$pid) {
        close $stopping;

        my $select = IO::Select->new($stop);
        my $n = 0;

        while (!$select->can_read($pause)) {
            my $line = letter(++$n, $n % 3 ? 'a' : 'b');

            sysopen my $out, $file, O_RDWR | O_APPEND | O_CREAT, 0600 or next;
            syswrite $out, $line;
        }

        syswrite $write, "$n\n";
        POSIX::_exit(0);
    }

    close $stop;
    close $write;

    return sub {
        local $?;

        close $stopping;
        my $n = readline $result;
        waitpid $pid, 0;

        return $n + 0;
    };
}


sub folder {
    my $dir = File::Temp::tempdir(CLEANUP => 1, TMPDIR => 1);

    return ($dir, "$dir/shop.dead");
}


# Letters that die meanwhile: each is in one place, to the byte, and those of the
# code are given back.

sub beside_a_writer {
    my ($dir, $file) = folder();
    my $stop = writer($file, 0.002);

    for (1 .. 3) {
        sleep 0.2;
        like(run('replay', '-d', $dir, 'shop', '--code', 'b'),
            qr/\A\d+ events are given to nginx\n\z/, 'beside a writer: a replay');
    }

    my $n = $stop->();

    cmp_ok($n, '>', 500, 'beside a writer: many letters');
    run('replay', '-d', $dir, 'shop', '--code', 'b');

    is(join('', sort(map { lines($_) } glob "$dir/*")),
        join('', sort(map { letter($_, $_ % 3 ? 'a' : 'b') } 1 .. $n)),
        'each is in one place, to the byte');
    is(join('', sort(map { lines($_) } glob "$dir/shop.*.spool")),
        join('', sort(map { letter($_, 'b') } grep { $_ % 3 == 0 } 1 .. $n)),
        'those that were wanted are given back');
    is(scalar(() = glob "$dir/shop.dead*"), 1, 'the others are in their file');
}


# Killed at any moment: nothing is lost, and the next one finishes it.

sub interrupted {
    my ($dir, $file) = folder();
    my $stop = writer($file, 0.005);
    my $killed = 0;

    for my $round (1 .. 10) {
        my $pid = fork() // die "fork: $!\n";

        if (!$pid) {
            setpgrp;
            open STDOUT, '>', '/dev/null';
            exec { $program } $program, 'replay', '-d', $dir, 'shop', '--code',
                'b' or POSIX::_exit(127);
        }

        sleep 0.9 + 0.03 * $round;
        $killed += kill 'KILL', -$pid;
        waitpid $pid, 0;
    }

    my $n = $stop->();

    cmp_ok($killed, '>', 5, 'interrupted: many times');
    run('replay', '-d', $dir, 'shop', '--code', 'b');

    my %seen;

    $seen{$_}++ for map { lines($_) } glob "$dir/*.spool $dir/*.dead";

    is(scalar(grep { !$seen{letter($_, $_ % 3 ? 'a' : 'b')} } 1 .. $n), 0,
        'interrupted: nothing is lost');
    is(scalar keys %seen, $n, 'nor changed');
    is(scalar(() = glob "$dir/shop.dead*"), 1, 'nothing is left over');
}

###############################################################################

# What it doesn't do.

sub wrong {
    my ($dir, $file) = folder();

    my @no = ('-d', "$dir/no");

    for my $arguments ([], ['nonsense', @no], ['replay', @no],
        ['replay', '-d'], ['list', @no, '--what'], ['list', @no, '--code', 'a'],
        ['replay', @no, 'shop', '--code', 'a', '--id', 'b'])
    {
        my ($text, $code) = run(@$arguments);

        is($code, 2, "@$arguments: usage");
    }

    for my $arguments ([ 'list', '-d', "$dir/no" ],
        [ 'replay', '-d', $dir, '../shop' ])
    {
        my ($text, $code) = run(@$arguments);

        is($code, 1, "@$arguments: an error");
    }

    symlink '/etc/passwd', $file;

    my ($text, $code) = run('replay', '-d', $dir, 'shop');

    is($code, 1, 'a link is not followed');
    ok(-e '/etc/passwd', 'nor moved');
    is(run('list', '-d', $dir), '', 'nor shown');

    # words that a terminal would obey
    unlink $file;
    open my $out, '>', $file;
    print $out $json->encode({ at => 'x', error => { status => 400,
        code => "a\e[2J\tb", detail => "c\nd" } }), "\n", "no JSON\n";
    close $out;

    my @rows = split /\n/, run('list', '-d', $dir);

    is(scalar @rows, 2, 'a line for each letter');
    unlike($rows[0], qr/\e/, 'without control characters');
    like($rows[1], qr/damaged/, 'what is damaged hides no other');
}

###############################################################################
