#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Loaded and not used, the module costs nothing: no process, no memory that is
# shared, no step on the way of a request.  And it lives beside what nginx has
# in the same places: the cache manager, a single process, a daemon.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;

###############################################################################

# what is in a configuration that is used
my $rule = <<'EOF';
    klaviyo_account shop { api_key data:pk_0123456789; endpoint %%KLAVIYO%%; }
    klaviyo_ignore off;
    klaviyo_profile external_id visitor;
    klaviyo_track "Seen" { property U $uri; }
EOF

# proxy_cache has a manager and a loader, as helpers of its own
my $cache = '    proxy_cache_path %%TESTDIR%%/cache keys_zone=a:1m max_size=1;'
    . "\n";

###############################################################################

# Without http{}, where there is no configuration of ours to look at.

my $t = nginx('events', '');

is(roles($t), 'master worker', 'only events');
is(($t->test_config())[0], 0, 'only events, nginx -t');
ok($t->reload(), 'only events, reload');
ok($t->quit(), 'only events, the end');

$t = nginx('events, single', '', master => 0);
is(roles($t), 'single', 'only events, a single process');
ok($t->quit(), 'only events, a single process, the end');

# With http{}: the same steps, processes and zones as without the module.

my $without = nginx('without', '', module => 0, http => 1, log => 'debug');
my $unused = nginx('unused', '', http => 1, log => 'debug');
my $account = nginx('no rules', $rule =~ s/ +klaviyo_track.*//r, http => 1,
    log => 'debug');

is($_->get('/x')->body(), 'x', 'answers') for $without, $unused, $account;

is(roles($unused), roles($without), 'processes');
is(zones($unused), zones($without), 'shared zones');
is(phases($unused), phases($without), 'phases');
like(phases($unused), qr/rewrite phase: \d+\n/, 'there are some');

my $said = $unused->log();

$said =~ s/\Q$_\E//g for $unused->dir(), $Test::Nginx::Klaviyo::MODULE;
unlike($said, qr/klaviyo/, 'nothing to say');

# an account needs the dispatcher, and nothing while requests are served
is(phases($account), phases($without), 'phases, no rules');
is(roles($account), 'helper master worker', 'a process, no rules');
cmp_ok(zones($account), '>', zones($without), 'zones, no rules');

# what the comparison would see
my $used = nginx('used', $rule, http => 1, log => 'debug');

is($used->get('/x')->body(), 'x', 'used');
isnt(phases($used), phases($without), 'phases, used');
ok($used->wait_for(sub {
    $used->log() =~ /klaviyo track "Seen": queued, 1 events/ }), 'and says it');
delivers($used, 'used');
$_->quit() for $without, $unused, $account, $used;

# A directory, the other directives and the status use nothing either.

$t = nginx('settings', <<'EOF', http => 1);
    klaviyo_drain_timeout  1s;
    klaviyo_ignore         bots;
    klaviyo_property       A $arg_a;
    klaviyo                off;
EOF

is(roles($t), 'master worker', 'settings');
like($t->get('/status')->body(), qr/"accounts": \{\}/, 'settings, status');
$t->quit();

# proxy_cache beside it: its manager works, whoever else lives in the process.

$t = nginx('cache, unused', $cache, http => 1);
is(roles($t), 'helper helper master worker', 'a cache, unused');
is($t->get('/cached')->body(), 'cached', 'a cache, unused, answers');
ok(emptied($t), 'a cache, unused, is managed');
$t->quit();

$t = nginx('cache', $cache . $rule, http => 1);
is(roles($t), 'helper helper master worker', 'a cache, no more processes');
is($t->get('/cached')->body(), 'cached', 'a cache, answers');
ok(emptied($t), 'a cache, is managed');
delivers($t, 'a cache', 2);

# A reload to no rules and back.

$t->write_config(text('', http => 1))->reload();
ok($t->wait_for(sub { roles($t) eq 'master worker' }), 'reload to nothing');
is($t->get('/x')->body(), 'x', 'reload to nothing, answers');
$t->klaviyo()->forget();
$t->write_config(text($rule, http => 1))->reload();
ok($t->wait_for(sub { roles($t) eq 'helper master worker' }), 'and back');
is($t->get('/x')->body(), 'x', 'and back, answers');
delivers($t, 'and back');
$t->quit();

