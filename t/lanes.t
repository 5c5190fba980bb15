#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Updates of profiles and subscriptions go by lanes of their own: each to its
# endpoint, one a request, with queue, spool and dead letters of its own, and
# with the guarantees of events.  A lane exists where something of it is in the
# spool, so files make one here.

###############################################################################

use warnings;
use strict;

use Test::More;

use Compress::Zlib ();
use Cpanel::JSON::XS ();
use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;
use Test::Nginx::Klaviyo::Spool;

###############################################################################

my $json = Cpanel::JSON::XS->new->utf8->canonical;

# as the module renders them
my %lanes = (
    profiles => {
        path => '/api/profile-import',
        entry => sub { my ($n) = @_; return { type => 'profile',
            attributes => { email => "a$n\@shop.dev",
                properties => { n => "$n" } } } },
        received => sub { map { $_->{attributes}{properties}{n} }
            $_[0]->profiles() },
        poison => [ 'n', '3' ],
    },
    subscriptions => {
        path => '/api/profile-subscription-bulk-create-jobs',
        entry => sub { my ($n) = @_; return {
            type => 'profile-subscription-bulk-create-job',
            attributes => { custom_source => 'footer', profiles => { data => [
                { type => 'profile', attributes => {
                    email => "a$n\@shop.dev", subscriptions => { email => {
                        marketing => { consent => 'SUBSCRIBED' } } } } } ] } },
            relationships => { list => { data => {
                type => 'list', id => 'AbC123' } } } } },
        received => sub { map { $_->{attributes}{email} =~ /(\d+)/ }
            $_[0]->subscriptions() },
        poison => [ 'email', 'a3@shop.dev' ],
    },
);

for my $lane (sort keys %lanes) {
    delivered($lane);
    troubled($lane);
    refused($lane);
    away($lane);
}

together();
gone();

Test::Nginx::Klaviyo->done();

###############################################################################

# What lies in the spool is sent, each in a request of its own.

sub delivered {
    my ($lane) = @_;
    my $t = lane_shop($lane, 1 .. 20);
    my $k = $t->klaviyo();

    view($t, 1, 10);
    came($k, $lane, 1, 20, "$lane: all arrive, each once");
    arrived($k, 1, 10, "$lane: events too");

    my @requests = grep { $_->{path} eq $lanes{$lane}{path} } $k->requests();

    is(scalar @requests, 20, "$lane: one a request");
    is(join(' ', grep { $_ != 1 } map { $_->{entries} } @requests), '',
        "$lane: of one");
    conserved($t, "$lane: all are counted");
    is(lane($t, $lane)->{requests}, 20, "$lane: status");
    is(lane($t, $lane)->{state}, 'ok', "$lane: its state");
    is(account($t)->{requests}, scalar(bodies($k)) - 20,
        "$lane: the events' requests count apart");
    is(status($t)->{total}{restored}, 20, "$lane: restored ones");
    is(join(' ', segments($t)), '', "$lane: the spool is empty");

    # there may be something in it, whatever becomes of rule and files
    $k->stop();
    put($t, $lane, 'late', 21 .. 22);
    ok($t->wait_for(sub { lane($t, $lane)->{queue}{events} == 2
                          && !segments($t) }), "$lane: only in the queue");
    $t->reload();
    ok(lane($t, $lane), "$lane: a reload keeps the lane");
    $k->start();
    came($k, $lane, 1, 22, "$lane: and what is in it");
    view($t, 11, 20);
    arrived($k, 11, 20, "$lane: events go on");

    $t->quit();
    $t->run();
    ok($t->wait_for(sub { account($t)->{state} }), "$lane: another run");
    is(lane($t, $lane), undef, "$lane: has no use for it");
}


# 5xx and 429: later, with the same bytes.  Events don't wait for that.

