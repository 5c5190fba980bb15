package Bench::Peer;

# Copyright (C) ngx_http_klaviyo_module contributors

# Another nginx: what a shop's API is to an upload, and the collector that the
# rivals send their events to.

###############################################################################

use warnings;
use strict;

use POSIX qw(_exit);

use Bench;
use Bench::Nginx;

###############################################################################

# /upload answers when the body has come, /collect at once, /once closes

sub new {
    my ($class) = @_;
    my $port = free_port();
    my $d = scratch('peer');

    my $self = bless { port => $port, dir => $d }, $class;
    my $user = $> == 0 ? 'user root;' : '';
    my $temp = join ' ', map { "${_}_temp_path $d/tmp_$_;" }
        qw(client_body proxy fastcgi uwsgi scgi);

    write_file("$d/nginx.conf", <<"EOC");
$user
daemon off;
master_process off;
pid $d/nginx.pid;
error_log $d/error.log;
events { worker_connections 16384; }
http {
    $temp
    access_log off;
    keepalive_requests 1000000000;
    client_body_buffer_size 64k;
    server {
        listen 127.0.0.1:$port backlog=16384;
        location / { return 200 "ok\\n"; }
        location /collect { return 204; }
        location /once { keepalive_timeout 0; return 204; }
    }
}
EOC

    $self->{pid} = spawn("$d/start.log", pinned(1), Bench::Nginx::nginx(),
        '-p', $d, '-c', "$d/nginx.conf");

    for (1 .. 500) {
        return $self if eval { get("http://127.0.0.1:$port/") };
        select undef, undef, undef, 0.02;
    }

    die "the peer doesn't start\n";
}


sub stop { end($_[0]{pid}) }

###############################################################################

1;

###############################################################################
