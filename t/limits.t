#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Whatever a visitor sends: Klaviyo refuses no event, what has no room is left
# out and counted, and nothing takes longer than it may.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo::Table;

###############################################################################

my ($table, %limited);

texts();
sizes();
numbers();
patterns();
unknown();
memory();
elements();
properties();
anything();

Test::Nginx::Klaviyo->done();

###############################################################################

# Bytes that JSON or Klaviyo does not take: one of them in a batch would lose
# the whole batch.

sub texts {
    my $bad = "\xef\xbf\xbd";

    fresh();

    property('not UTF-8', '$arg_a', 'a=x%ffy%c3', qq("x${bad}y$bad"));
    property('overlong', '$arg_a', 'a=%c0%af%e0%80%80', '"' . $bad x 5 . '"');
    property('half a pair', '$arg_a', 'a=%ed%a0%80x', '"' . $bad x 3 . 'x"');
    property('beyond Unicode', '$arg_a', 'a=%f4%90%80%80',
        '"' . $bad x 4 . '"');
    property('in a document', '@args', 'a%ff=b%fe', qq({"a$bad":"b$bad"}));
    property('in JSON', '$arg_a | json', 'a={"a%ff":"%fe"}',
        qq({"a$bad":"$bad"}));
    property('as it came', '$http_x_a', '', qq("$bad"), 0, "\xff");
    property('NUL', '$arg_a', 'a=x%00y', '"xy"');
    property('nothing but NUL', '$arg_a', 'a=%00%00', undef);
    property('NUL in JSON', '$arg_a | json', 'a={"a":"%5Cu0000","b":"x%5Cu0000"'
        . '}', '{"b":"x"}');
    property('NUL in a name of JSON', '$arg_a | json', 'a={"a%5Cu0000b":1}',
        undef);
    property('NUL in a name', '@args', 'a%00b=1&c=2', '{"c":"2"}');
    property('control characters', '$arg_a', 'a=%01%08%09%0a%0b%0c%0d%1f%7f',
        "\"\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f\x7f\"");
    property('quotes', '@args', 'a%22=%5C%22%2F', '{"a\"":"\\\\\"/"}');
    property('what would end the event', '$arg_a',
        'a=%22%7D%7D%5D%7D,%22profile%22', '"\"}}]},\"profile\""');
    property('half a pair in JSON', '$arg_a | json', 'a="%5Cud800x"',
        qq("${bad}x"));
    property('names without a letter', '$arg_a | json',
        'a={"":1,"a":{"":[{"":2}]},"b":3}', '{"b":3}', 2);
    property('twins', '$arg_a | json', 'a={"a":1,"b":2,"%5Cu0061":3}',
        '{"a":3,"b":2}');
    property('twins of bad bytes', '@args', 'a%ff=1&a%fe=2',
        qq({"a$bad":["1","2"]}));
    property('nothing to send', '$arg_a | json',
        'a={"a":null,"b":"","c":[],"d":{},"e":[null,""],"f":{"g":[[]]}}',
        undef);

    finish();
}

###############################################################################

# What is too long, too deep or too many.