sub troubled {
    my ($lane) = @_;

    for my $answer ([ '503', retry_after => 1 ], [ '500' ],
        [ '429', retry_after => 1 ], [ 'drop' ], [ '403-html' ], [ '401' ])
    {
        my $t = lane_shop($lane, 1);
        my $k = $t->klaviyo();
        my $name = "$lane, $answer->[0]";

        $k->answer(@$answer) if $answer->[0] ne '401';
        $k->answer('401', times => 0) if $answer->[0] eq '401';
        $t->run();
        $k->wait_requests(1);

        if ($answer->[0] eq '401') {
            $t->expect_log(qr/refused the request/);
            ok($t->wait_for(sub { lane($t, $lane)->{state} eq 'stopped' }),
                "$name: stops");
            $k->script();
            view($t, 1, 5);
            arrived($k, 1, 5, "$name: events don't");
            is($t->quit(), 1, "$name: nginx ends");
            is(scalar(() = segments($t)), 1, "$name: it is kept");
            $t->run();
        }

        came($k, $lane, 1, 1, "$name: arrives once");

        my @sent = grep { $_->{path} eq $lanes{$lane}{path} } $k->requests();

        is(scalar(uniq(map { $_->{digest} // () } @sent)), 1,
            "$name: the same bytes");
        conserved($t, "$name: is counted");
    }
}


# 400: that one dies, the others arrive; moved back it is sent.

sub refused {
    my ($lane) = @_;
    my $t = lane_shop($lane, 1 .. 5);
    my $k = $t->klaviyo();

    $k->poison(@{$lanes{$lane}{poison}}, 'deep');
    $t->run();
    $k->wait_for(4, 15, sub { $lanes{$lane}{received}->($k) });
    ok($t->wait_for(sub { status($t)->{total}{dead} == 1 }),
        "$lane, 400: one dies");
    is(missed([ $lanes{$lane}{received}->($k) ], [ 1, 2, 4, 5 ]), '',
        "$lane, 400: the others arrive");
    conserved($t, "$lane, 400: all are counted");

    my ($letter) = dead_letters($t, "shop+$lane");

    is_deeply($letter->{event}, $lanes{$lane}{entry}->(3),
        "$lane, 400: the letter");
    is($letter->{error}{status}, 400, "$lane, 400: and why");

    $k->poison();
    rename $t->dir() . "/spool/shop+$lane.dead",
           $t->dir() . "/spool/shop+$lane.again.spool" or die;
    came($k, $lane, 1, 5, "$lane, 400: moved back it is sent");

    # a conflict is no success: nothing was taken
    $k->answer('409');
    put($t, $lane, 'conflict', 6);
    ok($t->wait_for(sub { dead_letters($t, "shop+$lane") }),
        "$lane, 409: dies");
}


# Klaviyo is away at the end of nginx, and while it reloads.

sub away {
    my ($lane) = @_;
    my $t = lane_shop($lane, 1 .. 30);
    my $k = $t->klaviyo();

    $k->stop();
    $t->run();
    ok($t->wait_for(sub { (lane($t, $lane)->{state} // '') eq 'backoff' }),
        "$lane: away");
    put($t, $lane, 'more', 31 .. 40);
    $t->reload();
    put($t, $lane, 'late', 41 .. 45);
    ok($t->end('TERM'), "$lane: nginx ends");
    cmp_ok(scalar(() = segments($t)), '>=', 1, "$lane: all is on disk");

    $t->run();
    $k->start();
    came($k, $lane, 1, 45, "$lane: all arrive, each once");
    conserved($t, "$lane: all are counted");
}


# Klaviyo's rate is counted per endpoint: what waits in one lane waits alone.

sub together {
    my $t = lane_shop('profiles', 1 .. 3);
    my $k = $t->klaviyo();

    put($t, 'subscriptions', 'left', 1 .. 3);
    $t->write_file('spool/shop+nonsense.left.spool', line('profiles', 1));
    $k->settings(steady => 3);
    $t->run();
    came($k, 'profiles', 1, 3, 'together: updates');
    came($k, 'subscriptions', 1, 3, 'together: subscriptions');
    view($t, 1, 2);
    arrived($k, 1, 2, 'together: events');
    is(join(' ', grep { $_->{status} == 429 } $k->requests()), '',
        'together: each has a rate of its own');
    is(join(' ', segments($t)), 'shop+nonsense.left.spool',
        'together: no lane, no reader');
    like($t->log(), qr/no klaviyo account "shop\+nonsense"/, 'and it is told');
}


# Who can't read the directory has no lanes, and no error.

sub gone {
    my $t = shop(start => 0);
    my ($code, $text) = $t->test_config();

    is($code, 0, 'no directory: fine') or diag($text);
    $t->write_file('spool', 'a file');
    ($code, $text) = $t->test_config();
    is($code, 0, 'no directory but a file: fine') or diag($text);
    unlink $t->dir() . '/spool';
}

###############################################################################

# A shop with a segment of the lane, not started unless it is the first test's.

sub lane_shop {
    my ($lane, @n) = @_;
    my $t = shop(start => 0, drain => '300ms', standin => {
        bodies => $ENV{KLAVIYO_RECORD} // '' });

    put($t, $lane, 'left', @n);
    $t->run() if (caller(1))[3] eq 'main::delivered';

    return $t;
}


# A segment with these, as if it was left by somebody; complete at once.

sub put {
    my ($t, $lane, $name, @n) = @_;
    my $dir = $t->dir() . '/spool';
    my $file = "shop+$lane.$name";
    my $user = $> == 0 ? getpwnam('www-data') ? 'www-data' : 'nobody' : '';

    $t->write_file("spool/$file.new", join '', map { line($lane, $_) } @n);
    chown +(getpwnam $user)[2, 3], $dir, "$dir/$file.new" if $user;
    rename "$dir/$file.new", "$dir/$file.spool" or die "rename: $!\n";
}


sub line {
    my ($lane, $n) = @_;
    my $event = $json->encode($lanes{$lane}{entry}->($n));

    return sprintf qq({"crc":"%08x","len":%d,"key":"%s","id":"%08x",)
        . qq("time":%d,"backfill":0,"decided":true,"event":%s}\n),
        Compress::Zlib::crc32($event), length $event, '00' x 15 . '0a', $n,
        time, $event;
}


sub lane { return status($_[0])->{accounts}{"shop+$_[1]"} }


sub came {
    my ($k, $lane, $from, $to, $name) = @_;

    $k->wait_for($to - $from + 1, 20, sub { $lanes{$lane}{received}->($k) });
    is(missed([ $lanes{$lane}{received}->($k) ], [ $from .. $to ]), '', $name);
}


sub uniq {
    my %seen;

    return grep { !$seen{$_}++ } @_;
}

###############################################################################
