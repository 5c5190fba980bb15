#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Who the visitor is: one identifier, the first there is that is valid, or
# nobody.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();
use MIME::Base64 qw(encode_base64);

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo::Table;

###############################################################################

my ($table, %who);

ladder();
company();
several();

Test::Nginx::Klaviyo->done();

###############################################################################

sub ladder {
    fresh();

    # The whole ladder, and what is left when its first step is taken away: an
    # order that is wrong, or two identifiers at once.

    my @steps = (
        [ 'email=ana@shop.dev', 'email:ana@shop.dev' ],
        [ 'phone=%2B40712345678', 'phone_number:+40712345678' ],
        [ 'id=01J0PROFILE', 'id:01J0PROFILE' ],
        [ 'kx=conf-kx.AbC123', '_kx:conf-kx.AbC123' ],
        [ '_kx=query-kx.AbC123', '_kx:query-kx.AbC123' ],
        [ '', '_kx:cookie-kx.AbC123' ],
        [ 'ext=17', 'external_id:17' ],
        [ 'anon=a-1', 'anonymous_id:a-1' ],
        [ '', '' ],
    );

    my %fields = (email => 'email', phone_number => 'phone', id => 'id',
        _kx => 'kx', external_id => 'ext', anonymous_id => 'anon');

    my $own = join ' ', map { "profile $_ \$arg_$fields{$_};" }
              reverse sort keys %fields;
    my $level = join ' ', map { "klaviyo_profile $_ \$arg_$fields{$_};" }
                reverse sort keys %fields;

    for my $first (0 .. $#steps) {
        my $query = join '&', grep { $_ ne '' } map { $_->[0] }
                    @steps[$first .. $#steps];
        my $cookie = $first > 5 ? undef
            : kla('{"cid":"YQ==","$exchange_id":"cookie-kx.AbC123"}');

        who("step $first", $own, $query, $steps[$first][1], cookie => $cookie);
        who("step $first, of the levels", '', $query, $steps[$first][1],
            cookie => $cookie, level => $level);
    }

    # The rule's before those of the levels, whatever the field.

    who('the rule\'s phone before a level\'s e-mail',
        'profile phone_number $arg_p;', 'p=%2B40712345678&e=ana@shop.dev',
        'phone_number:+40712345678', level => 'klaviyo_profile email $arg_e;');
    who('a level\'s e-mail if the rule\'s phone is none',
        'profile phone_number $arg_p;', 'p=x&e=ana@shop.dev',
        'email:ana@shop.dev', level => 'klaviyo_profile email $arg_e;');
    who('the rule\'s external_id before a level\'s anonymous_id',
        'profile anonymous_id $arg_a;', 'a=1&e=2', 'anonymous_id:1',
        level => 'klaviyo_profile external_id $arg_e;');
    who('a level\'s external_id after the cookie', '', 'e=2', '_kx:a.b',
        level => 'klaviyo_profile external_id $arg_e;',
        cookie => kla('{"$exchange_id":"a.b"}'));
    who('a field of both is the rule\'s, or missing', 'profile email $arg_a;',
        'b=ana@shop.dev', '', level => 'klaviyo_profile email $arg_b;');

    # An invalid one is missing: Klaviyo would refuse the event, or make all of
    # nobody one profile.

    for my $email ('ana', 'a@b', 'a b@c.de', 'a@b@c.de', '@c.de', 'a@', 'a@c.d',
        '.a@c.de', 'a..b@c.de', 'a@-c.de', 'a@c..de', 'a@1.2.3.4', 'a,b@c.de',
        'ana%00@c.de', "%C3%A4\@c.de", 'x' x 65 . '@c.de',
        'x' x 40 . '@' . 'y' x 56 . '.de', 'null', '"a b"@c.de')
    {
        who('no e-mail', 'profile email $arg_e; profile external_id 17;',
            'e=' . $email =~ tr/ /+/r, 'external_id:17');
    }

    who('an e-mail with blanks', 'profile email $arg_e;', 'e=+Ana@Shop.dev+',
        'email:Ana@Shop.dev');
    who('an e-mail with a plus', 'profile email $arg_e;', 'e=a%2Bb@c.d-e.co',
        'email:a+b@c.d-e.co');
    who('an e-mail of 99 bytes', 'profile email $arg_e;', 'e=' . 'x' x 40 . '@'
        . 'y' x 55 . '.de', 'email:' . 'x' x 40 . '@' . 'y' x 55 . '.de');

    for my $phone ('0712345678', '40712345678', '+123456', '+1234567890123456',
        '+40 712 345 678', '+4071234567x', '+0712345678', '+')
    {
        who('no phone', 'profile phone_number $arg_p; profile external_id 17;',
            'p=' . $phone =~ s/\+/%2B/r =~ tr/ /+/r, 'external_id:17');
    }

    who('a phone, made one', 'profile phone_number $arg_p | e164 RO;',
        'p=0712+345+678', 'phone_number:+40712345678');

    for my $id ('null', 'undefined', 'deleted', '%00', 'a%0Ab', '%ff', '+',
        'x' x 256, '%7F', '%ED%A0%80')
    {
        who('no id', 'profile external_id $arg_i; profile anonymous_id 17;',
            "i=$id", 'anonymous_id:17');
    }

    who('an id of 255 bytes', 'profile external_id $arg_i;', 'i=' . 'x' x 255,
        'external_id:' . 'x' x 255);
    who('an id in UTF-8', 'profile external_id $arg_i;', 'i=%C3%A4',
        "external_id:\x{e4}");
    who('a number', 'profile external_id $cookie_c | json id;', '',
        'external_id:17', cookie => 'c={"id":17}',
        text => '"external_id":"17"');
    who('true is none', 'profile external_id $cookie_c | json id;', '', '',
        cookie => 'c={"id":true}');
    who('several are none', 'profile external_id @args.i;', 'i=1&i=2', '');
    who('an id beside the attributes', 'profile id $arg_i;', 'i=17', 'id:17',
        text => '"type":"profile","id":"17","attributes":{}');

    # _kx in the query: in any case, escaped, the first that is one.

    who('_KX', '', '_KX=ab.C1', '_kx:ab.C1');
    who('_kx, its name escaped', '', '%5f%6bx=ab.C1', '_kx:ab.C1');
    who('_kx, escaped', '', '_kx=a-b_%3d%2EC1&x=1', '_kx:a-b_=.C1');
    who('_kx, the last', '', 'x=1&_kx=ab.C1', '_kx:ab.C1');
    who('_kx, the first is none', '', '_kx=&_kx=a&_kx=ab.C1&_kx=cd.C1',
        '_kx:ab.C1');
    who('_kx, another name', '', 'x_kx=ab.C1&_kxx=ab.C1', '');
    who('_kx after a fragment of one', '', '_kx', '');

    for my $kx ('ab', '.C1', 'ab.', 'a.b.C1', 'a/b.C1', 'ab.C-1', 'a+b.C1',
        '%00a.C1', 'x' x 254 . '.C1')
    {
        who('no _kx', '', "_kx=$kx", '');
    }

    # __kla_id as each time of klaviyo.js has written it.

    cookie('referrers only', '{"$referrer":{"ts":1,"value":"","first_page":'
        . '"https://x/"},"$last_referrer":{"ts":1}}', '');
    cookie('a cid and referrers', '{"cid":"YQ==","$referrer":{"ts":1}}', '');
    cookie('a cid', '{"cid":"ZGI5ZWI0"}', '');
    cookie('an exchange id', '{"cid":"YQ==","$exchange_id":"ab-_=.C1"}',
        '_kx:ab-_=.C1');
    cookie('an e-mail', '{"email":"ana@shop.dev"}', 'email:ana@shop.dev');
    cookie('$email', '{"$email":"ana@shop.dev","$referrer":{}}',
        'email:ana@shop.dev');
    cookie('a phone', '{"phone_number":"+40712345678"}',
        'phone_number:+40712345678');
    cookie('$phone_number', '{"$phone_number":"+40712345678"}',
        'phone_number:+40712345678');
    cookie('all of them', '{"phone_number":"+40712345678","email":"b@shop.dev",'
        . '"$email":"a@shop.dev","$exchange_id":"a.b"}', '_kx:a.b');
    cookie('an exchange id that is empty', '{"$exchange_id":"","$email":'
        . '"a@shop.dev"}', 'email:a@shop.dev');
    cookie('an exchange id that is null', '{"$exchange_id":null,"$email":'
        . '"a@shop.dev"}', 'email:a@shop.dev');
    cookie('undefined', '{"$exchange_id":"undefined","$email":"undefined",'
        . '"email":"null","phone_number":"null"}', '');
    cookie('an e-mail that is none', '{"$email":"ana","phone_number":'
        . '"+40712345678"}', 'phone_number:+40712345678');
    cookie('wrong types', '{"$exchange_id":{"a":1},"$email":7,"email":["a@b.de"'
        . '],"phone_number":true}', '');
    cookie('other identifiers', '{"$id":"1","id":"2","$kid":"3","$anonymous":'
        . '"4"}', '');
    cookie('a twin', '{"$email":"a@shop.dev","$email":"b@shop.dev"}',
        'email:b@shop.dev');
    cookie('an array', '[{"$email":"a@shop.dev"}]', '');
    cookie('a text', '"$email"', '');
    cookie('broken', '{"$email":"a@shop.dev"', '');
    cookie('deep', '{"a":' . '[' x 100 . ']' x 100 . ',"$email":"a@b.de"}', '');
    cookie('not UTF-8', "{\"\$email\":\"a\@shop.dev\",\"x\":\"\xff\"}",
        'email:a@shop.dev');

    my $json = '{"$email":"ana@shop.dev","x":"??>>~~"}';
    my $raw = encode_base64($json, '');

    raw('as it is', $raw, 'email:ana@shop.dev');
    raw('the padding escaped', $raw =~ s/=/%3D/gr, 'email:ana@shop.dev');
    raw('all escaped', $raw =~ s{([+/=])}{sprintf '%%%02x', ord $1}ger,
        'email:ana@shop.dev');
    raw('without padding', $raw =~ s/=//gr, 'email:ana@shop.dev');
    raw('the other alphabet', $raw =~ tr{+/}{-_}r, 'email:ana@shop.dev');
    raw('in quotes', "\"$raw\"", 'email:ana@shop.dev');
    raw('in quotes, escaped', "%22$raw%22", 'email:ana@shop.dev');
    raw('not encoded', '{"$email":"ana@shop.dev"}', '');
    raw('garbage', '!!!', '');
    raw('something behind', "$raw;", 'email:ana@shop.dev');
    raw('4096 bytes', encode_base64('{"$email":"a@b.de","x":"'
        . 'x' x (3072 - 26) . '"}', ''), 'email:a@b.de');
    raw('more than 4096 bytes', encode_base64('{"$email":"a@b.de","x":"'
        . 'x' x 3072 . '"}', ''), '');
    raw('empty', '', '');

    # Rungs that are switched off.

    my %both = (cookie => kla('{"$exchange_id":"cookie.C1"}'));
    my $ids = 'profile external_id 17;';

    who('kx and cookie', $ids, '_kx=query.C1', '_kx:query.C1', %both,
        level => 'klaviyo_identity kx cookie;');
    who('kx', $ids, '_kx=query.C1', '_kx:query.C1', %both,
        level => 'klaviyo_identity kx;');
    who('kx, no cookie', $ids, '', 'external_id:17', %both,
        level => 'klaviyo_identity kx;');
    who('cookie', $ids, '_kx=query.C1', '_kx:cookie.C1', %both,
        level => 'klaviyo_identity cookie;');
    who('off', $ids, '_kx=query.C1', 'external_id:17', %both,
        level => 'klaviyo_identity off;');
    who('off, and nobody else', '', '_kx=query.C1', '', %both,
        level => 'klaviyo_identity off;');

    # a configured one is no rung
    who('off, but configured', 'profile _kx $arg__kx;', '_kx=query.C1',
        '_kx:query.C1', level => 'klaviyo_identity off;');

    done();
}

###############################################################################

# With company_id another company's exchange id is missing.

sub company {
    fresh(account => 'company_id AbC123;');

    who('ours', '', '_kx=a.AbC123', '_kx:a.AbC123');
    who('not ours', '', '_kx=a.XyZ789', '');
    who('letters count', '', '_kx=a.abc123', '');
    who('the second is ours', '', '_kx=a.XyZ789&_kx=b.AbC123', '_kx:b.AbC123');
    who('configured, not ours', 'profile _kx $arg_k; profile external_id 17;',
        'k=a.XyZ789', 'external_id:17');
    cookie('ours', '{"$exchange_id":"a.AbC123","$email":"a@shop.dev"}',
        '_kx:a.AbC123');
    cookie('not ours', '{"$exchange_id":"a.XyZ789","$email":"a@shop.dev"}',
        'email:a@shop.dev');

    done();
}

###############################################################################

# klaviyo_identifiers all: every configured one, the rule's first, and no other.

sub several {
    fresh(standin => { identifiers => 'any' },
        server => 'klaviyo_identifiers all;');

    my $all = 'profile anonymous_id $arg_a; profile _kx $arg_k; profile id'
        . ' $arg_i; profile phone_number $arg_p; profile external_id $arg_x;'
        . ' profile email $arg_e;';

    who('all', $all, 'a=1&k=c.d&i=2&p=%2B40712345678&x=3&e=ana@shop.dev'
        . '&_kx=q.C1', 'id:2 email:ana@shop.dev phone_number:+40712345678'
        . ' external_id:3 anonymous_id:1 _kx:c.d');
    who('all that are valid', $all, 'a=null&k=c&i=2&p=07&x=3&e=ana',
        'id:2 external_id:3');
    who('the levels\' too, but not twice', 'profile email $arg_e;',
        'e=ana@shop.dev&x=3', 'email:ana@shop.dev external_id:3',
        level => 'klaviyo_profile external_id $arg_x;'
                 . ' klaviyo_profile email b@shop.dev;');
    who('none configured', $all, '_kx=q.C1', '_kx:q.C1');
    who('the cookie is not configured', 'profile external_id $arg_x;', 'x=3',
        'external_id:3', cookie => kla('{"$email":"a@shop.dev"}'));
    who('the first again', $all, 'e=ana@shop.dev&x=3', 'email:ana@shop.dev',
        level => 'klaviyo_identifiers first;');

    done();
}

###############################################################################

sub fresh {
    $table = Test::Nginx::Klaviyo::Table->new(@_);
    %who = ();
}


sub kla { return '__kla_id=' . encode_base64($_[0], '') }


sub who {
    my ($name, $rule, $query, $expected, %opt) = @_;

    my $n = $table->add($name, $rule, $query, who => undef,
        level => $opt{level}, headers => { Cookie => $opt{cookie} });

    $who{$n} = [ $expected, $opt{text} ];
}


sub cookie {
    my ($name, $json, $expected) = @_;

    raw($name, encode_base64($json, ''), $expected);
}


sub raw {
    my ($name, $cookie, $expected) = @_;

    who("__kla_id, $name", '', '', $expected,
        cookie => "a=1; __kla_id=$cookie; b=2");
}


sub done {
    $table->run();
    $table->judge();

    for my $n (sort { $a <=> $b } keys %who) {
        my ($expected, $text) = @{$who{$n}};
        my ($event, @more) = $table->events($n);
        my $query = substr $table->{cases}[$n]{query}, 0, 60;

        is(join(' ', $table->result($n), $event ? $event->{who} : '', @more)
            =~ s/ \z//r, $expected ne '' ? "queued $expected"
                                         : 'skipped:unidentified',
            $table->name($n) . ($query ne '' ? ": $query" : ''));

        like($event->{profile_text}, qr/\Q$text\E/, $table->name($n)
            . ': as it is sent') if defined $text;

        is($table->counters($n)->{skipped}{unidentified}, $event ? 0 : 1,
            $table->name($n) . ': counted');
    }
}

###############################################################################
