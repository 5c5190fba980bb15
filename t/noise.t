#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# What is never tracked: prefetches, robots, those who opted out or did not
# consent; where this is switched, and in which order it is asked.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo::Table;

###############################################################################

my ($table, @expected);

headers();
levels();
consent();
order();

Test::Nginx::Klaviyo->done();

###############################################################################

# Headers, one by one: a name or a value that is read wrong, or at the wrong
# place.

sub headers {
    fresh();

    skip_('prefetch', @$_) for
        [ 'Sec-Purpose', 'prefetch' ],
        [ 'sec-purpose', 'PreFetch' ],
        [ 'Sec-Purpose', 'prefetch;prerender' ],
        [ 'Sec-Purpose', 'prefetch;anonymous-client-ip' ],
        [ 'Sec-Purpose', 'prerender' ],
        [ 'Purpose', 'prefetch' ],
        [ 'PURPOSE', 'prefetch' ],
        [ 'X-Purpose', 'preview' ],
        [ 'X-Moz', 'prefetch' ],
        [ 'Next-Router-Prefetch', '1' ],
        [ 'Next-Router-Segment-Prefetch', '/_tree' ],
        [ 'X-Middleware-Prefetch', '1' ],
        [ 'Purpose', [ 'other', 'prefetch' ] ];

    skip_(undef, @$_) for
        [ 'Sec-Purpose', 'other' ],
        [ 'Sec-Purpose', '' ],
        [ 'Sec-Purpose', 'fetch' ],
        [ 'Next-Router-Prefetch', '0' ],
        [ 'Next-Router-Prefetch', '' ],
        [ 'X-Prefetch', 'prefetch' ],
        [ 'RSC', '1' ],
        [ 'Next-Url', '/search' ],
        [ 'Accept', 'prefetch' ];

    skip_('gpc', 'Sec-GPC', $_) for '1', ' 1 ';
    skip_(undef, 'Sec-GPC', $_) for '0', '', 'true', '11', '1;1';

    skip_('dnt', 'DNT', '1');
    skip_(undef, 'DNT', $_) for '0', 'null', 'unspecified', '';

    skip_('optout', 'Cookie', $_) for '__kla_off=true', 'a=1; __kla_off=true',
        '__kla_off=true; __kla_off=false';
    skip_(undef, 'Cookie', $_) for '__kla_off=false', '__kla_off=', 'kla_off='
        . 'true', '__kla_off=truely', '__kla_off=1', '__kla_off=TRUE',
        'a=__kla_off=true';

    # nobody says who he is, or "-"
    skip_('bots', 'User-Agent', $_) for undef, '', '-';

    skip_('bots', 'User-Agent', $_) for
        'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/'
            . 'bot.html)',
        'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible;'
            . ' bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0'
            . ' Safari/537.36',
        'Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)',
        'Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)',
        'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible;'
            . ' GPTBot/1.2; +https://openai.com/gptbot)',
        'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible;'
            . ' ClaudeBot/1.0; +claudebot@anthropic.com',
        'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like'
            . ' Gecko) HeadlessChrome/126.0.0.0 Safari/537.36',
        'Mozilla/5.0 (Linux; Android 11; moto g power) AppleWebKit/537.36'
            . ' (KHTML, like Gecko) Chrome/126 Mobile Safari/537.36'
            . ' Chrome-Lighthouse',
        'facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext'
            . '.php)',
        'Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)',
        'Mozilla/5.0 (compatible; Baiduspider/2.0)', 'WhatsApp/2.23.20.0',
        'curl/8.5.0', 'python-requests/2.31.0', 'Go-http-client/1.1',
        'axios/1.6.2', 'Wget/1.21', 'Pingdom.com_bot_version_1.4',
        'Mozilla/5.0 (compatible; UptimeRobot/2.0)', 'Scrapy/2.11';

    skip_(undef, 'User-Agent', $_) for
        'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML,'
            . ' like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0',
        'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/'
            . '605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/'
            . '604.1',
        'Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:127.0) Gecko/20100101'
            . ' Firefox/127.0',
        'Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML,'
            . ' like Gecko) Chrome/98.0.4758.101 Mobile Safari/537.36',
        'Mozilla/5.0 (Linux; Android 13; SM-A536B; wv) AppleWebKit/537.36'
            . ' (KHTML, like Gecko) Version/4.0 Chrome/126.0 Mobile Safari/'
            . '537.36 [FB_IAB/FB4A;FBAV/470.0.0.43.71;]',
        'Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML,'
            . ' like Gecko) SamsungBrowser/25.0 Chrome/121.0 Mobile Safari/'
            . '537.36',
        'MyShop/1021 CFNetwork/1496.0.7 Darwin/23.5.0', 'okhttp/4.12.0';

    judge();
}


sub skip_ {
    my ($reason, $header, $value) = @_;
    my $text = !defined $value ? 'none' : ref $value ? "@$value" : $value;

    expect("$header: $text", '', [ { $header => $value } ],
        $reason ? "skipped:$reason" : 'queued');
}

###############################################################################

