#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# The status page in a browser: what it shows in each state of health, that it
# goes on by itself, in the dark, on a phone, by keyboard, without scripts; and
# that a text is never more than a text.  Pictures go to build/page.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Browser;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

my $pictures = "$FindBin::Bin/../build/page";
my $hostile = '<img src=x onerror=window.bad=1></script>';

system("$FindBin::Bin/../util/page", '--check');
is($? >> 8, 0, 'the code is made of the page as it is');

my $t = shop(account => 'batch linger=100ms;', http => 'klaviyo_tail 256k;',
    rule => qq{property "a</script><b>" \$arg_x; when not \$arg_skip;},
    accounts => "klaviyo_account other { api_key data:" . key(2)
        . "; endpoint %%KLAVIYO%%; }",
    server => qq{klaviyo_track "$hostile" /x { account other; property a b; }});
my $k = $t->klaviyo();
my $url = 'http://127.0.0.1:' . $t->port(0) . '/klaviyo';

$t->expect_log(qr/sending is stopped/);

document();

SKIP: {
    my $b = Test::Nginx::Klaviyo::Browser->new($t, $t->port(1))
        or skip 'no browser: ' . Test::Nginx::Klaviyo::Browser::reason(), 1;

    live($b);
    looks($b);
    keyboard($b);
    errors($b);
    scripts($b);
    gone($b);

    my @console = grep { !m{/klaviyo\?format=\w+ - Failed to load} }
        $b->console();

    is("@console", '', 'nothing in the console');
    $b->quit();
}

Test::Nginx::Klaviyo->done();

###############################################################################

# What a browser is told, without one.

