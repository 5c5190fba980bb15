#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Klaviyo refuses events: the bad ones become dead letters, the others arrive.

###############################################################################

use warnings;
use strict;

use Test::More;

use Compress::Zlib ();
use FindBin ();
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

too_large();
poison();
several();
refused_alone();
repeated();
too_many_deaths();
no_dead_letters();
full_dead_letters();

Test::Nginx::Klaviyo->done();

###############################################################################

# 413: halves, then quarters; nothing dies unless it is too large alone.

sub too_large {
    my $t = shop();
    my $k = $t->klaviyo();

    $k->answer('413', times => 2);
    view($t, 1, 16);
    arrived($k, 1, 16, '413: each arrives once');
    settled($t);
    is(join(' ', sort { $b <=> $a } map { $_->{entries} } bodies($k)),
        '16 8 8 4 4', 'in halves');
    is(scalar dead_letters($t), 0, 'nothing died');

    $k->answer('413');
    view($t, 17, 17);
    ok($t->wait_for(sub { account($t)->{events}{dead} == 1 }),
        'one that is too large alone dies');

    my ($letter) = dead_letters($t);

    is("$letter->{error}{status} $letter->{error}{code}", '413 too_large',
        'and it is told why');
    conserved($t, '413: counted');
}

###############################################################################

# One event of 200 is refused: the others arrive, each once, in a few requests,
# whatever the error points at.  A pointer is believed when the event that it
# points at was refused alone too.

sub poison {
    my %most = (
        deep => 2, entry => 2,

        # each half of it is halved: 1 + 2 * log2(200)
        none => 17, beyond => 17,

        # an innocent goes alone: then it isn't believed again
        wrong => 24,
    );

    for my $kind (qw(deep entry none beyond wrong)) {
        my $t = shop(account => 'batch linger=300ms;');
        my $k = $t->klaviyo();

        # whether pointers are right is known by then
        if ($most{$kind} == 2) {
            $k->poison('n', '-1', $kind);
            view($t, 0, 0, uri => sub { '/p?n=-1' });
            view($t, 201, 203);
            $k->wait_events(3);
            settled($t);
            $k->forget();
        }

        $k->poison('n', '77', $kind);
        view($t, 1, 200);

        arrived($k, 1, 76, "pointer $kind: those before it arrive once");
        arrived($k, 78, 200, "pointer $kind: those after it arrive once");
        settled($t);

        my @bodies = bodies($k);

        is($bodies[0]{entries}, 200, "pointer $kind: it was one batch");
        cmp_ok(scalar @bodies, '<=', $most{$kind},
            "pointer $kind: few requests");

        my ($letter) = grep { $_->{event}{attributes}{events}{data}[0]
            {attributes}{properties}{n} == 77 } dead_letters($t);

        ok($letter, "pointer $kind: it is a dead letter");
        is("$letter->{error}{status} $letter->{error}{code}"
            . " $letter->{error}{detail}",
            "400 invalid The value of 'n' is invalid.",
            "pointer $kind: with Klaviyo's words");
        is(scalar dead_letters($t), account($t)->{events}{dead},
            "pointer $kind: no other died unseen");
        is(account($t)->{events}{dead}, $most{$kind} == 2 ? 2 : 1,
            "pointer $kind: none that is good");
        letters($t) if $kind eq 'deep';
        conserved($t, "pointer $kind: counted");
        $t->quit();
    }
}


# Several of them in one batch, and more than one answer tells of.

