package Bench::Rival;

# Copyright (C) ngx_http_klaviyo_module contributors

# What a shop would do instead on the same nginx: a line of the log, syslog, a
# mirror, njs and Lua, all with the same fields, to a collector that forgets.

###############################################################################

use warnings;
use strict;

use IO::Socket::INET ();

use Bench;
use Bench::Case qw(format_of tracked_case);

###############################################################################

my $FILE = 'try_files /page =404;';


sub cases {
    my ($peer) = @_;
    my $api = "upstream collector { server 127.0.0.1:$peer->{port}; "
        . "keepalive 64; }\n";

    return (
        { name => 'without', location => $FILE },

        { %{tracked_case()}, location => $FILE },
        { %{tracked_case()}, location => $FILE, live => 1,
          name => 'tracked, delivered meanwhile' },

        { name => 'access_log, JSON', location => $FILE,
          http => format_of('$uri'), log => 'file event buffer=64k' },
        { name => 'access_log, JSON, to syslog', location => $FILE,
          http => format_of('$uri'),
          log => 'syslog:server=127.0.0.1:' . syslog() . ',nohostname event' },

        { name => 'mirror', http => format_of('$uri') . $api,
          location => "mirror /mirror; $FILE", server => mirror() },

        { name => 'njs, ngx.fetch behind mirror', location =>
              "mirror /mirror; $FILE", modules => ['ngx_http_js_module'],
          connections => 8192, server => njs($peer),
          http => 'js_import ' . script('njs', NJS()) . ";\n" },

        { name => 'Lua, a request per event', lua($peer), location =>
              "$FILE log_by_lua_block { shop.one() }" },
        { name => 'Lua, batches each second', lua($peer), location =>
              "$FILE log_by_lua_block { shop.many() }" },
    );
}


# UDP that nobody reads: the kernel drops it
{
    my $socket;

    sub syslog {
        $socket //= IO::Socket::INET->new(Proto => 'udp',
            LocalAddr => '127.0.0.1') or die "udp: $!\n";

        return $socket->sockport();
    }
}


sub script {
    my ($name, $text) = @_;
    my $file = dir() . "/shop.$name";

    write_file($file, $text);

    return "shop from $file";
}


sub mirror {
    return <<'EOC';
location = /mirror {
            internal;
            proxy_pass http://collector/collect;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Content-Type application/json;
            proxy_method POST;
            proxy_set_body '{"time":"$time_iso8601","email":"$http_x_customer","ProductName":"$uri","ProductID":"$arg_variant","Price":"$arg_price","Currency":"$cookie_currency","UserAgent":"$http_user_agent","Path":"$request_uri"}';
        }
EOC
}


# njs of Debian has nothing asynchronous in the log phase, and no timer: a
# subrequest it is, to which ngx.fetch belongs.  It doesn't keep connections.

sub njs {
    my ($peer) = @_;

    return <<"EOC";
location = /mirror {
            internal;
            set \$collector http://127.0.0.1:$peer->{port}/once;
            js_content shop.send;
        }
EOC
}


sub NJS {
    return <<'EOJ';
async function send(r) {
    let v = r.variables;
    let body = JSON.stringify({
        time: v.time_iso8601, email: v.http_x_customer, ProductName: v.uri,
        ProductID: v.arg_variant, Price: v.arg_price,
        Currency: v.cookie_currency, UserAgent: v.http_user_agent,
        Path: v.request_uri });

    try {
        await ngx.fetch(v.collector, { method: 'POST', body: body,
            headers: { 'Content-Type': 'application/json' } });
    } catch (e) {
        r.error(e.message);
    }

    r.return(204);
}

export default { send };
EOJ
}


sub lua {
    my ($peer) = @_;

    write_file(dir() . '/shop.lua', LUA($peer->{port}));

    return (
        modules => ['ndk_http_module', 'ngx_http_lua_module'],
        connections => 8192,
        http => 'lua_package_path "' . dir() . "/?.lua;;\";\n"
            . 'lua_max_pending_timers 65536; lua_max_running_timers 4096; '
            . "lua_socket_log_errors off;\n"
            . 'init_by_lua_block { shop = require "shop" } '
            . 'init_worker_by_lua_block { shop.start() }',
    );
}


# Debian has no JSON encoder for this Lua that could be faster than strings.

sub LUA {
    my ($port) = @_;

    return "local PORT = $port\n" . <<'EOL';
local M, lines, n = {}, {}, 0

local function escaped(s)
    return s and (s:gsub('[%c"\\]', function(c)
        return string.format('\\u%04x', c:byte())
    end)) or ""
end

local function event()
    local v = ngx.var

    return table.concat({
        '{"time":"', v.time_iso8601, '","email":"', escaped(v.http_x_customer),
        '","ProductName":"', escaped(v.uri),
        '","ProductID":"', escaped(v.arg_variant),
        '","Price":"', escaped(v.arg_price),
        '","Currency":"', escaped(v.cookie_currency),
        '","UserAgent":"', escaped(v.http_user_agent),
        '","Path":"', escaped(v.request_uri), '"}' })
end

local function send(premature, body)
    local s = ngx.socket.tcp()
    s:settimeout(5000)

    if premature or not s:connect("127.0.0.1", PORT) then
        return
    end

    s:send({ "POST /collect HTTP/1.1\r\nHost: collector\r\n",
        "Content-Type: application/json\r\nContent-Length: ", #body,
        "\r\n\r\n", body })

    repeat
        local line = s:receive()
    until not line or line == ""

    s:setkeepalive(10000, 256)
end

function M.one()
    ngx.timer.at(0, send, event())
end

function M.many()
    n = n + 1
    lines[n] = event()
end

local function flush(premature)
    local all, last = lines, n
    lines, n = {}, 0

    for i = 1, last, 1000 do
        send(premature, "[" .. table.concat(all, ",", i,
            math.min(i + 999, last)) .. "]")
    end
end

function M.start()
    ngx.timer.every(1, flush)
end

return M
EOL
}

###############################################################################

1;

###############################################################################
