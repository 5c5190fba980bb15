#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Each example of the documentation is a valid configuration, and the larger
# ones do what is said about them.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo::Table;

###############################################################################

my $root = "$FindBin::Bin/..";
my (%examples, @all);

# those with requests and events have tests of their own
for my $file (grep { !m{/(?:tutorial|cookbook|shops)\.md\z} }
              sort(glob("$root/docs/*.md")), "$root/README.md")
{
    read_examples($file);
}

ok(@all >= 10, 'there are examples');

valid();
log_lines();
capacity();
links();
cart();
consent();
product();
checkout();

Test::Nginx::Klaviyo->done();

###############################################################################

# Blocks of "nginx", also where they are indented as part of a list.

sub read_examples {
    my ($file) = @_;
    my ($text, $n) = ('', 0);

    open my $in, '<', $file or die "open $file: $!\n";

    my ($inside, $indent, $line);

    while (my $read = <$in>) {
        $n++;

        if (!defined $inside) {
            ($inside, $indent, $text, $line) = (1, $1, '', $n)
                if $read =~ /^( *)```nginx\s*$/;
            next;
        }

        if ($read =~ /^ *```\s*$/) {
            push @all, { file => $file =~ s{.*/}{}r, line => $line,
                         text => $text };
            undef $inside;
            next;
        }

        $text .= $read =~ s/^$indent//r;
    }
}


# Where an example stands is told by the first directive in it.

