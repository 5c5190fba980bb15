#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# The harness does what the other tests rely on.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;

###############################################################################

my $t = Test::Nginx::Klaviyo->new(module => 0)
    ->standin(bodies => '')->plan(26);

$t->write_config(<<'EOC')->run();

%%GLOBALS%%

worker_processes 2;

events { }

http {
    %%GLOBALS_HTTP%%

    server {
        listen 127.0.0.1:%%PORT_0%%;

        location / { return 200 "$request_method $uri"; }
        location /file { alias %%TESTDIR%%/file; }

        location /klaviyo/ {
            proxy_pass %%KLAVIYO%%/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
    }
}

EOC

###############################################################################

# requests

is($t->get('/x')->status(), 200, 'status');
is($t->get('/x')->body(), 'GET /x', 'body');
is($t->post('/x', 'a=1')->body(), 'POST /x', 'post');
is($t->get('/none', port => 1)->status(), 0, 'nobody there');
like($t->raw("GET / HTTP/1.0\r\n\r\n"), qr/GET \/$/, 'raw');

my $c = $t->connect();

$c->send(join '', map { Test::Nginx::Klaviyo::HTTP::text('GET', "/$_") } 1, 2);

is($c->response()->body() . $c->response()->body(), 'GET /1GET /2',
    'pipelining');
is($c->get('/3')->header('content-length'), 6, 'keep-alive, a header');
ok(!$c->closed(), 'open');

my $long = 'x' x 300_000;

$t->write_file('file', $long);
is($t->get('/file')->body(), $long, 'a long body');

# processes

my ($master) = $t->processes('master');

is($master->{pid}, $t->master_pid(), 'master');
is(scalar $t->processes('worker'), 2, 'workers');
is(scalar(grep { $_->{ppid} == $master->{pid} } $t->processes('worker')), 2,
    'of this master');

my @before = map { $_->{pid} } $t->processes('worker');

$t->reload();

my %now = map { $_->{pid} => 1 } grep { !$_->{leaving} }
          $t->processes('worker');

is(scalar(grep { $now{$_} } @before), 0, 'reload makes others');

# a worker that is killed is made anew
$t->expect_kill();
$t->signal('KILL', 'worker');
ok($t->wait_for(sub { 2 == grep { !$now{$_->{pid}} } $t->processes('worker') }),
    'respawned');

# configuration

my ($code, $text) = $t->test_config("events { } nonsense;\n");

is($code, 1, 'nginx -t fails');
like($text, qr/unknown directive "nonsense" in \S+test\.conf:1$/m, 'and why');
is(($t->test_config())[0], 0, 'nginx -t passes');

# the log

$t->mark();
is($t->log(), '', 'mark');

# the stand-in, as nginx sees it

my $r = $t->post('/klaviyo/api/event-bulk-create-jobs', '{}',
    headers => { 'Content-Type' => 'application/json' });

is($r->status(), 401, 'stand-in answers');
is($t->klaviyo()->wait_requests(1), 1, 'and has seen it');

$t->klaviyo()->stop();
is($t->post('/klaviyo/', '')->status(), 502, 'stand-in away');
$t->klaviyo()->start();
is($t->post('/klaviyo/', '')->status(), 404, 'and back');

# the end

ok($t->quit(), 'quit');
is(scalar $t->processes(), 0, 'nothing left');

###############################################################################

# What is left when a test is killed, or dies.

sub nested {
    my ($how) = @_;
    my $lib = "$FindBin::Bin/lib";

    my $pid = open(my $out, '-|', $^X, "-I$lib", '-e', <<"EOP") // die;
use Test::More;
use Test::Nginx::Klaviyo;
my \$t = Test::Nginx::Klaviyo->new(module => 0, daemon => 1)->standin();
\$t->write_config('%%GLOBALS%% events { }')->run();
\$| = 1;
print \$t->dir(), "\\n";
$how;
EOP

    chomp(my $dir = <$out> // '');
    local $?;
    close $out;

    return $dir ne '' && $t->wait_for(sub {
        !-d $dir && !Test::Nginx::Klaviyo::processes_of($dir) });
}

ok(nested('exit 1'), 'a test that ends early leaves nothing');
ok(nested('kill 9, $$'), 'nor does one that is killed');

###############################################################################
