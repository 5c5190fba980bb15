package Test::Nginx::Klaviyo::Visitors;

# Copyright (C) ngx_http_klaviyo_module contributors

# Requests of several visitors, and whose event each of them makes, if any.
#
#   my $v = Test::Nginx::Klaviyo::Visitors->new($t);
#
#   $v->get('a page', '/p/hat', 'Viewed Product email:ana@shop.dev',
#       { Cookie => 'cart=c1' });
#   $v->get('a robot', '/p/hat', '(bots)', { 'User-Agent' => 'Googlebot/2.1' });
#   $v->judge();
#
# An expectation is METRIC and the identifier, several with ", " between them;
# the reason why there is none; or nothing, when no rule is met.  Each request
# has a number in X-Case.  The configuration makes a property of it, and a line
# in results.log:
#
#   klaviyo_property  Case  $http_x_case;
#   log_format        results  "$http_x_case $klaviyo_result";
#   access_log        %%TESTDIR%%/results.log results;
#
# judge() ends nginx, which delivers all that it has.

###############################################################################

use warnings;
use strict;

use Test::More ();

###############################################################################

sub new {
    my ($class, $t) = @_;

    return bless { t => $t, cases => [] }, $class;
}


sub get {
    my ($self, $name, $uri, $expected, $headers, %opt) = @_;

    return $self->request('GET', $name, $uri, $expected, $headers, %opt);
}


sub post {
    my ($self, $name, $uri, $body, $expected, $headers, %opt) = @_;

    return $self->request('POST', $name, $uri, $expected,
        { 'Content-Type' => 'application/json', %{$headers || {}} },
        body => $body, %opt);
}


# The number of a case, for who sends it in his own way.

sub expect {
    my ($self, $name, $expected) = @_;

    push @{$self->{cases}}, { name => $name, expected => $expected };

    return scalar @{$self->{cases}};
}


# Returns when it was logged: what follows has its memory.

sub request {
    my ($self, $method, $name, $uri, $expected, $headers, %opt) = @_;
    my $t = $self->{t};
    my $n = $self->expect($name, $expected);

    my $answer = $t->request($method, $uri, %opt,
        headers => { %{$headers || {}}, 'X-Case' => $n });

    $t->wait_for(sub { $t->read_file('results.log') =~ m/^$n /m })
        or Test::More::diag("$name: was not logged");

    return $answer;
}


# The events so far, by the number of the request.

sub came {
    my ($self) = @_;
    my ($t, %came) = ($self->{t});

    for my $i (0 .. $#{$t->{standins}}) {
        push @{$came{$_->{properties}{Case} // '?'}},
            join ' ', $_->{metric}, $_->{who} || 'nobody'
            for sort { $a->{metric} cmp $b->{metric} } $t->klaviyo($i)->events();
    }

    return \%came;
}


sub results {
    my ($self) = @_;
    my $log = $self->{t}->read_file('results.log');
    my %results;

    while ($log =~ m/^(\d+) (.*)$/mg) {
        my ($n, $result) = ($1, $2);

        $results{$n} = $result =~ s/skipped:(\w+)/($1)/gr;
    }

    return \%results;
}


# One test for each case, and one for all that belongs to none.

sub judge {
    my ($self) = @_;

    Test::More::ok($self->{t}->quit(), 'nginx ends');

    my ($came, $results) = ($self->came(), $self->results());

    for my $n (1 .. @{$self->{cases}}) {
        my $case = $self->{cases}[$n - 1];
        my $got = join ', ', @{delete $came->{$n} || []};
        my $result = $results->{$n} // '';

        $got = join ' ', grep { $_ ne '' } $got, $result
            if $case->{expected} =~ /\(/ || $got eq '';
        $got = '' if $got eq '-';

        Test::More::is($got, $case->{expected}, "$n: $case->{name}");
    }

    Test::More::is(join('; ', map { "$_: @{$came->{$_}}" } sort keys %$came),
        '', 'and nothing else');
}

###############################################################################

1;
