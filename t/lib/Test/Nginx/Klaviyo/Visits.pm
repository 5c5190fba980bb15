package Test::Nginx::Klaviyo::Visits;

# Copyright (C) ngx_http_klaviyo_module contributors

# Replays whole visits through nginx: what a browser or a storefront asked, what
# the shop answered, and the events that must come of it, no others.
#
#   my $v = Test::Nginx::Klaviyo::Visits->new('saleor',
#       include => [ 'saleor.conf', 'saleor-orders.conf' ]);
#
#   $v->replay();
#   $v->judge();
#
# A visit is a file of t/fixtures/FOLDER, with the steps of one visitor:
#
#   --- a title
#   > POST /cart/add              the request; its headers; its body
#   > Cookie: cart=7
#   ? name=value                  an argument, encoded here
#   + name=value                  a field of a form, likewise
#   {"id": 1}
#   < 200                         the answer; without one an empty 200
#   < Content-Type: text/html
#   <html>...
#   = Added to Cart | _kx:a.AbC123 | 59.97 EUR | ID
#   {"AddedItemProductID": "1"}   an event: profile, value, unique_id ("-": not
#                                 there; may be left out at the end), properties
#   @ {"email": "a@b.dev"}        a profile update, its attributes
#   ! skipped:prefetch            $klaviyo_result
#   * unasked                     its events come only where nobody is asked for
#                                 consent
#
# Lines with "# " are comments.  In what is sent <<kla:ID>> is the cookie of
# klaviyo.js, <<base64:...>>, <<jwt:...>> and <<url:...>> are encoded.
#
# The visits are interleaved, a step of each in turn.  Each event and each update
# tells the step that it is of, by a property that is cut off before it is
# compared.

###############################################################################

use warnings;
use strict;

use Cpanel::JSON::XS ();
use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use MIME::Base64 qw(encode_base64 encode_base64url);
use Test::More ();

use Test::Nginx::Klaviyo ();
use Test::Nginx::Klaviyo::HTTP ();
use Test::Nginx::Klaviyo::Upstream ();

###############################################################################

my $root = abs_path(dirname(__FILE__) . '/../../../../..');
my $json = Cpanel::JSON::XS->new->utf8->canonical->allow_nonref;
my $pretty = Cpanel::JSON::XS->new->canonical->pretty;

# What Klaviyo documents: s a text, n a number, a texts, i items, o an address.

my %items = (ProductID => 's', SKU => 's', ProductName => 's', Quantity => 'n',
    ItemPrice => 'n', RowTotal => 'n', ProductURL => 's', ImageURL => 's');

my %documented = (
    'Viewed Product' => { ProductName => 's', ProductID => 's', SKU => 's',
        Categories => 'a', ImageURL => 's', URL => 's', Brand => 's',
        Price => 'n', CompareAtPrice => 'n' },
    'Searched Site' => { 'Search Term' => 's', 'Search Results Count' => 'n' },
    'Added to Cart' => { (map { ("AddedItem$_" => 's') } qw(ProductName
        ProductID SKU ImageURL URL)), AddedItemCategories => 'a',
        AddedItemPrice => 'n', AddedItemQuantity => 'n', ItemNames => 'a',
        CheckoutURL => 's', Items => { %items, ProductCategories => 'a' } },
    'Started Checkout' => { ItemNames => 'a', CheckoutURL => 's',
        Categories => 'a', Items => { %items, ProductCategories => 'a' } },
    'Placed Order' => { OrderId => 's', Categories => 'a', ItemNames => 'a',
        Brands => 'a', DiscountCode => 's', DiscountValue => 'n',
        Items => { %items, Categories => 'a', Brand => 's' },
        BillingAddress => 'o', ShippingAddress => 'o' },
    'Ordered Product' => { OrderId => 's', ProductID => 's', SKU => 's',
        ProductName => 's', Quantity => 'n', ProductURL => 's',
        ImageURL => 's', Categories => 'a', ProductBrand => 's' },
);