sub sizes {
    fresh();

    my $text = 'x' x 100_000;

    property('100,000 bytes', '$http_x_a', '', "\"$text\"", 0, $text);
    property('100,001 bytes', '$http_x_a', '', undef, 1, "${text}x");
    property('100,001 bytes among others', '$http_x_a | split ,', '',
        '["a","b"]', 1, "a,${text}x,b");
    property('100,001 bytes in JSON', '$http_x_a | json', '', '{"b":1}', 1,
        "{\"a\":\"${text}x\",\"b\":1}");
    property('bytes that become three', '$http_x_a', '', undef, 1,
        "\xff" x 33_334);
    property('bytes that become three, just so', '$http_x_a | count', '', '1',
        0, "\xff" x 33_333);

    property('4,000 elements', '$http_x_a | json | count', '', '4000', 0,
        '[' . join(',', (1) x 4000) . ']');
    property('4,001 elements', '$http_x_a | json', '', '['
        . join(',', (1) x 4000) . ']', 1, '[' . join(',', (1) x 4001) . ']');
    property('5,000 pieces', '$http_x_a | split ,', '', '['
        . join(',', ('"1"') x 4000) . ']', 1000, join(',', (1) x 5000));
    property('4,001 by a path', '$http_x_a | json a[*]', '', undef, 1,
        '{"a":[' . join(',', (1) x 4001) . ']}');
    property('4,000 arguments', '@args.a | count', 'a&' x 3999 . 'a', '4000');
    property('4,001 arguments', '@args.a | count', 'a&' x 4000 . 'a', undef, 1);
    property('4,001 cookies', '@cookies.a', '', undef, 1, undef,
        'a=1;' x 4001);
    property('4,001 pairs', '$http_x_a | kv', '', undef, 1, 'a:1,' x 4001);

    # depth: "properties" is the first of ten

    for my $pair ([ '{"a":', '}' ], [ '[', ']' ]) {
        my $nest = sub { $pair->[0] x $_[0] . 1 . $pair->[1] x $_[0] };

        property("9 $pair->[0]", '$http_x_a | json', '', $nest->(9), 0,
            $nest->(9));
        property("10 $pair->[0]", '$http_x_a | json', '', undef, 1,
            $nest->(10));
        property("64 $pair->[0]", '$http_x_a | json', '', undef, 1,
            $nest->(64));
        property("65 $pair->[0]", '$http_x_a | json', '', undef, 1,
            $nest->(65));
        property("50,000 $pair->[0]", '$http_x_a | json', '', undef, 1,
            $pair->[0] x 50_000);
    }

    property('8 brackets', '@args', 'a[b][c][d][e][f][g][h][i]=1',
        '{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{"i":"1"}}}}}}}}}');
    property('9 brackets', '@args', 'a[b][c][d][e][f][g][h][i][j]=1', undef, 1);
    property('brackets without an end', '@args.b', 'a' . '[' x 5000 . '&b=1',
        '"1"');
    property('brackets in brackets', '@args.b', 'a' . '[' x 2000 . ']' x 2000
        . '=1&b=1', '"1"');
    property('5,000 brackets', '@args.b', 'a' . '[]' x 5000 . '&b=1', undef, 1);
    property('large indexes', '@args.a', 'a[99999999999999999999]=1&a[-1]=2',
        '{"99999999999999999999":"1","-1":"2"}');

    # the profile: custom properties go first, who it is stays

    my $who = $table->add('a large profile', 'profile first_name $http_x_a;'
        . ' profile properties.a $http_x_a; profile properties.b $arg_b;',
        'b=1', headers => { 'X-A' => 'x' x 60_000 }, events => [ '{}' ]);

    my $attribute = $table->add('a large attribute', 'profile title $http_x_a;',
        '', headers => { 'X-A' => 'x' x 96_000 }, events => [ '{}' ]);

    $limited{$who} = $limited{$attribute} = 1;

    finish();

    my ($profile) = map { $_->{profile} } $table->events($who);

    is_deeply([ sort keys %$profile ],
        [ qw(external_id first_name properties) ], 'a large profile');
    is_deeply($profile->{properties}, { b => 1 }, 'its properties');
    is(join(' ', keys %{($table->events($attribute))[0]{profile}}),
        'external_id', 'a large attribute');
}

###############################################################################

# Numbers that JSON, a double or 64 bits can't hold.

