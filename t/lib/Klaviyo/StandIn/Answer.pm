package Klaviyo::StandIn::Answer;

# Copyright (C) ngx_http_klaviyo_module contributors

# The answers of the stand-in, those of Klaviyo and those that a network makes:
# { status, text, errors, accepted, events, count, throttled,
# end => close|reset|keep, hang, silent, endless }.

###############################################################################

use warnings;
use strict;

use Cpanel::JSON::XS ();

use Klaviyo::StandIn::Contract ();

###############################################################################

my %reasons = (
    200 => 'OK', 201 => 'Created', 202 => 'Accepted',
    301 => 'Moved Permanently', 302 => 'Found', 400 => 'Bad Request', 401 => 'Unauthorized',
    403 => 'Forbidden', 404 => 'Not Found', 405 => 'Method Not Allowed',
    406 => 'Not Acceptable', 408 => 'Request Timeout', 409 => 'Conflict',
    410 => 'Gone', 413 => 'Payload Too Large',
    415 => 'Unsupported Media Type', 429 => 'Too Many Requests',
    431 => 'Request Header Fields Too Large',
    500 => 'Internal Server Error', 502 => 'Bad Gateway',
    503 => 'Service Unavailable', 504 => 'Gateway Timeout',
);

# code and detail of the errors that need no more words
my %told = (
    400 => [ invalid => 'Invalid input.' ],
    401 => [ authentication_failed => 'Incorrect authentication credentials.' ],
    403 => [ permission_denied => 'You do not have permission.' ],
    404 => [ not_found => 'The path could not be found.' ],
    405 => [ method_not_allowed => 'Method not allowed.' ],
    408 => [ timeout => 'Request timeout.' ],
    409 => [ duplicate => 'Conflict.' ],
    410 => [ gone => 'This revision is no longer supported.' ],
    413 => [ too_large => 'The payload exceeds 5 MB.' ],
    415 => [ unsupported_media_type => 'Unsupported media type.' ],
    500 => [ error => 'A server error occurred.' ],
    502 => [ error => 'Bad gateway.' ],
    503 => [ unavailable => 'Service unavailable.' ],
    504 => [ error => 'Gateway timeout.' ],
);

my $html = "<!DOCTYPE html><html><head><title>Just a moment...</title></head>"
    . "<body>Checking your browser before you proceed.</body></html>\n";

my $json = Cpanel::JSON::XS->new->utf8->canonical;
my $number = 0;

###############################################################################

# Of an update, the profile is the answer's body: 201 if it is a new one.

sub accepted {
    my ($lane, $profile, $new) = @_;

    my $verdict = ($lane || '') ne 'profiles' ? build(202, '')
        : build($new ? 201 : 200, $json->encode({ data => {
              type => 'profile', id => '01J0PROFILEULID0000000000A',
              attributes => $profile->{attributes} || {} } }),
              'Content-Type' => 'application/vnd.api+json');

    $verdict->{accepted} = 1;

    return $verdict;
}


# An error object of JSON:API by status, code, detail and pointer.

