#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# docs/migration.md: the page has the id under which the module sends, and of
# two sides each visitor is on one.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;

###############################################################################

my $docs = "$FindBin::Bin/../docs/migration.md";

open my $file, '<', $docs or die "open $docs: $!\n";
my $text = do { local $/; <$file> };

my ($shared, $split, $sides) = $text =~ m/^```(?:nginx)?\n(.*?)^```$/msg;

my $head = <<'EOF';

%%GLOBALS%%

events { }

http {
    %%GLOBALS_HTTP%%

    default_type  text/html;

    klaviyo_account shop {
        api_key   data:pk_0123456789;
        endpoint  %%KLAVIYO%%;
        batch     linger=50ms;
    }

    klaviyo_profile  email  $arg_e;

EOF

sub nginx {
    my ($config) = @_;
    my $t = Test::Nginx::Klaviyo->new();

    $t->standin();

    mkdir $t->dir() . "/$_" or die "mkdir $_: $!\n" for 'html', 'html/products';

    $t->write_file('html/products/hat', 'id %klaviyo_event_id% side'
        . ' %klaviyo_side%');

    return $t->write_config("$head$config\n}\n")->run();
}

# the same id in the page, in a header and in the event

my $t = nginx("server { listen 127.0.0.1:%%PORT_0%%; root %%TESTDIR%%/html;"
    . ' add_header X-Klaviyo-Event-Id $klaviyo_event_id;' . " $shared }");

my (%ids, %headers);

for my $n (1 .. 5) {
    my $answer = $t->get("/products/hat?e=v$n\@shop.dev");
    my ($id) = $answer->body() =~ m/^id (\S+) /;

    $ids{"v$n\@shop.dev"} = $id;
    $headers{"v$n\@shop.dev"} = $answer->header('X-Klaviyo-Event-Id');
}

my %sent = map { $_->{profile}{email} => $_->{unique_id} }
           $t->klaviyo()->wait_events(5, 'Viewed Product');

ok($t->quit(), 'nginx ends');

is(keys %sent, 5, 'all were sent');
is_deeply(\%ids, \%sent, 'the page has the id of the event');
is_deeply(\%headers, \%sent, 'the header, too');

# a share of the visitors, the same on each request

my $s = nginx("$split server { listen 127.0.0.1:%%PORT_0%%;"
    . " root %%TESTDIR%%/html; $sides }");
my (%sides, @changed);

for my $n (1 .. 60) {
    my $vid = sprintf '%032x', $n * 7919;

    for (1, 2) {
        my ($side) = $s->get("/products/hat?e=s$n\@shop.dev",
            headers => { Cookie => "visitor=$vid" })->body()
            =~ m/side (\w+)$/;

        push @changed, $n if ($sides{"s$n\@shop.dev"} // $side) ne $side;
        $sides{"s$n\@shop.dev"} = $side;
    }
}

my %module = map { $_ => 2 } grep { $sides{$_} eq 'module' } keys %sides;
my %events;

$s->klaviyo()->wait_events(2 * keys %module, 'Viewed Product');

ok($s->quit(), 'nginx ends');

$events{$_->{profile}{email}}++ for $s->klaviyo()->events('Viewed Product');

is("@changed", '', 'a visitor stays on his side');
is_deeply(\%events, \%module, 'the module sends those of its side only');
cmp_ok(keys %module, '>', 0, 'which are some');
cmp_ok(keys %module, '<', 30, 'of many');

$t->done();

###############################################################################
