#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# The Debian package: lintian has nothing to say about it, what is in it, and on
# this machine nginx starts with it, tracks, and starts without it afterwards.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;

###############################################################################

my $PACKAGE = 'libnginx-mod-http-klaviyo';
my $MODULE = '/usr/lib/nginx/modules/ngx_http_klaviyo_module.so';
my $ENABLED = '/etc/nginx/modules-enabled/50-mod-http-klaviyo.conf';

my $root = "$FindBin::Bin/..";

plan(skip_all => 'another nginx than Debian\'s is tested')
    if $ENV{TEST_NGINX_BINARY};
plan(skip_all => 'only root may install a package') if $> != 0;
plan(skip_all => "$PACKAGE is installed on this machine")
    if -e $MODULE || -l $ENABLED;

my ($deb) = run("$root/util/deb");
chomp($deb //= '');

ok(-f $deb, 'make deb') or BAIL_OUT('no package');

is(run('lintian', '--fail-on', 'none', '--display-info', '--suppress-tags',
    'initial-upload-closes-no-bugs', glob("$root/build/deb/*.changes")), '',
    'lintian is content');

my $files = run('dpkg-deb', '-c', $deb);

like($files, qr! \.\Q$_\E(?:\.gz)?\n!, $_)
    for $MODULE, '/usr/share/nginx/modules-available/mod-http-klaviyo.conf',
        '/usr/bin/klaviyo-deadletters',
        '/usr/share/man/man1/klaviyo-deadletters.1',
        '/usr/bin/klaviyo-explain', '/usr/share/man/man1/klaviyo-explain.1',
        "/usr/share/doc/$PACKAGE/README.md",
        "/usr/share/doc/$PACKAGE/examples/demo.conf",
        "/usr/share/doc/$PACKAGE/copyright";

my ($header) = read_file("$root/ngx_http_klaviyo_module/"
    . 'ngx_http_klaviyo_version.h') =~ /VERSION\s+"([^"]+)"/;

is(run('dpkg-deb', '-f', $deb, 'Version'), "$header\n",
    'the version is the module\'s');

# Installed: the machine's own nginx isn't started or reloaded by it.

my $policy = '/usr/sbin/policy-rc.d';
my $held = !-e $policy && hold($policy);
my $installed = 1;

like(run('dpkg', '-i', $deb), qr/Setting up \Q$PACKAGE/, 'it is installed');
ok(-l $ENABLED, 'and enabled');

my $t = Test::Nginx::Klaviyo->new(module => 0)->standin();

# the snippet's path is relative to nginx's prefix
symlink '/usr/lib/nginx/modules', $t->dir() . '/modules' or die "symlink: $!";

$t->write_config(<<'EOC')->run();

include /etc/nginx/modules-enabled/50-mod-http-klaviyo.conf;

%%GLOBALS%%

events { }

http {
    %%GLOBALS_HTTP%%

    klaviyo_account shop {
        api_key   data:pk_test;
        endpoint  %%KLAVIYO%%;
        batch     linger=50ms;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;

        klaviyo_track "Viewed Product" =/view {
            profile   email  $arg_email;
            property  ProductID  $arg_id;
        }

        location / { return 200 ok; }
    }
}
EOC

is($t->get('/view?email=ana%40example.com&id=7',
    'User-Agent' => 'Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0')->status(),
    200, 'nginx runs with it');
ok($t->wait_for(sub { $t->klaviyo()->events() == 1 }), 'and tracks');
ok($t->quit(), 'and stops');

like(run('dpkg', '--purge', $PACKAGE), qr/Purging|Removing/, 'it is removed');
$installed = 0;
ok(!-e $MODULE && !-l $ENABLED && !-l "$ENABLED.removed", 'all of it');

$t->write_config(<<'EOC');

include /etc/nginx/modules-enabled/*.conf;

events { }

EOC

like($t->test_config(), qr/test is successful/,
    'what the machine has enabled is still there');

$t->done();

###############################################################################

sub run {
    my @command = @_;

    open(my $out, '-|', @command) or return '';
    local $/;
    my $text = <$out>;
    close $out;

    return $text // '';
}


sub read_file {
    open(my $file, '<', $_[0]) or die "$_[0]: $!";
    local $/;
    return scalar <$file>;
}


sub hold {
    my ($policy) = @_;

    open(my $file, '>', $policy) or return 0;
    print $file "#!/bin/sh\nexit 101\n";
    close $file;

    return chmod 0755, $policy;
}


# also when a test died
END {
    my $status = $?;

    run('dpkg', '--purge', $PACKAGE) if $installed;
    unlink $policy if $held;

    $? = $status;
}

###############################################################################
