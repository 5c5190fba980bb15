package Klaviyo::StandIn::Judge;

# Copyright (C) ngx_http_klaviyo_module contributors

# What Klaviyo would say to a request: key, rate windows, headers, body, and
# what it knows already.

###############################################################################

use warnings;
use strict;

use Cpanel::JSON::XS ();
use Digest::SHA ();

use Klaviyo::StandIn::Answer ();
use Klaviyo::StandIn::Contract ();

###############################################################################

my $json = Cpanel::JSON::XS->new->utf8->canonical;

our %defaults = (
    key         => undef,     # the one API key that is right; undef: any
    validate    => 1,         # 0: unique_ids only, look no further
    identifiers => 'one',     # any: several identifiers in a profile
    repeated    => 'accept',  # refuse: 400 for a unique_id of earlier
    errors      => 20,        # told in one answer, at most
    burst       => 0,         # requests a second, a minute; 0: no limit
    steady      => 0,
    others      => 0,         # requests that others made in this minute
    ratelimit   => 'plain',   # windows: the other shape; off: no headers
    poison      => [],        # { key, value, pointer }: refused events
    broken      => [],        # { text, answer, ... }: steps for the bodies that
                              # hold a text
    poison_ids  => '',        # without validate: a pattern of refused ones
);

# "settings" are shared with who changes them.

sub new {
    my ($class, $settings) = @_;

    return bless { settings => $settings, seen => {}, profiles => {},
                   windows => {} }, $class;
}


# Both windows begin anew.

sub new_windows { $_[0]{windows} = {} }


# The answer to a request at the time "now", see Klaviyo::StandIn::Answer;
# checks in the order in which the real one seems to look.  Puts the entries
# into the request.

sub judge {
    my ($self, $r, $now) = @_;
    my $settings = $self->{settings};
    my $headers = $r->{headers};

    $self->{now} = $now;
    $r->{lane} = $Klaviyo::StandIn::Contract::lanes{$r->{path}};

    my $wrong = sub { Klaviyo::StandIn::Answer::errors(@_) };

    return $wrong->(404, not_found => 'There is no such path.')
        if !$r->{lane};
    return $wrong->(405, method_not_allowed => 'Only POST is allowed.')
        if $r->{method} ne 'POST';

    my ($code, $detail) = $self->authorization($headers->{authorization});

    return $wrong->(401, $code, $detail) if $code;

    my $wait = $self->throttle($r->{lane});

    return Klaviyo::StandIn::Answer::throttled($wait) if $wait;

    my ($status, $why) = header_error($r);
    my $verdict;

    if ($status) {
        $verdict = $wrong->($status, 'invalid', $why);

    } elsif (!$settings->{validate}) {
        $verdict = $self->glance($r);

    } else {
        $verdict = $self->examine($r);
    }

    $self->add_rate_limit($r->{lane}, $verdict);

    return $verdict;
}


sub authorization {
    my ($self, $value) = @_;

    return ('not_authenticated', 'Missing or wrong scheme.')
        if !defined $value
           || $value !~ /\AKlaviyo-API-Key (pk_[A-Za-z0-9_-]{3,})\z/;

    my $key = $self->{settings}{key};

    return ('authentication_failed', 'Incorrect authentication credentials.')
        if defined $key && $key ne $1;

    return;
}


