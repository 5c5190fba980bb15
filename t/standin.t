#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# The stand-in for Klaviyo refuses each wrong thing, with a pointer to it, and
# misbehaves as it is told.

###############################################################################

use warnings;
use strict;
use utf8;

use Test::More;

use Cpanel::JSON::XS ();
use FindBin ();
use POSIX qw(strftime);
use Time::HiRes qw(time);

use lib "$FindBin::Bin/lib";
use Klaviyo::StandIn::Contract ();
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::HTTP ();

###############################################################################

my $json = Cpanel::JSON::XS->new->utf8->canonical;
my $path = '/api/event-bulk-create-jobs';
my $now = strftime('%Y-%m-%dT%H:%M:%SZ', gmtime);

# these bodies are wrong on purpose
my $t = Test::Nginx::Klaviyo->new(module => 0)->standin(bodies => '');
my $k = $t->klaviyo();

my $in = '/attributes';
my $event = "$in/events/data/0/attributes";
my $profile = "$in/profile/data";

###############################################################################

# An entry is changed by code that gets: the event's attributes, the profile
# resource, the entry.  The pointer is that below the entry; '' means that it
# is accepted.

my @entries = (
    [ 'plain', '', sub { } ],
    [ 'all event attributes', '', sub { @{$_[0]}{qw(value value_currency
        backfill)} = (39.5, 'EUR', Cpanel::JSON::XS::true) } ],
    [ 'an e-mail', '', sub { $_[1]{attributes} = { email => 'a.b+c@x.co' } } ],
    [ 'a phone', '', sub {
        $_[1]{attributes} = { phone_number => '+40712345678' } } ],
    [ 'an id', '', sub { $_[1]{id} = '01J0'; $_[1]{attributes} = {} } ],
    [ 'location', '', sub { $_[1]{attributes}{location} = {
        city => 'Brasov', latitude => '45.6', longitude => 25.5 } } ],
    [ 'own profile properties', '', sub {
        $_[1]{attributes}{properties} = { tier => 'gold', n => [ 1, 2 ] } } ],
    [ 'meta beside attributes', '', sub { $_[1]{meta} = {
        patch_properties => { append => { skus => 'a' } } } } ],
    [ 'a service', '', sub { $_[0]{metric}{data}{attributes}{service}
        = 'shop' } ],
    [ 'a time with an offset', '', sub {
        $_[0]{time} = '2026-01-31T23:59:59.123+05:30' } ],
    [ 'an empty array', '', sub { $_[0]{properties}{a} = [] } ],
    [ 'text beyond ASCII', '', sub { $_[0]{properties}{a} = 'Brașov €' } ],
    [ '400 properties', '', sub {
        $_[0]{properties} = { map { $_ => 1 } 1 .. 400 } } ],
    [ '4000 items', '', sub { $_[0]{properties}{a} = [ 1 .. 4000 ] } ],
    [ '100 KB', '', sub { $_[0]{properties}{a} = 'x' x 100_000 } ],
    [ '10 levels', '', sub { $_[0]{properties} = nested(10) } ],
    [ 'a metric of 127 characters', '', sub {
        $_[0]{metric}{data}{attributes}{name} = 'x' x 127 } ],

    # envelope
    [ 'entry type', '/type', sub { $_[2]{type} = 'event' } ],
    [ 'entry unknown key', '/id', sub { $_[2]{id} = '1' } ],
    [ 'entry unknown attribute', "$in/time", sub {
        $_[2]{attributes}{time} = $now } ],
    [ 'entry backfill no boolean', "$in/backfill", sub {
        $_[2]{attributes}{backfill} = 'true' } ],
    [ 'no profile', "$in/profile", sub { delete $_[2]{attributes}{profile} } ],
    [ 'no events', "$in/events", sub { delete $_[2]{attributes}{events} } ],
    [ 'events no array', "$in/events/data", sub {
        $_[2]{attributes}{events}{data} = {} } ],
    [ 'no event', "$in/events/data", sub {
        $_[2]{attributes}{events}{data} = [] } ],
    [ 'two events', "$in/events/data", sub {
        push @{$_[2]{attributes}{events}{data}}, {} } ],
    [ 'event type', "$in/events/data/0/type", sub {
        $_[2]{attributes}{events}{data}[0]{type} = 'events' } ],

    # the event
    [ 'unknown attribute', "$event/profile", sub { $_[0]{profile} = {} } ],
    [ 'no properties', "$event/properties", sub { delete $_[0]{properties} } ],
    [ 'properties no object', "$event/properties", sub {
        $_[0]{properties} = [] } ],
    [ 'a null', "$event/properties/a~1b", sub {
        $_[0]{properties}{'a/b'} = undef } ],
    [ 'a null deep inside', "$event/properties/a/1/b", sub {
        $_[0]{properties}{a} = [ 1, { b => undef } ] } ],
    [ 'an empty text', "$event/properties/a", sub {
        $_[0]{properties}{a} = '' } ],
    [ '401 properties', "$event/properties", sub {
        $_[0]{properties} = { map { $_ => 1 } 1 .. 401 } } ],
    [ '4001 items', "$event/properties/a", sub {
        $_[0]{properties}{a} = [ 1 .. 4001 ] } ],
    [ 'over 100 KB', "$event/properties/a", sub {
        $_[0]{properties}{a} = 'x' x 99_999 . '€' } ],
    [ '11 levels', "$event/properties" . '/a' x 10, sub {
        $_[0]{properties} = nested(11) } ],
    [ 'no metric', "$event/metric", sub { delete $_[0]{metric} } ],
    [ 'metric type', "$event/metric/data/type", sub {
        $_[0]{metric}{data}{type} = 'event' } ],
    [ 'no metric name', "$event/metric/data/attributes/name", sub {
        $_[0]{metric}{data}{attributes} = {} } ],
    [ 'an empty metric name', "$event/metric/data/attributes/name", sub {
        $_[0]{metric}{data}{attributes}{name} = '' } ],
    [ 'a metric of 128 characters', "$event/metric/data/attributes/name", sub {
        $_[0]{metric}{data}{attributes}{name} = 'x' x 128 } ],
    [ 'metric unknown key', "$event/metric/data/attributes/value", sub {
        $_[0]{metric}{data}{attributes}{value} = 1 } ],
    [ 'an empty service', "$event/metric/data/attributes/service", sub {
        $_[0]{metric}{data}{attributes}{service} = '' } ],
    [ 'no time', "$event/time", sub { delete $_[0]{time} } ],
    [ 'time as a number', "$event/time", sub { $_[0]{time} = 1753265730 } ],
    [ 'time without an offset', "$event/time", sub {
        $_[0]{time} = '2026-07-23T10:15:30' } ],
    [ 'no such day', "$event/time", sub {
        $_[0]{time} = '2026-02-30T10:15:30Z' } ],
    [ 'time in 1990', "$event/time", sub {
        $_[0]{time} = '1990-07-23T10:15:30Z' } ],
    [ 'time in two years', "$event/time", sub { $_[0]{time} = strftime(
        '%Y-%m-%dT%H:%M:%SZ', gmtime(time() + 2 * 366 * 86400)) } ],
    [ 'no unique_id', "$event/unique_id", sub { delete $_[0]{unique_id} } ],
    [ 'an empty unique_id', "$event/unique_id", sub {
        $_[0]{unique_id} = '' } ],
    [ 'unique_id of 256', "$event/unique_id", sub {
        $_[0]{unique_id} = 'x' x 256 } ],
    [ 'unique_id a number', "$event/unique_id", sub {
        $_[0]{unique_id} = 7 } ],
    [ 'value in quotes', "$event/value", sub { $_[0]{value} = '39.5' } ],
    [ 'value a boolean', "$event/value", sub {
        $_[0]{value} = Cpanel::JSON::XS::true } ],
    [ 'currency', "$event/value_currency", sub {
        $_[0]{value_currency} = 'eur' } ],
    [ 'backfill a number', "$event/backfill", sub { $_[0]{backfill} = 1 } ],

    # the profile
    [ 'profile type', "$profile/type", sub { $_[1]{type} = 'person' } ],
    [ 'no attributes', "$profile/attributes", sub {
        delete $_[1]{attributes} } ],
    [ 'nobody', $profile, sub { $_[1]{attributes} = {} } ],
    [ 'only a name', $profile, sub {
        $_[1]{attributes} = { first_name => 'Ana' } } ],
    [ 'two identifiers', "$profile/attributes", sub {
        $_[1]{attributes}{email} = 'a@x.co' } ],
    [ 'id and another', "$profile/attributes", sub { $_[1]{id} = '01J0' } ],
    [ 'unknown attribute', "$profile/attributes/name", sub {
        $_[1]{attributes}{name} = 'Ana' } ],
    [ 'an empty attribute', "$profile/attributes/first_name", sub {
        $_[1]{attributes}{first_name} = '' } ],
    [ 'a null attribute', "$profile/attributes/title", sub {
        $_[1]{attributes}{title} = undef } ],
    [ 'meta in attributes', "$profile/attributes/meta", sub {
        $_[1]{attributes}{meta} = {} } ],
    [ 'meta unknown key', "$profile/meta/patch", sub {
        $_[1]{meta} = { patch => {} } } ],
    [ 'location unknown key', "$profile/attributes/location/street", sub {
        $_[1]{attributes}{location} = { street => 'x' } } ],
    [ 'latitude', "$profile/attributes/location/latitude", sub {
        $_[1]{attributes}{location} = { latitude => 'north' } } ],
    [ 'no e-mail', "$profile/attributes/email", sub {
        $_[1]{attributes} = { email => 'a@x' } } ],
    [ 'e-mail of 100', "$profile/attributes/email", sub {
        $_[1]{attributes} = { email => 'x' x 95 . '@x.co' } } ],
    [ 'phone without +', "$profile/attributes/phone_number", sub {
        $_[1]{attributes} = { phone_number => '40712345678' } } ],
    [ 'external_id of 256', "$profile/attributes/external_id", sub {
        $_[1]{attributes} = { external_id => 'x' x 256 } } ],
    [ 'profile over 95 KB', $profile, sub {
        $_[1]{attributes}{properties} = { a => 'x' x 96_000 } } ],
);

