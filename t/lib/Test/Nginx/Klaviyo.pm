package Test::Nginx::Klaviyo;

# Copyright (C) ngx_http_klaviyo_module contributors

# The harness: an nginx in a folder of its own, a stand-in for Klaviyo, and
# looks at both.
#
#   use Test::More;
#   use Test::Nginx::Klaviyo;
#
#   my $t = Test::Nginx::Klaviyo->new();
#
#   $t->standin()->write_config(<<'EOF')->run();
#   %%GLOBALS%%
#   events { }
#   http {
#       %%GLOBALS_HTTP%%
#       klaviyo_account shop { api_key data:pk_test; endpoint %%KLAVIYO%%; }
#       server { listen 127.0.0.1:%%PORT_0%%; ... }
#   }
#   EOF
#
#   $t->plan(1);
#   is($t->get('/')->status(), 200, 'a page');
#
# plan(), or done() at the end, adds two tests that run at the end of every
# file: nothing in the error log that nobody expected, and no report of a
# sanitizer.  Whatever was started is ended, also when the test dies; the
# folder goes too.
#
# Environment: TEST_NGINX_BINARY, TEST_NGINX_MODULE, TEST_NGINX_GLOBALS (more
# lines for the main context), TEST_NGINX_LEAVE (keep the folder).

###############################################################################

use warnings;
use strict;

use Compress::Raw::Zlib ();
use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use File::Path qw(remove_tree);
use File::Temp ();
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use POSIX qw(WNOHANG);
use Socket ();
use Test::More ();
use Time::HiRes qw(sleep time);

use Klaviyo::StandIn ();
use Test::Nginx::Klaviyo::HTTP ();

###############################################################################

my $root = abs_path(dirname(__FILE__) . '/../../../..');

our $NGINX = $ENV{TEST_NGINX_BINARY} || '/usr/sbin/nginx';
my $binary = basename($NGINX);

# what a process takes is more there, since what is freed is kept for a while
our $SANITIZED = $ENV{ASAN_OPTIONS} ? 1 : 0;

our $MODULE = $ENV{TEST_NGINX_MODULE}
    || "$root/build/ngx_http_klaviyo_module.so";

my @running;        # the harnesses of this file
my $planned;
my $main = $$;

# Options: module => 0 for an nginx without it; daemon => 1; master => 0 for
# master_process off; log => level of error_log.

sub new {
    my ($class, %opt) = @_;

    my $dir = File::Temp::tempdir('nginx-klaviyo-XXXXXX', TMPDIR => 1);

    # the worker's user must get in
    chmod 0755, $dir;

    my $self = bless {
        dir => $dir, opt => { module => 1, %opt }, ports => [], locks => [],
        expected => [],
    }, $class;

    push @running, $self;
    watch($dir);

    return $self;
}


sub dir { return $_[0]{dir} }


# How many tests there are, without the two of the harness.

sub plan {
    my ($self, $tests) = @_;

    $planned = 1;
    Test::More::plan(tests => $tests + 2);

    return $self;
}


# Instead of plan(), at the end of a file whose tests come from a table.

sub done { $planned = 'at the end' }


# Lines of the error log that may be there at the end though they look bad.

sub expect_log {
    my ($self, @patterns) = @_;

    push @{$self->{expected}}, @patterns;

    return $self;
}


# A process is killed by signal 9, at any point, also with a lock.

sub expect_kill {
    my ($self) = @_;

    return $self->expect_log(qr/exited on signal 9/,
        qr/shared memory zone .* was locked by/);
}

###############################################################################

# A port that no other test has; the lock ends with this process.

sub port {
    my ($self, $n) = @_;

    while (@{$self->{ports}} <= $n) {
        my ($port, $lock) = free_port();

        push @{$self->{ports}}, $port;
        push @{$self->{locks}}, $lock;
    }

    return $self->{ports}[$n];
}