sub context {
    my ($text) = @_;
    my ($first) = $text =~ /^\s*(?:#.*\n\s*)*(\w+)/;

    return 'main' if $first =~ /\A(?:load_module|events|http|user|env)\z/;
    return 'http' if $first =~ /\A(?:klaviyo_account|klaviyo_spool|log_format
        |klaviyo_tail|klaviyo_drain_timeout|map|geo|split_clients|upstream|server)\z/x;
    return 'rule' if $first =~ /\A(?:route|when|any|let|property|object|items
        |each|profile|value|currency|time|unique_id|once)\z/x;

    return 'server';
}


# The example with what it needs around it, and paths of this test.

sub config {
    my ($text) = @_;
    my $context = context($text);

    $text =~ s{/etc/nginx/|/var/log/nginx/}{%%TESTDIR%%/}g;
    $text =~ s/^load_module .*$/%%GLOBALS%%/m;
    $text =~ s/listen 80;/listen 127.0.0.1:%%PORT_0%%;/g;

    return $text =~ s/^http \{$/http {\n%%GLOBALS_HTTP%%/mr
        if $context eq 'main';

    $text = "klaviyo_track Example {\n$text\n}\n" if $context eq 'rule';

    my $account = $text =~ /klaviyo_account/ ? ''
        : 'klaviyo_account example { api_key data:pk_0123456789; }';
    my ($http, $server) = $context eq 'http' ? ($text, '') : ('', $text);

    return <<"EOC";
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    $account
    $http
    server {
        listen 127.0.0.1:%%PORT_0%%;
        $server
    }
}
EOC
}


sub valid {
    my $t = Test::Nginx::Klaviyo->new();

    $t->write_file('klaviyo.key', "pk_0123456789\n");
    $t->write_file('shoes.key', "pk_9876543210\n");

    mkdir $t->dir() . '/klaviyo';
    symlink "$root/conf.examples/presets", $t->dir() . '/klaviyo/presets'
        or die "symlink: $!\n";

    for my $example (@all) {
        my ($code, $out) = $t->test_config(config($example->{text}));

        my $name = "$example->{file}:$example->{line} (in "
            . context($example->{text}) . ')';

        is($code ? $out : '', '', $name);

        # what is read by everybody is this test's, and an example that excepts
        # a rule does not have it

        is(join("\n", grep { /\[warn\]/
            && !/readable by everyone|"klaviyo_except"/ } split /\n/, $out),
            '', "$name, no warnings");
    }
}

###############################################################################

sub slurp {
    my ($file) = @_;

    open my $in, '<', $file or die "open $file: $!\n";
    local $/;

    return scalar <$in>;
}


# What is quoted of the log and of the status page's sentence is in the code, in
# pieces between what differs each time.

sub log_lines {
    my @code = map { /"((?:[^"\\\n]|\\.)*)"/g }
        map { slurp($_) =~ s/"\s*\n\s*"//gr }
        glob("$root/ngx_http_klaviyo_module/{,*/}*.c");
    my $code = join "\n", map { s/\\(["\\])/$1/gr } @code;
    my $n = 0;

    for my $name (qw(operations troubleshooting going-live)) {
        my $page = slurp("$root/docs/$name.md") =~ s/\n(?=\S)/ /gr;

        while ($page =~ /`((?:\[\w+\]\ |klaviyo\ (?:dispatcher|account\ "NAME")
                          |Klaviyo(?:'s|\ ha)|All\ well|Dry\ run,|The\ back)
                          [^`]*)`/gx)
        {
            my $line = $1 =~ s/\A\[\w+\] //r;
            my @missing = grep { length > 3 && index($code, $_) < 0 }
                map { s/\A\W+|\W+\z//gr } split /\.\.\.|"|[:,;()]|\bwith\b
                    |\b(?:status|refused|since|process|can't)\b
                    |\b(?:N|M|Nms|Nds|NAME|METRIC|FILE|WORDS|\d+s?)\b/x,
                    $line;

            is("@missing", '', "$name: $line");
            $n++;
        }
    }

    cmp_ok($n, '>', 30, 'lines of the log are quoted');

    # each reason there is

    my $page = slurp("$root/docs/troubleshooting.md");
    my $names = slurp("$root/ngx_http_klaviyo_module/queue/"
        . 'ngx_http_klaviyo_counters.c');

    for my $what (qw(skip drop)) {
        my ($list) = $names =~ /${what}_names\[[^{]*\{([^}]*)\}/
            or die "no names to $what\n";

        like($page, qr/^\| .*`$what+ed:$_`/m, "troubleshooting: $what $_")
            for $list =~ /"(\w+)"/g;
    }
}


# The table is what its formulas give.

sub capacity {
    my ($section) = slurp("$root/docs/operations.md")
                    =~ /^## Capacity\n(.*?)^## /ms;
    my %unit = (s => 1, min => 60, h => 3600);
    my $n = 0;

    while ($section =~ /^\| ([\d,]+) \| ([\d,]+) \| ([\d.]+) (\w+) \| ([\d.]+) (\w+) \|$/mg)
    {
        my ($rate, $bytes, $queue, $spool)
            = ($1, $2, [ $3, $unit{$4} ], [ $5, $unit{$6} ]);

        tr/,//d for $rate, $bytes;

        for ([ $queue, 32 * 1024 ** 2 / $rate / $bytes ],
             [ $spool, 1024 ** 3 / $rate / ($bytes + 110) ])
        {
            my ($shown, $is) = @$_;

            cmp_ok(abs($shown->[0] * $shown->[1] / $is - 1), '<', 0.02,
                "capacity: $rate events/s of $bytes: $shown->[0]");
        }

        $n++;
    }

    is($n, 6, 'capacity: the rows');
}


# A page's links are of files and headings that there are.

sub links {
    my %pages = map { s{\A\Q$root\E/}{}r => slurp($_) }
        glob("$root/docs/*.md"), "$root/README.md";
    my %anchors;

    for my $page (keys %pages) {
        my $text = $pages{$page} =~ s/^ *```.*?^ *```//msgr;

        for ($text =~ /^#+ (.*)$/mg) {
            my $anchor = lc s/\[(.*?)\]\(.*?\)/$1/gr =~ s/[^\w\- ]//gr;

            $anchor =~ tr/ /-/;
            $anchors{$page}{$anchor} = 1;
        }
    }

    for my $page (sort keys %pages) {
        my $text = $pages{$page} =~ s/^ *```.*?^ *```//msgr =~ s/`[^`\n]*`//gr;
        my @wrong;

        for my $link ($text =~ /\]\(([^)\s]+)\)/g) {
            next if $link =~ /\A\w+:/;

            my ($file, $anchor) = split /#/, $link, 2;
            my $path = !length $file ? $page
                : $page =~ m{\Adocs/} ? "docs/$file" =~ s{\Adocs/\.\./}{}r : $file;

            push @wrong, $link if !-e "$root/$path" || defined $anchor
                && $pages{$path} && !$anchors{$path}{$anchor};
        }

        is("@wrong", '', "links of $page");
    }
}

###############################################################################

# The block of a directive with this beginning, out of an example.

sub block {
    my ($begin) = @_;

    for my $example (@all) {
        return $1 if $example->{text}
            =~ /^[ ]*(\Q$begin\E[^;]*?[ ](\{(?:[^{}]++|(?2))*\}))/m;
        return $1 if $example->{text} =~ /^[ ]*(\Q$begin\E[^;{]*;)/m;
    }

    die "no example of \"$begin\"\n";
}


# The rule of an example in a server, one request to it, and its events.

sub request {
    my ($metric, $method, $uri, %opt) = @_;

    my $table = Test::Nginx::Klaviyo::Table->new(server =>
        block("klaviyo_track \"$metric\"") . "\nlocation / { return 200; }");
    my $t = $table->harness();

    $table->start();

    my $port = $t->port(0);

    $t->request($method, $uri, %opt, headers => { Host => "localhost:$port",
        %{$opt{headers} || {}} });
    $table->finish();

    return map { { %$_, text => $_->{text} =~ s/:$port\b//r } }
           $table->events($metric);
}


sub cart {
    my @events = request('Added to Cart', 'GET', '/cart/add?_kx=a.B1',
        headers => { Cookie => 'cart=%7B%22currency%22%3A%22EUR%22%2C%22lines'
            . '%22%3A%5B%7B%22id%22%3A7%2C%22title%22%3A%22Hat%22%2C%22qty%22'
            . '%3A3%2C%22cents%22%3A1999%7D%2C%7B%22id%22%3A%228%22%2C%22title'
            . '%22%3A%22Scarf%22%2C%22qty%22%3A%221%22%2C%22cents%22%3A500%7D'
            . '%5D%7D' });

    is(@events, 1, 'the cart: one event');
    is($events[0]{text}, '{"Items":[{"ProductID":"7","ProductName":"Hat",'
        . '"Quantity":3,"ItemPrice":19.99,"RowTotal":59.97},{"ProductID":"8",'
        . '"ProductName":"Scarf","Quantity":1,"ItemPrice":5,"RowTotal":5}],'
        . '"ItemNames":["Hat","Scarf"]}', 'its properties');
    is("$events[0]{value_text} $events[0]{currency} $events[0]{who}",
        '64.97 EUR _kx:a.B1', 'its value');
}


# OneTrust's cookie, as the example's comment has it, escaped as browsers do.

sub consent {
    my $table = Test::Nginx::Klaviyo::Table->new();
    my $consent = block('klaviyo_consent');

    my %cookies = (
        'groups=C0001:1,C0004:1' => 'queued',
        'groups=C0001:1,C0004:0' => 'skipped:consent',
        'groups=C0001:1' => 'skipped:consent',
        '' => 'skipped:consent',
    );

    for my $cookie (sort keys %cookies) {
        my $value = "isGpcEnabled=0&$cookie&x=1"
            =~ s/([:,])/sprintf '%%%02X', ord $1/ger;

        $table->add("consent, $cookie", '', '', level => $consent,
            headers => { Cookie => $cookie ? "OptanonConsent=$value" : 'a=1' });
    }

    $table->run();

    my $n = 0;

    is($table->result($n++), $cookies{$_}, "consent: $_")
        for sort keys %cookies;
}


sub product {
    my ($event) = request('Viewed Product', 'GET',
        '/products/wool-hat.data?variant=7&price=19.90&_kx=a.B1');

    is($event, undef, 'a product: a twin is another path');

    ($event) = request('Viewed Product', 'GET',
        '/products/wool-hat?variant=7&price=19.90&_kx=a.B1');

    is($event->{text}, '{"ProductID":"7","ProductName":"wool-hat",'
        . '"Price":19.9,"URL":"http://localhost/products/wool-hat?variant=7'
        . '&price=19.90"}', 'a product');
}


sub checkout {
    my ($event) = request('Started Checkout', 'POST', '/checkout', body => '',
        headers => { Cookie => '__kla_id=eyIkZXhjaGFuZ2VfaWQiOiJhLkIxIn0=;'
            . ' cart=%7B%22lines%22:%5B%7B%22id%22:7,%22quantity%22:2,'
            . '%22price%22:%2219.99%22,%22name%22:%22Hat%22%7D%5D%7D' });

    is($event->{text}, '{"Items":[{"ProductID":"7","Quantity":2,'
        . '"RowTotal":39.98}],"ItemNames":["Hat"]}', 'a checkout');
    is("$event->{value_text} $event->{currency} $event->{who}",
        '39.98 EUR _kx:a.B1', 'its value');
}

###############################################################################