for my $case (@entries) {
    my ($name, $pointer, $change) = @$case;
    my $good = entry('a');
    my $bad = entry('b');

    $change->($bad->{attributes}{events}{data}[0]{attributes},
              $bad->{attributes}{profile}{data}, $bad);

    refused($name, $pointer eq '' ? (202, undef) : (400,
        Klaviyo::StandIn::Contract::entry_pointer(1) . $pointer),
        text => body($good, $bad));
}

# the body as a whole

my $list = '/data/attributes/events-bulk-create/data';

refused('not JSON', 400, '/data', text => '{');
refused('an array', 400, '', text => '[]');
refused('nothing', 400, '/data', text => '');
refused('no data', 400, '/data', text => '{}');
refused('more than data', 400, '/meta', text => '{"data":{},"meta":{}}');
refused('job type', 400, '/data/type',
    text => '{"data":{"type":"event","attributes":{}}}');
refused('no entries', 400, $list, text => body());
refused('1000 entries', 202, undef, text => body(map { entry($_) } 1 .. 1000));
refused('1001 entries', 400, $list, text => body(map { entry($_) } 0 .. 1000));
refused('unique_id twice', 400, "$list/1$event/unique_id",
    text => body(entry('a'), entry('a')));
refused('bad UTF-8', 400, '/data', text => body(entry('a')) =~ s/Scarf/\xff/r);
refused('a key twice', 400, '/data',
    text => body(entry('a')) =~ s/"unique_id"/"value":1,"value":2,$&/r);
