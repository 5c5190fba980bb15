package Test::Nginx::Klaviyo::Table;

# Copyright (C) ngx_http_klaviyo_module contributors

# A table of cases: each has a rule, a location and a visitor of its own, sends
# one request, and has seen what came of it when nginx has ended.
#
#   my $table = Test::Nginx::Klaviyo::Table->new();
#
#   $table->add('a number', 'property A $arg_a | number;', 'a=1',
#       events => ['{"A":1}']);
#   $table->run();
#   $table->judge();
#
# Properties are compared as the text that was sent: 59.97 is not
# 59.970000000000003, "1" is not 1, and there is nothing else.
#
# Options of a case:
#
#   headers, method, body       of the request
#   uri          instead of /N?QUERY; %d is N
#   pattern      of the rule, beside its own path
#   level        what else stands in the location
#   answer       what the location does, "return 200"
#   who          undef: the visitor is nobody unless the rule says so
#   events       the properties of each event, in their order
#   result       $klaviyo_result, "queued" if not said otherwise
#
# What else came: result(N), events(N) (those of Klaviyo::StandIn with "text",
# "value_text" and "profile_text" as sent), counters(N) (of the status page).

###############################################################################

use warnings;
use strict;

use Cpanel::JSON::XS ();
use Test::More ();

use Test::Nginx::Klaviyo ();

###############################################################################

my $json = Cpanel::JSON::XS->new->utf8;

# Options: account, main, http and server: further lines there; standin: its
# options; harness: those of Test::Nginx::Klaviyo.

sub new {
    my ($class, %opt) = @_;

    my $t = Test::Nginx::Klaviyo->new(%{$opt{harness} || {}});
    my $bodies = $ENV{KLAVIYO_RECORD} || $t->dir() . '/bodies';

    mkdir $bodies;
    $t->standin(bodies => $bodies, %{$opt{standin} || {}});

    return bless { %opt, t => $t, bodies => $bodies, cases => [] }, $class;
}


sub harness { return $_[0]{t} }


# Returns its number.

