#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# The key and what is known of a visitor are in no log, not on the status page
# and in nothing that nginx says, whatever goes wrong.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery;

###############################################################################

my $key = 'pk_5ecr3tk3y000000000000000000000000a';


# of a visitor, in any way it may be written
my $personal = qr/ann\.secret|15112345678|5ecr3texchange|wears-5ecr3t|c00k1e/;

my $all = '/p?n=%d&email=ann.secret%%40shop.test'
    . '&phone=%%2B4915112345678&size=wears-5ecr3t-size';

###############################################################################

my $answers = [
    { answer => '500', body => "<html>ann.secret\@shop.test $key</html>" },
    { answer => '400', pointer => 'none', times => 3,
      detail => 'ann.secret@shop.test wears-5ecr3t-size +4915112345678' },
    { answer => '429', retry_after => 0 },
    { answer => '503', body => "ann.secret\@shop.test $key" },
    { answer => 'garbage' }, { answer => 'reset' }, { answer => 'hang' },
    { answer => '413' },
    { answer => '403-html' },
    { answer => '400', pointer => 'deep', entry => 1,
      detail => 'ann.secret@shop.test' },
    { answer => '401', times => 0,
      body => '{"errors":[{"code":"not_authenticated","detail":"'
          . "$key ann.secret\\u0040shop.test\"}]}" },
];

for my $level ('info', 'debug') {
    my $t = run($level);
    my @log = split /\n/, $t->log();
    my $log = join "\n", @log;

    unlike($log, qr/5ecr3tk3y/, "$level: the key is not in the log");

    # at that level nginx tells of the request itself; what it says for us
    # begins by our name, and who sends has never seen a request
    if ($level eq 'debug') {
        my %pids = map { $_ => 1 }
            $log =~ /#(\d+): klaviyo dispatcher started/g;

        @log = grep { /#\d+: (?:\*\d+ )?klaviyo/
                      || /#(\d+): / && $pids{$1} } @log;
        cmp_ok(scalar @log, '>', 50, 'debug: there is much to see');
    }

    my @found = grep { /$personal/ } @log;

    is($found[0], undef, "$level: nor is anything of a visitor");
    $t->quit();
}

proxy();

Test::Nginx::Klaviyo->done();

###############################################################################

# a nginx that all of this has happened to
sub run {
    my ($level) = @_;

    my $t = Test::Nginx::Klaviyo->new(log => $level)->standin(bodies => '');
    my $k = $t->klaviyo();

    $t->write_file('key', "$key\n");
    chmod 0600, $t->dir() . '/key';
    $t->expect_log(qr/sending is stopped/);

    write_shop($t, http => <<'EOH', accounts => <<'EOC', rule => <<'EOR');
    map $arg_n $unused { default 1; }
    klaviyo_tail 256k;
EOH
        klaviyo_account two {
            api_key  file:%%TESTDIR%%/key;
            endpoint %%KLAVIYO%%;
            batch    events=1;
            retry    min=20ms max=50ms;
            rate     burst=100/s steady=10000/m share=100%;
            timeout  300ms;
        }
EOC
            account   two;
            profile   email         $arg_email;
            profile   phone_number  $arg_phone;
            property  Size          $arg_size;
            property  Cookie        $cookie_secret;
EOR

    $t->run();
    $k->script(@$answers);

    for my $n (1 .. 30) {
        $t->get(sprintf($all, $n)
            . ($n % 3 ? '' : '&_kx=kx5ecr3texchange.AbC123'),
            headers => { Cookie => 'secret=c00k1e5ecr3t' });
    }

    ok($t->wait_for(sub { account($t, 'two')->{state} eq 'stopped' }, 20),
        "$level: much went wrong");

    # it was in the events
    my @letters = dead_letters($t, 'two');

    cmp_ok(scalar @letters, '>=', 1, "$level: dead letters");
    like($t->read_file('spool/two.dead'), $personal, "$level: are complete");
    unlike($t->read_file('spool/two.dead'), qr/5ecr3tk3y/,
        "$level: without the key");

    my $page = $t->get('/klaviyo')->body();

    like($page, qr/"last_code": "not_?authenticated"/, "$level: status");
    unlike($page, qr/$personal|5ecr3tk3y/, "$level: of nobody");

    for my $form (qw(html prometheus ndjson)) {
        my $body = $t->get("/klaviyo?format=$form")->body();

        cmp_ok(length $body, '>', 1000, "$level: $form");
        unlike($body, qr/$personal|5ecr3tk3y/, "$level: $form: of nobody");
    }

    for my $arguments ([ '-t' ], [ '-T' ]) {
        my ($code, $said) = $t->nginx(@$arguments);

        is($code, 0, "$level: nginx @$arguments");
        unlike($said, qr/$personal|5ecr3tk3y/, "$level: says nothing");
    }

    my @seen = map { Test::Nginx::Klaviyo::slurp("/proc/$_->{pid}/cmdline")
        . Test::Nginx::Klaviyo::slurp("/proc/$_->{pid}/environ") }
        $t->processes();

    unlike(join("\n", @seen), qr/5ecr3tk3y/, "$level: nor do the processes");

    # a reload makes it go on
    $k->answer('ok');
    $t->reload();
    ok($t->wait_for(sub { !account($t, 'two')->{events}{queued} }),
        "$level: the others arrive");
    is(($k->requests())[0]{headers}{authorization}, "Klaviyo-API-Key $key",
        "$level: the key was sent");
    unlike($t->read_file('nginx.out'), qr/$personal|5ecr3tk3y/,
        "$level: nothing on the terminal");
    conserved($t, "$level: counted");

    return $t;
}


# The password of a proxy is one too.

sub proxy {
    my $t = Test::Nginx::Klaviyo->new(log => 'debug')
        ->standin(bodies => '', tls => 1);

    write_shop($t, account => 'trusted_certificate ' . $t->klaviyo()->ca()
        . '; proxy http://shop:proxy5ecr3t@127.0.0.1:%%PORT_1%%;');
    $t->run();
    view($t, 1, 3);
    ok($t->wait_for(sub { account($t)->{retries} >= 2 }), 'no proxy: away');
    unlike($t->log(), qr/proxy5ecr3t/, 'its password is not in the log');
    unlike($t->get('/klaviyo')->body(), qr/proxy5ecr3t/,
        'nor on the status page');
}

###############################################################################
