package Test::Nginx::Klaviyo::Updates;

# Copyright (C) ngx_http_klaviyo_module contributors

# Cases of rules that make no events: a location for each, one request, and what
# Klaviyo got for it, or why nothing.
#
#     updates('klaviyo_identify', 'profiles', [
#         [ 'profile email $arg_e;', 'e=ana@shop.dev',
#             '{"email":"ana@shop.dev"}' ],
#         [ 'klaviyo off; R { profile email $arg_e; }', 'e=ana@shop.dev', '' ],
#         ...
#     ]);
#
# A case is the body of the rule, or with an R for the directive the whole of
# the location; the query; the profiles that Klaviyo got, the id before the
# attributes, or $klaviyo_result. Options: answer => what the location says,
# as JSON; status; body => of a POST, as JSON; headers. "%N" is the number of
# the case, which is its path, too.

###############################################################################

use warnings;
use strict;

use Exporter qw(import);

use Cpanel::JSON::XS ();
use Test::More ();

use Test::Nginx::Klaviyo::Delivery qw(shop status conserved);

our @EXPORT = qw(updates);

###############################################################################

my $json = Cpanel::JSON::XS->new->canonical->allow_nonref;

sub updates {
    my ($directive, $lane, $cases) = @_;
    my ($n, $server) = (0, 'access_log %%TESTDIR%%/results.log results;');

    $server .= location($directive, ++$n, @$_) for @$cases;

    my $t = shop(server => $server,
        http => 'log_format results \'$http_x_case $klaviyo_result\';');

    $t->klaviyo()->settings(identifiers => 'any');

    $n = 0;
    ask($t, ++$n, @$_) for @$cases;

    my $total = status($t)->{total};

    Test::More::ok($t->wait_for(sub {
        $total = status($t)->{total};
        $total->{queued} + $total->{spooled} == 0 }), "$lane: all is sent");
    conserved($t, "$lane: all are counted");
    Test::More::is("$total->{dead} $total->{damaged}", '0 0',
        "$lane: Klaviyo refuses nothing");
    Test::More::ok($t->quit(), 'nginx ends');

    my %came = told($t, $lane);
    my %results = $t->read_file('results.log') =~ /^(\d+) (.*)$/mg;

    for my $i (1 .. @$cases) {
        my $expected = $cases->[$i - 1][2] =~ s/%N/$i/gr;

        Test::More::is(join(' ', sort @{$came{$i} || []}) || $results{$i},
            $expected eq '' ? '-' : $expected, "$lane: $cases->[$i - 1][0]"
                . ", $cases->[$i - 1][1]");
    }

    return $t;
}


sub location {
    my ($directive, $n, $body, $query, $expected, %opt) = @_;
    my $answer = $opt{answer} ? "default_type application/json;"
        . " return 200 '$opt{answer}';" : "return @{[ $opt{status} // 204 ]};";

    $body = "R { $body }" if $body !~ /\bR\b/;
    $body =~ s/\bR\b/$directive/g;
    $body =~ s/%N/$n/g;
    $body =~ s/\{/{ source "case $n";/ if $directive eq 'klaviyo_subscribe';

    return "location = /$n { klaviyo_profile properties.case \$http_x_case;"
        . " $body $answer }\n";
}


sub ask {
    my ($t, $n, $body, $query, $expected, %opt) = @_;
    my %headers = (%{$opt{headers} || {}}, 'X-Case' => $n);

    $headers{'Content-Type'} = 'application/json' if exists $opt{body};
    $t->request(exists $opt{body} ? 'POST' : 'GET',
        "/$n" . ($query ne '' ? "?$query" : ''), headers => \%headers,
        exists $opt{body} ? (body => $opt{body}) : ());
}


# What Klaviyo got, by the number of the case.

sub told {
    my ($t, $lane) = @_;
    my $k = $t->klaviyo();
    my %came;

    for my $update ($lane eq 'profiles' ? $k->profiles() : $k->subscriptions())
    {
        my %attributes = %{$update->{attributes}};
        my ($n, $id) = (undef, $update->{id});

        if ($lane eq 'profiles') {
            my %own = %{$attributes{properties} || {}};

            $n = delete $own{case};
            $attributes{properties} = \%own;
            delete $attributes{properties} if !%own;

        } else {
            ($n) = ($update->{job}{custom_source} // '')
                =~ /^case (\d+)$/;
        }

        push @{$came{$n // '?'}}, (defined $id ? "$id " : '')
            . $json->encode(\%attributes);
    }

    Test::More::is(join(' ', @{$came{'?'} || []}), '', "$lane: no others");

    return %came;
}

###############################################################################

1;

###############################################################################