# below the range from which the kernel takes ports for outgoing connections
sub free_port {
    for (1 .. 2000) {
        my $port = 10_000 + int rand 20_000;

        # an abstract name: nothing to remove, seen by all users
        my $lock = IO::Socket::UNIX->new(Type => Socket::SOCK_STREAM(),
            Local => "\0ngx_http_klaviyo_module-port-$port", Listen => 1)
            or next;

        my $probe = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
            LocalPort => $port, Proto => 'tcp', Listen => 1) or next;

        close $probe;

        return ($port, $lock);
    }

    die "no free port\n";
}


# Starts a stand-in for Klaviyo; the first one is %%KLAVIYO%%.  Options: those
# of Klaviyo::StandIn; unix => 1 for a socket in the folder.

sub standin {
    my ($self, %opt) = @_;
    my $n = @{$self->{standins} ||= []};
    my $dir = "$self->{dir}/klaviyo$n";

    mkdir $dir or die "mkdir $dir: $!\n";
    chmod 0755, $dir;

    $opt{unix} = "$dir/socket" if $opt{unix};

    my @locked = map { [ free_port() ] } 1 .. 2;

    push @{$self->{locks}}, map { $_->[1] } @locked;
    push @{$self->{standins}}, Klaviyo::StandIn->new(dir => $dir,
        port => $locked[0][0], control => $locked[1][0], %opt)->start();

    return $self;
}


sub klaviyo { return $_[0]{standins}[$_[1] || 0] }

###############################################################################

# Files of the folder.

sub write_file {
    my ($self, $name, $text) = @_;
    my $path = "$self->{dir}/$name";

    mkdir dirname($path) if !-d dirname($path);

    open my $file, '>', $path or die "open $path: $!\n";
    binmode $file;
    print $file $text;
    close $file;

    return $self;
}


sub write_config {
    my ($self, $text, $name) = @_;

    return $self->write_file($name || 'nginx.conf', $self->expand($text));
}


sub read_file {
    my ($self, $name) = @_;

    open my $file, '<', "$self->{dir}/$name" or return '';
    binmode $file;
    local $/;

    return scalar(<$file>) // '';
}


# error.log, or what came after the last mark()
sub log {
    my ($self) = @_;

    return substr $self->read_file('error.log'), $self->{mark} || 0;
}


sub mark {
    my ($self) = @_;

    $self->{mark} = -s "$self->{dir}/error.log" || 0;

    return $self;
}


# %%PORT_0%% ..., %%TESTDIR%%, %%MODULE%%, %%KLAVIYO%% and %%KLAVIYO_1%% ...,
# %%GLOBALS%%, %%GLOBALS_HTTP%%

sub expand {
    my ($self, $text) = @_;

    $text =~ s/%%GLOBALS%%/$self->globals()/ge;
    $text =~ s/%%GLOBALS_HTTP%%/$self->globals_http()/ge;
    $text =~ s/%%TESTDIR%%/$self->{dir}/g;
    $text =~ s/%%MODULE%%/$MODULE/g;
    $text =~ s/%%PORT_(\d+)%%/$self->port($1)/ge;
    $text =~ s/%%KLAVIYO(?:_(\d+))?%%/$self->klaviyo($1)->url()/ge;

    return $text;
}


sub globals {
    my ($self) = @_;
    my $opt = $self->{opt};
    my $text = '';

    $text .= "load_module $MODULE;\n" if $opt->{module};
    $text .= "pid %%TESTDIR%%/nginx.pid;\n";
    $text .= "error_log %%TESTDIR%%/error.log " . ($opt->{log} || 'info')
        . ";\n";
    $text .= 'daemon ' . ($opt->{daemon} ? 'on' : 'off') . ";\n";
    $text .= "master_process off;\n" if defined $opt->{master}
        && !$opt->{master};
    $text .= 'user ' . (getpwnam('www-data') ? 'www-data' : 'nobody nogroup')
        . ";\n" if $> == 0;
    # for the new master of a binary upgrade
    $text .= join '', map { "env $_;\n" } grep { /\A[A-Z]+SAN_OPTIONS\z/ }
        sort keys %ENV;
    $text .= "$ENV{TEST_NGINX_GLOBALS}\n" if $ENV{TEST_NGINX_GLOBALS};

    return $text;
}


