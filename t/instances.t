#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Two nginx that live in one directory of the spool: neither touches what the
# other one has there, until that is dead.  And who has the lock that tells it.

###############################################################################

use warnings;
use strict;

use Test::More;

use Cpanel::JSON::XS ();
use File::Temp ();
use FindBin ();
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

my $spool = File::Temp::tempdir(CLEANUP => 1, TMPDIR => 1);
my $json = Cpanel::JSON::XS->new->utf8;

chmod 0777, $spool;

my $one = shop(start => 0, drain => '100ms');
my $two = Test::Nginx::Klaviyo->new();
my $k = $one->klaviyo();

write_shop($two, drain => '100ms', endpoint => $k->url());

for my $t ($one, $two) {
    $t->write_file('nginx.conf', $t->read_file('nginx.conf')
        =~ s/(klaviyo_spool) \S+;/$1 $spool;/r);
    $t->run();
}

# requests for the page 201, each an event of its own
my $more = 0;

together();
frozen();
dead();
late();
confined();

Test::Nginx::Klaviyo->done();

###############################################################################

# name => [ the numbers of its events ]
sub segments {
    my %segments;

    for my $file (glob "$spool/*.spool") {
        open my $in, '<', $file or next;
        $segments{$file} = [ map { $json->decode($_)->{event}{attributes}
            {events}{data}[0]{attributes}{properties}{n} } <$in> ];
    }

    return %segments;
}


sub text {
    my %segments = segments();

    return join ' ', map { "$_ @{$segments{$_}}" } sort keys %segments;
}

###############################################################################

# Klaviyo is away: each has segments of its own.

sub together {
    $k->stop();

    view($one, 1, 200);
    view($two, 1001, 1200);

    # some are kept to be tried next
    for my $t ($one, $two) {
        ok($t->wait_for(sub {
            $more += view($one, 201, 201) if $t == $one;
            view($two, 1201, 1201) if $t == $two;
            return (account($t)->{events}{spooled} // 0) > 0 }, 20),
            'events are spooled');
    }

    my %segments = segments();
    my @mixed = grep { my @n = @{$segments{$_}};
        grep({ $_ < 1000 } @n) && grep({ $_ > 1000 } @n) } keys %segments;

    is("@mixed", '', 'each has its own');
    is(scalar(() = glob "$spool/*.lock"), 2, 'and its lock');
}


# One of them is stopped, but lives: the other one delivers its own only.

sub frozen {
    my $t = $two;

    $one->signal('STOP');

    my %before = segments();
    my @its = grep { $before{$_}[0] < 1000 } sort keys %before;

    cmp_ok(scalar @its, '>', 0, 'it has left segments');
    $k->start();

    my @all = (1001 .. 1200);

    $k->wait_for(200, 20, sub { grep { $_ >= 1001 && $_ <= 1200 } numbers($k) });
    is(missed([ grep { $_ <= 1200 } numbers($k) ], \@all), '',
        'the other one delivers its own, each once');

    # it looks each second
    sleep 2.5;

    my %now = segments();

    is(join(' ', sort keys %now), "@its", 'and leaves the rest alone');
    is("@{$now{$_} || []}", "@{$before{$_}}", 'as it is') for @its;
}


# It dies with its master: the other one delivers what it has left, in segments
# and in its queue.

sub dead {
    my @all = (1 .. 200, (201) x $more);

    $one->kill_all();

    $k->wait_for(scalar @all, 20, sub { grep { $_ < 1000 } numbers($k) });
    is(join(' ', sort { $a <=> $b } grep { $_ < 1000 } numbers($k)), "@all",
        'dead: all that it had is delivered, each once');
    ok($two->wait_for(sub { !(() = glob "$spool/*.spool") }),
        'no segment is left');
    is(scalar(() = glob "$spool/*.lock"), 1, 'nor is its lock');
    conserved($two, 'and all are counted');
    is(account($two)->{events}{restored}, scalar @all, 'as restored');
}

###############################################################################

# the locks that a process has open
sub locks {
    my ($pid) = @_;

    return grep { /\.lock\z/ } map { readlink // '' } glob "/proc/$pid/fd/*";
}


# The directory isn't there when the master looks for it: who is started later
# takes the lock, and the master nothing for it that has the same number.

sub late {
    my $t = shop(start => 0);
    my $text = $t->read_file('nginx.conf');
    my $dir = $t->dir();

    $t->write_file('nginx.conf',
        $text =~ s{(klaviyo_spool) \S+;}{$1 $dir/no/folder;}r);
    $t->run();

    my $pid = dispatcher($t);
    my $user = (stat "/proc/$pid")[4];

    mkdir "$dir/no" or die;
    mkdir "$dir/no/folder" or die;
    chown $user, -1, "$dir/no/folder";

    kill 'KILL', $pid;
    $t->expect_kill();
    $pid = dispatcher($t, $pid);

    like($t->wait_for(sub { (locks($pid))[0] }), qr{/no/folder/},
        'late: the next one that delivers has the lock');
    is(scalar locks($t->master_pid()), 0, 'late: not the master');

    $t->write_file('nginx.conf', $text);
    $t->reload();

    $pid = dispatcher($t, $pid);

    is(join(' ', map { m{\Q$dir\E/(.*)/} } locks($t->master_pid())), 'spool',
        'late: another directory, where the master has it');
    is(join(' ', map { m{\Q$dir\E/(.*)/} } locks($pid)), 'spool',
        'late: and who delivers has no other');
}


# A master that may not enter what belongs to nginx's user, as in a container.

sub confined {
    my @drop = qw(setpriv --bounding-set -dac_override
                  --inh-caps -dac_override);

    SKIP: {
        skip 'needs root and setpriv', 3
            if $> != 0 || system("@drop true > /dev/null 2>&1") != 0;

        # it makes the directory
        my $t = shop();

        $t->quit();
        $t->write_file('confined',
            "#!/bin/sh\nexec @drop $Test::Nginx::Klaviyo::NGINX \"\$@\"\n");
        chmod 0755, $t->dir() . '/confined';

        {
            local $Test::Nginx::Klaviyo::NGINX = $t->dir() . '/confined';

            $t->run();
        }

        my $pid = dispatcher($t);

        ok($t->wait_for(sub { locks($pid) }),
            'confined: who delivers has the lock');
        is(scalar locks($t->master_pid()), 0, 'confined: not the master');

        $t->reload();
        $pid = dispatcher($t, $pid);

        ok($t->wait_for(sub { locks($pid) }),
            'confined: the next one, when the old one has left');
    }
}

###############################################################################