sub header_error {
    my ($r) = @_;
    my $headers = $r->{headers};

    return (400, "The header '$r->{repeated}[0]' is repeated.")
        if @{$r->{repeated}};
    return (400, 'Host is required.') if !length($headers->{host} // '');
    return (400, 'The header revision is required.')
        if !defined $headers->{revision};
    return (400, 'No valid revisions found for method.')
        if !$Klaviyo::StandIn::Contract::revisions{$headers->{revision}};
    return (415, 'Unsupported media type.')
        if ($headers->{'content-type'} || '')
            !~ m{\Aapplication/(?:vnd\.api\+)?json\z};
    return (415, 'Unsupported content encoding.')
        if defined $headers->{'content-encoding'};
    return (406, 'JSON must be accepted.')
        if ($headers->{accept} || '')
            !~ m{(?:\A|[,\s])application/(?:vnd\.api\+)?json\b};

    return;
}


sub examine {
    my ($self, $r) = @_;
    my $settings = $self->{settings};

    my $found = Klaviyo::StandIn::Contract::examine($r->{body},
        lane => $r->{lane}, revision => $r->{headers}{revision},
        errors => $settings->{errors},
        identifiers => $settings->{identifiers});

    my @errors = @{$found->{errors}};
    my $entries = $found->{entries};

    if (!@errors) {
        @errors = grep { defined } (
            Klaviyo::StandIn::Answer::poisoned($settings->{poison}, $entries,
                $r->{lane}),
            $r->{lane} eq 'events' ? $self->repeated($entries) : ());
        splice @errors, $settings->{errors} if @errors > $settings->{errors};
    }

    $r->{entries} = $entries;
    $r->{job} = $found->{job};

    return Klaviyo::StandIn::Answer::invalid(@errors) if @errors;

    my $verdict = Klaviyo::StandIn::Answer::accepted($r->{lane}, $entries->[0],
        $r->{lane} eq 'profiles' && $self->is_new($entries->[0]));

    $verdict->{events} = $entries;
    $verdict->{count} = @$entries;

    return $verdict;
}


# What is fast enough for thousands of events a second: an entry is its
# unique_id.

sub glance {
    my ($self, $r) = @_;
    my $pattern = $self->{settings}{poison_ids};
    my $ids = unique_ids($r);

    my @errors = $pattern eq '' ? () : map {
        Klaviyo::StandIn::Contract::error(400,
            Klaviyo::StandIn::Contract::entry_pointer($_)
                . '/attributes/events/data/0/attributes/unique_id',
            'This event is invalid.', $_)
    } grep { $ids->[$_] =~ /\A(?:$pattern)\z/ } 0 .. $#$ids;

    return Klaviyo::StandIn::Answer::invalid(@errors) if @errors;

    my $verdict = Klaviyo::StandIn::Answer::accepted($r->{lane});

    $verdict->{count} = $r->{lane} eq 'events' ? @$ids : 1;

    return $verdict;
}


sub unique_ids {
    my ($r) = @_;

    return $r->{unique_ids} ||= [ $r->{body} =~ /"unique_id":"([^"\\]*)"/g ];
}


# Klaviyo's key of an event: profile, metric, unique_id.

sub event_key {
    my ($entry) = @_;
    my $attributes = $entry->{attributes};
    my $event = $attributes->{events}{data}[0]{attributes};

    return Digest::SHA::sha1($json->encode([
        $attributes->{profile}{data}, $event->{metric}{data}{attributes},
        $event->{unique_id} ]));
}


sub repeated {
    my ($self, $entries) = @_;

    return if $self->{settings}{repeated} ne 'refuse';

    return map { Klaviyo::StandIn::Answer::repeated($_) }
           grep { $self->{seen}{event_key($entries->[$_])} } 0 .. $#$entries;
}


# seconds to wait, 0 if the request fits into both windows
sub throttle {
    my ($self, $lane) = @_;
    my $settings = $self->{settings};
    my $now = $self->{now};
    my $windows = $self->{windows}{$lane} ||= {};

    for my $w ([ burst => 1 ], [ steady => 60 ]) {
        my ($name, $length) = @$w;
        my $begin = int($now / $length) * $length;

        if (($windows->{$name}{begin} || 0) != $begin) {
            $windows->{$name} = { begin => $begin, used => 0 };
        }
    }

    for my $w ([ burst => 1 ], [ steady => 60 ]) {
        my ($name, $length) = @$w;
        my $used = $windows->{$name}{used}
                   + ($name eq 'steady' ? $settings->{others} : 0);

        next if !$settings->{$name} || $used < $settings->{$name};

        return int($windows->{$name}{begin} + $length - $now) + 1;
    }

    $windows->{$_}{used}++ for qw(burst steady);

    return 0;
}


sub add_rate_limit {
    my ($self, $lane, $verdict) = @_;
    my $settings = $self->{settings};
    my $steady = $settings->{steady};

    return if !$steady || $settings->{ratelimit} eq 'off';

    my $window = $self->{windows}{$lane}{steady};
    my $left = $steady - $window->{used} - $settings->{others};
    my $burst = $settings->{burst} || $steady;

    Klaviyo::StandIn::Answer::add_headers($verdict,
        'RateLimit-Limit' => $settings->{ratelimit} eq 'windows'
            ? "$burst, $burst;w=1, $steady;w=60" : $steady,
        'RateLimit-Remaining' => $left > 0 ? $left : 0,
        'RateLimit-Reset' => int($window->{begin} + 60 - $self->{now}) + 1);
}


# Takes an event as received; true if it was before.  A profile may come as
# often as it likes.

sub remember {
    my ($self, $lane, $entry) = @_;

    return $lane eq 'events' && $self->{seen}{event_key($entry)}++;
}


# Whether nobody has told of this profile before.

sub is_new {
    my ($self, $profile) = @_;
    my $attributes = $profile->{attributes};
    my $who = join "\n", map { "$_ " . ($attributes->{$_} // '') }
              qw(email phone_number external_id _kx);

    return !$self->{profiles}{$who . "\nid " . ($profile->{id} // '')}++;
}

###############################################################################

1;