refused('beyond 64 bits', 400, '/data',
    text => body(entry('a')) =~ s/"Price":39.5/"Price":9223372036854775808/r);
refused('64 bits', 202, undef,
    text => body(entry('a')) =~ s/"Price":39.5/"Price":9223372036854775807/r);
refused('a long fraction', 202, undef, text => body(entry('a'))
    =~ s/"Price":39.5/"Price":0.3333333333333333333333333333/r);
refused('over 5 MB', 413, '/data', text => body(map { my $e = entry($_);
    $e->{attributes}{events}{data}[0]{attributes}{properties}{a} = 'x' x 99_999;
    $e } 1 .. 51));

# the request

refused('GET', 405, undef, method => 'GET');
refused('another path', 404, undef, path => '/api/events');
refused('a slash at the end', 404, undef, path => "$path/");
refused('arguments', 404, undef, path => "$path?a=1");
refused('no key', 401, undef, Authorization => undef);
refused('another scheme', 401, undef, Authorization => 'Bearer pk_0123456789');
refused('a public key', 401, undef, Authorization => 'Klaviyo-API-Key AbC123');
refused('no revision', 400, undef, revision => undef);
refused('no such revision', 400, undef, revision => '2026-07-16');
refused('no type', 415, undef, 'Content-Type' => undef);
refused('a form', 415, undef,
    'Content-Type' => 'application/x-www-form-urlencoded');
