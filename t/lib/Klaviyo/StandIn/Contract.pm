package Klaviyo::StandIn::Contract;

# Copyright (C) ngx_http_klaviyo_module contributors

# What Klaviyo's endpoints take, and more strictly than they do: an unknown
# key, a null, an empty text, a number in quotes are errors here, since the real
# ones drop some of these in silence.  Pure: a body goes in, errors with JSON
# pointers come out.

###############################################################################

use warnings;
use strict;

use B ();
use Cpanel::JSON::XS ();
use Encode ();
use Time::Local ();

###############################################################################

use constant {
    MAX_BODY       => 5_000_000,
    MAX_EVENTS     => 1000,
    MAX_PROPERTIES => 400,
    MAX_STRING     => 100_000,
    MAX_ITEMS      => 4000,
    MAX_DEPTH      => 10,
    MAX_METRIC     => 127,
    MAX_UNIQUE_ID  => 255,
    MAX_PROFILE    => 95_000,
    MAX_UPDATE     => 100_000,
    MAX_PROFILES   => 1000,
    MAX_EMAIL      => 99,
    MAX_EXTERNAL   => 255,
};

our %revisions = map { $_ => 1 } qw(
    2024-10-15 2025-01-15 2025-04-15 2025-07-15 2025-10-15 2026-01-15
    2026-04-15 2026-07-15
);

# what is sent where
our %lanes = (
    '/api/event-bulk-create-jobs'                => 'events',
    '/api/profile-import'                        => 'profiles',
    '/api/profile-subscription-bulk-create-jobs' => 'subscriptions',
);

my %outlines = (
    events        => \&outline,
    profiles      => \&outline_profile,
    subscriptions => \&outline_job,
);

my %checks = (
    events        => \&check_entry,
    profiles      => \&check_update,
    subscriptions => \&check_subscriber,
);

my @identifiers = qw(id email phone_number external_id anonymous_id _kx);

my %text = map { $_ => \&check_text } qw(
    external_id anonymous_id _kx first_name last_name organization locale title
    image
);

my %profile_attributes = (
    %text,
    email        => \&check_email,
    phone_number => \&check_phone,
    location     => \&check_location,
    properties   => \&check_properties,
);

my %location = (
    (map { $_ => \&check_text }
        qw(address1 address2 city country region zip timezone ip)),
    latitude  => \&check_coordinate,
    longitude => \&check_coordinate,
);

my $json = Cpanel::JSON::XS->new->utf8->allow_nonref(0)->allow_dupkeys(0)
    ->max_depth(64);

my $bytes = Cpanel::JSON::XS->new->utf8->canonical;

# a check ends by this with the first thing that is wrong
sub wrong { die { pointer => $_[0], detail => $_[1] } }

###############################################################################

# Decodes and checks a body.  Options: lane, a value of %lanes, else events;
# revision; identifiers => 'any' allows several identifiers in a profile;
# errors: how many are told at most.
#
# Returns { entries => [...] or undef, job, errors => [ { status, code, title,
# detail, pointer, entry }, ... ] }; "entries" is there whenever it was JSON of
# the right outline: events, or profiles; "job" is what stands around those that
# subscribe.

sub examine {
    my ($body, %opt) = @_;

    my $lane = $opt{lane} ||= 'events';

    return refused(413, '/data', 'The payload exceeds 5 MB.')
        if length $body > MAX_BODY;
    return refused(413, '/data', 'The payload exceeds 100 KB.')
        if $lane eq 'profiles' && length $body > MAX_UPDATE;

    my $tree = eval { $json->decode($body) };

    return refused(400, '/data', 'Invalid JSON: ' . reason($@))
        if !defined $tree;

    my $entries = eval { $outlines{$lane}->($tree, $body) };

    return refused(400, @{$@}{qw(pointer detail)}) if !defined $entries;

    my $job = $lane eq 'subscriptions' ? job($tree) : undef;
    my (@errors, %ids);

    $opt{job} = $job;

    my $limit = $opt{errors} || 20;

    for my $n (0 .. $#$entries) {
        my $at = entry_pointer($n, $lane);

        next if eval { $checks{$lane}->($at, $entries->[$n], \%opt, \%ids); 1 };

        my $error = ref $@ ? $@ : { pointer => $at, detail => "$@" };

        push @errors, error(400, @$error{qw(pointer detail)}, $n);
        last if @errors >= $limit;
    }

    return { entries => $entries, errors => \@errors, job => $job };
}


# Where an entry stands in the body.

