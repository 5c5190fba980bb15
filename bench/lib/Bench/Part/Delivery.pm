package Bench::Part::Delivery;

# Copyright (C) ngx_http_klaviyo_module contributors

# Events per second that the background process sends, beside libcurl alone
# that sends as many bodies of the same size, four at a time as we do; how long
# a million take; and how soon one event arrives when there is little to do.

###############################################################################

use warnings;
use strict;

use File::Path qw(remove_tree);
use Time::HiRes qw(sleep time);

use Bench;
use Bench::Backlog;
use Bench::Build;
use Bench::Case qw(page_cases tracked_case);
use Bench::Nginx;
use Bench::Request;
use Bench::Sink;

###############################################################################

my $ROUNDS = quick() ? 2 : 5;
my $FULL = quick() ? 20_000 : 100_000;
my $MILLION = quick() ? 100_000 : 1_000_000;

# seconds per event out of the spool, by the backlog
our %spooled;


sub run {
    my $sink = Bench::Sink->new();
    my $front = front($sink);
    my $plain = Bench::Build::program('plain', '-lcurl');

    heading('Delivery', "to a sink that discards, $ROUNDS rounds: "
        . 'median  min .. max');

    protocol('HTTP/1.1', $sink, $plain, $sink->{url}, '');
    protocol('HTTP/2 with TLS', $sink, $plain,
        "https://localhost:$front->{port}",
        "trusted_certificate $front->{dir}/cert.pem; http2 on;");

    million($sink);
    arrival($sink);

    end($front->{pid});
    $sink->stop();
}


# TLS and HTTP/2 before the sink
sub front {
    my ($sink) = @_;
    my $front = { port => free_port(), dir => scratch('front') };
    my $d = $front->{dir};
    my $user = $> == 0 ? 'user root;' : '';
    my $temp = join ' ', map { "${_}_temp_path $d/tmp_$_;" }
        qw(client_body proxy fastcgi uwsgi scgi);

    command('openssl.log', qw(openssl req -x509 -newkey rsa:2048 -nodes -days 2
        -subj /CN=localhost -addext subjectAltName=DNS:localhost), '-keyout',
        "$d/key.pem", '-out', "$d/cert.pem");

    write_file("$d/nginx.conf", <<"EOC");
$user
daemon off;
master_process off;
pid $d/nginx.pid;
error_log $d/error.log;
events { }
http {
    $temp
    access_log off;
    client_max_body_size 0;
    client_body_buffer_size 1m;
    keepalive_requests 1000000000;
    upstream sink { server 127.0.0.1:$sink->{port}; keepalive 16; }
    server {
        listen 127.0.0.1:$front->{port} ssl http2;
        ssl_certificate $d/cert.pem;
        ssl_certificate_key $d/key.pem;
        http2_body_preread_size 1m;
        location / {
            proxy_pass http://sink;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
    }
}
EOC

    $front->{pid} = spawn("$d/start.log", pinned(1), Bench::Nginx::nginx(),
        '-p', $d, '-c', "$d/nginx.conf");
    sleep 0.3;

    return $front;
}

###############################################################################

# What is in the ring takes less than half of it: more would be moved to the
# disk and back.  The first round makes the connections.

sub protocol {
    my ($name, $sink, $plain, $endpoint, $settings) = @_;

    my $run = Bench::Nginx->start({ %{tracked_case()}, endpoint => $endpoint,
        settings => $settings, queue => '256m' });

    my (@ours, @alone, @ratios, @cpu, @alone_cpu, $n, $sent);

    for my $round (0 .. $ROUNDS) {
        $n = fill($run, $FULL);
        $sink->told();

        my $before = cpu_time($run->{manager});
        $run->drain();
        $sent = $sink->told();

        next if !$round;

        push @cpu, (cpu_time($run->{manager}) - $before) / $n;
        push @alone_cpu, command('plain.log', pinned(1), $plain, "$endpoint/",
            $sent->{bodies}, int($sent->{bytes} / $sent->{bodies}), 4) / $n;
        push @ours, $n / $sent->{seconds};
        push @alone, $n / $sink->told()->{seconds};
        push @ratios, $ours[-1] / $alone[-1];
    }

    $run->stop();

    row($name);
    row('  events/s, the background process', spread('%9d', @ours));
    row('  events/s, libcurl alone', spread('%9d', @alone));
    row('  ratio', spread('%9.2f', @ratios));
    row('  CPU us per event, the background process', spread('%9.3f', @cpu));
    row('  CPU us per event, libcurl alone', spread('%9.3f', @alone_cpu));
    row('  the last time', sprintf('%d events, %d bodies of %d bytes', $n,
        $sent->{bodies}, $sent->{bytes} / $sent->{bodies}));
    print "\n";
}

###############################################################################

sub million {
    my ($sink) = @_;
    my ($three) = grep { $_->{name} =~ /three/ } page_cases();

    my $run = Bench::Nginx->start({ %$three, endpoint => $sink->{url},
        queue => '2g' });
    my $n = fill($run, $MILLION);

    row("$MILLION events", '  seconds');
    row('  from the ring',
        sprintf('%9.2f', $MILLION / $n * seconds($run, $sink)));
    $run->stop();

    for my $backlog ($MILLION / 100, $MILLION / 10, $MILLION) {
        my $seconds = from_spool($sink, $backlog);

        $spooled{$backlog} = $seconds / $backlog;
        row('  from the spool', sprintf('%9.2f', $seconds))
            if $backlog == $MILLION;
    }

    print "\n";
}


sub from_spool {
    my ($sink, $n) = @_;
    my $spool = scratch('backlog');

    Bench::Backlog::write_spool($spool, $n);

    $sink->told();

    my $run = Bench::Nginx->start({ %{tracked_case()},
        endpoint => $sink->{url}, backlog => $spool });
    my $seconds = seconds($run, $sink);

    $run->stop();
    remove_tree($spool, "$run->{dir}/spool");

    return $seconds;
}


# at least so many events in the ring; returns how many
sub fill {
    my ($run, $wanted) = @_;
    my $n = 0;

    $run->hold();

    while ($n < $wanted) {
        Bench::Request::wrk($run, 1);
        $n = $run->status()->{accounts}{shop}{queue}{events};
    }

    return $n;
}


# from the first body to the last
sub seconds {
    my ($run, $sink) = @_;

    $run->drain();

    return $sink->told()->{seconds};
}

###############################################################################

# from the answer's last byte to the first of the body that has the event
sub arrival {
    my ($sink) = @_;

    row('from response to arrival', '     seconds');

    for my $linger ('1ms', '1s') {
        my $run = Bench::Nginx->start({ %{tracked_case()}, linger => $linger,
            endpoint => $sink->{url} });
        my @times;

        for (1 .. ($linger eq '1s' && quick() ? 2 : 6)) {
            $sink->told();
            get($run->{base} . Bench::Request::uri($run->{case}),
                'X-Customer' => 'anna.schmidt@example.com');

            my $answered = time();
            my $told;

            do {
                sleep 0.02;
                $told = $sink->told();
            } until ($told->{bodies} || time() > $answered + 10);

            push @times, $told->{times}[0] - $answered;
        }

        row("  linger=$linger", spread('%9.4f', @times));
        $run->stop();
    }
}

###############################################################################

1;

###############################################################################
