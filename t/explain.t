#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# klaviyo_explain: the story of one request, for who knows the secret.

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
my $secret = '5ecr3t-of-the-shop-0123';
my %opt = (rule => <<'EOR', server => <<'EOS');
            when      $arg_n;
            when      not $arg_skip;
            when      $arg_price > 5;
            let       tags   $arg_tags | split ,;
            profile   email  $arg_email;
            property  Price  $arg_price | number;
            property  Tags   @tags;
            property  Plain  $arg_plain | trim | lower;
EOR
        klaviyo_track Item ~^/p/(?<item>[a-z]+)$ {
            property  Item  $item;
            when      $arg_n;
        }
        klaviyo_track Posted POST /p { }
        klaviyo_track Elsewhere /other { }
        klaviyo_track Consented =/c { property  q  $arg_q; }
        location = /c { klaviyo_consent $cookie_ok = yes; return 200 ok; }
        location = /p/off { klaviyo off; return 200 ok; }
        location = /p/except { klaviyo_except Item; return 200 ok; }
        location = /p/missing { return 404; }
EOS

configuration();

my $t = shop(%opt, http => "klaviyo_explain data:$secret;", workers => 2);

who();
queued();
failed();
elsewhere();
masked();
bounded();
full();
secrets();

Test::Nginx::Klaviyo->done();

###############################################################################