sub add {
    my ($self, $name, $rule, $query, %opt) = @_;

    push @{$self->{cases}}, { name => $name, rule => $rule,
        query => $query // '', %opt };

    return $#{$self->{cases}};
}


sub config {
    my ($self) = @_;
    my $locations = '';

    for my $n (0 .. $#{$self->{cases}}) {
        my $case = $self->{cases}[$n];
        my $answer = $case->{answer} // 'return 200';
        my $level = $case->{level} // '';
        my $pattern = ($case->{pattern} // '') =~ s{%d}{$n}r;
        my $location = $case->{location} // "/$n";

        $level .= " klaviyo_profile external_id $n;"
            if !exists $case->{who};

        $locations .= "        location $location {\n            $level\n"
            . "            klaviyo_track $n $pattern {\n"
            . "                $case->{rule}\n            }\n"
            . "            $answer;\n        }\n";
    }

    my $config = <<'EOC';

%%GLOBALS%%

%MAIN%

events { }

http {
    %%GLOBALS_HTTP%%

    log_format  results  "$http_x_case $klaviyo_result";

    large_client_header_buffers  8  256k;

    klaviyo_account shop {
        api_key   data:pk_0123456789;
        endpoint  %%KLAVIYO%%;
        %ACCOUNT%
    }

%HTTP%

    server {
        listen      127.0.0.1:%%PORT_0%%;
        access_log  %%TESTDIR%%/results.log results;

%SERVER%
        location = /klaviyo { klaviyo_status; }

%LOCATIONS%
    }
}

EOC

    $config =~ s/%(MAIN|ACCOUNT|HTTP|SERVER)%/$self->{lc $1} || ''/ge;
    $config =~ s/%LOCATIONS%\n/$locations/;

    return $config;
}


# Sends all requests, one after the other, and ends nginx, which delivers all
# that it has.

sub run {
    my ($self) = @_;
    my $t = $self->{t};

    $self->start();
    $self->send($_) for 0 .. $#{$self->{cases}};
    $self->finish();

    return $self;
}


sub start {
    my ($self) = @_;

    $self->{t}->write_config($self->config())->run();

    return $self;
}


# The request of a case, once more if it was sent already; its answer.

sub send {
    my ($self, $n, %opt) = @_;
    my $case = $self->{cases}[$n];
    my $uri = $case->{uri} // "/$n" . ($case->{query} ne ''
                                       ? "?$case->{query}" : '');

    $uri =~ s/%d/$n/;

    my $answer = $self->{t}->request($case->{method} // 'GET', $uri,
        defined $case->{body} ? (body => $case->{body}) : (), %opt,
        headers => { %{$case->{headers} || {}}, %{$opt{headers} || {}},
                     'X-Case' => $n });

    return $case->{got} = $answer;
}


sub finish {
    my ($self) = @_;
    my $t = $self->{t};

    my $status = $json->decode($t->get('/klaviyo')->body());

    $self->{status} = $status;
    $self->{counters}{$_->{metric}} = $_->{events}
        for @{$status->{accounts}{shop}{rules}};

    Test::More::ok($t->quit(), 'nginx ends');

    my $log = $t->read_file('results.log');

    push @{$self->{results}{$1}}, $2 while $log =~ m{^(\d+) (.*)$}mg;

    my %texts = $self->texts();

    push @{$self->{events}{$_->{metric}}}, { %$_, %{$texts{$_->{unique_id}}
        || { text => 'not found' }} } for $t->klaviyo()->events();

    return $self;
}


# What was sent, by unique_id.

sub texts {
    my ($self) = @_;
    my $pid = $self->{t}->klaviyo()->pid();

    return map { texts_of($_) } glob "$self->{bodies}/$pid-*.accepted";
}


# The same of one body, a file: the order of an entry is ours.

sub texts_of {
    my ($file) = @_;
    my %texts;

    open my $in, '<', $file or die "open $file: $!\n";
    local $/;
    my $body = <$in>;

    while ($body =~ m/"unique_id":"((?:[^"\\]|\\.)*)",
                      "metric":\{"data":.*?\}\}\}
                      (?:,"value":([^,"]+))?
                      (?:,"value_currency":"\w+")?,
                      "properties":(\{.*?\})\}\}\]\},
                      "profile":\{"data":(\{.*?\})\}\}\}
                      (?=,\{"type":"event-bulk|\])/gxs)
    {
        $texts{$json->allow_nonref->decode("\"$1\"")} = {
            value_text => $2, text => $3, profile_text => $4 };
    }

    return %texts;
}


sub result { return join ' ', @{$_[0]{results}{$_[1]} || []} }
sub events { return @{$_[0]{events}{$_[1]} || []} }
sub counters { return $_[0]{counters}{$_[1]} }
sub answer { return $_[0]{cases}[$_[1]]{got} }
sub name { return $_[0]{cases}[$_[1]]{name} }


# One test for each case that says what it expects.

sub judge {
    my ($self) = @_;

    for my $n (0 .. $#{$self->{cases}}) {
        my $case = $self->{cases}[$n];

        next if !$case->{events} && !$case->{result};

        my @expected = @{$case->{events} || []};
        my $result = $case->{result} // 'queued';
        my $query = substr $case->{query}, 0, 60;

        Test::More::is(
            join("\n", $self->result($n), map { $_->{text} } $self->events($n)),
            join("\n", $result, @expected),
            "$case->{name}: $case->{rule}" . ($query ne '' ? " $query" : ''));
    }

    my @refused = grep { $_->{status} != 202 } $self->{t}->klaviyo()
        ->requests();

    Test::More::is(join("\n", map { "$_->{status} "
                                    . $json->encode($_->{errors} || []) }
                             @refused), '', 'Klaviyo refuses nothing');
}

###############################################################################

1;