sub entry_pointer {
    my ($n, $lane) = @_;

    return '/data' if ($lane || '') eq 'profiles';
    return "/data/attributes/profiles/data/$n"
        if ($lane || '') eq 'subscriptions';
    return "/data/attributes/events-bulk-create/data/$n";
}


sub job {
    my ($tree) = @_;
    my %job = %{$tree->{data}{attributes}};

    delete $job{profiles};
    $job{list} = $tree->{data}{relationships}{list}{data}{id}
        if $tree->{data}{relationships};

    return \%job;
}


sub error {
    my ($status, $pointer, $detail, $entry) = @_;

    return {
        status => $status, code => 'invalid', title => 'Invalid input.',
        pointer => $pointer, detail => $detail,
        defined $entry ? (entry => $entry) : (),
    };
}


sub refused { return { errors => [ error(@_) ] } }


sub reason {
    my ($why) = @_;

    $why =~ s/ at \S+ line \d+\.?\n?\z//;

    return $why;
}

###############################################################################

# the envelope, down to the array of entries
sub outline {
    my ($tree, $body) = @_;

    integers($body) if $body =~ /[0-9]{19}/;

    members('', $tree, [qw(data)]);
    members('/data', $tree->{data}, [qw(type attributes)]);
    type('/data', $tree->{data}, 'event-bulk-create-job');

    my $at = '/data/attributes';
    my $attributes = $tree->{data}{attributes};

    members($at, $attributes, [qw(events-bulk-create)]);
    members("$at/events-bulk-create", $attributes->{'events-bulk-create'},
        [qw(data)]);

    $at = "$at/events-bulk-create/data";
    my $entries = $attributes->{'events-bulk-create'}{data};

    wrong($at, 'This field must be an array.') if ref $entries ne 'ARRAY';
    wrong($at, 'This field may not be empty.') if !@$entries;
    wrong($at, 'A job may have 1000 events at most.')
        if @$entries > MAX_EVENTS;

    return $entries;
}


# an update: the profile is all there is
sub outline_profile {
    my ($tree, $body) = @_;

    integers($body) if $body =~ /[0-9]{19}/;
    members('', $tree, [qw(data)]);

    return [ $tree->{data} ];
}


sub check_update {
    my ($at, $profile, $opt) = @_;

    wrong("$at/attributes/anonymous_id",
        "'anonymous_id' is not a valid field for the resource 'profile'.")
        if ref $profile eq 'HASH' && ref $profile->{attributes} eq 'HASH'
           && exists $profile->{attributes}{anonymous_id};

    check_profile($at, $profile, $opt);
}


# a subscription, down to the array of profiles
sub outline_job {
    my ($tree, $body) = @_;

    members('', $tree, [qw(data)]);
    members('/data', $tree->{data}, [qw(type attributes)], [qw(relationships)]);
    type('/data', $tree->{data}, 'profile-subscription-bulk-create-job');

    my $at = '/data/attributes';
    my $attributes = $tree->{data}{attributes};

    members($at, $attributes, [qw(profiles)],
        [qw(custom_source historical_import)]);
    check_text("$at/custom_source", $attributes->{custom_source})
        if exists $attributes->{custom_source};
    wrong("$at/historical_import", 'A boolean is required.')
        if exists $attributes->{historical_import}
           && !Cpanel::JSON::XS::is_bool($attributes->{historical_import});

    check_list($tree->{data}{relationships})
        if exists $tree->{data}{relationships};

    members("$at/profiles", $attributes->{profiles}, [qw(data)]);

    my $profiles = $attributes->{profiles}{data};

    $at .= '/profiles/data';
    wrong($at, 'This field must be an array.') if ref $profiles ne 'ARRAY';
    wrong($at, 'This field may not be empty.') if !@$profiles;
    wrong($at, 'A job may have 1000 profiles at most.')
        if @$profiles > MAX_PROFILES;

    return $profiles;
}


sub check_list {
    my ($relationships) = @_;
    my $at = '/data/relationships';

    members($at, $relationships, [qw(list)], []);
    members("$at/list", $relationships->{list}, [qw(data)]);

    my $list = $relationships->{list}{data};

    members("$at/list/data", $list, [qw(type id)]);
    type("$at/list/data", $list, 'list');
    check_text("$at/list/data/id", $list->{id});
}


