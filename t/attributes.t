#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# What an event has beside its properties: value, currency, time, unique_id,
# service, backfill, the profile's attributes; what the levels around a rule
# add; and the variables that tell about it.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use POSIX qw(strftime);
use Time::HiRes qw(time);

use lib "$FindBin::Bin/lib";
use Klaviyo::StandIn::Contract ();
use Test::Nginx::Klaviyo::Delivery qw(settled);
use Test::Nginx::Klaviyo::Table;

###############################################################################

my ($table, %check);

attributes();
ids();
levels();
profile();
event_ids();
results();
full();

Test::Nginx::Klaviyo->done();

###############################################################################

sub attributes {
    fresh(account => 'service edge;', http => <<'EOH');

    klaviyo_account two {
        api_key   data:pk_two0123456789;
        endpoint  %%KLAVIYO%%;
        backfill  on;
    }

EOH

    # value: a text that stays one (Klaviyo refuses it), or a guess

    value('a text', 'v=19.99', '19.99');
    value('an integer', 'v=20', '20');
    value('an exponent', 'v=1e2', '100');
    value('a negative one', 'v=-0.50', '-0.5');
    value('zero', 'v=0', '0');
    value('a large one', 'v=1e300', '1e300');
    value('beyond 64 bits', 'v=12345678901234567890',
        '1.234567890123456789e19');
    value('infinite', 'v=1e999', undef);
    value('words', 'v=abc', undef);
    value('thousands', 'v=1,299.00', undef);
    value('a currency', 'v=19.99+EUR', undef);
    value('an empty one', 'v=', undef);
    value('none', '', undef);
    value('several', 'v=1&v=2', undef, 1, '@args.v');
    value('a sum', 'v=0.1&v=0.2', '0.3', 0, '@args.v | sum');
    value('true', '', undef, 0, '\x74rue | boolean');

    # currency: what isn't ISO 4217 loses the whole event

    currency('one', 'c=EUR', 'EUR');
    currency('lower case', 'c=eur', undef, 1);
    currency('lower case, mended', 'c=eur', 'EUR', 0, '$arg_c | upper');
    currency('too long', 'c=EURO', undef, 1);
    currency('too short', 'c=EU', undef, 1);
    currency('digits', 'c=E1R', undef, 1);
    currency('other letters', 'c=%C3%89R', undef, 1);
    currency('several', 'c=EUR&c=USD', undef, 1, '@args.c');
    currency('none', '', undef);

    # time: the request's own for what Klaviyo refuses

    my ($now, $year) = (int time(), 365 * 86400);

    when('RFC 3339', '2025-07-23T12:15:30%2B02:00', '2025-07-23T10:15:30Z');
    when('seconds', '1753265730', '2025-07-23T10:15:30Z');
    when('milliseconds', '1753265730123', '2025-07-23T10:15:30.123Z');
    when('HTTP', 'Wed,+23+Jul+2025+10:15:30+GMT', '2025-07-23T10:15:30Z');
    when('a day', '2025-07-23', '2025-07-23T00:00:00Z');
    when('the first', '1991-01-01T00:00:00Z', '1991-01-01T00:00:00Z');
    when('before', '1990-12-31T23:59:59Z', undef);
    when('nearly a year ahead', $now + $year - 600,
        strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $now + $year - 600));
    when('more than a year ahead', $now + $year + 600, undef);
    when('no zone', '2025-07-23T10:15:30', undef);
    when('words', 'yesterday', undef);
    when('none', '', undef);

    # service and backfill: the rule's, else the account's

    of('service', 'the account\'s', '', 'edge');
    of('service', 'the rule\'s', 'service api;', 'api');
    of('service', 'another account\'s, none', 'account two;', undef);
    of('backfill', 'none', '', undef);
    of('backfill', 'the rule\'s', 'backfill on;', 1);
    of('backfill', 'the account\'s', 'account two;', 1);
    of('backfill', 'the rule\'s off', 'account two; backfill off;', undef);

    done();
}