refused('JSON by another name', 202, undef,
    'Content-Type' => 'application/json');
refused('an encoding', 415, undef, 'Content-Encoding' => 'gzip');
refused('accepts nothing', 406, undef, Accept => undef);
refused('accepts HTML', 406, undef, Accept => 'text/html');
refused('a header twice', 400, undef,
    revision => [ '2026-07-15', '2026-07-15' ]);
refused('no host', 400, undef, Host => '');
refused('no length', 400, undef, 'Content-Length' => 'x');
refused('too long to read', 413, undef, 'Content-Length' => 7_000_000);
refused('backfill of an old revision', 400, "$list/0$in/backfill",
    revision => '2025-10-15', text => body(entry('a', backfill => 1)));
refused('an old revision', 202, undef, revision => '2025-10-15');

# updates of profiles: the profile is all there is

my $import = '/api/profile-import';

my @updates = (
    [ 'plain', '', sub { } ],
    [ 'all attributes', '', sub { $_[0]{attributes} = {
        email => 'a@x.co', first_name => 'Ana', last_name => 'Pop',
        organization => 'x', locale => 'ro-RO', title => 'x',
        image => 'https://x.co/a.png', location => { city => 'Brasov' },
        properties => { tier => 'gold' } } } ],
    [ 'a phone', '', sub {
        $_[0]{attributes} = { phone_number => '+40712345678' } } ],
    [ 'an id', '', sub { @{$_[0]}{qw(id attributes)} = ('01J0', {}) } ],
    [ 'meta', '', sub { $_[0]{meta} = {
        patch_properties => { unset => 'a' } } } ],
    [ 'type', '/data/type', sub { $_[0]{type} = 'person' } ],
    [ 'no attributes', '/data/attributes', sub { delete $_[0]{attributes} } ],
    [ 'nobody', '/data', sub {
        $_[0]{attributes} = { first_name => 'Ana' } } ],
    [ 'an anonymous_id', '/data/attributes/anonymous_id', sub {
        $_[0]{attributes}{anonymous_id} = 'a' } ],
    [ 'two identifiers', '/data/attributes', sub {
        $_[0]{attributes}{external_id} = 'a' } ],
    [ 'unknown key', '/data/relationships', sub {
        $_[0]{relationships} = {} } ],
    [ 'unknown attribute', '/data/attributes/name', sub {
        $_[0]{attributes}{name} = 'Ana' } ],
    [ 'subscriptions', '/data/attributes/subscriptions', sub {
        $_[0]{attributes}{subscriptions} = {} } ],
    [ 'a null', '/data/attributes/title', sub {
        $_[0]{attributes}{title} = undef } ],
    [ 'bad e-mail', '/data/attributes/email', sub {
        $_[0]{attributes}{email} = 'a@x' } ],
    [ 'bad phone', '/data/attributes/phone_number', sub {
        $_[0]{attributes} = { phone_number => '0712345678' } } ],
    [ 'over 100 KB', '/data', sub { $_[0]{attributes}{properties} = {
        map { $_ => 'x' x 50_000 } 1 .. 2 } }, 413 ],
);

