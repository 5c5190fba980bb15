#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# Another version of the module under load, whose zones have another layout: its
# file is installed, and what a reload, a binary upgrade and two reloads make of
# it.  With an account of each request.

###############################################################################

use warnings;
use strict;

use Test::More;

use File::Temp ();
use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::Delivery qw(dispatcher);
use Test::Nginx::Klaviyo::Lifecycle;

###############################################################################

# What the variant says at its start, in place of "started".
use constant ANOTHER => 'klaviyo dispatcher STARTED';

my $dir = File::Temp::tempdir(CLEANUP => 1, TMPDIR => 1);

chmod 0755, $dir;

my $text = Test::Nginx::Klaviyo::slurp($Test::Nginx::Klaviyo::MODULE);
my $variant = $text;

# by these the zones are recognized; a compiler may have put them into its code
plan(skip_all => 'no variant can be made of this build')
    if !(($variant =~ s/klavring/klavrinG/g)
         && ($variant =~ s/klavctrl/klavctrL/g)
         && ($variant =~ s/klaviyo dispatcher started/${\ANOTHER}/g));

replaced();
elsewhere();
two_reloads('two reloads');
two_reloads('two reloads, Klaviyo is away', 1);

Test::Nginx::Klaviyo->done();

###############################################################################

# As a package manager does it: a new file under the old name.

sub install {
    my ($file, $content) = @_;

    open my $out, '>', "$file.new" or die "open $file.new: $!\n";
    binmode $out;
    print $out $content;
    close $out or die "close $file.new: $!\n";
    rename "$file.new", $file or die "rename $file: $!\n";

    return $file;
}


sub shop {
    my ($name, $file, %opt) = @_;

    return Test::Nginx::Klaviyo::Lifecycle->new($name, shop => {
        main => 'env ASAN_OPTIONS;', change => with($file), %opt });
}


# The configuration with that file, or with none.

sub with {
    my ($file) = @_;

    return sub {
        my ($text) = @_;

        $text =~ s/^load_module .*;/$file ? "load_module $file;" : ''/em;
        $text =~ s/\$klaviyo_result/-/, $text =~ s/^klaviyo_spool .*;//m
            if !$file;

        return $text;
    };
}


sub another { return scalar(() = $_[0]->t()->log() =~ /${\ANOTHER}/g) }


# USR2, WINCH, QUIT.

sub upgrade {
    my ($l, $name) = @_;
    my $t = $l->t();
    my $old = $l->upgrade();

    $l->more(1000);
    kill 'WINCH', $old;
    ok($t->wait_for(sub {
        !grep { $_->{ppid} == $old } $t->processes('worker|helper') }),
        "$name: the old workers leave");
    kill 'QUIT', $old;
    ok($t->wait_for(sub { !kill 0, $old }), "$name: the old one ends");
    $l->more(500);
    cmp_ok(another($l), '>', 0, "$name: the new version runs");
}

###############################################################################

# Under the same name: nginx has it already, and goes on with that.

sub replaced {
    my $name = 'another file';
    my $file = install("$dir/module.so", $text);
    my $l = shop($name, $file);

    $l->load()->more(1000);
    install($file, $variant);
    $l->t()->reload();
    $l->more(1000);
    is(another($l), 0, "$name: a reload goes on with the old version");
    upgrade($l, $name);
    $l->account();
}


# Under another name: the symbols that are there already count.

sub elsewhere {
    my $name = 'another path';
    my $l = shop($name, install("$dir/module.so", $text));

    $l->load()->more(1000);
    $l->write(change => with(install("$dir/module-2.so", $variant)));
    $l->t()->reload();
    $l->more(1000);
    is(another($l), 0, "$name: a reload goes on with the old version");
    upgrade($l, $name);
    $l->account();
}


# A reload without the module, and one with the other version: what the old one
# has left, in whatever way, is delivered by the new one.

sub two_reloads {
    my ($name, $away) = @_;
    my $l = shop($name, install("$dir/module.so", $text), drain => '300ms');
    my $t = $l->t();
    my $pid = dispatcher($t);

    $l->load()->more(1000);
    $l->away()->more(500) if $away;

    # they outlive klaviyo_drain_timeout
    $l->slow(20, 1, 2.5);
    $l->write(klaviyo => 0, change => with(undef));
    $t->reload();
    $l->more(500);

    $l->write(change => with(install("$dir/module.so", $variant)));
    $t->reload();
    $l->anew();
    $l->more(500);
    $l->finish_slow();
    ok($t->wait_for(sub { !kill 0, $pid }, 20),
        "$name: who sends leaves");
    $l->back() if $away;

    # a sanitizer's module can't be unloaded
    my $stays = $Test::Nginx::Klaviyo::SANITIZED ? '==' : '>';

    cmp_ok(another($l), $stays, 0, "$name: the new version runs");
    $l->account();
}

###############################################################################