# klaviyo_ignore and ignore: the nearest one holds, and nothing of the others.

sub ignored {
    my ($name, $rule, $level, @reasons) = @_;
    my %reasons = map { $_ => 1 } @reasons;

    my @each = (
        { 'Sec-Purpose' => 'prefetch' },
        { 'User-Agent' => 'curl/8.5.0' },
        { Cookie => '__kla_off=true' },
        { 'Sec-GPC' => 1 },
        { DNT => 1 },
        {},
    );

    expect($name, $rule, \@each, join(' ', (map { $reasons{$_} ? "skipped:$_"
        : 'queued' } qw(prefetch bots optout gpc dnt)), 'queued'), $level);
}


sub levels {
    fresh();
    ignored('by default', '', '', qw(prefetch bots optout gpc dnt));
    ignored('klaviyo_ignore off', '', 'klaviyo_ignore off;');
    ignored("klaviyo_ignore $_", '', "klaviyo_ignore $_;", $_)
        for qw(prefetch bots optout gpc dnt);
    ignored('several', '', 'klaviyo_ignore dnt prefetch;', qw(prefetch dnt));
    ignored('ignore off', 'ignore off;', '');
    ignored('ignore bots', 'ignore bots;', '', 'bots');
    ignored('ignore before klaviyo_ignore', 'ignore gpc dnt;',
        'klaviyo_ignore bots;', qw(gpc dnt));
    ignored('ignore before klaviyo_ignore off',
        'ignore prefetch bots optout gpc dnt;', 'klaviyo_ignore off;',
        qw(prefetch bots optout gpc dnt));
    judge();

    fresh(http => 'klaviyo_ignore bots;');
    ignored('http', '', '', 'bots');
    ignored('location instead of http', '', 'klaviyo_ignore dnt;', 'dnt');
    judge();

    fresh(http => 'klaviyo_ignore bots;', server => 'klaviyo_ignore optout;');
    ignored('server instead of http', '', '', 'optout');
    ignored('location instead of server', '', 'klaviyo_ignore off;');
    judge();
}

###############################################################################

# klaviyo_consent: who says nothing has not consented.

sub consent {
    fresh();

    said('a truth', '$arg_c', 'c=1' => 1, 'c=yes' => 1, 'c=0' => 0,
        'c=false' => 0, 'c=' => 0, '' => 0);
    said('not', 'not $arg_c', 'c=1' => 0, 'c=0' => 1, 'c=false' => 1,
        'c=' => 0, '' => 0);
    said('not, with a default', 'not $arg_c | default 0', 'c=1' => 0,
        '' => 1);
    said('not, of what is no boolean', 'not $arg_c | boolean', 'c=no' => 1,
        'c=x' => 0);
    said('=', '$arg_c = yes', 'c=yes' => 1, 'c=no' => 0, '' => 0);
    said('!=', '$arg_c != no', 'c=yes' => 1, 'c=no' => 0, '' => 0);
    said('not =', 'not $arg_c = no', 'c=yes' => 1, 'c=no' => 0, '' => 0);
    said('~', '$arg_c ~ (^|,)marketing(,|$)', 'c=a,marketing' => 1,
        'c=a' => 0, '' => 0);
    said('!~', '$arg_c !~ x', 'c=a' => 1, 'c=x' => 0, '' => 0);
    said('>=', '$arg_c >= 2', 'c=2' => 1, 'c=1' => 0, 'c=x' => 0, '' => 0);
    said('a limit', '$arg_c ~ (a+a+)+$', 'c=aa' => 1, 'c=' . 'a' x 60 . 'b'
        => 0);
    said('several', '$arg_c; klaviyo_consent $arg_d = 1', 'c=1&d=1' => 1,
        'c=1' => 0, 'd=1' => 0);
    said('a path', '@args.c.d', 'c[d]=1' => 1, 'c=1' => 0);
    said('off', 'off', '' => 1);

    cookies('OneTrust', '$cookie_optanonconsent | urldecode | form | pick'
        . ' groups | first | kv | pick C0004 | first = 1',
        'OptanonConsent=isGpcEnabled=0&groups=C0001%3A1%2CC0004%3A1&x=1' => 1,
        'OptanonConsent=groups=C0001%3A1%2CC0004%3A0' => 0,
        'OptanonConsent=groups=C0001%3A1' => 0, 'a=1' => 0);
    cookies('Cookiebot', '$cookie_cookieconsent | urldecode ~ marketing:true',
        'CookieConsent={stamp:%27x%27%2Cmarketing:true%2Cver:1}' => 1,
        'CookieConsent={stamp:%27x%27%2Cmarketing:false%2Cver:1}' => 0,
        'CookieConsent=-1' => 0, 'a=1' => 0);
    cookies('c15t', '@cookies.c15t-consent | kv | json ["c.marketing"]',
        'c15t-consent=i.t:1760000000,c.necessary:1,c.marketing:1' => 1,
        'c15t-consent=i.t:1760000000,c.necessary:1' => 0, 'a=1' => 0);
    cookies('JSON', '$cookie_consent | urldecode | json purposes.marketing',
        'consent=%7B%22purposes%22:%7B%22marketing%22:true%7D%7D' => 1,
        'consent=%7B%22purposes%22:%7B%22marketing%22:false%7D%7D' => 0,
        'consent=%7B' => 0);
    judge();

    fresh(http => 'klaviyo_consent $arg_h;');
    said('inherited', undef, 'h=1' => 1, 'c=1' => 0);
    said('the nearest', '$arg_c', 'h=1' => 0, 'c=1' => 1);
    said('off undoes', 'off', '' => 1);
    judge();

    fresh(http => 'klaviyo_consent $arg_h;', server => 'klaviyo_consent off;');
    said('off above', undef, '' => 1);
    said('on again', '$arg_c', '' => 0, 'c=1' => 1);
    judge();
}


