#!/usr/bin/perl

# Copyright (C) ngx_http_klaviyo_module contributors

# A request gets the same answer, byte by byte, and the same line in the access
# log: from an nginx without the module, from one that has it loaded only, and
# from one whose rules look at all that there is.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin ();

use lib "$FindBin::Bin/lib";
use Test::Nginx::Klaviyo;
use Test::Nginx::Klaviyo::HTTP ();

###############################################################################

# What the log tells, and the rules ask for before.  Some are asked for by the
# request as well, some by nobody else; maps keep what they found first.

my @variables = qw(uri document_uri args query_string is_args request_uri
    request_method request request_filename document_root status bytes_sent
    body_bytes_sent request_length request_completion content_type host
    http_x_a cookie_a arg_a sent_http_location sent_http_content_type
    sent_http_x_handle upstream_status upstream_http_x_up handle rest own
    early by_uri by_args by_handle by_status by_method by_file remote_user
    limit_rate server_name server_port connection_requests);

my $config = <<'EOF';

%%GLOBALS%%

events { }

http {
    %%GLOBALS_HTTP%%

    log_format  all  "$http_x_case %%VARIABLES%% $request_id";

    map $uri $by_uri { /a/page page; default "is $uri"; }
    map $args $by_args { "" none; default "is $args"; }
    map $handle $by_handle { "" none; default "is $handle"; }
    map $status $by_status { default "is $status"; }
    map $request_method $by_method { default "is $request_method"; }
    map $request_filename $by_file { default "is $request_filename"; }

    %%ACCOUNT%%
    %%RULE%%

    server {
        listen       127.0.0.1:%%PORT_0%%;
        server_name  localhost;
        root         %%FILES%%/html;

        access_log   %%TESTDIR%%/all.log  all;

        gzip         on;
        gzip_types   *;

        port_in_redirect  off;

        %%RULE%%

        location / {
            %%RULE%%
        }

        # captures of the same names, and what is made of them

        location ~ ^/same/(?<handle>\w)(?<rest>\w*) {
            %%RULE%%
            add_header  X-Handle  $handle;
            return      200       "$handle $rest $1 $2 $by_handle";
        }

        location ~ ^/later/(?<handle>\w) {
            %%RULE%%
            try_files /page =404;
        }

        location /set {
            %%RULE%%
            set     $handle  own;
            return  200      "$handle $rest $by_handle";
        }

        # asked for early, when much is not known

        location /early {
            %%RULE%%
            %%EARLY%%
            error_page  404 =200 /a/page;
            return      404;
        }

        location /early/headers {
            %%RULE%%
            %%EARLY%%
            add_header  X-Handle  "$handle $by_args";
            return      200       "$handle $by_uri";
        }

        # through redirects

        location /rewrite {
            %%RULE%%
            rewrite ^/rewrite/(.*)$ /a/$1?b=c last;
        }

        # rules without captures

        location /moved {
            %%EXCEPT%%
            rewrite ^/moved/(.*)$ /a/$1 last;
        }

        location /break {
            %%RULE%%
            rewrite ^ /page break;
        }

        location /named {
            %%RULE%%
            set        $own  "$uri $by_uri";
            try_files  /none @named;
        }

        location @named {
            return 200 "$uri $args $own $by_uri $request_method";
        }

        location /alias/of/many/parts/ {
            %%RULE%%
            alias %%FILES%%/html/;
        }

        location /alias {
            %%RULE%%
            rewrite ^ /alias/of/many/parts/page last;
        }

        location /error {
            %%RULE%%
            error_page  500 = @named;
            return      500;
        }

        location /accel {
            %%RULE%%
            proxy_pass  http://127.0.0.1:%%PORT_1%%;
        }

        location /proxied {
            %%RULE%%
            proxy_set_header  X-Handle  "$handle $by_uri $request_id";
            proxy_pass        http://127.0.0.1:%%PORT_1%%;
        }

        location /down {
            %%RULE%%
            proxy_pass  http://127.0.0.1:1;
        }

        location /slow {
            %%RULE%%
            limit_rate  300k;
            try_files   /big =404;
        }

        location /closed {
            auth_basic            closed;
            auth_basic_user_file  /dev/null;
        }

        location = /ssi {
            %%RULE%%
            ssi        on;
            ssi_types  *;
            try_files  /ssi.html =404;
        }

        location /part {
            %%RULE%%
            return 200 "$uri $args $handle";
        }
    }

    server {
        listen  127.0.0.1:%%PORT_1%%;

        %%OFF%%

        location / {
            add_header  X-Up  "$request_method";
            return      200   "$request_uri $content_length";
        }

        location /accel {
            add_header  X-Accel-Redirect  /a/page?d=e;
            return      200;
        }
    }
}