# e-mail and SMS, for marketing: the module asks for no more
sub check_subscriber {
    my ($at, $profile, $opt) = @_;

    members($at, $profile, [qw(type attributes)], [qw(id)]);
    type($at, $profile, 'profile');
    check_text("$at/id", $profile->{id}) if exists $profile->{id};

    $at .= '/attributes';
    my $attributes = $profile->{attributes};

    members($at, $attributes, [qw(subscriptions)], [qw(email phone_number)]);
    check_email("$at/email", $attributes->{email})
        if exists $attributes->{email};
    check_phone("$at/phone_number", $attributes->{phone_number})
        if exists $attributes->{phone_number};

    my $channels = $attributes->{subscriptions};
    my %address = (email => 'email', sms => 'phone_number');

    members("$at/subscriptions", $channels, [], [keys %address]);
    wrong("$at/subscriptions", 'This field may not be empty.') if !%$channels;

    for my $name (sort keys %$channels) {
        check_channel("$at/subscriptions/$name", $channels->{$name},
            $opt->{job}{historical_import});
        wrong("$at/$address{$name}", "'$address{$name}' is a required field.")
            if !exists $attributes->{$address{$name}};
    }

    # Klaviyo would put it into the profile without asking anybody
    for my $name (sort keys %address) {
        wrong("$at/$address{$name}", 'There is no channel for this address.')
            if exists $attributes->{$address{$name}} && !$channels->{$name};
    }
}


sub check_channel {
    my ($at, $channel, $historical) = @_;

    members($at, $channel, [qw(marketing)]);
    members("$at/marketing", $channel->{marketing}, [qw(consent)],
        [qw(consented_at)]);

    $at .= '/marketing';
    my ($consent, $when) = @{$channel->{marketing}}{qw(consent consented_at)};

    wrong("$at/consent", "'SUBSCRIBED' is required.")
        if !is_string($consent) || $consent ne 'SUBSCRIBED';

    if (!$historical) {
        wrong("$at/consented_at", 'Only a historical import may say when.')
            if defined $when;
        return;
    }

    wrong("$at/consented_at", "'consented_at' is a required field.")
        if !defined $when;
    check_time("$at/consented_at", $when);
    wrong("$at/consented_at", 'Must be in the past.')
        if parse_time($when) > time();
}


sub check_entry {
    my ($at, $entry, $opt, $ids) = @_;

    members($at, $entry, [qw(type attributes)]);
    type($at, $entry, 'event-bulk-create');

    $at .= '/attributes';
    my $attributes = $entry->{attributes};

    members($at, $attributes, [qw(profile events)], [qw(backfill)]);
    check_backfill("$at/backfill", $attributes, $opt);

    members("$at/profile", $attributes->{profile}, [qw(data)]);
    check_profile("$at/profile/data", $attributes->{profile}{data}, $opt);

    members("$at/events", $attributes->{events}, [qw(data)]);

    my $events = $attributes->{events}{data};

    wrong("$at/events/data", 'This field must be an array.')
        if ref $events ne 'ARRAY';

    # Klaviyo takes several; with one, an index in an error names one event
    wrong("$at/events/data", 'An entry must have one event.')
        if @$events != 1;

    check_event("$at/events/data/0", $events->[0], $opt, $ids);
}


sub check_event {
    my ($at, $event, $opt, $ids) = @_;

    members($at, $event, [qw(type attributes)]);
    type($at, $event, 'event');

    $at .= '/attributes';
    my $attributes = $event->{attributes};

    members($at, $attributes, [qw(properties metric time unique_id)],
        [qw(value value_currency backfill)]);

    check_metric("$at/metric", $attributes->{metric});
    check_properties("$at/properties", $attributes->{properties});
    check_time("$at/time", $attributes->{time});
    check_backfill("$at/backfill", $attributes, $opt);

    if (exists $attributes->{value}) {
        wrong("$at/value", 'A valid number is required.')
            if !is_number($attributes->{value});
    }

    if (exists $attributes->{value_currency}) {
        my $currency = $attributes->{value_currency};

        wrong("$at/value_currency", 'An ISO 4217 code is required.')
            if !is_string($currency) || $currency !~ /\A[A-Z]{3}\z/;
    }

    my $id = $attributes->{unique_id};

    wrong("$at/unique_id", 'A text of 1 to 255 characters is required.')
        if !is_string($id) || $id eq '' || length_of($id) > MAX_UNIQUE_ID;

    wrong("$at/unique_id", "The unique_id '$id' is repeated in this request.")
        if $ids->{$id}++;
}


sub check_metric {
    my ($at, $metric) = @_;

    members($at, $metric, [qw(data)]);
    members("$at/data", $metric->{data}, [qw(type attributes)]);
    type("$at/data", $metric->{data}, 'metric');

    $at .= '/data/attributes';
    my $attributes = $metric->{data}{attributes};

    members($at, $attributes, [qw(name)], [qw(service)]);
    check_text("$at/name", $attributes->{name});
    wrong("$at/name", 'Must be less than 128 characters.')
        if length $attributes->{name} > MAX_METRIC;

    check_text("$at/service", $attributes->{service})
        if exists $attributes->{service};
}