for my $case (@updates) {
    my ($name, $pointer, $change, $status) = @$case;
    my $profile = { type => 'profile', attributes => { email => 'b@x.co' } };

    $change->($profile);
    like(told($import, { data => $profile }), $pointer eq ''
        ? qr/\A20[01] \z/ : qr/\A@{[ $status || 400 ]} \Q$pointer\E\z/,
        "update: $name");
}

my $ana = { data => { type => 'profile',
    attributes => { email => 'ana@x.co' } } };

is(told($import, $ana), '201 ', 'a new profile');
is(told($import, $ana), '200 ', 'one that is known');
is(($k->profiles())[-1]{attributes}{email}, 'ana@x.co', 'as it is recorded');
is(told($import, { data => [] }), '400 /data', 'several updates');
refused('GET an update', 405, undef, method => 'GET', path => $import);
refused('no key for an update', 401, undef, path => $import,
    Authorization => undef);
refused('an event as an update', 400, '/data/type', path => $import);

# subscriptions: a job around profiles

my $jobs = '/api/profile-subscription-bulk-create-jobs';
my $past = '2026-01-01T00:00:00Z';
my $one = '/data/attributes/profiles/data/0';
my $true = Cpanel::JSON::XS::true;

# changed by code that gets: the profile, the job's attributes, the job
my @subscriptions = (
    [ 'plain', '', sub { } ],
    [ 'SMS', '', sub { $_[0]{attributes} = { phone_number => '+40712345678',
        subscriptions => { sms => agreed() } } } ],
    [ 'both', '', sub { $_[0]{attributes}{phone_number} = '+40712345678';
        $_[0]{attributes}{subscriptions}{sms} = agreed() } ],
    [ 'an id', '', sub { $_[0]{id} = '01J0' } ],
    [ 'no list', '', sub { delete $_[2]{relationships} } ],
    [ 'a source', '', sub { $_[1]{custom_source} = 'footer' } ],
    [ 'history', '', sub { $_[1]{historical_import} = $true;
        $_[0]{attributes}{subscriptions}{email} = agreed($past) } ],
    [ 'history without a time', "$one/attributes/subscriptions/email/marketing/"
        . 'consented_at', sub { $_[1]{historical_import} = $true } ],
    [ 'a time without history', "$one/attributes/subscriptions/email/marketing/"
        . 'consented_at', sub {
        $_[0]{attributes}{subscriptions}{email} = agreed($past) } ],
    [ 'a time to come', "$one/attributes/subscriptions/email/marketing/"
        . 'consented_at', sub { $_[1]{historical_import} = $true;
        $_[0]{attributes}{subscriptions}{email} = agreed(strftime(
            '%Y-%m-%dT%H:%M:%SZ', gmtime(time() + 3600))) } ],
    [ 'history in quotes', '/data/attributes/historical_import', sub {
        $_[1]{historical_import} = 'true' } ],
    [ 'job type', '/data/type', sub { $_[2]{type} = 'profile' } ],
    [ 'job unknown key', '/data/id', sub { $_[2]{id} = 1 } ],
    [ 'job unknown attribute', '/data/attributes/list_id', sub {
        $_[1]{list_id} = 'a' } ],
    [ 'an empty source', '/data/attributes/custom_source', sub {
        $_[1]{custom_source} = '' } ],
    [ 'list type', '/data/relationships/list/data/type', sub {
        $_[2]{relationships}{list}{data}{type} = 'segment' } ],
    [ 'no list id', '/data/relationships/list/data/id', sub {
        delete $_[2]{relationships}{list}{data}{id} } ],
    [ 'no profiles', '/data/attributes/profiles', sub {
        delete $_[1]{profiles} } ],
    [ 'no profile', '/data/attributes/profiles/data', sub {
        $_[1]{profiles}{data} = [] } ],
    [ '1000 profiles', '', sub {
        $_[1]{profiles}{data} = [ ($_[0]) x 1000 ] } ],
    [ '1001 profiles', '/data/attributes/profiles/data', sub {
        $_[1]{profiles}{data} = [ ($_[0]) x 1001 ] } ],
    [ 'no subscriptions', "$one/attributes/subscriptions", sub {
        delete $_[0]{attributes}{subscriptions} } ],
    [ 'no channel', "$one/attributes/subscriptions", sub {
        $_[0]{attributes}{subscriptions} = {} } ],
    [ 'unknown channel', "$one/attributes/subscriptions/fax", sub {
        $_[0]{attributes}{subscriptions}{fax} = agreed() } ],
    [ 'no address', "$one/attributes/email", sub {
        delete $_[0]{attributes}{email} } ],
    [ 'no channel for an address', "$one/attributes/phone_number", sub {
        $_[0]{attributes}{phone_number} = '+40712345678' } ],
    [ 'another consent', "$one/attributes/subscriptions/email/marketing/"
        . 'consent', sub { $_[0]{attributes}{subscriptions}{email}{marketing}{consent}
            = 'UNSUBSCRIBED' } ],
    [ 'an attribute', "$one/attributes/first_name", sub {
        $_[0]{attributes}{first_name} = 'Ana' } ],
    [ 'an external_id', "$one/attributes/external_id", sub {
        $_[0]{attributes}{external_id} = '7' } ],
    [ 'bad e-mail', "$one/attributes/email", sub {
        $_[0]{attributes}{email} = 'a@x' } ],
    [ 'bad phone', "$one/attributes/phone_number", sub {
        $_[0]{attributes} = { phone_number => '0712345678',
            subscriptions => { sms => agreed() } } } ],
);