sub numbers {
    fresh();

    my $long = '9' x 400;

    property('1e999', '$arg_a | number', 'a=1e999', undef);
    property('-1e999', '$arg_a | number', 'a=-1e999', undef);
    property('1e-999', '$arg_a | number', 'a=1e-999', undef);
    property('an exponent without end', '$arg_a | number', "a=1e$long", undef);
    property('400 digits', '$arg_a | number', "a=$long", undef);
    property('400 zeros', '$arg_a | number', 'a=0.' . '0' x 400, '0');
    property('1e308 times 1e308', '$arg_a | multiply $arg_a', 'a=1e308', undef);
    property('1e308 and 1e308', '@args.a | number | sum', 'a=1e308&a=1e308',
        undef);
    property('38 digits', '$arg_a | number', 'a=' . '9' x 38,
        '9.9999999999999999999999999999999999999e37');
    property('1e999 in JSON', '$arg_a | json', 'a={"a":1e999}', undef);
    property('400 digits in JSON', '$arg_a | json', "a={\"a\":$long}", undef);
    property('an integer beyond 64 bits in JSON', '$arg_a | json',
        'a=[18446744073709551616,7]', '[7]');
    property('a fraction of many digits in JSON', '$arg_a | json',
        'a=[0.1000000000000000055511151231257827]', '[0.1]');
    property('not a number', '$arg_a | json', 'a=[NaN]', undef);
    property('-0', '$arg_a | json', 'a=[-0,-0.0]', '[0,0]');
    property('hexadecimal', '$arg_a | number', 'a=0x1f', undef);
    property('divided by nothing', '$arg_a | divide $arg_b', 'a=1&b=0', undef);
    property('scaled far', '$arg_a | scale $arg_b', 'a=1&b=999999999999',
        undef);
    property('an index beyond all', '$arg_a | split , 999999999', 'a=1,2',
        undef);

    my $value = $table->add('a value of 400 digits', 'value $arg_a;',
        "a=$long", events => [ '{}' ]);

    finish();

    ok(!exists(($table->events($value))[0]{entry}{attributes}{events}{data}[0]
        {attributes}{value}), 'no value');
}

###############################################################################

# Patterns that a text makes take for ever: it is looked at for so many steps,
# then the value is unknown.

sub patterns {
    my $text = 'a' x 5000 . 'b';

    fresh(server => <<'EOS');
        klaviyo_track Route ~^/route/(a+a+)+$ { }
        location /route { return 200; }
EOS

    property('a property', '$http_x_a | regex (a+a+)+$', '', undef, 1, $text);
    property('of an array', '$http_x_a | split , | regex (a+a+)+$', '', undef,
        1, "aa,$text");
    property('a text that no pattern is tried on', '$http_x_a | regex .', '',
        undef, 1, 'x' x 65_537);
    property('a glob, which takes few', '$http_x_a | json | pick'
        . ' *a*a*a*a*a*a*a*a*c*b', '', undef, 0, "{\"$text\":1}");
    skipped('a condition', 'when $http_x_a ~ (a+a+)+$;', '', 'limit', $text);
    skipped('consent', '', 'klaviyo_consent $http_x_a ~ (a+a+)+$;', 'consent',
        $text);

    # no browser writes that
    my $bot = $table->add('a long User-Agent', '', '', headers => {
        'User-Agent' => 'Mozilla/5.0 (' . 'c' x 100_000 . ') Firefox/140.0' },
        result => 'skipped:bots');

    my $route = $table->add('a route', '', '', uri => "/route/$text",
        result => '-');

    $limited{$bot} = undef;
    finish();

    is($table->counters('Route')->{seen}, 0, 'no rule is met by a route that'
        . ' can\'t be matched');
    like($table->answer($route)->status(), qr/200/, 'the answer comes');
}

###############################################################################

# A condition on what is unknown fails both ways, through names and filters.

sub unknown {
    fresh();

    my $many = 'b=1&' x 4001;

    skipped("unknown: $_", /\}$/ ? $_ : "$_;", '', 'limit', undef, $many) for
        'when @args.a', 'when not @args.a', 'when @args.a = 1',
        'when not @args.a = 1', 'when @args.a != 1', 'when @args.a ~ .',
        'when @args | count > 1', 'when @args | count < 1',
        'when @args.a | default 1', 'when not @args.a | default 1',
        'when @args.a | number | multiply 2 >= 0',
        'when x | default @args.a | prefix @args.a',
        'let x @args.a; when not @x', 'let x @args.a; when @x | default y',
        'object O { property A @args.a; property B 1; } when @O.A',
        'any { when @args.a; when not @args.a; }',
        'any { when $arg_x; when not @args.a; }';

    # known ones decide first where they can

    skipped('known before: when $arg_x', 'when $arg_x; when @args.a;', '',
        'condition', undef, $many);

    my $any = $table->add('known besides', 'any { when @args.a;'
        . ' when $arg_b = 1; }', $many, events => [ '{}' ]);

    my $each = $table->add('each of what is unknown', 'each @args.b;', $many,
        result => 'skipped:limit');

    $limited{$_} = 1 for $any, $each;

    finish();
}

