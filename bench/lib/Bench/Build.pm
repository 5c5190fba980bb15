package Bench::Build;

# Copyright (C) ngx_http_klaviyo_module contributors

# The benchmark's own programs in C.

###############################################################################

use warnings;
use strict;

use Bench;

###############################################################################

my $CC = $ENV{CC} || 'cc';
my @FLAGS = qw(-O2 -W -Wall -Wno-unused-parameter -Werror);


# the path of bench/NAME.c, compiled
sub program {
    my ($name, @libs) = @_;

    command('cc.log', $CC, @FLAGS, '-o', dir() . "/$name",
        root() . "/bench/$name.c", @libs) if !-e dir() . "/$name";

    return dir() . "/$name";
}


# The ring with what it needs of nginx, from the sources and with the headers
# that the module was built with, and with a stop-watch at its lock.

sub contention {
    my $module = root() . '/ngx_http_klaviyo_module';
    my $nginx = root() . '/build/nginx-source/nginx/src';
    my $out = dir() . '/contention';

    die "no source of nginx: make bench fetches it\n" if !-e $nginx;

    my @include = map { "-I$_" } glob("$module $module/*/"),
        glob("$nginx/core $nginx/event $nginx/os/unix $nginx/http "
            . "$nginx/http/modules"), root() . '/build/objs';

    push @include, '-D_GNU_SOURCE';

    command('cc.log', $CC, @FLAGS, @include, '-c', '-o', "$out.o",
        '-Dngx_shmtx_lock=contention_lock',
        '-Dngx_shmtx_unlock=contention_unlock',
        "$module/queue/ngx_http_klaviyo_ring.c");

    command('cc.log', $CC, @FLAGS, @include, '-o', $out, "$out.o",
        root() . '/bench/contention.c',
        map({ "$module/queue/ngx_http_klaviyo_$_.c" }
            qw(control counters zone)),
        map({ "$nginx/core/ngx_$_.c" } qw(shmtx slab string palloc)),
        "$nginx/os/unix/ngx_alloc.c", '-lcrypto');

    return $out;
}

###############################################################################

1;

###############################################################################