for my $case (@subscriptions) {
    my ($name, $pointer, $change) = @$case;
    my $profile = { type => 'profile', attributes => { email => 'b@x.co',
        subscriptions => { email => agreed() } } };
    my $job = { type => 'profile-subscription-bulk-create-job',
        attributes => { profiles => { data => [ $profile ] } },
        relationships => { list => { data => {
            type => 'list', id => 'AbC123' } } } };

    $change->($profile, $job->{attributes}, $job);
    is(told($jobs, { data => $job }), $pointer eq '' ? '202 ' : "400 $pointer",
        "subscription: $name");
}

is(($k->subscriptions())[0]{job}{list}, 'AbC123', 'as it is recorded');

$k->poison('email', 'ana@x.co', 'none');
is(told($import, $ana), '400 /data/', 'a poisoned profile');
$k->poison();
$k->settings(steady => 1);
is(told($import, $ana), '200 ', 'the rate of updates');
is(post()->status(), 202, 'is not that of events');
$k->settings(steady => 0);

# settings

$k->settings(key => 'pk_0123456789', identifiers => 'any');
refused('the right key', 202);
refused('another key', 401, undef,
    Authorization => 'Klaviyo-API-Key pk_9876543210');
refused('all identifiers', 202, undef, text => body(entry('a', profile => {
    email => 'a@x.co', external_id => 'c', _kx => 'a.B' })));
$k->settings(key => undef, identifiers => 'one');

# what is recorded

$k->forget();
is(post()->status(), 202, 'an event');

my ($got) = $k->events();

is_deeply({ %$got, entry => undef }, { metric => 'Viewed Product',
    service => undef, who => '_kx:abc.XY', profile => { _kx => 'abc.XY' },
    properties => { ProductName => 'Scarf', Price => 39.5 },
    unique_id => 'a', time => $now, value => undef, currency => undef,
    backfill => undef, request => $got->{request}, entry => undef },
    'as it is recorded');
is(scalar $k->events('Other'), 0, 'not of another metric');
is(($k->requests())[-1]{unique_ids}[0], 'a', 'and its request');
is(scalar $k->duplicates(), 0, 'once');
post();
is(scalar $k->duplicates(), 1, 'twice');

$k->settings(repeated => 'refuse');
refused('known already', 400, "$list/0$event/unique_id");
$k->settings(repeated => 'accept');