sub several {
    my $t = shop(account => 'batch linger=300ms;', standin => { errors => 3 });
    my $k = $t->klaviyo();
    my @bad = (7, 20, 21, 22, 77, 150, 200);
    my %bad = map { $_ => 1 } @bad;

    $k->settings(poison => [ map { { key => 'n', value => "$_",
        pointer => 'deep' } } @bad ]);
    view($t, 1, 200);
    $k->wait_events(200 - @bad);
    settled($t);

    is(missed([ numbers($k) ], [ grep { !$bad{$_} } 1 .. 200 ]), '',
        'several bad ones: the others arrive once');
    is(join(' ', sort { $a <=> $b } map { $_->{event}{attributes}{events}
        {data}[0]{attributes}{properties}{n} } dead_letters($t)), "@bad",
        'all of them are dead letters');

    # each answer that tells of more has to be proved right anew
    cmp_ok(scalar bodies($k), '<=', 16, 'in few requests');
    conserved($t, 'several bad ones: counted');

    my $told = qr/^(.*\[warn\].*"shop": Klaviyo refused with status 400.*)$/m;

    ok($t->wait_for(sub { $t->log() =~ $told }), 'the log tells of them');
    cmp_ok(scalar(() = $t->log() =~ /$told/g), '<=', 2, 'not of each');
}


# The file of dead letters: nobody else's to read, a line of JSON for each, with
# the checksum of the event as it is.
sub letters {
    my ($t) = @_;
    my $path = $t->dir() . '/spool/shop.dead';
    my @stat = stat $path;

    is(sprintf('%04o', $stat[2] & 07777), '0600', 'dead letters: 0600');

    my ($line) = $t->read_file('spool/shop.dead') =~ /^(.*"n":"77".*)$/m;
    my ($event) = $line =~ /,"event":(\{.*\})\}$/;
    my ($letter) = grep { $_->{event}{attributes}{events}{data}[0]
        {attributes}{properties}{n} == 77 } dead_letters($t);

    is($letter->{crc}, sprintf('%08x', Compress::Zlib::crc32($event)),
        'dead letters: the checksum');
    is($letter->{len}, length $event, 'dead letters: the length');
    like($letter->{at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
        'dead letters: when');
    is($letter->{error}{pointer}, '/data/attributes/events-bulk-create/data/76'
        . '/attributes/events/data/0/attributes/properties',
        'dead letters: where');

    SKIP: {
        skip 'no jq', 1 if system('command -v jq > /dev/null 2>&1');

        local $?;
        is(`jq -r .event.type $path 2>&1`, "event-bulk-create\n" x 2,
            'dead letters: jq reads them');
    }
}

###############################################################################

# A batch of one has no halves.

sub refused_alone {
    my $t = shop(account => 'batch linger=1ms;');
    my $k = $t->klaviyo();
    my $n = 0;

    for my $kind (qw(deep none beyond wrong)) {
        $k->answer('400', pointer => $kind, detail => "It is $kind.");
        view($t, ++$n, $n);
        ok($t->wait_for(sub { account($t)->{events}{dead} == $n }),
            "alone, pointer $kind: dies");
    }

    is(join(' ', map { $_->{error}{detail} } dead_letters($t)),
        'It is deep. It is none. It is beyond. It is wrong.', 'and why');
    is(scalar bodies($k), $n, 'of one request each');
    conserved($t, 'alone: counted');
}

###############################################################################

# A unique_id that Klaviyo has already: delivered, whether the error points at
# it or not.

sub repeated {
    my $t = shop(account => 'batch linger=100ms;',
        rule => 'unique_id $arg_id;', standin => { repeated => 'refuse' });
    my $k = $t->klaviyo();
    my $uri = sub { "/p?n=$_[0]&id=id-$_[0]" };

    view($t, 1, 3, uri => $uri);
    arrived($k, 1, 3, 'ids that are new');
    settled($t);
    view($t, 2, 9, uri => $uri);
    arrived($k, 1, 9, 'ids that Klaviyo knows: the others arrive once');
    settled($t);

    my $events = account($t)->{events};

    is("$events->{sent} $events->{dead}", '11 0', 'all are delivered');

    # what the pointers say is known to be true by now
    $k->forget();
    view($t, 8, 13, uri => $uri);
    arrived($k, 10, 13, 'again: the others arrive once');
    is(scalar bodies($k), 2, 'by one more request');
    settled($t);
    is(account($t)->{events}{sent}, 17, 'all are delivered');

    $k->answer('400', pointer => 'none',
        detail => 'The unique_id is repeated for this profile.');
    view($t, 20, 20, uri => $uri);
    ok($t->wait_for(sub { account($t)->{events}{sent} == 18 }),
        'without a pointer: so is one alone');
    is(account($t)->{events}{dead}, 0, 'nothing died');
    conserved($t, 'repeated ids: counted');
}