sub said {
    my ($name, $consent, @queries) = @_;
    my (@requests, @results);

    while (my ($query, $yes) = splice @queries, 0, 2) {
        push @requests, \$query;
        push @results, $yes ? 'queued' : 'skipped:consent';
    }

    expect("consent, $name", '', \@requests, "@results",
        defined $consent ? "klaviyo_consent $consent;" : '');
}


sub cookies {
    my ($name, $consent, @cookies) = @_;
    my (@requests, @results);

    while (my ($cookie, $yes) = splice @cookies, 0, 2) {
        push @requests, { Cookie => $cookie };
        push @results, $yes ? 'queued' : 'skipped:consent';
    }

    expect("consent, $name", '', \@requests, "@results",
        "klaviyo_consent $consent;");
}

###############################################################################

# All reasons at once, then one less each time: the first is counted, once, and
# no other.

sub order {
    fresh();

    my @reasons = (
        [ 'condition' ],
        [ 'status', 'c=1' ],
        [ 'prefetch', 'ok=1' ],
        [ 'bots', { 'Sec-Purpose' => '' } ],
        [ 'optout', { 'User-Agent' => 'Mozilla/5.0 (X11) Firefox/140.0' } ],
        [ 'gpc', { Cookie => 'a=1' } ],
        [ 'dnt', { 'Sec-GPC' => '0' } ],
        [ 'consent', { DNT => '0' } ],
        [ 'unidentified', 'yes=1' ],
        [ 'queued', 'id=17' ],
    );

    my $n = $table->add('order', 'when $arg_c; profile external_id $arg_id;',
        '', who => undef, level => 'klaviyo_consent $arg_yes;'
            . ' if ($arg_ok = "") { return 404; }',
        headers => { 'Sec-Purpose' => 'prefetch', 'User-Agent' => 'curl/8',
                     Cookie => '__kla_off=true', 'Sec-GPC' => 1, DNT => 1 });

    my ($case, @expected) = ($table->{cases}[$n]);

    $table->start();

    for my $reason (@reasons) {
        my ($name, $less) = @$reason;

        push @expected, $name eq 'queued' ? $name : "skipped:$name";

        if (ref $less) {
            $case->{headers} = { %{$case->{headers}}, %$less };

        } elsif ($less) {
            $case->{query} .= "&$less";
        }

        $table->send($n);
    }

    $table->finish();

    is($table->result($n), "@expected", 'the order of reasons');

    my $counters = $table->counters($n);

    is_deeply($counters->{skipped}, { (map { $_ => 0 }
        qw(limit empty unconfirmed repeated held)),
        map { $_->[0] => 1 } @reasons[0 .. $#reasons - 1] },
        'each is counted once');
    is("$counters->{seen} " . ($counters->{sent} + $counters->{queued}), '10 1',
        'all are seen, one is sent');
}

###############################################################################

sub fresh {
    $table = Test::Nginx::Klaviyo::Table->new(@_);
    @expected = ();
}


# A rule, requests to it (headers, or a reference to a query), and the results.

sub expect {
    my ($name, $rule, $requests, $results, $level) = @_;

    my $n = $table->add($name, $rule, '', level => $level);

    $expected[$n] = [ $requests, $results ];
}


sub judge {
    $table->start();

    for my $n (0 .. $#expected) {
        for my $request (@{$expected[$n][0]}) {
            $table->{cases}[$n]{query} = ref $request eq 'SCALAR' ? $$request
                : '';
            $table->send($n, headers => ref $request eq 'HASH' ? $request : {});
        }
    }

    $table->finish();

    for my $n (0 .. $#expected) {
        my $results = $expected[$n][1];
        my %counted;

        is($table->result($n), $results, $table->name($n));

        $counted{$_}++ for split ' ', $results;

        is(join(' ', map { "$_ " . skipped($n, $_) }
                     grep { /skipped/ } sort keys %counted),
            join(' ', map { "$_ $counted{$_}" }
                      grep { /skipped/ } sort keys %counted),
            $table->name($n) . ': counted') if $results =~ /skipped/;
    }
}


sub skipped {
    my ($n, $result) = @_;

    return $table->counters($n)->{skipped}{$result =~ s/skipped://r};
}

###############################################################################
