package Test::Nginx::Klaviyo::Cases;

# Copyright (C) ngx_http_klaviyo_module contributors

# Requests and the events that each of them must make, no others.
#
#   my $c = Test::Nginx::Klaviyo::Cases->new($t);
#
#   $c->get('a page', '/products/hat', 'Viewed Product{Handle=hat}');
#   $c->post('no cart', '/cart', undef, '');
#   $c->judge();
#
# Each request has a number in X-Case, and the configuration makes a visitor of
# it, who is nobody else:
#
#   klaviyo_ignore   off;
#   klaviyo_profile  external_id $http_x_case;
#
# judge() ends nginx, which delivers all that it has: what did not come until
# then never does.  Events are written in their order as METRIC{NAME=VALUE ...},
# with "@1" behind the metric for the second stand-in, with ", " between them.

###############################################################################

use warnings;
use strict;

use Cpanel::JSON::XS ();
use Test::More ();

use Test::Nginx::Klaviyo::HTTP ();

###############################################################################

my $json = Cpanel::JSON::XS->new->utf8->canonical->allow_nonref;

sub new {
    my ($class, $t) = @_;

    return bless { t => $t, cases => [] }, $class;
}


# The number of a new case, for those who send it in their own way.

sub expect {
    my ($self, $name, $events) = @_;

    push @{$self->{cases}}, { name => $name, events => $events };

    return scalar @{$self->{cases}};
}


# These send a request and return the answer; options as in the harness.

sub get {
    my ($self, $name, $uri, $events, %opt) = @_;

    return $self->request('GET', $name, $uri, $events, %opt);
}


sub post {
    my ($self, $name, $uri, $body, $events, %opt) = @_;

    return $self->request('POST', $name, $uri, $events,
        body => $body // '', %opt);
}


sub request {
    my ($self, $method, $name, $uri, $events, %opt) = @_;
    my $n = $self->expect($name, $events);

    return $self->{t}->request($method, $uri, %opt,
        headers => { %{$opt{headers} || {}}, 'X-Case' => $n });
}


# The text of one that goes with others, or not at once.

sub text {
    my ($self, $method, $name, $uri, $events, %opt) = @_;
    my $n = $self->expect($name, $events);

    return Test::Nginx::Klaviyo::HTTP::text($method, $uri, %opt,
        headers => { %{$opt{headers} || {}}, 'X-Case' => $n });
}


# One test for each case, and one for all that belongs to none.

sub judge {
    my ($self) = @_;
    my ($t, %came) = ($self->{t});

    Test::More::ok($t->quit(), 'nginx ends');

    for my $i (0 .. $#{$t->{standins}}) {
        push @{$came{$_->{profile}{external_id} // $_->{who}}},
            told($_, $i ? "\@$i" : '') for $t->klaviyo($i)->events();
    }

    for my $n (1 .. @{$self->{cases}}) {
        my $case = $self->{cases}[$n - 1];

        Test::More::is(join(', ', @{delete $came{$n} || []}), $case->{events},
            $case->{name});
    }

    Test::More::is(join('; ', map { "$_: @{$came{$_}}" } sort keys %came), '',
        'and nobody else');
}


sub told {
    my ($event, $where) = @_;
    my $properties = $event->{properties};

    my $text = join ' ', map {
        my $value = $properties->{$_};
        my $said = ref $value ? $json->encode($value) : $value;

        utf8::encode($said) if utf8::is_utf8($said);
        "$_=$said";
    } sort keys %$properties;

    return "$event->{metric}$where" . ($text ne '' ? "{$text}" : '');
}

###############################################################################

1;