###############################################################################

# 4 MB for all values of a request: the rest is unknown, the event goes.

sub memory {
    fresh();

    my $json = '[' . '0,' x 60_000 . '0]';
    my $text = 'x' x 60_000;

    property('one large value', '$http_x_a | json | count', '', undef,
        1, $json);

    my $rest = $table->add('one large value, and others', 'property A $arg_a;'
        . ' property B $http_x_a | json; property C $arg_c | upper;',
        'a=1&c=c', headers => { 'X-A' => $json },
        events => [ '{"A":"1","C":"C"}' ]);

    my $many = $table->add('many', join(' ', map { "property P$_ \$http_x_a"
        . ' | lower | regex ^..;' } 1 .. 90), '', headers => { 'X-A' => $text },
        events => [ '{' . join(',', map { "\"P$_\":\"xx\"" } 1 .. 69) . '}' ]);

    my $names = $table->add('names and objects', 'let x $http_x_a | json;'
        . ' object O { property A @x; property B $arg_b; }'
        . ' items I @x { property A .; } property C $arg_b;', 'b=1',
        headers => { 'X-A' => $json },
        events => [ '{"O":{"B":"1"},"C":"1"}' ]);

    $limited{$rest} = 1;
    $limited{$_} = undef for $many, $names;

    finish();

    cmp_ok($table->counters($many)->{limited}, '>=', 10, 'each is counted');
    cmp_ok($table->counters($names)->{limited}, '>=', 1, 'counted');
}

###############################################################################

# each: a thousand events of a request, not more.

sub elements {
    fresh();

    my $one = $table->add('each of 1,500', 'each $http_x_a | split ,;'
        . ' property N .;', '', headers => { 'X-A' => join ',', 1 .. 1500 });
    my $two = $table->add('each of 40 times 40', 'each $http_x_a | split ,;'
        . ' each $http_x_a | split ,; property N .;', '',
        headers => { 'X-A' => join ',', 1 .. 40 });
    my $items = $table->add('items of 4,500', 'let x $http_x_a | split ,;'
        . ' items I @x { property N .; } property C @I | count;', '',
        headers => { 'X-A' => join ',', 1 .. 4500 });

    $table->run();
    refused();

    for my $n ($one, $two) {
        is($table->events($n) . ' ' . $table->counters($n)->{seen}, '1000 1000',
            $table->name($n));
        cmp_ok($table->counters($n)->{limited}, '>=', 1,
            $table->name($n) . ': counted');
    }

    # half a sum would be a wrong one

    my ($event) = $table->events($items);

    is(join(' ', sort keys %{$event->{properties}}), 'I', 'items of 4,500');
    is(scalar @{$event->{properties}{I} || []}, 4000, 'all that there is room'
        . ' for');
    is($table->counters($items)->{limited}, 1, 'counted');
}

###############################################################################

# 400 properties of an event, those of the rule first.

sub properties {
    fresh(server => join "\n", map { "klaviyo_property S$_ \$arg_a;" }
                               1 .. 250);

    my $n = $table->add('500 properties', join(' ', map { "property R$_ 1;" }
        1 .. 250), 'a=1');
    my $some = $table->add('250 that are missing', join(' ',
        map { "property R$_ 1;" } 1 .. 250), '');

    $table->run();
    refused();

    my ($event) = $table->events($n);
    my @names = keys %{$event->{properties}};

    is(@names . ' ' . grep(/^R/, @names), '400 250', '400 properties');
    is($table->counters($n)->{limited}, 100, 'the others are counted');
    is(keys %{($table->events($some))[0]{properties}}, 250,
        'missing ones don\'t count');
    is($table->counters($some)->{limited}, 0, 'nor are they counted');
}

###############################################################################

# Anything: pieces of hostile texts thrown together.  Nothing may be refused,
# nothing may be lost, and the worker stays.