# nothing outside of the folder
sub globals_http {
    my ($self) = @_;

    return join '', "access_log off;\n",
        (map { "${_}_temp_path %%TESTDIR%%/$_;\n" }
            qw(client_body proxy fastcgi scgi uwsgi)),
        $self->{opt}{module} ? "klaviyo_spool %%TESTDIR%%/spool;\n" : '';
}

###############################################################################

sub command {
    my ($self, @more) = @_;

    return ($NGINX, '-p', "$self->{dir}/", '-e', "$self->{dir}/error.log",
            '-c', "$self->{dir}/nginx.conf", @more);
}


# Runs nginx with arguments and waits for it: ( exit code, all it said ).

sub nginx {
    my ($self, @arguments) = @_;

    local $?;

    my $pid = open(my $out, '-|') // die "fork: $!\n";

    if (!$pid) {
        # what "nginx -t" has read is never freed
        $ENV{ASAN_OPTIONS} .= ':detect_leaks=0' if $ENV{ASAN_OPTIONS};

        open STDIN, '<', '/dev/null';
        open STDERR, '>&', \*STDOUT;
        exec { $NGINX } $self->command(@arguments) or POSIX::_exit(127);
    }

    local $/;
    my $text = <$out> // '';

    waitpid $pid, 0;
    my $code = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    close $out;

    return ($code, $text);
}


# nginx -t: ( exit code, all it said ), of a text if one is given.  Its words
# don't go to the log, where they would look like a running nginx's.

sub test_config {
    my ($self, $text) = @_;
    my $name = 'nginx.conf';

    if (defined $text) {
        $name = 'test.conf';
        $self->write_config($text, $name);
    }

    return $self->nginx('-t', '-e', 'stderr', '-c', "$self->{dir}/$name");
}


# Starts it, returns when it has its pid file; dies with the log otherwise.

sub run {
    my ($self, @arguments) = @_;

    my $pid = fork() // die "fork: $!\n";

    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$self->{dir}/nginx.out";
        open STDERR, '>&', \*STDOUT;
        exec { $NGINX } $self->command(@arguments) or POSIX::_exit(127);
    }

    $self->{child} = $pid;

    my $up = $self->wait_for(sub {
        # as long as who started a daemon lives, the daemon ignores USR2
        return 1 if $self->master_pid() && $self->processes('master|single')
            && !($self->{child} && $self->{opt}{daemon});
        return 0 if !$self->{child};

        local $?;

        if (waitpid($pid, WNOHANG) == $pid) {
            delete $self->{child};
            return $? != 0 ? -1 : 0;
        }

        return 0;
    }, 30);

    die "nginx doesn't start:\n" . $self->read_file('nginx.out')
        . $self->log() . "\n" if !$up || $up < 0;

    return $self;
}


sub master_pid {
    my ($self) = @_;

    return $self->read_file('nginx.pid') =~ /\A(\d+)\n/ ? $1 : 0;
}


# HUP; returns when there is a new worker and the old ones know that they are
# old.  ( $t->reload(0): doesn't wait )

sub reload {
    my ($self, $wait) = @_;
    my %old = map { $_->{pid} => 1 } $self->processes('worker');

    kill 'HUP', $self->master_pid();

    return $self if defined $wait && !$wait;

    my $done = $self->wait_for(sub {
        my @now = $self->processes('worker');
        my @left = grep { $old{$_->{pid}} && !$_->{leaving} } @now;

        return !@left && grep { !$old{$_->{pid}} } @now;
    }, 30);

    die "nginx doesn't reload:\n" . $self->log() . "\n" if !$done;

    return $self;
}