sub configuration {
    my $n = shop(%opt);

    is($n->get('/p?n=1', headers => { 'X-Klaviyo-Explain' => $secret })
        ->header('X-Klaviyo-Explain-Id'), undef, 'off: no story');
    is($n->get('/klaviyo?explain=0123456789abcdef')->status(), 403,
        'off: no stories');
    $n->quit();

    for ([ 'data:short', qr/needs a secret of 16 to 256 bytes/ ],
         [ '5ecr3tbare0123456789', qr/must be "file:PATH", "data:TEXT"/ ],
         [ "data:$secret all", qr/invalid parameter "all" of "klaviyo_expl/ ],
         [ '"data:0123456789 0123456789"', qr/has a secret with blanks/ ],
         [ "data:$secret; klaviyo_explain off", qr/is duplicate/ ],
         [ 'file:/nonexistent', qr/open\(\) "\/nonexistent" failed/ ])
    {
        my ($text, $words) = @$_;

        write_shop($n, %opt, http => "klaviyo_explain $text;");

        my ($code, $said) = $n->test_config();

        is($code, 1, "klaviyo_explain $text: refused");
        like($said, $words, 'and why');
        unlike($said, qr/5ecr3t/, 'without the secret');
    }

    $n->write_file('secret', "$secret\n");
    write_shop($n, %opt,
        http => 'klaviyo_explain file:%%TESTDIR%%/secret;');
    is(($n->test_config())[0], 0, 'from a file');
}


# A request with the secret, and its story.

sub told {
    my ($uri, %more) = @_;
    my $method = delete $more{method} || 'GET';
    my $n = delete $more{harness} || $t;

    $more{headers} = { 'X-Klaviyo-Explain' => $secret,
        %{$more{headers} || {}} };

    my $id = $n->request($method, $uri, %more)->header('X-Klaviyo-Explain-Id');

    return story($n, $id);
}


sub story {
    my ($n, $id, %headers) = @_;
    my $body;

    %headers = ('X-Klaviyo-Explain' => $secret) if !%headers;

    $n->wait_for(sub {
        my $r = $n->get("/klaviyo?explain=$id", headers => { %headers });

        $body = $r->body();
        return $r->status() == 200;
    }) or return {};

    return $json->decode($body);
}


sub rule {
    my ($story, $metric) = @_;

    return (grep { $_->{metric} eq $metric } @{$story->{rules}})[0] || {};
}


sub value {
    my ($rule, $name) = @_;

    return (grep { ($_->{name} // '') eq $name } @{$rule->{values}})[0] || {};
}

###############################################################################

sub who {
    my $plain = $t->get('/p?n=1&price=9');
    my $wrong = $t->get('/p?n=2&price=9',
        headers => { 'X-Klaviyo-Explain' => $secret =~ s/.\z/x/r });
    my $right = $t->get('/p?n=3&price=9',
        headers => { 'X-Klaviyo-Explain' => $secret });
    my $id = $right->header('X-Klaviyo-Explain-Id');

    is($plain->header('X-Klaviyo-Explain-Id'), undef, 'without a secret');
    is($wrong->header('X-Klaviyo-Explain-Id'), undef, 'with a wrong one');
    like($id, qr/\A[0-9a-f]{16}\z/, 'with the secret there is an id');
    is($right->body(), $plain->body(), 'the response is the same');

    is($t->get("/klaviyo?explain=$id")->status(), 403, 'no story without it');
    is($t->get("/klaviyo?explain=$id",
        headers => { 'X-Klaviyo-Explain' => 'x' x 23 })->status(), 403,
        'nor with a wrong one');
    is($t->get('/klaviyo?explain=0000000000000000',
        headers => { 'X-Klaviyo-Explain' => $secret })->status(), 404,
        'there is none with this id');
    is($t->get('/klaviyo?explain=xyz',
        headers => { 'X-Klaviyo-Explain' => $secret })->status(), 400,
        'that is no id');

    is(story($t, $id)->{version}, 1, 'the story');
    ok(settled($t), 'delivered');
    arrived($t->klaviyo(), 1, 3, 'each event is sent, once');
}


sub queued {
    my $story = told('/p?n=4&price=9.90&tags=a,b&plain=%20ABC%20'
        . '&email=jane@shop.de');
    my $rule = rule($story, 'Viewed');

    is_deeply($story->{request},
        { method => 'GET', path => '/p', status => 200 }, 'the request');
    ok($story->{masked} && !$story->{cut}, 'masked, whole');
    is("$rule->{met} $rule->{account} $rule->{routes}", '1 shop /p',
        'the rule');
    like("$rule->{file}:$rule->{line}", qr{/nginx\.conf:\d+\z}, 'its place');

    is_deeply([ map { "$_->{condition}: $_->{verdict}" }
        @{$rule->{conditions}} ], [ '$arg_n: holds',
        'not $arg_skip: holds', '$arg_price > 5: holds' ], 'conditions');

    my $plain = value($rule, 'Plain');

    is("$plain->{for} $plain->{value} $plain->{term}",
        'property $arg_plain | trim | lower  ABC ', 'a value');
    is_deeply($plain->{steps}, [ { filter => 'trim', gives => 'ABC' },
        { filter => 'lower', gives => 'abc' } ], 'each step of it');
    is(value($rule, 'tags')->{for}, 'let', 'a let');
    is_deeply(value($rule, 'tags')->{steps}[0]{gives}, [ 'a', 'b' ],
        'and what it gives');

    is_deeply($rule->{verdicts}, { status => 200, status_counts => 1,
        noise => 'none', consent => 'not asked for' }, 'verdicts');
    is_deeply($rule->{identity}, [ { field => 'email', from => 'profile',
        value => '***(12)' } ], 'the identity, masked');

    my ($outcome) = @{$rule->{outcomes}};

    is($outcome->{outcome}, 'queued', 'its fate');

    my $event = $outcome->{event}{attributes};
    my $sent = $event->{events}{data}[0]{attributes};

    is($sent->{properties}{Price}, 9.9, 'the event as it is sent');
    is($sent->{unique_id}, $outcome->{unique_id}, 'with its id');
    is($event->{profile}{data}{attributes}{email}, '***(12)', 'of somebody');

    ok(settled($t), 'delivered');

    my ($arrived) = grep { $_->{unique_id} eq $outcome->{unique_id} }
        map { $_->{event} || $_ } $t->klaviyo()->events();

    ok($arrived, 'and it is the one that arrived');
}


sub failed {
    my $rule = rule(told('/p?n=5&price=4'), 'Viewed');

    is_deeply([ map { "$_->{condition}: $_->{verdict}" }
        @{$rule->{conditions}} ], [ '$arg_n: holds',
        'not $arg_skip: holds', '$arg_price > 5: fails' ],
        'the condition that fails');
    is_deeply($rule->{outcomes},
        [ { outcome => 'skipped', reason => 'condition' } ], 'skipped');

    $rule = rule(told('/p/missing?n=5&price=9'), 'Viewed');
    is("$rule->{verdicts}{status} $rule->{verdicts}{status_counts}", '404 0',
        'the status');
    is($rule->{outcomes}[0]{reason}, 'status', 'skipped for it');

    for ([ 'ok=no', 'fails', 'missing', 'skipped' ],
         [ 'ok=yes', 'holds', 'given', 'queued' ])
    {
        my ($cookie, $verdict, $consent, $outcome) = @$_;

        $rule = rule(told('/c?n=6', headers => { Cookie => $cookie }),
            'Consented');

        is("$rule->{conditions}[0]{of} $rule->{conditions}[0]{verdict}",
            "klaviyo_consent $verdict", "$cookie: asked");
        is($rule->{verdicts}{consent}, $consent, "$consent");
        is($rule->{outcomes}[0]{outcome}, $outcome, $outcome);
    }
}


sub elsewhere {
    my $story = told('/p/scarf?n=7&price=9');

    is_deeply(rule($story, 'Item')->{captures}, { item => 'scarf' },
        'captures');
    is(rule($story, 'Posted')->{why}, 'method', 'another method');
    is(rule($story, 'Elsewhere')->{why}, 'path', 'another path');

    is(rule(told('/p/off?n=7'), 'Item')->{why}, 'klaviyo off', 'off');
    is(rule(told('/p/except?n=7'), 'Item')->{why}, 'klaviyo_except',
        'except');
    ok(!(grep { $_->{met} } @{told('/nothing')->{rules}}),
        'a path that no rule has');
}


sub masked {
    my $story = $json->encode(told('/p/jane@5ecr3t.de/0123456789?n=5ecr3t'
        . '&price=9&email=jane@5ecr3t.de&plain=%2B49%20151%205555555&tags='
        . 'jane%405ecr3t.de,x', method => 'POST', body => 'x=5ecr3t'));

    unlike($story, qr/jane|5ecr3t\.de|5555555|0123456789/,
        'nothing of a visitor');
    like($story, qr/\*\*\*\(15\)/, 'but that there is something');
}


sub bounded {
    my $story = told('/p?n=8&price=9&plain=' . 'x' x 2000 . '&tags='
        . join ',', 1 .. 1000);

    ok($story->{cut}, 'a long one says that it is cut');
    is(rule($story, 'Viewed')->{outcomes}[0]{outcome}, 'queued',
        'and has its end');

    my $first = $t->get('/p?n=9&price=9', headers =>
        { 'X-Klaviyo-Explain' => $secret })->header('X-Klaviyo-Explain-Id');

    ok(story($t, $first)->{version}, 'a story');
    told("/p?n=$_&price=9") for 100 .. 115;
    is($t->get("/klaviyo?explain=$first", headers =>
        { 'X-Klaviyo-Explain' => $secret })->status(), 404,
        'is gone after sixteen others');
}


sub full {
    write_shop($t, %opt, http => "klaviyo_explain data:$secret full;");
    $t->reload();

    my $story = told('/p?n=10&price=9&email=jane@shop.de');
    my $rule = rule($story, 'Viewed');

    ok(!$story->{masked}, 'not masked, as it was asked for');
    is($rule->{identity}[0]{value}, 'jane@shop.de', 'the identity');
    is($story->{request}{query}, 'n=10&price=9&email=jane@shop.de',
        'the query');
}


# Neither a log nor an upstream gets to know it.

sub secrets {
    my $n = shop(%opt, start => 0, http => "klaviyo_explain data:$secret;"
        . 'log_format s "$http_x_klaviyo_explain.";',
        server => "$opt{server} access_log %%TESTDIR%%/s.log s;");

    $n->run();
    told('/p?n=1&price=9', harness => $n);
    ok($n->wait_for(sub { $n->read_file('s.log') =~ /\S/ }), 'logged');
    like($n->read_file('s.log'), qr/\Aon\.$/m, 'without the secret');
    $n->quit();
}

###############################################################################