sub document {
    my $page = $t->get('/klaviyo', headers => { Accept =>
        'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' });
    my $csp = $page->header('Content-Security-Policy') // '';

    is($page->header('Content-Type'), 'text/html; charset=utf-8', 'HTML');
    like($csp, qr/\Adefault-src 'none'; style-src 'sha256-\S{44}'; script-src /,
        'only its own style and script');
    unlike($csp, qr/unsafe|\*|https?:/, 'and nothing else');
    is($page->header('X-Frame-Options'), 'DENY', 'not in frames');
    is($page->header('Referrer-Policy'), 'no-referrer', 'tells nobody');

    my $body = $page->body();

    unlike($body, qr{(?:src|href|url|import)\s*[=(]\s*["']?(?:https?:)?//}i,
        'no foreign assets');
    is(() = $body =~ m{</script>}g, 2, 'no text ends a script');
    unlike($body, qr/<img/, 'no text is an element');
    like($body, qr/&lt;img src=x/, 'in tables it is escaped');
    is($t->get('/klaviyo?format=html')->body() =~ /<!DOCTYPE html>/, 1,
        'by its name too');
}

###############################################################################

# It shows what is, and goes on.

sub live {
    my ($b) = @_;

    view($t, 1, 30);
    view($t, 1, 3, uri => sub { "/p?n=$_[0]&skip=1" });
    $t->get('/x?n=1');
    settled($t);
    $b->size(1280, 900);
    $b->prefer();
    $b->go($url);

    like($b->text('#health'), qr/\Ashop: All well: /, 'how it goes');
    is($b->run('return document.querySelector("#health").className'),
        'health ok', 'which is well');
    is($b->run('return document.title'), 'Klaviyo status', 'its title');
    is(row($b, 'Viewed'), '33 30 3 0 0 0', 'the rule as it was then');
    like($b->text('.account'), qr/condition 3/, 'with reasons');
    is($b->run('return window.bad'), undef, 'a metric is not a script');
    like($b->text('#accounts'), qr/\Q$hostile\E/, 'it is a text');

    ok($b->wait_for('return document.querySelectorAll("#lines tr").length'),
        'the tail');
    like($b->text('#lines'), qr/skipped\s+condition/, 'with a skip');
    like($b->text('#lines'), qr{external_id: text}, 'and an event, masked');
    like($b->text('#lines'), qr{a</script><b>: missing}, 'its names are texts');

    view($t, 31, 50);
    settled($t);
    ok($t->wait_for(sub { row($b, 'Viewed') eq '53 50 3 0 0 0' }),
        'it goes on by itself');
    ok($b->wait_for('return /All well: [0-9.]+ event/.test('
        . 'document.querySelector("#health").innerText)', 20),
        'how fast, how soon');
    like($b->text('#health'), qr/delivered within \d+\.\d s\.\z/,
        'in one sentence');
    ok($b->wait_for('return document.querySelector("svg path.sent")'
        . '.getAttribute("d").length > 20', 20), 'a curve');
    ok($b->picture($pictures, 'light'), 'a picture');
}


sub row {
    my ($b, $metric) = @_;

    return $b->run(<<'EOS', $metric);
var name = arguments[0], row = [].filter.call(
    document.querySelectorAll('table.rules tbody tr'),
    (r) => r.cells[0].innerText.startsWith(name))[0];
return [].slice.call(row.cells, 1).map(function (c) {
    return c.innerText.trim().split(/\s/)[0];
}).join(' ');
EOS
}

###############################################################################

sub looks {
    my ($b) = @_;
    my $background = 'return getComputedStyle(document.body).backgroundColor';
    my $light = $b->run($background);

    $b->prefer(dark => 1, still => 1);
    isnt($b->run($background), $light, 'the dark');
    is($b->run('return getComputedStyle(document.querySelector("#live"))'
        . '.animationName'), 'none', 'nothing moves for who asks for that');
    ok($b->picture($pictures, 'dark'), 'a picture');
    $b->prefer();

    for my $width (360, 768, 1920) {
        $b->size($width, 800);
        cmp_ok($b->run('return document.documentElement.scrollWidth'), '<=',
            $width, "$width pixels are enough");
        ok($b->picture($pictures, "width-$width"), 'a picture');
    }

    $b->size(1280, 900);
}


sub keyboard {
    my ($b) = @_;

    $b->run('document.activeElement.blur()');
    $b->keys('Tab');
    is($b->run('return document.activeElement.id'), 'pause',
        'by keyboard: the button');
    isnt($b->run('return getComputedStyle(document.activeElement)'
        . '.outlineStyle'), 'none', 'it is seen to have the focus');
    $b->keys('Enter');
    is($b->run('return document.activeElement.getAttribute("aria-pressed")'),
        'true', 'it pauses');
    $b->keys('Space');
    is($b->run('return document.activeElement.getAttribute("aria-pressed")'),
        'false', 'and goes on');
    is($b->run(<<'EOS'), 0, 'each table has heads, each picture a caption');
return [].filter.call(document.querySelectorAll('table'), function (t) {
    return !t.querySelector('th[scope]');
}).length + [].filter.call(document.querySelectorAll('figure'), function (f) {
    return !f.querySelector('figcaption');
}).length;
EOS
}

###############################################################################

# Klaviyo refuses an event, then the key, then is away.

sub errors {
    my ($b) = @_;
    my $health = 'return document.querySelector("#health").innerText';

    $k->answer('400', pointer => 'deep', detail =>
        "The email 'jane\@shop.de' of Jane Doe, +49 151 2345678, is invalid.");
    view($t, 60, 60);
    ok($b->wait_for('return document.querySelector("#accounts").innerText'
        . '.includes("The email ***")'), 'the words of Klaviyo');
    like($b->text('#accounts'), qr/The email \*\*\* of \*\*\* is/,
        'without those of a visitor');
    like($b->text('#health'), qr/1 event was refused by Klaviyo/, 'in short');
    ok($b->picture($pictures, 'dead'), 'a picture');

    $k->answer('401', times => 0);
    view($t, 61, 70);
    ok($b->wait_for('return /refused the key since \d\d:\d\d \(401\)/.test('
        . 'document.querySelector("#health").innerText)'), 'a key is refused');
    like($b->run($health), qr/nothing is lost, 10 events wait; next try in/,
        'what that means');
    is($b->run('return document.querySelector("#health").className'),
        'health error', 'it is red');
    is($b->run('return document.title'), '! Klaviyo status',
        'and seen from another tab');
    like($b->text('#accounts'), qr/Incorrect authentication credentials/,
        'in the words of Klaviyo');
    ok($b->picture($pictures, 'refused'), 'a picture');

    $k->answer('503', times => 0);
    $t->reload();
    ok($b->wait_for('return /not been available since .*\(503\)/.test('
        . 'document.querySelector("#health").innerText)'), 'Klaviyo is away');
    ok($b->picture($pictures, 'away'), 'a picture');

    $k->answer('ok');
    ok($b->wait_for('return document.querySelector("#health").className'
        . ' !== "health error"'), 'and comes back');
}

###############################################################################

# Tables, for who has no scripts.

sub scripts {
    my ($b) = @_;

    $b->devtools('Emulation.setScriptExecutionDisabled',
        value => Cpanel::JSON::XS::true);
    $b->go($url);

    like($b->text('main'), qr/Viewed\s+\/p\s+\d+/, 'without scripts: a table');
    like($b->text('main'), qr/All well|was refused/, 'and how it goes');
    unlike($b->text('body'), qr/Pause/, 'no button that does nothing');
    ok($b->picture($pictures, 'no-script'), 'a picture');

    $b->devtools('Emulation.setScriptExecutionDisabled',
        value => Cpanel::JSON::XS::false);
}


sub gone {
    my ($b) = @_;

    $b->go($url);
    $t->stop(20);
    ok($b->wait_for('return !document.querySelector("#stale").hidden'),
        'nginx is gone: it says so');
    like($b->text('#accounts'), qr/Viewed/, 'and what it knew last');
}

###############################################################################