sub check_profile {
    my ($at, $profile, $opt) = @_;

    members($at, $profile, [qw(type attributes)], [qw(id meta)]);
    type($at, $profile, 'profile');
    check_text("$at/id", $profile->{id}) if exists $profile->{id};
    check_meta("$at/meta", $profile->{meta}) if exists $profile->{meta};

    my $attributes = $profile->{attributes};

    members("$at/attributes", $attributes, [], [keys %profile_attributes]);

    for my $name (sort keys %$attributes) {
        $profile_attributes{$name}->("$at/attributes/$name",
            $attributes->{$name});
    }

    my @given = grep { exists $attributes->{$_} || $_ eq 'id'
                       && exists $profile->{id} } @identifiers;

    wrong($at, 'A profile needs an identifier.') if !@given;
    wrong("$at/attributes", "One identifier is enough, not @given.")
        if @given > 1 && ($opt->{identifiers} || 'one') ne 'any';

    wrong("$at/attributes/external_id", 'Must be 255 characters at most.')
        if length_of($attributes->{external_id}) > MAX_EXTERNAL;

    wrong($at, 'A profile may have 95 KB at most.')
        if length $bytes->encode($profile) > MAX_PROFILE;
}


sub check_meta {
    my ($at, $meta) = @_;

    members($at, $meta, [], [qw(patch_properties patch_identifiers)]);

    if (exists $meta->{patch_properties}) {
        my $patch = $meta->{patch_properties};

        members("$at/patch_properties", $patch, [],
            [qw(append unappend unset)]);
        check_value("$at/patch_properties", $patch, 0);
    }

    if (exists $meta->{patch_identifiers}) {
        my $patch = $meta->{patch_identifiers};

        members("$at/patch_identifiers", $patch, [], [qw(append unappend)]);
        check_value("$at/patch_identifiers", $patch, 0);
    }
}

###############################################################################

# The checks of one field: its place, its value.

sub check_text {
    my ($at, $value) = @_;

    wrong($at, 'A text is required.') if !is_string($value);
    wrong($at, 'This field may not be blank.') if $value eq '';
    wrong($at, 'Must be 100 KB at most.') if length_of($value) > MAX_STRING;
}


sub check_email {
    my ($at, $value) = @_;

    wrong($at, 'Invalid email address.')
        if !is_string($value) || length_of($value) > MAX_EMAIL
           || $value !~ /\A[A-Za-z0-9.!#\$%&'*+\/=?^_`{|}~-]+
                         \@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+
                         [A-Za-z]{2,}\z/x
           || $value =~ /\A\.|\.\.|\.\@/;
}


sub check_phone {
    my ($at, $value) = @_;

    wrong($at, 'Invalid phone number, E.164 is required.')
        if !is_string($value) || $value !~ /\A\+[1-9][0-9]{6,14}\z/;
}


sub check_coordinate {
    my ($at, $value) = @_;

    wrong($at, 'A number or its text is required.')
        if !is_number($value)
           && (!is_string($value) || $value !~ /\A-?[0-9]+(?:\.[0-9]+)?\z/);
}


sub check_location {
    my ($at, $value) = @_;

    members($at, $value, [], [keys %location]);
    $location{$_}->("$at/$_", $value->{$_}) for sort keys %$value;
}


sub check_properties {
    my ($at, $value) = @_;

    members($at, $value, []);
    wrong($at, 'Must not exceed 400 properties.')
        if keys %$value > MAX_PROPERTIES;

    # the real one ignores it as if it had never been set
    for my $name (sort keys %$value) {
        wrong($at . '/' . escape($name), 'This field may not be blank.')
            if is_string($value->{$name}) && $value->{$name} eq '';
    }

    check_value($at, $value, 0);
}


sub check_value {
    my ($at, $value, $depth) = @_;

    wrong($at, 'This field may not be null.') if !defined $value;

    if (ref $value eq 'HASH') {
        wrong($at, 'Must not be nested deeper than 10 levels.')
            if $depth >= MAX_DEPTH;

        for my $name (sort keys %$value) {
            wrong("$at/", 'A name may not be blank.') if $name eq '';
            check_value($at . '/' . escape($name), $value->{$name},
                $depth + 1);
        }

    } elsif (ref $value eq 'ARRAY') {
        wrong($at, 'Must not be nested deeper than 10 levels.')
            if $depth >= MAX_DEPTH;
        wrong($at, 'Must not exceed 4000 items.') if @$value > MAX_ITEMS;

        check_value("$at/$_", $value->[$_], $depth + 1) for 0 .. $#$value;

    } elsif (is_string($value)) {
        wrong($at, 'Must be 100 KB at most.')
            if length_of($value) > MAX_STRING;
    }
}


sub check_backfill {
    my ($at, $attributes, $opt) = @_;

    return if !exists $attributes->{backfill};

    wrong($at, "'backfill' is not a valid field for this revision.")
        if $opt->{revision} && $opt->{revision} lt '2026-04-15';

    wrong($at, 'A boolean is required.')
        if !Cpanel::JSON::XS::is_bool($attributes->{backfill});
}


sub check_time {
    my ($at, $value) = @_;

    my $epoch = is_string($value) ? parse_time($value) : undef;

    wrong($at, 'A RFC 3339 time with an offset is required.')
        if !defined $epoch;
    wrong($at, 'The time must be after the year 1990.')
        if (gmtime $epoch)[5] + 1900 <= 1990;
    wrong($at, 'The time can only be up to 1 year in the future.')
        if $epoch > time() + 366 * 86400;
}


# RFC 3339 to seconds since the epoch, undef for anything else
sub parse_time {
    my ($text) = @_;

    $text =~ /\A([0-9]{4})-([0-9]{2})-([0-9]{2})
              T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]{1,9})?
              (?:Z|([+-])([0-9]{2}):([0-9]{2}))\z/x or return;

    my $shift = defined $7 ? ($8 * 60 + $9) * ($7 eq '-' ? -60 : 60) : 0;

    return if defined $7 && ($8 > 23 || $9 > 59);

    my $epoch = eval { Time::Local::timegm_modern($6, $5, $4, $3, $2 - 1, $1) };

    return defined $epoch ? $epoch - $shift : undef;
}