EOF

my @requests = (
    (map { [ 'GET', $_ ] } '/', '/page', '/a/page', '/page?a=1', '/none',
        '/%70age', '//page', '/a', '/dir', '/same/hat', '/same/h', '/later/hat',
        '/set', '/set/hat', '/early', '/early?a=1', '/early/headers?a=2',
        '/rewrite/page', '/rewrite/none', '/rewrite/page?a=1', '/moved/page',
        '/moved/page?a=1', '/break',
        '/named?a=1', '/alias/of/many/parts/page', '/alias', '/error?a=1',
        '/accel', '/proxied?a=1', '/down', '/closed', '/ssi?a=1', '/part',
        '/big', '/slow', '/../..', '/%00', 'page'),
    (map { [ 'POST', $_, body => 'a=b' ] } '/', '/page', '/set', '/early',
        '/error', '/accel', '/proxied', '/down', '/rewrite/page'),
    (map { [ 'HEAD', $_ ] } '/', '/page', '/none', '/proxied', '/ssi'),
    (map { [ $_, '/page' ] } qw(OPTIONS PUT DELETE TRACE BREW)),
    [ 'GET', '/page', version => '1.0' ],
    [ 'GET', '/page', headers => { Range => 'bytes=1-2' } ],
    [ 'GET', '/page', headers => { Range => 'bytes=9-' } ],
    [ 'GET', '/page', headers => { Range => 'bytes=0-0,2-2' } ],
    [ 'GET', '/page', headers => {
        'If-Modified-Since' => 'Fri, 01 Jan 2100 00:00:00 GMT' } ],
    [ 'GET', '/page', headers => { 'Accept-Encoding' => 'gzip' } ],
    [ 'GET', '/big', headers => { 'Accept-Encoding' => 'gzip' } ],
    [ 'GET', '/page', headers => { Cookie => 'a=b; __kla_id=x', 'X-A' => 'c',
        'User-Agent' => 'Googlebot', DNT => 1 } ],
    [ 'GET', '/page', headers => { Host => 'a/b' } ],
    [ 'GET', '/page', headers => { Expect => '100-continue' } ],
);

###############################################################################

# What is tracked: all paths, with the names of the location's captures.

my $rule = <<'EOF';
klaviyo_track Plain {
        when      $by_status$by_file;
        unique_id "%%N%%$by_uri$by_args$by_status$by_method$request_id";
        property  File $by_file;
    }
    klaviyo_track Tracked ~^/(?:\w+/)?(?<handle>\w+)(?<rest>.*)$ {
        route  ~^(?<own>/);
        route  PUT DELETE /;
        when      $status != 000;
        unique_id "%%N%%$by_uri$by_status$by_handle$by_method$request_id";
        property  Id  $request_id;
        items     All  @args { property A .a; property All .; }
%%PROPERTIES%%    }
EOF

$rule =~ s/%%PROPERTIES%%/join '', map { "        property $_ \$$_;\n" }
    @variables/e;

# another one, whose captures come last
$rule .= 'klaviyo_track Last ~(?<early>.)$ { property E $early$by_handle; }';

my $account = join "\n    ",
    'klaviyo_account shop { api_key data:pk_0123456789; endpoint %%KLAVIYO%%;'
    . ' queue 10m; batch bytes=1m; }',
    'klaviyo_profile external_id $http_x_case;', 'klaviyo_ignore off;';

# the same files, with the same times
my $files = Test::Nginx::Klaviyo->new(module => 0);

$files->write_file("html/$_", "<$_>") for qw(page a/page dir/x);
$files->write_file('html/big', join '', map { "line $_\n" } 1 .. 30_000);
$files->write_file('html/ssi.html',
    'ssi <!--#include virtual="/part/hat" --> <!--#echo var="uri" -->');

my %nginx = (
    without => Test::Nginx::Klaviyo->new(module => 0),
    unused => Test::Nginx::Klaviyo->new(),
    rules => Test::Nginx::Klaviyo->new()->standin(),
);

my (%answers, %log);

for my $name (sort keys %nginx) {
    my $t = $nginx{$name};

    $t->write_config(config($name))->run();
    $answers{$name} = answers($t);

    ok($t->quit(), "$name: nginx ends");
    $log{$name} = log_lines($t);
}