my $chunked = raw("POST $path HTTP/1.1\r\nHost: x\r\n" . headers()
    . "Transfer-Encoding: chunked\r\n\r\n" . join('', map {
        sprintf "%x\r\n%s\r\n", length, $_ } body(entry('c')) =~ /.{1,100}/gs)
    . "0\r\n\r\n");

is($chunked->status(), 202, 'chunked');

# answers as told

for my $status (401, 403, 404, 405, 409, 410, 413, 415, 500, 502) {
    $k->answer($status);
    my $r = post();

    is($r->status(), $status, "answers $status");
    is(ref $json->decode($r->body())->{errors}, 'ARRAY', "$status in JSON");
}

$k->answer('503', times => 2, retry_after => 7);
is(post()->header('Retry-After'), 7, '503 with Retry-After');
is(post()->status(), 503, 'two times');
is(post()->status(), 202, 'then no more');

$k->answer('429', retry_after => 'Wed, 21 Oct 2026 07:28:00 GMT');
like(post()->header('Retry-After'), qr/GMT/, '429 with a date');

$k->answer('403-html');
my $html = post();
is($html->header('cf-mitigated'), 'challenge', 'Cloudflare');
like($html->body(), qr/<html>/, 'in HTML');

$k->answer('301');
like(post()->header('Location'), qr/elsewhere/, 'redirect');

$k->script({ answer => '400', entry => 1 }, { answer => '400', entry => 1,
    pointer => 'none' }, { answer => '400', pointer => 'wrong' },
    { answer => '400', pointer => 'beyond' }, { answer => 'repeated' });

my @two = (text => body(entry('a'), entry('b')));

like(pointer(@two), qr{^$list/1/}, '400 about an entry');
is(pointer(@two), '/data/', 'about none');
is(pointer(@two), "$list/1", 'about another');
is(pointer(@two), "$list/7", 'about one that is not there');
like(pointer(@two), qr{^$list/0/.*/unique_id$}, 'repeated');

$k->poison('Price', 13);
refused('poison', 400, "$list/1$event/properties", text => body(entry('a'),
    entry('b', properties => { Price => 13 })));
refused('no poison', 202);
$k->poison();

$k->answer('ok', delay => 0.3, trickle => 10);
my $begin = time();
is(post()->status(), 202, 'slow');
cmp_ok(time() - $begin, '>', 0.3, 'as slow as told');

my $before = $k->events();

for my $how (qw(drop reset close garbage)) {
    $k->answer($how);
    is(post()->status(), 0, $how);
}

is(scalar $k->events(), $before, 'nothing accepted there');

$k->answer('lose');
is(post()->status(), 0, 'accepts, and loses the answer');
is(scalar $k->events(), $before + 1, 'accepted');

ok(!($k->requests())[-1]{answered}, 'and knows that it was lost');
post();
ok($t->wait_for(sub { ($k->requests())[-1]{answered} }),
    'and that another was not');

# without a look at the body: for load
$k->settings(validate => 0, poison_ids => 'b\d');
is(post(text => body(map { entry($_) } qw(a1 a2)))->status(), 202, 'by ids');
is(join(' ', @{($k->requests())[-1]{unique_ids}}), 'a1 a2', 'which it tells');
is($json->decode(post(text => body(map { entry($_) } qw(a1 b2)))->body())
        ->{errors}[0]{source}{pointer}, "$list/1$event/unique_id",
    'and may refuse');
$k->settings(validate => 1, poison_ids => '');

$k->answer('hang');
is(post(timeout => 0.3)->status(), 0, 'hangs');

for my $how (qw(chatty-body chatty-headers)) {
    $k->answer($how);
    my $c = connection();
    $c->send(request_text());
    1 while length $c->{in} < 50_000 && $c->more();
    cmp_ok(length $c->{in}, '>=', 50_000, $how);
    $c->close();
}

my $c = connection();
$c->send(request_text() x 3);
is(join(' ', map { $c->response()->status() } 1 .. 3), '202 202 202',
    'pipelined on one connection');

is(eval { $k->answer('nonsense'); 1 }, undef, 'no such answer');

