#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# The reference: each result of a filter that docs/values.md shows, each filter
# among them; each error of docs/errors.md as nginx says it, and each error of
# the code among them.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo::Examples;
use Test::Nginx::Klaviyo::Table;

###############################################################################

my $root = "$FindBin::Bin/..";
my $code = "$root/ngx_http_klaviyo_module";

results();
errors();

Test::Nginx::Klaviyo->done();

###############################################################################

# INPUT | FILTERS -> RESULT, in blocks of "text results".

sub results {
    my $table = Test::Nginx::Klaviyo::Table->new();
    my $shown = '';

    for my $line (lines("$root/docs/values.md", 'results')) {
        my ($input, $filters, $result) = $line =~ /^(.*?) \| (.*?) +-> (.*)$/
            or die "no result: $line\n";

        $shown .= "| $filters ";

        $table->add("$input gives $result", ($filters =~ /\@b\b/
                ? 'let b $http_x_b | json b; ' : '')
            . "let in \$http_x_in | json v; property R \@in | $filters;", '',
            headers => { 'X-B' => '{"b":["x","y"]}',
                'X-In' => $input eq 'missing' ? '{}' : "{\"v\":$input}" },
            events => [ $result eq 'missing' ? '{}' : "{\"R\":$result}" ]);
    }

    $table->run();
    $table->judge();

    for my $filter (slurp("$code/request/ngx_http_klaviyo_filter.c")
                    =~ /^    NGX_HTTP_KLAVIYO_FILTER\("(\w+)"/mg)
    {
        # the other name of base64, and what is not of its input
        next if $filter =~ /\A(?:base64url|recall)\z/;
        like($shown, qr/\| $filter /, "a result of $filter");
    }
}


# The texts of the code are those of the page: "%V" and the like stand for any
# words.  Not of the page is what can't be told from nginx's own words.

sub errors {
    my $page = slurp("$root/docs/errors.md");
    my @documented = $page =~ /^\| `(.*?)` \| /mg;

    for my $file (glob "$code/*.c $code/request/*.c $code/queue/*.c") {
        my $text = slurp($file);

        while ($text =~ /log_error\(NGX_LOG_EMERG,[^"]*?
                         ((?:"(?:[^"\\]|\\.)*"\s*)+)/gx)
        {
            my $error = join '', map { s/\\(["\\])/$1/gr }
                $1 =~ /"((?:[^"\\]|\\.)*)"/g;
            my $pattern = join '.*?', map { quotemeta }
                split /%(?:02x)?(?:V|s|d|ui)d?/, $error, -1;

            ok((grep { s/\\\|/|/gr =~ /$pattern\z/ } @documented),
               "documented: $error");
        }
    }

    Test::Nginx::Klaviyo::Examples->new("$root/docs/errors.md")->run();
}


sub lines {
    my ($file, $kind) = @_;

    return map { split /\n/ } slurp($file) =~ /^```text $kind\n(.*?)^```$/msg;
}


sub slurp {
    my ($file) = @_;

    open my $in, '<', $file or die "open $file: $!\n";
    local $/;

    return scalar <$in>;
}

###############################################################################
