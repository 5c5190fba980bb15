#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# The steps of docs/going-live.md: a dry run, looked at by the commands of the
# page; a small share of the rate; all; and back.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

my $rate = 'batch events=10 linger=9s; rate share=2%;';

my $t = shop(account => 'dry_run on; batch events=20 linger=9s;');
my $k = $t->klaviyo();

like(account($t)->{health}{text}, qr/^Dry run, Klaviyo gets nothing: /,
    'a dry run: the sentence');

view($t, 1, 20);
ok($t->wait_for(sub { account($t)->{events}{sent} == 20 }),
    'a dry run: all are written');
is($k->stats()->{connections}, 0, 'a dry run: nothing is sent');
commands();
share();
back();

Test::Nginx::Klaviyo->done();

###############################################################################

# What the page says to look at the file with.

sub commands {
    my ($events, $properties, $profiles) = map { run($_) } examples();

    like($events, qr/\A\s*20 Viewed\n\z/, 'each of a metric');
    is(scalar(() = $properties =~ /^\{"metric":"Viewed",.*"n":"\d+"/mg), 20,
        'the properties of each');
    like($profiles, qr/\A\s*20 \w+\n\z/, 'what finds the profiles');
}


sub examples {
    open my $in, '<', "$FindBin::Bin/../docs/going-live.md" or die "open: $!\n";
    local $/;

    return <$in> =~ /^```sh\n(.*?)^```/msg;
}


sub run {
    my ($command) = @_;
    my $spool = $t->dir() . '/spool';

    $command =~ s{/var/lib/nginx/klaviyo/}{$spool/}g;

    return scalar `$command`;
}

###############################################################################

# 2% of 150 requests a minute are three, ten events in each; one of them was
# the dry run's. The others wait for more.

sub share {
    write_shop($t, account => $rate, rate => '');
    $t->reload();
    view($t, 21, 120);
    ok($t->wait_for(sub { account($t)->{events}{sent} == 40
        && account($t)->{state} eq 'throttled' }, 20),
        'a share: no more requests than that');
    like(account($t)->{health}{text}, qr/^Klaviyo's quota has been used up /,
        'a share: the sentence');
    is(scalar numbers($k), 20, 'a share: that is what Klaviyo has');
    is(account($t)->{events}{queued} + account($t)->{events}{spooled}, 80,
        'a share: the others wait');

    write_shop($t, account => 'batch linger=50ms;');
    $t->reload();
    arrived($k, 21, 120, 'the whole rate: all arrive');
    is(missed([ numbers($k) ], [ 21 .. 120 ]), '',
        'none of the dry run, none twice');
    conserved($t, 'all are counted');
}


sub back {
    write_shop($t, http => 'klaviyo off;');
    $t->reload();

    my $seen = account($t)->{events}{seen};

    view($t, 121, 130);
    is(account($t)->{events}{seen}, $seen, 'back: no event');
    conserved($t, 'back: counted');
}

###############################################################################
