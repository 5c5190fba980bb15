package Klaviyo::OpenAPI;

# Copyright (C) ngx_http_klaviyo_module contributors

# Looks at a body by Klaviyo's own OpenAPI file, as if it said that nothing
# else is allowed: where the members of an object are named, others are errors.
# Knows the keywords that this file uses, and dies of any other.

###############################################################################

use warnings;
use strict;

use Cpanel::JSON::XS ();
use Cpanel::JSON::XS::Type qw(JSON_TYPE_BOOL JSON_TYPE_FLOAT JSON_TYPE_INT
    JSON_TYPE_NULL JSON_TYPE_STRING);

###############################################################################

my $json = Cpanel::JSON::XS->new->utf8;

my %scalars = (
    string  => { JSON_TYPE_STRING, 1 },
    boolean => { JSON_TYPE_BOOL, 1 },
    integer => { JSON_TYPE_INT, 1 },
    number  => { JSON_TYPE_INT, 1, JSON_TYPE_FLOAT, 1 },
);

my %keywords = map { $_ => 1 } qw($ref type enum properties required items
    oneOf nullable description example default format);


sub new {
    my ($class, $file) = @_;

    open my $in, '<', $file or die "open $file: $!\n";
    local $/;

    return bless { spec => $json->decode(scalar <$in>) }, $class;
}


# The first thing that is wrong with the body of a POST to the path, undef if
# nothing is.

sub flaw {
    my ($self, $path, $body) = @_;

    my $content = $self->{spec}{paths}{$path}{post}{requestBody}{content}
        or die "no POST $path in the specification\n";

    my ($schema) = map { $_->{schema} } values %$content;
    my $data = eval { $json->decode($body, my $type); [ $json->decode($body),
                                                        $type ] };

    return 'no JSON' if !$data;
    return eval { $self->look('', @$data, $schema); 1 } ? undef : $@;
}


sub look {
    my ($self, $at, $value, $type, $schema) = @_;

    for my $keyword (keys %$schema) {
        die "the specification's \"$keyword\" is not known here\n"
            if !$keywords{$keyword};
    }

    return if !ref $type && $type == JSON_TYPE_NULL && $schema->{nullable};

    if (my $ref = $schema->{'$ref'}) {
        return $self->look($at, $value, $type, $self->resolve($ref));
    }

    if (my $choices = $schema->{oneOf}) {
        my $fit = grep { my $choice = $_;
            eval { $self->look($at, $value, $type, $choice); 1 } } @$choices;

        die "$at: none of the types that it may have\n" if $fit != 1;
        return;
    }

    my $expected = $schema->{type} or return;

    if ($expected eq 'object') {
        $self->look_object($at, $value, $type, $schema);

    } elsif ($expected eq 'array') {
        die "$at: no array\n" if ref $type ne 'ARRAY';

        $self->look("$at/$_", $value->[$_], $type->[$_], $schema->{items})
            for 0 .. $#$value;

    } else {
        die "$at: no $expected\n"
            if ref $type || !$scalars{$expected}{$type};
    }

    if (my $enum = $schema->{enum}) {
        die "$at: \"$value\" is none of its values\n"
            if !grep { $_ eq $value } @$enum;
    }
}


sub look_object {
    my ($self, $at, $value, $type, $schema) = @_;

    die "$at: no object\n" if ref $type ne 'HASH';

    for my $name (@{$schema->{required} || []}) {
        die "$at: no \"$name\"\n" if !exists $value->{$name};
    }

    my $properties = $schema->{properties} or return;

    for my $name (sort keys %$value) {
        die "$at: \"$name\" is not in the specification\n"
            if !$properties->{$name};

        $self->look("$at/$name", $value->{$name}, $type->{$name},
            $properties->{$name});
    }
}


sub resolve {
    my ($self, $ref) = @_;
    my $node = $self->{spec};

    for my $name (split m{/}, $ref =~ s{\A#/}{}r) {
        $node = $node->{$name} or die "no $ref in the specification\n";
    }

    return $node;
}

###############################################################################

1;