my %address = map { $_ => 's' } qw(FirstName LastName Address1 Address2 City
    RegionCode CountryCode Zip Phone);

# Options: include: files of conf.examples; http, server: further lines there;
# headers => { NAME => TEXT } for requests that don't say it themselves;
# consent: a pattern of the visits whose visitors agree; the others are asked
# and don't; without it nobody is asked.

sub new {
    my ($class, $folder, %opt) = @_;

    my $self = bless { folder => $folder, %opt, steps => [] }, $class;
    my @visits;

    for my $file (sort glob "$root/t/fixtures/$folder/*.http") {
        push @visits, [ steps($file) ];
        $_->{agrees} = !$opt{consent} || basename($file) =~ $opt{consent}
            && !($opt{consent} && $_->{unasked}) for @{$visits[-1]};
    }

    while (@visits = grep { @$_ } @visits) {
        push @{$self->{steps}}, map { shift @$_ } @visits;
    }

    die "no visits in $folder\n" if !@{$self->{steps}};

    return $self;
}


sub steps {
    my ($file) = @_;
    my (@steps, $part);

    open my $in, '<', $file or die "open $file: $!\n";

    while (my $line = <$in>) {
        my $step = $steps[-1];

        next if $line =~ /^#(?: |$)/;

        if ($line =~ /^--- (.*)/) {
            push @steps, { name => basename($file, '.http') . ": $1",
                           request => {}, answer => {}, events => [],
                           updates => [] };
            undef $part;

        } elsif ($line =~ /^([><]) (.*)/) {
            $part = $step->{$1 eq '>' ? 'request' : 'answer'};
            push @{$part->{head}}, expanded($2);

        } elsif ($line =~ /^([?+]) ([^=]*)=(.*)/) {
            push @{$step->{request}{$1}}, join '=', map { encoded($_) } $2,
                expanded($3);

        } elsif ($line =~ /^\* unasked/) {
            $step->{unasked} = 1;

        } elsif ($line =~ /^!(?: (.*))?$/) {
            $step->{result} = $1 // '-';

        } elsif ($line =~ /^@ (\{.*)/) {
            push @{$step->{updates}}, $1;

        } elsif ($line =~ /^= (.*)/) {
            my ($metric, $who, $value, $id) = split / \| /, $1;

            $part = { metric => $metric, who => $who, value => $value // '-',
                      id => $id };
            push @{$step->{events}}, $part;

        } elsif ($part) {
            $part->{body} .= $line;
        }
    }

    return @steps;
}


sub expanded {
    my ($text) = @_;

    $text =~ s/<<kla:(.*?)>>/encode_base64("{\"\$exchange_id\":\"$1\"}", '')/ge;
    $text =~ s/<<base64:(.*?)>>/encode_base64($1, '')/ge;
    $text =~ s/<<jwt:(.*?)>>/join '.', map { encode_base64url($_) }
               '{"alg":"HS256"}', $1, 'signature'/gex;
    $text =~ s/<<url:(.*?)>>/encoded($1)/ge;

    return $text;
}


sub encoded {
    my ($text) = @_;

    $text =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ge;

    return $text;
}

###############################################################################

sub config {
    my ($self) = @_;
    my @include = map { "include $root/conf.examples/$_;\n" }
        @{$self->{include}};
    my $http = join '', grep { of_http($_) } @include;
    my $server = join '', grep { !of_http($_) } @include;

    return <<"EOC";
%%GLOBALS%%
worker_processes 1;
events { }
http {
    %%GLOBALS_HTTP%%
    log_format  results  "\$http_x_step \$klaviyo_result";

    klaviyo_account shop {
        api_key     data:pk_0123456789;
        company_id  AbC123;
        endpoint    %%KLAVIYO%%;
    }

    klaviyo_property  "step"           \$http_x_step;
    klaviyo_profile   properties.step  \$http_x_step;
    ${\($self->{http} // '')}
    $http
    ${\($self->{consent} ? 'klaviyo_consent $http_x_consent = yes;' : '')}

    server {
        listen       127.0.0.1:%%PORT_0%%;
        server_name  _;
        access_log   %%TESTDIR%%/results.log results;

        ${\($self->{server} // '')}
        $server
        location / {
            proxy_pass  http://127.0.0.1:%%PORT_1%%/raw/\$http_x_step;
        }
    }
}
EOC
}


# of shops whose API has a server of its own
sub of_http { return $_[0] =~ m{/(?:medusa|saleor)} }


# What "nginx -t" says of the configuration; one test.

sub lint {
    my ($self, $t) = @_;

    $t->write_config($self->config());

    my ($code, $out) = $t->test_config();

    Test::More::is($code ? $out : join("\n", grep { /\[warn\]/ } split /\n/,
        $out), '', "$self->{folder}: no errors and no warnings");
}


# Sends all of it; returns when nginx has ended, which delivers all it has.

sub replay {
    my ($self) = @_;
    my $t = Test::Nginx::Klaviyo->new();
    my $steps = $self->{steps};

    $t->standin();
    $self->lint($t);

    Test::Nginx::Klaviyo::Upstream::http($t->port(1), $t->dir());

    for my $n (0 .. $#$steps) {
        $t->write_file($n, answer($steps->[$n]{answer}));
    }

    $t->run();

    $self->send($t, $_) for 0 .. $#$steps;

    Test::More::ok($t->quit(), "$self->{folder}: nginx ends");

    my $log = $t->read_file('results.log');

    $self->{results} = { $log =~ /^(\d+) (.*)$/mg };
    $self->{t} = $t;

    for my $event ($t->klaviyo()->events()) {
        my $step = delete $event->{properties}{step} // 'none';

        push @{$self->{events}{$step}}, $event;
    }

    for my $update ($t->klaviyo()->profiles()) {
        my %attributes = %{$update->{attributes}};
        my $step = (delete $attributes{properties})->{step} // 'none';

        push @{$self->{updates}{$step}}, \%attributes;
    }

    return $self;
}


sub answer {
    my ($answer) = @_;
    my ($status, @headers) = @{$answer->{head} || [ 200 ]};
    my $body = expanded($answer->{body} // '');

    push @headers, 'Content-Type: text/html'
        if !grep { /\AContent-Type:/i } @headers;

    return join "\r\n", "HTTP/1.1 $status -", @headers,
        'Content-Length: ' . length $body, 'Connection: close', '', $body;
}


sub send {
    my ($self, $t, $n) = @_;
    my $step = $self->{steps}[$n];
    my $request = $step->{request};
    my ($line, @headers) = @{$request->{head}};
    my ($method, $uri) = $line =~ /\A(\S+) (\S+)/;
    my %headers = ('Host' => 'shop.example');
    my $body = $request->{body};

    $body = expanded($body) =~ s/\s+\z//r if defined $body;
    $body =~ s/\n/\r\n/g if grep { /\AContent-Type: multipart/i } @headers;
    $body = join '&', @{$request->{'+'}} if $request->{'+'};
    $uri .= ($uri =~ /\?/ ? '&' : '?') . join '&', @{$request->{'?'}}
        if $request->{'?'};

    /\A([^:]+): (.*)/ and $headers{$1} = $2 for @headers;

    my $answer = $t->request($method, $uri,
        defined $body ? (body => $body) : (),
        headers => { %{$self->{headers} || {}}, %headers, 'X-Step' => $n,
            'X-Consent' => own_calls($step) ? undef
                           : $step->{agrees} ? 'yes' : 'no' });

    my ($status) = @{$step->{answer}{head} || [ 200 ]};

    Test::More::diag("$step->{name}: ", $answer->status())
        if $answer->status() != $status;
}

###############################################################################

# One test for each step, one for the names and types of all events.

sub judge {
    my ($self) = @_;

    for my $n (0 .. $#{$self->{steps}}) {
        my $step = $self->{steps}[$n];
        my @expected = map { line($_->{metric}, $_->{who}, $_->{value},
            defined $_->{id} ? $_->{id} : '-',
            $json->decode($_->{body} // '{}')) }
            $step->{agrees} ? @{$step->{events}} : ();
        my %ids = map { $_->{metric} => $_->{id} } @{$step->{events}};

        my @got = map { line($_->{metric}, $_->{who}, join(' ', grep
            { defined } $_->{value}, $_->{currency}) || '-',
            defined $ids{$_->{metric}} ? $_->{unique_id} : '-',
            $_->{properties}) } @{$self->{events}{$n} || []};

        push @expected, map { update($json->decode($_)) }
            $step->{agrees} ? @{$step->{updates}} : ();
        push @got, map { update($_) } @{$self->{updates}{$n} || []};

        if (defined $step->{result} && $step->{agrees}) {
            unshift @expected, $step->{result};
            unshift @got, $self->{results}{$n} // '';
        }

        Test::More::is(join("\n", sort @got), join("\n", sort @expected),
            "$self->{folder}, $step->{name}"
            . ($self->{consent} ? ', with consent' : ''));
    }

    $self->documented();
}


# No event or update of a browser at all, or none whose metric fits: one test.

sub none {
    my ($self, $why, $metric) = @_;
    my @events = map { my $n = $_;
                       map { "$self->{steps}[$n]{name}: $_" }
                       (map { $_->{metric} } @{$self->{events}{$n} || []}),
                       map { update($_) } @{$self->{updates}{$n} || []} }
                 grep { $metric || !own_calls($self->{steps}[$_]) }
                 0 .. $#{$self->{steps}};

    Test::More::is(join("\n", grep { !$metric || /: $metric/ } @events), '',
        "$self->{folder}: none $why");
}


# the shop's back end says itself who it is
sub own_calls { return grep { /\AUser-Agent: / } @{$_[0]{request}{head}} }


sub line {
    my ($metric, $who, $value, $id, $properties) = @_;

    return "$metric | $who | $value | $id\n"
        . $pretty->encode(numbers($properties));
}


sub update { return 'update ' . $json->encode($_[0]) }


# 59.0 is 59
sub numbers {
    my ($data) = @_;

    return { map { $_ => numbers($data->{$_}) } keys %$data }
        if ref $data eq 'HASH';
    return [ map { numbers($_) } @$data ] if ref $data eq 'ARRAY';
    return $data if type($data) ne 'n' || $data != int $data;
    return int $data;
}


sub documented {
    my ($self) = @_;
    my @all = map { @$_ } values %{$self->{events}};
    my @wrong = map { my $e = $_; map { "$e->{metric}: $_" } wrong(
        $e->{properties}, $documented{$e->{metric}} || {}) } @all;

    push @wrong, map { "$_->{metric}: value" } grep { defined $_->{value}
        && type($_->{value}) ne 'n' } @all;

    Test::More::is(join("\n", @wrong), '',
        "$self->{folder}: names and types as documented");
}


sub wrong {
    my ($properties, $names) = @_;
    my @wrong;

    for my $name (sort keys %$properties) {
        my $value = $properties->{$name};
        my $is = $names->{$name} // 'unknown';

        if (ref $is) {
            push @wrong, "$name: no array" if ref $value ne 'ARRAY';
            push @wrong, map { "$name: $_" } map { wrong($_, $is) } @$value;

        } elsif ($is eq 'o') {
            push @wrong, map { "$name: $_" } wrong($value, \%address);

        } elsif ($is eq 'a') {
            push @wrong, $name if ref $value ne 'ARRAY'
                || grep { type($_) ne 's' } @$value;

        } elsif (type($value) ne $is) {
            push @wrong, "$name: $is expected";
        }
    }

    return @wrong;
}


sub type {
    my ($value) = @_;

    return 'none' if ref $value || !defined $value;
    return $json->encode($value) =~ /\A"/ ? 's' : 'n';
}

###############################################################################

1;
