package Bench::Backlog;

# Copyright (C) ngx_http_klaviyo_module contributors

# A spool as an outage leaves it, written without nginx.

###############################################################################

use warnings;
use strict;

use Compress::Zlib qw(crc32);

use Bench;

###############################################################################

my $SEGMENT = 4 * 1024 * 1024;


# "n" events in a folder that is the spool of the account "shop"
sub write_spool {
    my ($folder, $n) = @_;
    my ($out, $size, $files) = (undef, $SEGMENT, 0);

    mkdir $folder;

    for my $i (1 .. $n) {

        if ($size >= $SEGMENT) {
            my $name = sprintf '%s/shop.00000000000000be-%08d.spool', $folder,
                ++$files;

            open $out, '>', $name or die "open $name: $!\n";
            $size = 0;
        }

        my $line = line($i);

        print $out $line;
        $size += length $line;
    }

    close $out or die "write $folder: $!\n";
}


# one event of about the size of the tracked case's
sub line {
    my ($i) = @_;

    my $id = sprintf '00000000000000be-%x', $i;

    my $event = '{"type":"event-bulk-create","attributes":{"events":{"data":['
        . '{"type":"event","attributes":{"time":"2026-07-23T10:15:30.123Z",'
        . '"unique_id":"' . $id . '","metric":{"data":{"type":"metric",'
        . '"attributes":{"name":"Viewed Product"}}},"properties":{'
        . '"ProductName":"merino-scarf","ProductID":"40913","Price":"39.50",'
        . '"Currency":"EUR","UserAgent":"Mozilla/5.0 (Windows NT 10.0; Win64; '
        . 'x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 '
        . 'Safari/537.36","Path":"/products/merino-scarf?variant=40913&'
        . 'price=39.50&color=red&size=m&list=winter&position=3"}}}]},'
        . '"profile":{"data":{"type":"profile","attributes":{'
        . '"email":"anna.schmidt@example.com"}}}}}';

    return sprintf "{\"crc\":\"%08x\",\"len\":%d,\"key\":\"%032x\","
        . "\"id\":\"%08x\",\"time\":1784801730,\"backfill\":0,"
        . "\"decided\":false,\"event\":%s}\n",
        crc32($event), length $event, 0, $i, $event;
}

###############################################################################

1;

###############################################################################
