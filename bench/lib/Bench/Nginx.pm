package Bench::Nginx;

# Copyright (C) ngx_http_klaviyo_module contributors

# nginx with one case's configuration, and the processes that it consists of.

###############################################################################

use warnings;
use strict;

use IO::Socket::INET ();
use POSIX qw(_exit);
use Time::HiRes qw(sleep time);

use Bench;

###############################################################################

# "how" is what nginx runs under.  Of the case: module (loaded), account (with
# one), queue, spool, endpoint, modules (of others), http, server, location,
# log, workers, connections, backlog (a spool to begin with).

sub start {
    my ($class, $case, @how) = @_;
    my $port = free_port();

    my $run = bless {
        case => $case, base => "http://127.0.0.1:$port",
        port => $port, dir => scratch($case->{name}),
    }, $class;

    system('cp', '-r', $case->{backlog}, "$run->{dir}/spool") == 0
        or die "no backlog\n" if $case->{backlog};

    mkdir "$run->{dir}/html";
    write_file("$run->{dir}/html/page", 'x' x 1024);
    write_file("$run->{dir}/nginx.conf", $run->conf());

    $run->{pid} = spawn("$run->{dir}/start.log", sub {
        chdir $run->{dir};
        exec @how, nginx(), '-p', $run->{dir}, '-c', "$run->{dir}/nginx.conf"
            or _exit(127);
    });

    $run->{worker} = $run->wait_log('worker process');

    if ($case->{account}) {
        $run->{manager} = $run->wait_log('cache manager process');
        system "taskset -pc 1 $run->{manager} > /dev/null" if pinned(1);
    }

    # the first request comes when all is ready
    get("$run->{base}/ready");

    return $run;
}


sub nginx { return $ENV{TEST_NGINX_BINARY} || '/usr/sbin/nginx' }


sub conf {
    my ($self) = @_;
    my $case = $self->{case};
    my $d = $self->{dir};

    my $load = join "\n", map { "load_module $_;" }
        map({ "/usr/lib/nginx/modules/$_.so" } @{$case->{modules} // []}),
        $case->{module} || $case->{account} ? dir() . '/module.so' : ();

    my $user = $> == 0 ? 'user root;' : '';
    my $log = $case->{log} ? $case->{log} =~ s/^file/$d\/access.log/r : 'off';
    my $workers = $case->{workers} // 1;
    my $affinity = $workers == 1 ? 'worker_cpu_affinity 1;' : '';
    my $account = $case->{account} ? $self->account() : '';
    my $status = $case->{account}
        ? 'location = /klaviyo { klaviyo_status; }' : '';

    my $temp = join "\n", map { "    ${_}_temp_path $d/tmp_$_;" }
        qw(client_body proxy fastcgi uwsgi scgi);

    return <<"EOC";
$load
$user
daemon off;
worker_processes $workers;
$affinity
pcre_jit on;
pid $d/nginx.pid;
error_log $d/error.log notice;
events { worker_connections @{[ $case->{connections} // 256 ]}; }
http {
$temp
    access_log off;
    keepalive_requests 1000000000;
    client_body_buffer_size 64k;
    variables_hash_max_size 2048;
    $account
    @{[ $case->{http} // '' ]}
    server {
        listen 127.0.0.1:$self->{port};
        access_log $log;
        root $d/html;
        @{[ $case->{server} // '' ]}
        location / { @{[ $case->{location} // 'return 200 "ok\\n";' ]} }
        location = /ready { return 200; }
        $status
    }
}
EOC
}


sub account {
    my ($self) = @_;
    my $case = $self->{case};
    my $endpoint = $case->{endpoint} // black_hole();
    my $queue = $case->{queue} // '128m';

    return <<"EOC";
klaviyo_account shop {
        api_key   data:pk_0123456789abcdef0123456789abcdef01;
        endpoint  $endpoint;
        rate      burst=1000/s steady=60000/m share=100%;
        batch     linger=@{[ $case->{linger} // '10ms' ]};
        queue     $queue;
        @{[ $case->{settings} // '' ]}
    }
    klaviyo_spool $self->{dir}/spool @{[ $case->{spool} // '' ]};
    klaviyo_drain_timeout 100ms;
EOC
}


# connections are taken by the kernel, nobody ever answers
{
    my $socket;

    sub black_hole {
        $socket //= IO::Socket::INET->new(Listen => 128,
            LocalAddr => '127.0.0.1') or die "listen: $!\n";

        return 'http://127.0.0.1:' . $socket->sockport();
    }
}


# the pid of what nginx said to have started
sub wait_log {
    my ($self, $what) = @_;
    my $end = time() + 120;

    while (time() < $end) {
        return $1 if -e "$self->{dir}/error.log"
            && slurp("$self->{dir}/error.log") =~ /start \Q$what\E (\d+)/;

        die "nginx doesn't start:\n", slurp("$self->{dir}/start.log")
            if waitpid($self->{pid}, POSIX::WNOHANG()) != 0;

        sleep 0.02;
    }

    die "nginx doesn't start in two minutes\n";
}


sub stop {
    my ($self) = @_;

    $self->let_go();
    end($self->{pid});
}

###############################################################################

sub status { return get_json("$_[0]{base}/klaviyo") }


# the background process stands still
sub hold { kill 'STOP', $_[0]{manager} if $_[0]{manager} }
sub let_go { kill 'CONT', $_[0]{manager} if $_[0]{manager} }


# until nothing waits, unless nobody would take it
sub drain {
    my ($self) = @_;
    my $case = $self->{case};

    $self->let_go();
    return if !$case->{account} || !$case->{endpoint} || $case->{stuck};

    my $end = time() + 120;

    while (time() < $end) {
        my $events = $self->status()->{total};

        return if !$events->{queued} && !$events->{spooled};
        sleep 0.01;
    }

    die 'the queue is not drained: ', slurp("$self->{dir}/error.log"), "\n";
}

###############################################################################

1;

###############################################################################
