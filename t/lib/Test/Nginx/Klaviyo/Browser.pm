package Test::Nginx::Klaviyo::Browser;

# Copyright (C) ngx_http_klaviyo_module contributors

# A headless Chromium, by WebDriver: chromedriver on a port of the harness, all
# of its files in the harness' folder.
#
#   my $b = Test::Nginx::Klaviyo::Browser->new($t, $t->port(5));
#
#   $b->go($url);
#   is($b->run('return document.title'), 'A page', 'its title');
#
# new() gives nothing, and reason() a text, where there is no Chromium.

###############################################################################

use warnings;
use strict;

use Cpanel::JSON::XS ();
use HTTP::Tiny ();
use MIME::Base64 ();
use POSIX ();
use Time::HiRes qw(sleep time);

###############################################################################

my $json = Cpanel::JSON::XS->new->utf8->allow_nonref;
my ($reason, @running);

sub reason { return $reason }


sub new {
    my ($class, $t, $port) = @_;
    my $dir = $t->dir() . '/browser';

    for my $program (qw(chromium chromedriver)) {
        next if grep { -x "$_/$program" } split /:/, $ENV{PATH};

        $reason = "no $program";
        return;
    }

    mkdir $dir;
    chmod 0700, $dir;

    my $self = bless { t => $t, http => HTTP::Tiny->new(timeout => 30),
        base => "http://127.0.0.1:$port" }, $class;

    my $pid = fork() // die "fork: $!\n";

    # a group of its own, so that nothing of it is left behind
    if (!$pid) {
        setpgrp;
        @ENV{qw(HOME TMPDIR XDG_CONFIG_HOME XDG_CACHE_HOME)} = ($dir) x 4;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$dir/log";
        open STDERR, '>&', \*STDOUT;
        exec 'chromedriver', "--port=$port" or POSIX::_exit(127);
    }

    $self->{pid} = $pid;
    push @running, $self;

    $t->wait_for(sub { eval { $self->call('GET', '/status')->{ready} } }, 20)
        or die "chromedriver doesn't start\n";

    $self->{session} = '/session/' . $self->call('POST', '/session', {
        capabilities => { alwaysMatch => {
            browserName => 'chrome',
            'goog:loggingPrefs' => { browser => 'ALL' },
            'goog:chromeOptions' => { args => [qw(--headless=new --no-sandbox
                --disable-gpu --disable-dev-shm-usage --hide-scrollbars
                --no-first-run --disable-background-networking
                --disable-component-update --disable-sync),
                "--user-data-dir=$dir/profile"] },
        } } })->{sessionId};

    return $self;
}


sub call {
    my ($self, $method, $path, $data) = @_;
    my $answer = $self->{http}->request($method, "$self->{base}$path",
        $method eq 'POST' ? { content => $json->encode($data || {}),
            headers => { 'Content-Type' => 'application/json' } } : {});
    my $value = eval { $json->decode($answer->{content})->{value} };

    die "WebDriver $method $path: " . ($value->{message}
        // "$answer->{status} $answer->{content}") . "\n"
        if !$answer->{success};

    return $value;
}


sub command {
    my ($self, $method, $path, $data) = @_;

    return $self->call($method, "$self->{session}$path", $data);
}


sub go { return $_[0]->command('POST', '/url', { url => $_[1] }) }


# A function's body; what it returns.

sub run {
    my ($self, $script, @arguments) = @_;

    return $self->command('POST', '/execute/sync',
        { script => $script, args => \@arguments });
}


# Until the body returns something true, which is returned.

sub wait_for {
    my ($self, $script, $timeout) = @_;

    return $self->{t}->wait_for(sub { $self->run($script) }, $timeout || 15);
}


# What is seen of a CSS selector.

sub text {
    my ($self, $selector) = @_;

    return $self->run('var e = document.querySelector(arguments[0]);'
        . 'return e ? e.innerText : ""', $selector);
}


# Keys for whatever has the focus; names of WebDriver's keys in braces.

sub keys {
    my ($self, @keys) = @_;
    my %names = (Tab => "\x{e004}", Enter => "\x{e007}", Space => ' ');
    my @actions = map { my $key = $names{$_} // $_;
        ({ type => 'keyDown', value => $key },
         { type => 'keyUp', value => $key }) } @keys;

    return $self->command('POST', '/actions', { actions => [
        { type => 'key', id => 'keyboard', actions => \@actions } ] });
}


# The DevTools protocol: what WebDriver has no command for.

sub devtools {
    my ($self, $command, %parameters) = @_;

    return $self->command('POST', '/goog/cdp/execute',
        { cmd => $command, params => \%parameters });
}


# Options: dark, still => 1 (prefers-reduced-motion).

sub prefer {
    my ($self, %opt) = @_;

    return $self->devtools('Emulation.setEmulatedMedia', features => [
        { name => 'prefers-color-scheme',
          value => $opt{dark} ? 'dark' : 'light' },
        { name => 'prefers-reduced-motion',
          value => $opt{still} ? 'reduce' : 'no-preference' } ]);
}


sub size {
    my ($self, $width, $height) = @_;

    return $self->devtools('Emulation.setDeviceMetricsOverride',
        width => $width, height => $height, deviceScaleFactor => 1,
        mobile => $width < 600 ? Cpanel::JSON::XS::true
                               : Cpanel::JSON::XS::false);
}


# What the console said, since it was asked last.

sub console {
    my ($self) = @_;

    return map { "$_->{level} $_->{message}" }
        @{$self->command('POST', '/se/log', { type => 'browser' })};
}


# The whole page, as build/page/NAME.png.

sub picture {
    my ($self, $dir, $name) = @_;
    my $png = $self->devtools('Page.captureScreenshot', format => 'png',
        captureBeyondViewport => Cpanel::JSON::XS::true)->{data};

    mkdir $dir;
    open my $file, '>', "$dir/$name.png" or return;
    binmode $file;
    print $file MIME::Base64::decode_base64($png);

    return -s $file;
}


sub quit {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;

    local ($@, $?);

    eval { $self->command('DELETE', '') } if $self->{session};
    kill 'TERM', -$pid;
    waitpid $pid, 0;
    kill 'KILL', -$pid;

    return;
}


END { $_->quit() for @running }

###############################################################################

1;
