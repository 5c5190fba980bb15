#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# A batch that always gets 5xx, or no answer, while the others of its account
# are accepted: it must not stop the others, nor die of an outage.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use List::Util qw(max uniq);
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

# as the stand-in finds it in a body
my $bad = '"n":"77"';

one('500', 500, 'error', '500');
one('no answer', 0, 'no_answer', 'hang');
one('HTML', 502, 'failed', '502', body => '<html>oops</html>');
nothing_else();
outage();
across_a_reload();

Test::Nginx::Klaviyo->done();

###############################################################################

# One event of a hundred, while others come: it is found and dies, the others
# arrive, each once.

sub one {
    my ($name, $status, $code, @answer) = @_;
    my $t = shop(account => 'batch events=100 linger=100ms; timeout 150ms;');
    my $k = $t->klaviyo();

    $k->broken($bad, @answer);
    view($t, 1, 100);

    # all in one batch, then one by one
    my $last = 100;

    ok($t->wait_for(sub {
        view($t, ++$last, $last);
        return account($t)->{events}{dead};
    }, 60), "$name: the bad one is found");

    arrived($k, 1, 76, "$name: those before it arrive once");
    arrived($k, 78, $last, "$name: those after it arrive once");
    settled($t);

    my @bad = grep { $_->{answer} ne 'ok' } bodies($k);

    # three of the whole, one or two of each half, ten of itself; those with
    # which nothing was accepted don't count
    cmp_ok(scalar @bad, '<=', 80, "$name: few requests");
    cmp_ok(scalar @bad, '>=', 3 + 6 + 9, "$name: but enough");
    is((sort { $a <=> $b } map { $_->{entries} } @bad)[0], 1,
        "$name: alone at last") if $status;

    my @letters = dead_letters($t);

    is(scalar @letters, 1, "$name: no other died");
    is("$letters[0]{error}{status} $letters[0]{error}{code}",
        "$status $code", "$name: with the words there are");
    is($letters[0]{event}{attributes}{events}{data}[0]{attributes}{properties}
        {n}, 77, "$name: it is that one");
    is(account($t)->{state}, 'ok', "$name: the account is well");
    conserved($t, "$name: counted");
}

###############################################################################

# It is all there is, for long: nothing dies, and what comes later isn't held
# up.

sub nothing_else {
    my $t = shop(account => 'batch events=100 linger=20ms;');
    my $k = $t->klaviyo();

    $k->broken($bad, '500');
    view($t, 70, 79);
    $k->wait_requests(30);

    is(join(' ', uniq(map { $_->{entries} } bodies($k))), '10',
        'nothing else: it is not halved');
    is(account($t)->{events}{dead}, 0, 'nothing died');

    my $begin = time();

    view($t, 100, 100);
    $k->wait_events(1);
    cmp_ok(time() - $begin, '<', 2, 'a new one is not held up');
    conserved($t, 'nothing else: counted', busy => 1);
}


# Everything fails: nothing is halved and nothing dies, however often.

sub outage {
    my $t = shop(account => 'batch events=10 linger=20ms;');
    my $k = $t->klaviyo();

    $k->answer('500', times => 0);
    view($t, 1, 100);

    # some new ones meanwhile
    view($t, 100 + $_, 100 + $_), sleep 0.05 for 1 .. 50;
    $k->wait_requests(60);
    is(account($t)->{events}{dead}, 0, 'an outage: nothing died');

    my @sizes = map { $_->{entries} } bodies($k);

    is($sizes[0], 10, 'an outage: batches');
    is(scalar(grep { $_ < 10 } @sizes[0 .. 20]), 0, 'are not halved');

    $k->script();
    arrived($k, 1, 150, 'an outage is over: all arrive, each once');
    conserved($t, 'an outage: counted');
    is(scalar dead_letters($t), 0, 'there are no dead letters');
}


# What is aside is handed over like all that waits.

sub across_a_reload {
    my $t = shop(account => 'batch events=10 linger=20ms;', drain => '100ms');
    my $k = $t->klaviyo();

    $k->broken($bad, '500');
    view($t, 70, 79);
    view($t, 100 + $_, 100 + $_), sleep 0.05 for 1 .. 6;
    $t->reload();
    view($t, 200, 210);
    $k->broken();

    arrived($k, 70, 79, 'a reload: what was aside arrives, each once');
    arrived($k, 200, 210, 'so does what came later');
    conserved($t, 'a reload: counted');

    $k->broken($bad, '500');
    view($t, 1070, 1079, uri => sub { '/p?n=' . ($_[0] == 1077 ? 77 : $_[0]) });
    view($t, 300 + $_, 300 + $_), sleep 0.05 for 1 .. 6;
    $t->quit();
    $k->broken();
    $t->run();
    arrived($k, 1070, 1076, 'a restart: what was aside arrives');
    arrived($k, 301, 306, 'so do the others');
    conserved($t, 'a restart: counted');
    is($k->duplicates(), 0, 'nothing came twice');
}

###############################################################################
