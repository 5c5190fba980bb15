#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# klaviyo_tail: the last events and skips of each rule, masked.

###############################################################################

use warnings;
use strict;

use Test::More;

use Cpanel::JSON::XS ();
use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

my $json = Cpanel::JSON::XS->new->utf8;
my %opt = (rule => <<'EOR', server => <<'EOS');
            when      not $arg_skip;
            profile   email  $arg_email;
            property  Price  $arg_price | number;
            property  Tags   $arg_tags | split ,;
            property  New    $arg_new | boolean;
            property  None   $arg_none;
EOR
        klaviyo_track Searched /search {
            profile   external_id  "";
            property  q  $arg_q;
            when $arg_q;
        }
EOS

configuration();

my $t = shop(%opt, http => 'klaviyo_tail 256k;', workers => 2);

masked();
kept();
worker();
reload();

Test::Nginx::Klaviyo->done();

###############################################################################

sub tail {
    my ($n) = @_;

    return map { $json->decode($_) }
           split /\n/, ($n || $t)->get('/klaviyo?format=ndjson')->body();
}


# As soon as there are so many: another worker may answer before the one that
# had the request has logged it.

sub tail_of {
    my ($n) = @_;

    $t->wait_for(sub { $n == tail() });

    return tail();
}


sub configuration {
    my $n = shop(%opt);

    view($n, 1, 3);
    is($n->get('/klaviyo?format=ndjson')->body(), '', 'off: there is nothing');
    ok(!status($n)->{tail}, 'off: is told');
    $n->quit();

    for ([ '1k', qr/invalid size "1k", it must be from 128k to 64m/ ],
         [ '65m', qr/invalid size "65m"/ ], [ 'on', qr/invalid size "on"/ ],
         [ '1m; klaviyo_tail off', qr/"klaviyo_tail" directive is duplicate/ ])
    {
        my ($text, $words) = @$_;

        write_shop($n, %opt, http => "klaviyo_tail $text;");

        my ($code, $said) = $n->test_config();

        is($code, 1, "klaviyo_tail $text: refused");
        like($said, $words, 'with the words that are wrong');
    }

    write_shop($n, %opt, http => 'klaviyo_tail off;');
    is(($n->test_config())[0], 0, 'klaviyo_tail off');
}

###############################################################################

sub masked {
    my %query = (n => '5ecr3t-id', email => '5ecr3t@shop.de', price => '9.90',
        tags => '5ecr3t,b,c', new => 'yes', x => '5ecr3t');

    $t->get('/p?' . join '&', map { "$_=$query{$_}" } sort keys %query);
    $t->post('/p/jane@shop.de/0123456789?n=1&skip=1', 'a=5ecr3t');
    $t->get('/search?q=5ecr3t');

    my %lines = map { ("$_->{metric} $_->{outcome}" => $_) } tail_of(3);

    is(join(', ', sort keys %lines), 'Searched skipped, Viewed queued, '
        . 'Viewed skipped', 'three lines');

    my $event = $lines{'Viewed queued'};

    is("@$event{qw(account metric outcome method path status)}",
        'shop Viewed queued GET /p 200', 'an event');
    like($event->{time}, qr/\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z\z/,
        'when');
    like("$event->{file}:$event->{line}", qr{/nginx\.conf:\d+\z}, 'by which');
    is_deeply($event->{profile}, { email => 'text(14)' }, 'of whom');
    is_deeply($event->{properties}, { n => 'text(9)', Price => 'number',
        Tags => 'array(3)', New => 'boolean', None => 'missing' }, 'of what');

    is("@{$lines{'Viewed skipped'}}{qw(reason method path)}",
        'condition POST /p/***/***', 'a skip');
    is("@{$lines{'Searched skipped'}}{qw(reason path)}",
        'unidentified /search', 'another');
    unlike($t->get('/klaviyo?format=ndjson')->body(), qr/5ecr3t|jane/,
        'nothing of a visitor');
}


# Of each rule, events and skips apart.

sub kept {
    view($t, 1, 100);
    view($t, 1, 100, uri => sub { "/p?n=$_[0]&skip=1" });

    my @lines = tail_of(33);
    my %count;

    $count{"$_->{metric} $_->{outcome}"}++ for @lines;
    is_deeply(\%count, { 'Viewed queued' => 16, 'Viewed skipped' => 16,
        'Searched skipped' => 1 }, 'the last of each');
    is($lines[-1]{metric}, 'Searched', 'the newest first');
    is($lines[0]{outcome}, 'skipped', 'of all of them');
}


# Workers that are killed while they write leave it whole.

sub worker {
    my $done = load($t, from => 1000);

    for (1 .. 5) {
        my ($worker) = $t->processes('worker');

        kill 'KILL', $worker->{pid};
        ok($t->wait_for(sub { !grep { $_->{pid} == $worker->{pid} }
            $t->processes('worker') }), 'a worker is killed');
    }

    $done->();

    my @lines = eval { tail() };

    cmp_ok(scalar @lines, '>=', 16, 'what is there can be read');
    $t->expect_kill();
}


sub reload {
    my $before = grep { $_->{metric} eq 'Searched' } tail();

    $t->reload();
    is(scalar(grep { $_->{metric} eq 'Searched' } tail()), $before,
        'a reload keeps it');

    write_shop($t, %opt, http => 'klaviyo_tail 512k;', workers => 2);
    $t->reload();
    ok($t->wait_for(sub { !tail() }), 'another size begins anew');
    view($t, 1, 1);
    is(scalar tail_of(1), 1, 'and works');
}

###############################################################################