# seen by a check, and how many things a limit left out
sub value {
    my ($name, $query, $expected, $limited, $value) = @_;

    my $n = $table->add("value, $name", 'value ' . ($value // '$arg_v') . ';',
        $query);

    $check{$n} = sub {
        my ($event) = @_;

        is(($event->{value_text} // 'none') . ' '
            . $table->counters($n)->{limited},
            ($expected // 'none') . ' ' . ($limited || 0),
            $table->name($n) . ": $query");
    };
}


sub currency {
    my ($name, $query, $expected, $limited, $value) = @_;

    my $n = $table->add("currency, $name", 'currency '
        . ($value // '$arg_c') . ';', $query);

    $check{$n} = sub {
        my ($event) = @_;

        is(($event->{currency} // 'none') . ' '
            . $table->counters($n)->{limited},
            ($expected // 'none') . ' ' . ($limited || 0),
            $table->name($n) . ": $query");
    };
}


sub when {
    my ($name, $time, $expected) = @_;
    my $n = $table->add("time, $name", 'time $arg_t;', "t=$time");

    $check{$n} = sub {
        my ($event) = @_;

        return is($event->{time}, $expected, $table->name($n))
            if defined $expected;

        my $sent = Klaviyo::StandIn::Contract::parse_time($event->{time});

        ok($sent > time() - 30 && $sent <= time(), $table->name($n)
            . ': the request\'s');
    };
}


sub of {
    my ($field, $name, $rule, $expected) = @_;
    my $n = $table->add("$field, $name", $rule, '');

    $check{$n} = sub { is($_[0]{$field}, $expected, $table->name($n)) };
}

###############################################################################

# unique_id: one that is not unique, or that Klaviyo refuses.

sub ids {
    fresh(main => 'worker_processes 2;');

    my $free = $table->add('the default', '', '');

    id('a configured one', 'o=17', 'order-17');
    id('without blanks around', 'o=17', '17', '"  $arg_o "');
    id('255 bytes', 'o=' . 'x' x 249, 'order-' . 'x' x 249);
    id('256 bytes', 'o=' . 'x' x 250, undef);
    id('a missing part', '', undef);
    id('an empty part', 'o=', undef);
    id('nothing but NUL', 'o=%00', undef, '$arg_o');
    id('a control character', 'o=a%0Ab', undef);
    id('not UTF-8', 'o=%ff', undef);
    id('UTF-8', 'o=%C3%A9', "order-\x{e9}");
    id('null', 'o=null', undef, '$arg_o');
    id('a number', '', '17', '\x7b"o":17} | json o');
    id('several', 'o=1&o=2', undef, '@args.o');
    id('quotes', 'o=%22%5C', 'order-"\\');

    my $each = $table->add('each', 'each $arg_i | split ,;'
        . ' unique_id "$arg_o" | suffix .; property I .;', 'o=o&i=1,2');

    my $default = $table->add('each without one', 'each $arg_i | split ,;'
        . ' property I .;', 'i=1,2,3');

    $table->start();
    $table->send($_) for 1 .. $default;

    # of two workers, before and after a reload

    $table->send($free) for 1 .. 60;
    $table->harness()->reload();
    $table->send($free) for 1 .. 60;
    $table->finish();
    $table->judge();
    checks();

    my @ids = map { $_->{unique_id} } $table->events($free);
    my %ids = map { $_ => 1 } @ids;

    is(keys %ids, 120, 'default ids are unique');
    is(join(' ', grep { !/^[0-9a-f]{16}(?:-[0-9a-f]+){4}$/ } @ids), '',
        'and of one shape');
    is($table->counters($free)->{bad_ids}, 0, 'not because of bad ones');
    is(join(' ', map { "$_->{unique_id} $_->{text}" } $table->events($each)),
        'o1 {"I":"1"} o2 {"I":"2"}', 'of each element');

    my @of = map { $_->{unique_id} =~ /(.*)-(\w+)$/ } $table->events($default);

    is("@of[1, 3, 5]", '0 1 2', 'the element is its last number');
    is($of[0], $of[2], 'of one request');
}


sub id {
    my ($name, $query, $expected, $value) = @_;
    my $n = $table->add("unique_id, $name", 'unique_id '
        . ($value // 'order-$arg_o') . ';', $query);

    $check{$n} = sub {
        my ($event) = @_;
        my $id = $event->{unique_id};

        is(($id =~ /^[0-9a-f]{16}-/ ? 'default' : $id) . ' '
            . $table->counters($n)->{bad_ids},
            $expected ? "$expected 0" : 'default 1', $table->name($n));
    };
}

###############################################################################

# klaviyo_property and klaviyo_profile: a level that hides too little, too much,
# or adds a name twice.

sub levels {
    my $lines = sub {
        my ($name, @letters) = @_;

        return join ' ', map { "klaviyo_property $_ $name;"
            . " klaviyo_profile properties.$_ $name;" } @letters;
    };

    fresh(http => $lines->('http', 'A' .. 'D'),
        server => $lines->('server', 'B' .. 'D'));

    my $rule = $table->add('nearest', 'property D rule; property E rule;'
        . ' profile properties.D rule;', 'x=1',
        level => $lines->('location', 'C', 'D') . ' klaviyo_property F $arg_x;',
        events => [ '{"D":"rule","E":"rule","C":"location","F":"1",'
                    . '"B":"server","A":"http"}' ]);

    my $outer = $table->add('inherited', '', '',
        events => [ '{"B":"server","C":"server","D":"server","A":"http"}' ]);

    $table->add('by items too', 'items A $arg_x { property V .; }', 'x=1',
        events => [ '{"A":[{"V":"1"}],"B":"server","C":"server",'
                    . '"D":"server"}' ]);

    # missing at the nearest level does not bring the outer one back

    $table->add('missing', 'property A $arg_x;', '',
        events => [ '{"B":"server","C":"server","D":"server"}' ]);

    $table->run();
    $table->judge();

    is_deeply(($table->events($rule))[0]{profile}{properties},
        { qw(A http B server C location D rule) }, 'profile, nearest');
    is_deeply(($table->events($outer))[0]{profile}{properties},
        { qw(A http B server C server D server) }, 'profile, inherited');
}

###############################################################################

# The profile's fields: a wrong place, a wrong type.

sub profile {
    fresh();

    who('all of them', join(' ', map { "profile $_ \$arg_x;" } qw(first_name
        last_name organization locale title image location.address1
        location.address2 location.city location.country location.region
        location.zip location.timezone)), 'x=a',
        '{"type":"profile","attributes":{"external_id":"%d","first_name":"a",'
        . '"last_name":"a","organization":"a","locale":"a","title":"a",'
        . '"image":"a","location":{"address1":"a","address2":"a","city":"a",'
        . '"country":"a","region":"a","zip":"a","timezone":"a"}}}');
    who('coordinates', 'profile location.latitude $arg_a;'
        . ' profile location.longitude $arg_b | number;', 'a=45.6427&b=25.5887',
        '{"type":"profile","attributes":{"external_id":"%d","location":'
        . '{"latitude":"45.6427","longitude":25.5887}}}');
    who('no coordinates', 'profile location.latitude $arg_a;'
        . ' profile location.longitude $arg_b;', 'a=north&b=1e1',
        '{"type":"profile","attributes":{"external_id":"%d"}}', 2);
    who('an address', 'profile location.ip $remote_addr;', '',
        '{"type":"profile","attributes":{"external_id":"%d","location":'
        . '{"ip":"127.0.0.1"}}}');
    who('no address', 'profile location.ip $arg_a;', 'a=1.2.3.4,+5.6.7.8',
        '{"type":"profile","attributes":{"external_id":"%d"}}', 1);
    who('a number as a text', 'profile first_name $arg_a | number;'
        . ' profile location.zip $arg_a | number;', 'a=7',
        '{"type":"profile","attributes":{"external_id":"%d","first_name":"7",'
        . '"location":{"zip":"7"}}}');
    who('a tree where a text must be', 'profile title @args;', 'a=1',
        '{"type":"profile","attributes":{"external_id":"%d"}}', 1);
    who('properties of all types', 'profile properties.a $arg_a | number;'
        . ' profile properties.b @args; profile properties.c.d $arg_b |'
        . ' boolean; profile properties.$e $arg_x;', 'a=7&b=yes',
        '{"type":"profile","attributes":{"external_id":"%d","properties":'
        . '{"a":7,"b":{"a":"7","b":"yes"},"c.d":true}}}');
    who('missing ones', 'profile title $arg_a; profile location.city $arg_a;'
        . ' profile properties.a $arg_a;', 'a=',
        '{"type":"profile","attributes":{"external_id":"%d"}}');
    who('of each element', 'each $arg_a; profile title .;', 'a=x',
        '{"type":"profile","attributes":{"external_id":"%d","title":"x"}}');

    done();
}


sub who {
    my ($name, $rule, $query, $expected, $limited) = @_;
    my $n = $table->add("profile, $name", $rule, $query);

    $expected =~ s/%d/$n/;

    $check{$n} = sub {
        my ($event) = @_;

        is("$event->{profile_text} " . $table->counters($n)->{limited},
            "$expected " . ($limited || 0), $table->name($n));
    };
}

###############################################################################

# $klaviyo_event_id: one in the header that is not the event's, or that changes
# the event's.

sub event_ids {
    fresh(http => 'log_format ids "$http_x_case \"$klaviyo_event_id\"";',
        server => 'access_log %%TESTDIR%%/ids.log ids;'
                  . ' add_header X-Id "id=$klaviyo_event_id";');

    event_id('the default', '', '', qr/^[0-9a-f]{16}-/);
    event_id('configured', 'unique_id o-$arg_o;', 'o=1', qr/^o-1$/);
    event_id('configured, a bad one', 'unique_id o-$arg_o;', '',
        qr/^[0-9a-f]{16}-/, bad => 1);
    event_id('a condition on the status', 'when $status = 404;', '',
        qr/^[0-9a-f]{16}-/, answer => 'return 404',
        level => 'add_header X-Id "id=$klaviyo_event_id" always;');
    event_id('of the answer', 'unique_id s-$status;', '', qr/^s-200$/,
        unknown => 1);
    event_id('of the answer, by a name', 'let s $sent_http_x_y;'
        . ' unique_id @s;', '', qr/^y$/, unknown => 1,
        level => 'add_header X-Y y; add_header X-Id "id=$klaviyo_event_id";');
    event_id('of a capture', 'unique_id $handle;', '', qr/^hat$/,
        pattern => '~^/%d/(?<handle>.*)$', uri => '/%d/hat');
    event_id('of the first rule', '', '', qr/^first$/, of => 'Other',
        level => 'klaviyo_track Other { unique_id first; }');
    event_id('of each, the default', 'each $arg_i | split ,;', 'i=1,2',
        qr/^[0-9a-f]{16}-.*-0$/, events => 2);
    event_id('of each, an element\'s', 'each $arg_i | split ,;'
        . ' unique_id .;', 'i=x,y', qr/^x$/, unknown => 1, events => 2);
    event_id('of each, by a name', 'each $arg_i | split ,; let y .;'
        . ' unique_id @y | prefix i;', 'i=x', qr/^ix$/, unknown => 1);
    event_id('asked for in a rewrite too', 'unique_id o-$chosen;', 'o=1',
        qr/^[0-9a-f]{16}-/, bad => 1,
        level => 'set $early $klaviyo_event_id; set $chosen $arg_o;');

    my $none = $table->add('no rule', '', '', pattern => '/none');

    $table->run();

    my $log = $table->harness()->read_file('ids.log');
    my %logged = $log =~ /^(\d+) "(.*)"$/mg;

    for my $n (sort { $a <=> $b } keys %check) {
        my ($pattern, %opt) = @{$check{$n}};
        my @events = $table->events($opt{of} || $n);

        # two requests may carry them, and either may come first
        my ($id) = grep { $_ =~ $pattern } map { $_->{unique_id} } @events;
        my $name = $table->name($n);

        like($id, $pattern, "$name: the event's");
        is($table->answer($n)->header('X-Id'),
            'id=' . ($opt{unknown} ? '' : $id), "$name: in the header");
        is($logged{$n}, $id, "$name: in the log");
        is(@events . ' ' . $table->counters($n)->{bad_ids},
            ($opt{events} || 1) . ' ' . ($opt{bad} || 0), "$name: counted");
    }

    is($table->answer($none)->header('X-Id') . $logged{$none}, 'id=-',
        'no rule, no id');
}


sub event_id {
    my ($name, $rule, $query, $pattern, %opt) = @_;
    my %case = map { $_ => $opt{$_} } grep { exists $opt{$_} }
               qw(level answer pattern uri);

    $check{$table->add("\$klaviyo_event_id $name", $rule, $query, %case)}
        = [ $pattern, %opt ];
}

###############################################################################

# $klaviyo_result: every reason by the name that the status page has for it.

sub results {
    fresh(account => 'batch bytes=16k;');

    result('queued', '', '', 'queued');
    result('condition', 'when $arg_a;', '', 'skipped:condition');
    result('limit', 'when $arg_a ~ (a+a+)+$;', 'a=' . 'a' x 60 . 'b',
        'skipped:limit');
    result('empty', 'each $arg_a;', '', 'skipped:empty');
    result('status', '', '', 'skipped:status', answer => 'return 404');
    result('prefetch', '', '', 'skipped:prefetch',
        headers => { 'Sec-Purpose' => 'prefetch' });
    result('bots', '', '', 'skipped:bots',
        headers => { 'User-Agent' => 'Googlebot/2.1' });
    result('optout', '', '', 'skipped:optout',
        headers => { Cookie => '__kla_off=true' });
    result('gpc', '', '', 'skipped:gpc', headers => { 'Sec-GPC' => 1 });
    result('dnt', '', '', 'skipped:dnt', headers => { DNT => 1 });
    result('consent', '', '', 'skipped:consent',
        level => 'klaviyo_consent $arg_c;');
    result('unidentified', '', '', 'skipped:unidentified', who => undef);
    result('too large', 'property A $http_x_a;', '', 'dropped:too_large',
        headers => { 'X-A' => 'x' x 17_000 });
    result('no rule', '', '', '-', pattern => '/none');

    # of several rules one after the other, of several elements the first
    # that was queued

    result('several rules', 'when $arg_a;', '', 'queued,skipped:condition',
        level => 'klaviyo_track One { }');
    result('one of several rules', '', '', 'queued',
        level => 'klaviyo_track One /none { }');
    result('each', 'each $arg_i | split ,; when . = b;', 'i=a,b,c', 'queued');
    result('each, none', 'each $arg_i | split ,; when . = d;', 'i=a,b,c',
        'skipped:condition');
    result('switched off', '', '', '-', level => 'klaviyo off;');

    $table->run();

    for my $n (sort { $a <=> $b } keys %check) {
        my $expected = $check{$n};
        my $counters = $table->counters($n);
        my ($what, $reason) = $expected =~ /(skipped|dropped):(\w+)$/;

        is($table->result($n), $expected, $table->name($n));
        is($counters->{$what}{$reason}, $expected =~ /^skipped:c/
            && $table->name($n) =~ /each/ ? 3 : 1,
            $table->name($n) . ': counted') if $what;
    }
}


sub result {
    my ($name, $rule, $query, $expected, %opt) = @_;

    $check{$table->add("\$klaviyo_result $name", $rule, $query, %opt)}
        = $expected;
}

###############################################################################

# A queue that is full: the newest are dropped, each is told and counted.

sub full {
    fresh(account => 'queue 256k; retry min=10ms max=50ms;'
        . ' batch bytes=100k linger=1ms;');

    my $n = $table->add('full', 'property A $http_x_a;', '',
        headers => { 'X-A' => 'x' x 20_000 });

    $table->start();

    # who would make room
    $table->harness()->signal('STOP', 'helper');
    $table->send($n) for 1 .. 20;
    $table->harness()->signal('CONT', 'helper');
    settled($table->harness());
    $table->finish();

    my @results = split ' ', $table->result($n);
    my $queued = grep { $_ eq 'queued' } @results;
    my $counters = $table->counters($n);

    ok($queued > 5 && $queued < 20, 'not all had room');
    is(join(' ', @results), join(' ', ('queued') x $queued,
        ('dropped:full') x (20 - $queued)), 'the newest had none');
    is($counters->{dropped}{full}, 20 - $queued, 'counted');
    is($table->events($n), $queued, 'the others arrive');
}

###############################################################################

sub fresh {
    $table = Test::Nginx::Klaviyo::Table->new(@_);
    %check = ();
}


# Runs all, then each case's check on its only event.

sub done {
    $table->run();
    $table->judge();
    checks();
}


sub checks {
    for my $n (sort { $a <=> $b } keys %check) {
        my @events = $table->events($n);

        if (@events != 1) {
            fail($table->name($n) . ': ' . @events . ' events, '
                . $table->result($n));
            next;
        }

        $check{$n}->($events[0]);
    }
}

###############################################################################