# A single process: there is no manager, and all is done in it.

$t = nginx('single, unused', '', http => 1, master => 0);
is(roles($t), 'single', 'a single process, unused');
is($t->get('/x')->body(), 'x', 'a single process, unused, answers');
$t->quit();

$t = nginx('single', $cache . $rule, http => 1, master => 0);
is(roles($t), 'single', 'a single process');
is($t->get('/x')->body(), 'x', 'a single process, answers');
delivers($t, 'a single process');
ok($t->quit(), 'a single process, the end');

# A daemon: the process that hosts the dispatcher is the real master's child.

# The process that was started may take a moment to end.

$t = nginx('daemon, unused', '', http => 1, daemon => 1);
ok($t->wait_for(sub { roles($t) eq 'master worker' }), 'a daemon, unused');
ok($t->quit(), 'a daemon, unused, the end');

$t = nginx('daemon', $rule, http => 1, daemon => 1);
ok($t->wait_for(sub { roles($t) eq 'helper master worker' }), 'a daemon');
is(($t->processes('helper'))[0]{ppid}, $t->master_pid(), 'and whose child');
is($t->get('/x')->body(), 'x', 'a daemon, answers');
delivers($t, 'a daemon');
ok($t->quit(), 'a daemon, the end');

$t->done();

###############################################################################

sub text {
    my ($http, %opt) = @_;

    return "%%GLOBALS%%\nevents { }\n" if !$opt{http};

    my $more = $http =~ /proxy_cache/ ? 'proxy_cache a;' : '';
    my $status = ($opt{module} // 1) ? 'location /status { klaviyo_status; }'
        : '';

    return <<"EOF";
%%GLOBALS%%
events { }
http {
    access_log off;
    client_body_temp_path %%TESTDIR%%/body;
    proxy_temp_path %%TESTDIR%%/proxy;
    fastcgi_temp_path %%TESTDIR%%/fastcgi;
    scgi_temp_path %%TESTDIR%%/scgi;
    uwsgi_temp_path %%TESTDIR%%/uwsgi;
@{[$http =~ /klaviyo/ ? "    klaviyo_spool %%TESTDIR%%/spool;\n" : '']}$http
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { rewrite ^ /y; return 200 x; }
        location /cached {
            $more
            proxy_cache_valid 1h;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        $status
    }
    server {
        listen 127.0.0.1:%%PORT_1%%;
        return 200 cached;
    }
}
EOF
}


sub nginx {
    my ($name, $http, %opt) = @_;
    my %own = map { exists $opt{$_} ? ($_ => $opt{$_}) : () }
        qw(module master daemon log);

    my $nginx = Test::Nginx::Klaviyo->new(%own)->standin();

    $nginx->write_config(text($http, %opt));

    eval { $nginx->run() } or BAIL_OUT("$name: $@");

    # those that start late
    my $helpers = ($http =~ /klaviyo_account/ || $http =~ /proxy_cache/)
        + ($http =~ /proxy_cache/);

    $nginx->wait_for(sub { $nginx->processes('helper') == $helpers })
        if $helpers && ($opt{master} // 1);

    $nginx->wait_for(sub { $nginx->processes('worker') })
        if $opt{master} // 1;

    return $nginx;
}


sub roles {
    my ($nginx) = @_;

    return join ' ', sort map { $_->{role} } grep { !$_->{leaving} }
        $nginx->processes();
}


# mappings that are shared and of no file
sub zones {
    my ($nginx) = @_;

    open my $maps, '<', '/proc/' . $nginx->master_pid() . '/maps'
        or die "maps: $!\n";

    return scalar grep { m{ rw-s .* /dev/zero} } <$maps>;
}


# the steps of a request, as the debug log tells them
sub phases {
    my ($nginx) = @_;

    return join '', $nginx->log() =~ /(\w+ phase: \d+\n)/g;
}


sub delivers {
    my ($nginx, $name, $n) = @_;

    is(scalar $nginx->klaviyo()->wait_events($n || 1), $n || 1,
        "$name, delivers");
}


# The cache may have one byte only; its manager looks when it starts, and then
# after ten seconds.
sub emptied {
    my ($nginx) = @_;

    $nginx->reload();

    return $nginx->wait_for(sub {
        !grep { -f } glob $nginx->dir() . '/cache/*' });
}

###############################################################################