sub anything {
    fresh(account => 'batch linger=10ms;');

    my $n = $table->add('anything', 'let j $arg_a | json;'
        . ' property A @args; property B @cookies; property C @j;'
        . ' property D $arg_a | number; property E $arg_a | base64;'
        . ' property F $arg_a | split , | number | sum; property G $arg_a'
        . ' | unescape; property H $arg_a | kv; property I $arg_a | form;'
        . ' property J $http_referer; property K $klaviyo_url;'
        . ' property L $arg_a | date; property M @j[*].a; property N @j'
        . ' | keys; property O $arg_a | lower | upper | trim | gid;'
        . ' items P @j { property X .; property Y .a; } object Q {'
        . ' property X $arg_a | e164 US; property Y $arg_a | boolean; }'
        . ' property R $arg_a | jwt; property S $arg_a | integer;'
        . ' property T @args[*] | unique; value $arg_a; currency $arg_b;'
        . ' time $arg_a; unique_id $arg_c; profile email $arg_a;'
        . ' profile phone_number $arg_b; profile first_name $arg_a;'
        . ' profile location.latitude $arg_a; profile location.ip $arg_b;'
        . ' profile properties.p @j;', '', who => undef,
        level => 'klaviyo_profile anonymous_id a-1;');

    my @pieces = ('a', '1', '-', '.', 'e9', ',', ':', '{', '}', '[', ']', '"',
        '{"a":', '[[', 'null', 'true', '%00', '%ff', '%ed%a0%80', '%c3%a9',
        '%0a', '%5C', '%5Cu0000', '%25', '%2B1', '@', '@b.de', '//x/', '?_kx=',
        'x.C1', '&amp;', '&#0;', '=', '&', '&a=', '[b]', '[]', '[[', ' ', '%7f',
        '1753265730', '2025-07-23', 'EUR', '+40712345678', '9' x 30, '1e400',
        'http', 'gid://', 'eyJhIjoxfQ', '__kla_id', 'x' x 300);

    srand 17;

    my $some = sub { join '', map { $pieces[rand @pieces] } 0 .. rand $_[0] };

    my @queries = map {
        my $query = join '&', map { "$_=" . $some->(12) } qw(a b c a d[e]);

        $query =~ tr/ /+/;
        $query =~ s/#/%23/g;

        [ $query, $some->(8), $some->(8) ];
    } 1 .. 300;

    $table->start();

    my ($worker) = $table->harness()->processes('worker');

    for my $query (@queries) {
        my $cookie = "$query->[1]=$query->[2]; __kla_id=$query->[2]";

        s/%([0-9a-f]{2})/chr hex $1/gie for $cookie, my $referer = $query->[1];
        s/[\0\r\n]//g for $cookie, $referer;

        $table->{cases}[$n]{query} = $query->[0];
        $table->send($n, headers => { Cookie => $cookie,
            Referer => "http://x/?$referer" });
    }

    my ($now) = $table->harness()->processes('worker');

    $table->finish();
    refused();

    my $counters = $table->counters($n);

    is($now->{pid}, $worker->{pid}, 'anything: the worker stays');
    is($counters->{seen}, 300, 'all are seen');
    is(scalar($table->events($n)), 300, 'all arrive');
    is($counters->{dead}, 0, 'none is dead');
}

###############################################################################

sub fresh {
    $table = Test::Nginx::Klaviyo::Table->new(@_);
    %limited = ();
}


# The one property A, or none, and how often a limit was counted.

sub property {
    my ($name, $value, $query, $expected, $limits, $header, $cookie) = @_;

    my $n = $table->add($name, "property A $value;", $query,
        headers => { 'X-A' => $header, Cookie => $cookie },
        events => [ defined $expected ? "{\"A\":$expected}" : '{}' ]);

    $limited{$n} = $limits || 0;
}


sub skipped {
    my ($name, $rule, $level, $reason, $header, $query) = @_;

    $limited{$table->add($name, $rule, $query, level => $level,
        headers => { 'X-A' => $header }, result => "skipped:$reason")} = undef;
}


sub finish {
    $table->run();
    $table->judge();

    for my $n (sort { $a <=> $b } keys %limited) {
        is($table->counters($n)->{limited}, $limited{$n}, $table->name($n)
            . ': counted') if defined $limited{$n};
    }
}


sub refused {
    is(join(' ', grep { $_ != 202 } map { $_->{status} }
        $table->harness()->klaviyo()->requests()), '',
        'Klaviyo refuses nothing');
}

###############################################################################