# a test of nothing would pass as well
is(scalar @{$answers{without}}, @requests + 1, 'there are answers');
is(scalar(grep { $_ ne '' } @{$answers{without}}), @requests + 1,
    'with something in them');

for my $name (qw(unused rules)) {
    for my $n (0 .. @requests) {
        my $title = title($n);

        is($answers{$name}[$n], $answers{without}[$n], "$name: $title");
        is($log{$name}{$n} // '', $log{without}{$n} // '',
            "$name: $title, the log");
    }

    is(join(' ', sort keys %{$log{$name}}),
        join(' ', sort keys %{$log{without}}), "$name: no other lines");
}

# The id of a request is made once, whoever asks first.

my $t = $nginx{rules};
my %events;

$events{$_->{profile}{external_id}}{$_->{properties}{Id}}++
    for $t->klaviyo()->events('Tracked');

cmp_ok(scalar keys %events, '>', 40, 'there are events');

my $ids = ids($t);
my @wrong = grep { join(' ', sort keys %{$events{$_}}) ne $ids->{$_} }
            sort keys %events;

is(join(' ', map { title($_) } @wrong), '', '$request_id, in event and log');

$t->done();

###############################################################################

sub config {
    my ($name) = @_;
    my $text = $config;
    my $rules = $name eq 'rules';
    my $variables = join ' ', map { "$_=\$$_" } @variables;
    my $where = $files->dir();

    # what is asked for early must be in all of them
    $text =~ s/%%EARLY%%/$rules ? 'set $early_id $klaviyo_event_id;' : ''/ge;
    $text =~ s/%%OFF%%/$rules ? 'klaviyo off;' : ''/ge;
    $text =~ s/%%RULE%%/$rules ? $rule : ''/ge;

    $text =~ s/%%EXCEPT%%/$rules ? 'klaviyo_except Tracked Last;' : ''/ge;

    # each event is another one
    my $n = 0;
    $text =~ s/%%N%%/$n++/ge;

    $text =~ s/%%ACCOUNT%%/$rules ? $account : ''/ge;
    $text =~ s/%%VARIABLES%%/$variables/;
    $text =~ s/%%FILES%%/$where/g;

    # all of them know the names
    $text =~ s/(server_name  localhost;)/$1
        if (\$host = nobody) { set \$own 1; set \$early 1; }/;

    return $text;
}


sub answers {
    my ($t) = @_;
    my @answers;

    for my $n (0 .. $#requests) {
        my ($method, $uri, %opt) = @{$requests[$n]};

        push @answers, $t->raw(Test::Nginx::Klaviyo::HTTP::text($method, $uri,
            %opt, close => 1, headers => {
                %{$opt{headers} || {}}, 'X-Case' => $n }));
    }

    # several on one connection, at once
    push @answers, $t->raw(join '', map {
        Test::Nginx::Klaviyo::HTTP::text($_->[0], $_->[1], @$_[2 .. $#$_],
            headers => { 'X-Case' => scalar @requests })
    } [ 'GET', '/page' ], [ 'GET', '/same/hat' ], [ 'POST', '/set',
        body => 'x' ], [ 'GET', '/rewrite/page' ], [ 'GET', '/early' ],
        [ 'GET', '/named?a=b', close => 1 ]);

    # they have ports and times of their own
    for my $answer (@answers) {
        $answer =~ s/^Date: .*\r\n//mg;
        $answer =~ s/:\Q$_\E\b/:PORT/g for map { $t->port($_) } 0, 1;
    }

    return \@answers;
}


# by case, without what is another one each time
sub log_lines {
    my ($t) = @_;
    my %lines;

    for my $line (split /\n/, $t->read_file('all.log')) {
        my ($case, $text) = $line =~ /\A(\S+) (.*) [0-9a-f]{32}\z/ or next;

        $text =~ s/\bserver_port=\d+/server_port=PORT/;
        $lines{$case} .= "$text\n";
    }

    return \%lines;
}


sub ids {
    my ($t) = @_;
    my $log = $t->read_file('all.log');
    my %ids;

    $ids{$1}{$2}++ while $log =~ /^(\S+) .* ([0-9a-f]{32})$/mg;

    return { map { $_ => join ' ', sort keys %{$ids{$_}} } keys %ids };
}


sub title {
    my ($n) = @_;

    return 'pipelined' if $n == @requests;

    my ($method, $uri, %opt) = @{$requests[$n]};

    return join ' ', $method, $uri, $opt{version} || (),
        %{$opt{headers} || {}};
}

###############################################################################
