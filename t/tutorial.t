#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Each step of docs/tutorial.md: its requests are sent, and the events that it
# shows come out; its look into a dry run shows one.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo::Examples;

###############################################################################

my $page = "$FindBin::Bin/../docs/tutorial.md";

Test::Nginx::Klaviyo::Examples->new($page)->run();
dry_run();

Test::Nginx::Klaviyo->done();

###############################################################################

# The command of the page, in the folder of this test.

sub dry_run {
    my $t = Test::Nginx::Klaviyo->new();

    $t->write_config(<<'EOF')->run();

%%GLOBALS%%

events { }

http {
    %%GLOBALS_HTTP%%

    klaviyo_account shop { api_key data:pk_0123456789; dry_run on; }

    server {
        listen 127.0.0.1:%%PORT_0%%;

        klaviyo_track "Searched Site" GET =/search {
            property  "Search Term"  $arg_q;
        }

        location / { return 200; }
    }
}

EOF

    $t->get('/search?q=hat&_kx=a.B1');
    $t->wait_for(sub { $t->read_file('spool/shop.dry-run') =~ /\n\z/ });
    ok($t->quit(), 'nginx ends');

    open my $in, '<', $page or die "open $page: $!\n";
    local $/;

    my ($command) = <$in> =~ /^(    jq .*?\.dry-run)$/ms
        or die "no command for a dry run\n";

    $command =~ s{/var/lib/nginx/klaviyo}{$t->dir() . '/spool'}e;

    is(`$command` =~ s/\s+//gr, '{"metric":"SearchedSite","profile":'
        . '{"_kx":"a.B1"},"properties":{"SearchTerm":"hat"}}', 'a dry run');
}

###############################################################################