# QUIT, which is graceful, TERM and KILL for the master; these return when the
# last process has gone, or false after "timeout" seconds.

sub quit { return $_[0]->end('QUIT', $_[1]) }
sub stop { return $_[0]->end('TERM', $_[1]) }

sub kill_all {
    my ($self) = @_;

    kill 'KILL', map { $_->{pid} } $self->processes();

    return $self->wait_gone(10);
}


sub end {
    my ($self, $signal, $timeout) = @_;
    my $pid = $self->master_pid() or return $self->wait_gone($timeout);

    kill $signal, $pid;

    return $self->wait_gone($timeout);
}


sub wait_gone {
    my ($self, $timeout) = @_;

    return $self->wait_for(sub {
        my $pid = $self->{child};

        local $?;

        delete $self->{child} if $pid && waitpid($pid, WNOHANG) != 0;

        return !$self->processes() && !$self->{child};
    }, $timeout || 60);
}


# a signal for each process of a role
sub signal {
    my ($self, $signal, $role) = @_;

    return kill $signal, map { $_->{pid} } $self->processes($role);
}

###############################################################################

# All nginx processes of this folder, whoever started them: those that have a
# file of it open.  { pid, ppid, role, title, leaving }, where role is master,
# worker, helper (cache manager and loader) or single.

sub processes {
    my ($self, $role) = @_;

    return grep { !$role || $_->{role} =~ /\A(?:$role)\z/ }
           processes_of($self->{dir});
}


sub processes_of {
    my ($dir) = @_;
    my @found;

    opendir my $proc, '/proc' or die "/proc: $!\n";

    for my $pid (sort { $a <=> $b } grep { /\A\d+\z/ } readdir $proc) {
        next if $pid == $$ || !uses($pid, $dir);

        my $title = slurp("/proc/$pid/cmdline");
        my ($state, $ppid) = slurp("/proc/$pid/stat") =~ /.*\) (\S) (\d+)/s
            or next;

        $title =~ s/\0+\z//;
        $title =~ s/\0/ /g;

        next if $title !~ m{\A(?:nginx:|(?:\S*/)?\Q$binary\E) } || $state eq 'Z';

        push @found, {
            pid => $pid, ppid => $ppid, title => $title,
            leaving => $title =~ /is shutting down/ ? 1 : 0,
            role => $title =~ /\Anginx: master/ ? 'master'
                  : $title =~ /\Anginx: worker/ ? 'worker'
                  : $title =~ /\Anginx: / ? 'helper' : 'single',
        };
    }

    return @found;
}


sub uses {
    my ($pid, $dir) = @_;

    opendir my $fds, "/proc/$pid/fd" or return 0;

    for my $fd (readdir $fds) {
        my $target = readlink "/proc/$pid/fd/$fd" // '' or next;

        return 1 if index($target, "$dir/") == 0;
    }

    return 0;
}


sub slurp {
    open my $file, '<', $_[0] or return '';
    local $/;

    return scalar(<$file>) // '';
}

###############################################################################

# Until the code says something true, which is returned; false after "timeout"
# seconds.

sub wait_for {
    my ($self, $code, $timeout) = @_;
    my $end = time() + ($timeout || 15);

    while (1) {
        my $result = $code->();

        return $result if $result || time() > $end;
        sleep 0.01;
    }
}


# A connection (Test::Nginx::Klaviyo::HTTP) to PORT_0, or to port => N.

sub connect {
    my ($self, %opt) = @_;

    return Test::Nginx::Klaviyo::HTTP->new($opt{port} || $self->port(0),
        %opt);
}


# One request on a connection of its own; options: those of request() there.

sub request {
    my ($self, $method, $uri, %opt) = @_;

    my $c = $self->connect(%opt) or return Test::Nginx::Klaviyo::HTTP::none();

    return $c->request($method, $uri, close => 1, %opt);
}