sub errors {
    my ($status, $code, $detail, $pointer) = @_;

    return told($status, { code => $code, detail => $detail,
                           pointer => $pointer // '/data/' });
}


# 400 with the errors that Klaviyo::StandIn::Contract found; 413 stays 413.

sub invalid {
    my (@errors) = @_;

    return told($errors[0]{status} || 400, @errors);
}


sub throttled {
    my ($wait) = @_;

    my $verdict = told(429, { code => 'throttled',
        title => 'Request was throttled.', pointer => '/data/',
        detail => "Request was throttled. Expected available in $wait "
                  . "seconds." });

    add_headers($verdict, 'Retry-After' => $wait);
    $verdict->{throttled} = 1;

    return $verdict;
}


# A bare answer to what wasn't a request.

sub plain { return build($_[0], '', 'Connection' => 'close')->{text} }


# The error of a unique_id that the profile and metric have already.

sub repeated {
    my ($n) = @_;

    my $error = Klaviyo::StandIn::Contract::error(400,
        Klaviyo::StandIn::Contract::entry_pointer($n)
            . '/attributes/events/data/0/attributes/unique_id',
        'The unique_id is repeated for this profile and metric.', $n);

    $error->{code} = 'duplicate';

    return $error;
}


# Errors for the entries with a property that a rule { key, value, pointer }
# names, of profiles also an attribute; "pointer" is that of pointed().

sub poisoned {
    my ($rules, $entries, $lane) = @_;
    my @errors;

    for my $n (0 .. $#$entries) {
        my $attributes = $entries->[$n]{attributes};
        my $properties = $lane ne 'events'
            ? { %$attributes, %{$attributes->{properties} || {}} }
            : $attributes->{events}{data}[0]{attributes}{properties};

        for my $rule (@$rules) {
            my $value = $properties->{$rule->{key}};

            next if !defined $value || "$value" ne "$rule->{value}";

            push @errors, pointed($rule->{pointer}, $n, scalar @$entries,
                "The value of '$rule->{key}' is invalid.", $lane);
            last;
        }
    }

    return @errors;
}


# Is there such an answer?

sub known {
    my ($name) = @_;

    return $name =~ /\A[2-5][0-9]{2}\z/
           || $name =~ /\A(?:ok|lose|repeated|40[03]-html|garbage|hang|drop
                            |reset|close|chatty-body|chatty-headers)\z/x;
}


# What a step of a script asks for.

sub scripted {
    my ($step, $r, $entries) = @_;
    my $name = $step->{answer};
    my $verdict;

    if ($name eq 'hang') {
        return { hang => 1, status => 0, text => '' };

    } elsif ($name eq 'reset') {
        return { end => 'reset', silent => 1, status => 0, text => '' };

    } elsif ($name eq 'drop') {
        return { end => 'close', silent => 1, status => 0, text => '' };

    } elsif ($name eq 'garbage') {
        return { end => 'close', status => 0,
                 text => "\x16\x03\x01 this is not HTTP\r\n\r\n" };

    } elsif ($name eq 'chatty-body') {
        my $status = $step->{status} || 400;

        return { end => 'close', status => $status, endless => 'x' x 4096,
                 text => "HTTP/1.1 $status No End\r\n"
                         . "Content-Type: application/json\r\n"
                         . "Connection: close\r\n\r\n" };

    } elsif ($name eq 'chatty-headers') {
        return { end => 'close', status => 202,
                 endless => 'X-Chatty: ' . 'x' x 1000 . "\r\n",
                 text => "HTTP/1.1 202 No End\r\n" };

    } elsif ($name eq '403-html') {
        $verdict = build(403, $html, 'Content-Type' => 'text/html',
            'cf-mitigated' => 'challenge', 'Server' => 'cloudflare');

    } elsif ($name eq '400-html') {
        $verdict = build(400, $html, 'Content-Type' => 'text/html');

    } elsif ($name eq '429') {
        $verdict = throttled($step->{retry_after} // 1);

    } elsif ($name eq 'repeated') {
        $verdict = invalid(repeated($step->{entry} || 0));

    } elsif ($name eq '400') {
        $verdict = invalid(pointed($step->{pointer}, $step->{entry} || 0,
            $entries ? scalar @$entries : 1, $step->{detail}, $r->{lane}));

    } elsif ($name =~ /\A30/) {
        $verdict = build($name, '', 'Location' => $step->{location}
            || 'http://127.0.0.1:1/elsewhere');

    } elsif (defined $step->{body} || !$told{$name}) {
        $verdict = build($name, $step->{body} // '');
        $verdict->{accepted} = $name =~ /\A2/;
        $verdict->{events} = $entries if $verdict->{accepted};
        $verdict->{count} = @{$entries || []};

    } else {
        $verdict = errors($name, @{$told{$name}});
    }

    if (defined $step->{retry_after} && $name ne '429') {
        add_headers($verdict, 'Retry-After' => $step->{retry_after});
    }

    add_headers($verdict, %{$step->{headers}}) if $step->{headers};
    $verdict->{end} = 'close' if $step->{close};

    return $verdict;
}


# An error about entry "n" of "count" whose pointer is: "entry" the entry,
# "deep" a field in it, "none" nothing, "wrong" another entry, "beyond" an
# entry that isn't there.

sub pointed {
    my ($kind, $n, $count, $detail, $lane) = @_;

    $kind ||= 'deep';
    $detail ||= 'Invalid input.';

    my $at = $kind eq 'wrong' ? $count > 1 ? ($n + 1) % $count : $count + 5
           : $kind eq 'beyond' ? $count + 5
           : $n;

    my $pointer = $kind eq 'none' ? '/data/'
                : Klaviyo::StandIn::Contract::entry_pointer($at, $lane);

    $pointer .= '/attributes/events/data/0'
        if $kind eq 'deep' && ($lane || 'events') eq 'events';
    $pointer .= '/attributes/properties' if $kind eq 'deep';

    return Klaviyo::StandIn::Contract::error(400, $pointer, $detail, $n);
}

###############################################################################

sub told {
    my ($status, @errors) = @_;

    my @objects = map { {
        id => sprintf('%08x-0000-4000-8000-%012x', $$, ++$number),
        status => $status + 0, code => $_->{code},
        title => $_->{title} || $reasons{$status}, detail => $_->{detail},
        source => { pointer => $_->{pointer} }, links => {}, meta => {},
    } } @errors;

    my $verdict = build($status, $json->encode({ errors => \@objects }),
        'Content-Type' => 'application/vnd.api+json');

    $verdict->{errors} = [ map { { code => $_->{code},
        detail => $_->{detail}, pointer => $_->{pointer} } } @errors ];

    return $verdict;
}


sub build {
    my ($status, $body, @headers) = @_;
    my $text = "HTTP/1.1 $status " . ($reasons{$status} || 'Unknown') . "\r\n";

    while (my ($name, $value) = splice @headers, 0, 2) {
        $text .= "$name: $value\r\n";
    }

    return { status => $status + 0,
             text => $text . 'Content-Length: ' . length($body)
                     . "\r\n\r\n$body" };
}


sub add_headers {
    my ($verdict, @headers) = @_;
    my $text = '';

    while (my ($name, $value) = splice @headers, 0, 2) {
        $text .= "$name: $value\r\n";
    }

    $verdict->{text} =~ s/\r\n/\r\n$text/;
}

###############################################################################

1;