###############################################################################

# Twenty in a row, with nothing accepted in between: the fault is not theirs.

sub too_many_deaths {
    my $t = shop();
    my $k = $t->klaviyo();

    $t->expect_log(qr/Klaviyo refuses too many events/);
    $k->answer('400', times => 0, pointer => 'deep');
    view($t, 1, 60);
    ok($t->wait_for(sub { account($t)->{state} eq 'stopped' }, 30),
        'all are refused: stopped');

    my $events = account($t)->{events};

    is("$events->{dead} $events->{queued}", '20 40', 'after twenty');
    is(scalar dead_letters($t), 20, 'and they are dead letters');

    sleep 0.3;
    is(account($t)->{events}{dead}, 20, 'nothing more dies');
    conserved($t, 'all are refused: counted', busy => 1);
    is(scalar(() = $t->log() =~ /\[alert\]/g), 1, 'one alert');

    $k->answer('ok');
    $t->reload();
    $k->wait_events(40);
    settled($t);

    my %dead = map { $_->{event}{attributes}{events}{data}[0]{attributes}
        {properties}{n} => 1 } dead_letters($t);

    is(missed([ numbers($k) ], [ grep { !$dead{$_} } 1 .. 60 ]), '',
        'the others arrive, each once');
    conserved($t, 'all are refused: counted');
}

###############################################################################

# An event that can't be written down doesn't die.

sub no_dead_letters {
    my $t = shop(start => 0);
    my $k = $t->klaviyo();

    $t->expect_log(qr/no dead letter can be written/);
    $t->run();
    mkdir $t->dir() . '/spool/shop.dead' or die;

    $k->poison('n', '3', 'deep');
    view($t, 1, 1, uri => sub { '/p?n=3' });
    ok($t->wait_for(sub { account($t)->{state} eq 'stopped' }),
        'no dead letters: stopped');

    my $events = account($t)->{events};

    is("$events->{dead} $events->{queued}", '0 1', 'it is kept');
    conserved($t, 'no dead letters: counted', busy => 1);

    rmdir $t->dir() . '/spool/shop.dead' or die;
    view($t, 4, 8);
    $t->reload();
    arrived($k, 4, 8, 'the others arrive');
    settled($t);
    is(scalar dead_letters($t), 1, 'and it dies when it can be written');
    conserved($t, 'no dead letters: counted');
}


sub full_dead_letters {
    my $t = shop(account => 'spool max=1m;');
    my $k = $t->klaviyo();

    $t->expect_log(qr/the dead letters in .* are full/);
    $t->write_file('spool/shop.dead', 'x' x (1024 * 1024 - 100) . "\n");
    chown((stat $t->dir() . '/spool')[4, 5], $t->dir() . '/spool/shop.dead');

    $k->poison('n', '3', 'deep');
    view($t, 1, 1, uri => sub { '/p?n=3' });
    ok($t->wait_for(sub { account($t)->{events}{dropped}{full} }),
        'full dead letters: it is dropped');
    view($t, 1, 5);
    arrived($k, 1, 2, 'the others are not held up');
    arrived($k, 4, 5, 'nor those after it');
    settled($t);
    is(account($t)->{state}, 'ok', 'sending goes on');

    my $events = account($t)->{events};

    is("$events->{dead} $events->{dropped}{full} $events->{sent}", '0 2 4',
        'all are counted');
    is(-s $t->dir() . '/spool/shop.dead', 1024 * 1024 - 99,
        'the file has not grown');
    is(scalar(() = $t->log() =~ /\[alert\]/g), 1, 'one alert');
    conserved($t, 'full dead letters: it adds up');

    unlink $t->dir() . '/spool/shop.dead' or die;
    view($t, 3, 3);
    ok($t->wait_for(sub { account($t)->{events}{dead} }),
        'moved away: the next one is kept');
    is(scalar dead_letters($t), 1, 'with its words');
}

###############################################################################