sub get {
    my ($self, $uri, %opt) = @_;

    return $self->request('GET', $uri, %opt);
}


sub post {
    my ($self, $uri, $body, %opt) = @_;

    return $self->request('POST', $uri, body => $body, %opt);
}


# Sends this and returns all that comes until the connection closes.

sub raw {
    my ($self, $text, %opt) = @_;

    my $c = $self->connect(%opt) or return '';

    return $c->send($text)->rest();
}

###############################################################################

# The end of a test, however it came.

sub finish {
    my ($self, $failed) = @_;

    $self->signal('CONT');

    if ($self->master_pid() && $self->processes()) {
        $failed ? $self->stop(5) : $self->quit(10);
    }

    $self->kill_all();

    $_->stop() for @{$self->{standins} || []};
}


sub bad_lines {
    my ($self) = @_;

    return grep { my $line = $_;
                  $line =~ /\[(?:alert|emerg)\]/
                  && !grep { $line =~ $_ } @{$self->{expected}} }
           split /\n/, $self->read_file('error.log');
}


sub sanitizer_lines {
    my ($self) = @_;

    return grep { /(?:ERROR|WARNING): \w+Sanitizer|: runtime error: / }
           map { split /\n/, $self->read_file($_) } 'error.log', 'nginx.out';
}


sub check {
    my (@bad, @reports);

    push @bad, $_->bad_lines() for @running;
    push @reports, $_->sanitizer_lines() for @running;

    Test::More::is(join("\n", @bad), '', 'no alerts');
    Test::More::is(join("\n", @reports), '', 'no sanitizer errors');
    Test::More::done_testing() if $planned eq 'at the end';
}


sub remove {
    my ($self) = @_;

    if ($ENV{TEST_NGINX_LEAVE}) {
        Test::More::diag("left: $self->{dir}");
        return;
    }

    remove_all($self->{dir});
}


# also the queues that outlive nginx
sub remove_all {
    my ($dir) = @_;

    remove_tree(grep({ defined } queues($dir)), $dir,
        { error => \my $ignored });
}


# the folder of these queues, if nginx has made its spool
sub queues {
    my ($dir) = @_;
    my @stat = stat "$dir/spool" or return;

    return sprintf '/dev/shm/klaviyo-%x-%d-%08x', @stat[0, 1],
        Compress::Raw::Zlib::crc32("$dir/spool");
}


# If this process is killed, nobody else would end what it started: a child
# waits for that, by a pipe that closes then.

my $watched;

sub watch {
    my ($dir) = @_;

    if (!$watched) {
        pipe my $read, $watched or die "pipe: $!\n";

        my $pid = fork() // die "fork: $!\n";

        if (!$pid) {
            close $watched;
            watcher($read);
            POSIX::_exit(0);
        }

        close $read;
        $watched->autoflush(1);
    }

    print $watched "$dir\n";
}


sub watcher {
    my ($read) = @_;
    my @dirs;

    $SIG{$_} = 'IGNORE' for qw(INT TERM HUP QUIT PIPE);

    # a runner waits for the end of these
    open STDOUT, '>', '/dev/null';
    open STDERR, '>', '/dev/null';

    while (my $dir = <$read>) {
        chomp $dir;
        push @dirs, $dir;
    }

    for my $dir (grep { -d } @dirs) {
        kill 'KILL', map { $_->{pid} } processes_of($dir);
        remove_all($dir) if !$ENV{TEST_NGINX_LEAVE};
    }
}


# an end that runs END
$SIG{INT} = $SIG{TERM} = $SIG{HUP} = sub { exit 1 };

END {
    if ($$ == $main) {
        my $code = $?;

        $_->finish($code != 0) for @running;
        check() if $planned && $code == 0;
        $_->remove() for @running;

        $? = $code;
    }
}

###############################################################################

1;