###############################################################################

# An object that has all of "required" and, if "optional" is given, nothing
# beyond both; no member may be null.

sub members {
    my ($at, $value, $required, $optional) = @_;

    wrong($at, 'An object is required.') if ref $value ne 'HASH';

    for my $name (@$required) {
        wrong("$at/$name", "'$name' is a required field.")
            if !exists $value->{$name};
    }

    my %known = map { $_ => 1 } @$required, @{$optional || []};

    for my $name (sort keys %$value) {
        my $place = $at . '/' . escape($name);

        wrong($place, 'This field may not be null.')
            if !defined $value->{$name};

        next if $known{$name} || !$optional && !@$required;

        my $of = exists $value->{type} && !ref $value->{type}
            ? $value->{type} : ($at =~ m{/([a-z]+)(?:/data)?/attributes\z})
            ? $1 : 'object';

        wrong($place,
            "'$name' is not a valid field for the resource '$of'.");
    }
}


sub type {
    my ($at, $value, $type) = @_;

    wrong("$at/type", "'$type' is required.")
        if !is_string($value->{type}) || $value->{type} ne $type;
}


# an integer beyond 64 bits: the decoder hides it, the text doesn't
sub integers {
    my ($body) = @_;

    while ($body =~ /"(?:[^"\\]++|\\.)*+"
                      |(-?[0-9]++)((?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?)/gsx) {
        next if !defined $1 || $2 ne '' || length $1 < 19;

        my ($sign, $digits) = $1 =~ /(-?)([0-9]+)/;
        my $most = $sign ? '9223372036854775808' : '9223372036854775807';

        wrong('/data', 'An integer must fit into 64 bits.')
            if length $digits > 19 || $digits gt $most;
    }
}


sub is_number {
    my ($value) = @_;

    return 0 if !defined $value || ref $value;

    my $flags = B::svref_2object(\$value)->FLAGS;

    return !($flags & B::SVf_POK) && $flags & (B::SVf_IOK | B::SVf_NOK);
}


sub is_string {
    my ($value) = @_;

    return defined $value && !ref $value
           && B::svref_2object(\$value)->FLAGS & B::SVf_POK;
}


# in bytes, as it is sent
sub length_of {
    my ($text) = @_;

    return 0 if !defined $text;
    return length $text if !utf8::is_utf8($text);
    return length Encode::encode_utf8($text);
}


# RFC 6901
sub escape {
    my ($name) = @_;

    $name =~ s/~/~0/g;
    $name =~ s{/}{~1}g;

    return $name;
}

###############################################################################

1;
