#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# klaviyo_status: which form is asked for, its headers, what the JSON has.

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

my %type = (
    json => 'application/json',
    html => 'text/html; charset=utf-8',
    prometheus => 'text/plain; version=0.0.4; charset=utf-8',
    ndjson => 'application/x-ndjson',
);

my $t = shop(account => 'batch linger=100ms; retry min=100ms max=200ms;',
    rule => 'when not $arg_skip;',
    accounts => 'klaviyo_account dry { api_key data:' . key(2)
        . '; endpoint %%KLAVIYO%%; dry_run on; } klaviyo_visitor $arg_cart;');
my $k = $t->klaviyo();

$t->expect_log(qr/sending is stopped/);

forms();
members();
minutes();
troubles();
skipped();
none();

Test::Nginx::Klaviyo->done();

###############################################################################

sub forms {
    my $browser = 'text/html,application/xhtml+xml,application/xml;q=0.9,'
        . 'image/avif,image/webp,*/*;q=0.8';
    my $prometheus = 'application/openmetrics-text;version=1.0.0,'
        . 'application/openmetrics-text;version=0.0.1;q=0.75,'
        . 'text/plain;version=0.0.4;q=0.5,*/*;q=0.1';

    for (
        [ json => '', undef ], [ json => '', '*/*' ],
        [ json => '', 'application/json, text/plain, */*' ],
        [ json => '', 'image/png' ], [ json => '', '' ],
        [ html => '', $browser ], [ prometheus => '', $prometheus ],
        [ prometheus => '', 'text/plain' ],
        [ ndjson => '', 'application/x-ndjson' ],
        [ json => '?format=json', $browser ],
        [ html => '?format=html', undef ],
        [ html => '?a=1&format=html', '*/*' ],
        [ prometheus => '?format=prometheus', $browser ],
        [ ndjson => '?format=ndjson', $browser ],
    ) {
        my ($form, $query, $accept) = @$_;
        my $name = "$form: \"$query\" " . ($accept // 'no Accept');
        my %headers = defined $accept ? (Accept => $accept) : ();
        my $r = $t->get("/klaviyo$query", headers => \%headers);

        is($r->status() . ' ' . $r->header('Content-Type'), "200 $type{$form}",
            $name);

        my $head = $t->request('HEAD', "/klaviyo$query",
            headers => \%headers);

        is($head->status() . ' ' . $head->header('Content-Type'),
            "200 $type{$form}", "HEAD $name");
        is($head->body(), '', "HEAD $name: no body");
    }

    for my $query (qw(?format= ?format=xml ?format=JSON ?format=jsonp)) {
        is($t->get("/klaviyo$query")->status(), 400, "400: $query");
    }

    is($t->post('/klaviyo', 'x')->status(), 405, 'no POST');

    my $r = $t->get('/klaviyo');

    is($r->header('Cache-Control'), 'no-store', 'not kept');
    is($r->header('Vary'), 'Accept', 'by Accept');
    is($r->header('X-Content-Type-Options'), 'nosniff', 'for what it is');
    is($r->header('Content-Length'), length $r->body(), 'its length');
    is($r->header('Content-Security-Policy'), undef, 'JSON needs no policy');
}

###############################################################################

# What docs/status.md says there is, is there, and the other way round.

sub members {
    open my $in, '<', "$FindBin::Bin/../docs/status.md" or die;
    my @lines = <$in>;

    view($t, 1, 5);
    view($t, 1, 2, uri => sub { "/p?n=$_[0]&skip=1" });
    settled($t);
    $k->answer('400', pointer => 'deep');
    view($t, 6, 6);
    ok($t->wait_for(sub { account($t)->{events}{dead} == 1 }), 'some events');

    my $status = status($t);
    my %there;

    walk($status, '', \%there);

    my %told = map { /^\| `([^`]+)` \|/ ? ($1 => 1) : () }
        grep { /^## JSON/ .. /^## Prometheus/ } @lines;

    is(join(' ', grep { !$told{$_} } sort keys %there), '',
        'each member is documented');
    is(join(' ', grep { !$there{$_} } sort keys %told), '',
        'each that is documented is there');
    is($status->{version}, 1, 'its version');
    conserved($t, 'counted');
}


# names of members by their documented path
sub walk {
    my ($value, $path, $there) = @_;

    if (ref $value eq 'HASH') {
        for my $key (keys %$value) {
            my $name = $path eq 'accounts' ? 'NAME' : $key;
            my $next = $path eq '' ? $name : "$path.$name";

            $next =~ s/\A(?:accounts\.NAME\.(?:rules\[\]\.)?events|total)\b
                      /events/x;
            $next = "$1.REASON" if $next
                =~ /\A(events\.(?:skipped|dropped))\./;
            $next = 'accounts.NAME.answers.CLASS'
                if $next =~ /\.answers\.\w/;
            $next =~ s/\Aaccounts\.NAME\.health/health/;
            walk($value->{$key}, $next, $there);
        }

        return;
    }

    if ($path =~ /\.(?:errors|rules)\z/) {
        walk($_, "${path}[]", $there) for @$value;
        return;
    }

    $there->{$path} = 1;
}

###############################################################################

# The last minute, the last ten.

sub minutes {
    my $shop;

    ok($t->wait_for(sub {
        $shop = account($t);
        my $history = $shop->{history};
        my $seen = 0;

        $seen += $_ // 0 for @{$history->{seen}};

        return $seen >= 3 && $shop->{last_minute}{seen} >= 3
               && defined $history->{waiting}[-1];
    }, 30), 'the history goes on')
        or diag(explain($shop->{history}, $shop->{last_minute}));

    my $history = $shop->{history};

    is(join(' ', map { scalar @{$history->{$_}} }
        qw(seen sent dropped waiting)), '120 120 120 120', 'ten minutes of it');
    is($history->{step}, 5, 'in steps of five seconds');
    is($history->{seen}[0], undef, 'of what nobody knows there is nothing');
    cmp_ok($shop->{last_minute}{seconds}, '>=', 5, 'a part of a minute');
    cmp_ok($shop->{delay_ms}, '>=', 50, 'how long an event waited');

    my $took = 0;

    $took += $_->[1] for @{$shop->{durations}};
    is($took, $shop->{answers}{'2xx'} + $shop->{answers}{'4xx'},
        'each answer took its time');
    is($shop->{durations}[-1][0], undef, 'some take longer');

    # counters of the control zone, and with them the history, stay
    $t->reload();

    my $after = account($t)->{history};
    my ($old) = grep { $_ } reverse @{$history->{seen}};

    ok((grep { ($_ // 0) == $old } @{$after->{seen}}), 'also after a reload');
}

###############################################################################

# In Klaviyo's words, without those of a visitor.

sub troubles {
    $k->answer('400', pointer => 'deep',
        detail => "'jane\@shop.de' (Jane Doe) is an invalid email.");
    view($t, 20, 20);
    ok($t->wait_for(sub { account($t)->{events}{dead} == 2 }), 'refused');

    my ($error) = @{account($t)->{errors}};

    is("$error->{status} $error->{code} $error->{count}", '400 invalid 1',
        'an error');
    is($error->{detail}, '*** is an invalid email.', 'masked');
    like($error->{pointer}, qr{\A/data/attributes/events-bulk-create/data/0/},
        'where');

    # the dispatcher's first words of an event that Klaviyo knows
    $k->answer('503', times => 3);
    view($t, 21, 21);
    settled($t);
    ($error) = @{account($t)->{errors}};
    is("$error->{status} $error->{count}", '503 3', 'the same once, counted');
    cmp_ok($error->{last}, 'ge', $error->{first}, 'from when to when');

    for my $n (1 .. 12) {
        $k->answer('5' . sprintf '%02d', $n + 10);
        view($t, 30 + $n, 30 + $n);
        settled($t);
    }

    my @errors = @{account($t)->{errors}};

    is(scalar @errors, 8, 'the last eight');
    ok(!(grep { $_->{status} == 503 } @errors), 'the oldest goes');
    is(account($t)->{health}{level}, 'warning', 'events were refused');

    $k->stop();
    view($t, 50, 50);
    ok($t->wait_for(sub { (account($t)->{errors}[0]{status} // 1) == 0 }),
        'nobody answers');
    like(account($t)->{errors}[0]{detail}, qr/connect/i,
        'in the words of libcurl');

    my $status = status($t);

    is($status->{accounts}{shop}{state}, 'backoff', 'its state');
    like($status->{health}{text},
        qr/\Ashop: .*not been available since \d\d:\d\d \(no answer\): nothing/,
        'and in a sentence');
    is($status->{health}{level}, 'error', 'which is bad');
    is($status->{accounts}{dry}{health}{level}, 'warning', 'a dry run');
    like($status->{accounts}{dry}{health}{text},
        qr/\ADry run, Klaviyo gets nothing/, 'is told as one');
}


# Nothing has left, and it is not that nobody came.

sub skipped {
    my $n = shop(rule => 'when $arg_never;');
    my $sentence = sub { return status($n)->{health}{text} };

    ok($n->wait_for(sub { $sentence->() eq 'All well: no event yet.' }),
        'nobody came');
    view($n, 1, 20);
    is($sentence->(), 'No event yet of 20 seen, the rules tell why.',
        'all are skipped');
}

###############################################################################

# No account: there is not much to tell.

sub none {
    my $n = Test::Nginx::Klaviyo->new();

    $n->write_config(<<'EOF')->run();
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location = /klaviyo { klaviyo_status; }
    }
}
EOF

    for my $form (sort keys %type) {
        is($n->get("/klaviyo?format=$form")->status(), 200,
            "no account: $form");
    }

    is(status($n)->{health}{level}, 'warning', 'no account: is told');
}

###############################################################################