# rate windows

$k->settings(steady => 3);
my $limited = post();
is($limited->header('RateLimit-Limit'), 3, 'limit');
is($limited->header('RateLimit-Remaining'), 2, 'remaining');
cmp_ok($limited->header('RateLimit-Reset'), '<=', 60, 'reset');

$k->settings(others => 2, ratelimit => 'windows', burst => 10);
$limited = post();
is($limited->header('RateLimit-Limit'), '10, 10;w=1, 3;w=60', 'windows');
is($limited->header('RateLimit-Remaining'), 0, 'others took the rest');
$limited = post();

SKIP: {
    # a new minute has begun in between
    skip 'another minute', 2 if $limited->status() == 202;

    is($limited->status(), 429, 'throttled');
    ok($limited->header('Retry-After')
       && !defined $limited->header('RateLimit-Limit'), 'its headers');
}

$t->done();

###############################################################################

sub nested {
    my ($n) = @_;

    return $n == 1 ? { a => 1 } : { a => nested($n - 1) };
}


sub entry {
    my ($id, %opt) = @_;

    return {
        type => 'event-bulk-create',
        attributes => {
            ($opt{backfill} ? (backfill => Cpanel::JSON::XS::true) : ()),
            profile => { data => { type => 'profile',
                attributes => $opt{profile} || { _kx => 'abc.XY' } } },
            events => { data => [ { type => 'event', attributes => {
                time => $now, unique_id => "$id",
                properties => $opt{properties}
                    || { ProductName => 'Scarf', Price => 39.5 },
                metric => { data => { type => 'metric',
                    attributes => { name => 'Viewed Product' } } },
            } } ] },
        },
    };
}


sub body {
    return $json->encode({ data => { type => 'event-bulk-create-job',
        attributes => { 'events-bulk-create' => { data => [ @_ ] } } } });
}


sub request_headers {
    my (%headers) = @_;

    return {
        Authorization => 'Klaviyo-API-Key pk_0123456789',
        Accept => 'application/vnd.api+json', revision => '2026-07-15',
        'Content-Type' => 'application/vnd.api+json', %headers,
    };
}


sub headers {
    my $headers = request_headers();

    return join '', map { "$_: $headers->{$_}\r\n" } sort keys %$headers;
}


sub connection {
    return Test::Nginx::Klaviyo::HTTP->new($k->port(), @_);
}


sub raw { return connection()->send($_[0])->response() }


sub request_text {
    return Test::Nginx::Klaviyo::HTTP::text('POST', $path,
        headers => request_headers(), body => body(entry('a')));
}


sub post {
    my (%opt) = @_;
    my $text = delete $opt{text} // body(entry('a'));
    my $method = delete $opt{method} || 'POST';
    my $uri = delete $opt{path} || $path;
    my $timeout = delete $opt{timeout};

    return connection(timeout => $timeout)->request($method, $uri,
        headers => request_headers(%opt), body => $text);
}


# status and pointer of the answer to this
sub told {
    my ($uri, $tree) = @_;
    my $r = post(path => $uri, text => $json->encode($tree));
    my $body = $r->body() ne '' ? $json->decode($r->body()) : {};

    return $r->status() . ' '
           . ($body->{errors} ? $body->{errors}[0]{source}{pointer} : '');
}


sub agreed {
    my ($when) = @_;

    return { marketing => { consent => 'SUBSCRIBED',
        $when ? (consented_at => $when) : () } };
}


sub pointer {
    return $json->decode(post(@_)->body())->{errors}[0]{source}{pointer};
}


sub refused {
    my ($name, $status, $pointer, @request) = @_;
    my $r = post(@request);
    my $body = $r->body() ne '' ? $json->decode($r->body()) : {};
    my $error = $body->{errors}[0] || {};

    if (!defined $pointer) {
        is($r->status(), $status, $name) or diag($r->body());
        return;
    }

    is($r->status() . ' ' . ($error->{source}{pointer} // ''),
        "$status $pointer", $name) or diag($r->body());
}

###############################################################################
