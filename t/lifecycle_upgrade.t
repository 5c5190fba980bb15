#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Binary upgrades under load: with an account of each request.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery qw(account);
use Test::Nginx::Klaviyo::Lifecycle;

###############################################################################

upgrade('an upgrade');
upgrade('an upgrade, Klaviyo is away', 1);
rollback();

Test::Nginx::Klaviyo->done();

###############################################################################

sub children {
    my ($t, $master) = @_;

    return grep { $_->{ppid} == $master } $t->processes('worker|helper');
}

###############################################################################

# USR2, WINCH, QUIT.

sub upgrade {
    my ($name, $away) = @_;
    my $l = Test::Nginx::Klaviyo::Lifecycle->new($name,
        shop => { main => 'env ASAN_OPTIONS;' });
    my $t = $l->t();

    $l->away() if $away;
    $l->load()->more(1000);

    my $old = $l->upgrade();

    $l->more(1000);
    kill 'WINCH', $old;
    ok($t->wait_for(sub { !children($t, $old) }),
        "$name: the old workers leave");
    $l->more(1000);
    kill 'QUIT', $old;
    ok($t->wait_for(sub { !kill 0, $old }), "$name: the old one ends");
    $l->back() if $away;
    $l->more(500);
    $l->account();
}


# USR2, WINCH, and back: HUP, QUIT for the new one.

sub rollback {
    my $l = Test::Nginx::Klaviyo::Lifecycle->new('a rollback',
        shop => { main => 'env ASAN_OPTIONS;' });
    my $t = $l->t();

    $l->load()->more(1000);

    my $old = $l->upgrade();
    my $new = $t->master_pid();

    kill 'WINCH', $old;
    $t->wait_for(sub { !children($t, $old) });
    $l->more(1000);
    kill 'HUP', $old;
    ok($t->wait_for(sub { children($t, $old) > 2 }),
        'a rollback: the old one works again');
    kill 'QUIT', $new;
    ok($t->wait_for(sub { !kill 0, $new }), 'a rollback: the new one ends');
    ok($t->wait_for(sub { $t->master_pid() == $old }), 'a rollback: is done');
    $l->more(1000);
    $l->account();
}

###############################################################################
