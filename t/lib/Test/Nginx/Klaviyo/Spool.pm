package Test::Nginx::Klaviyo::Spool;

# Copyright (C) ngx_http_klaviyo_module contributors

# What the tests of the spool share: looks at its directory, and events that
# take much room.
#
#   my $t = shop(text());
#
#   big($t, 1, 100);
#   is(segments($t), 1, 'one segment');

###############################################################################

use warnings;
use strict;

use Exporter qw(import);

use Test::Nginx::Klaviyo::Delivery;

###############################################################################

our @EXPORT = qw(files segments spooled text big quiet);

use constant BIG => 2000;

###############################################################################

# The names in the directory, those of a shell pattern.

sub files {
    my ($t, $pattern) = @_;
    my @files = map { s{.*/}{}r } glob $t->dir() . '/spool/' . ($pattern || '*');

    return @files;
}


sub segments { return files($_[0], '*.spool') }


sub spooled { return account($_[0])->{events}{spooled} // -1 }


# Events of more than 2 KB each: the rule of the shop, and views of its pages.

sub text { return (rule => 'property Text $arg_text;') }


sub big {
    my ($t, $from, $to) = @_;

    return view($t, $from, $to,
        uri => sub { "/p?n=$_[0]&text=" . 'x' x BIG });
}


# Until nothing moves any more between queue and spool.

sub quiet {
    my ($t) = @_;
    my ($before, $now) = ('', '');

    return $t->wait_for(sub {
        ($before, $now) = ($now, join ' ', @{account($t)->{events}}
            {qw(queued spooled sent)});
        select undef, undef, undef, 0.3;
        return $before eq $now;
    });
}

###############################################################################

1;
