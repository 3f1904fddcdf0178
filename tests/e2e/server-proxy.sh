#!/bin/sh
# A browser that knows nothing of us sees through the server exactly what it would see at the origin (invariant 15): status,
# end-to-end fields, bytes; ranges, validators and errors too. The origin is a real nginx, a script that echoes, and a directory.
. "$(dirname "$0")/lib.sh"
need nginx curl openssl python3
[ -x "$msslproxy" ] || skip "no msslproxy"

mkdir -p "$work/www/dir"
head -c 50000000 /dev/urandom >"$work/www/big.bin"
head -c 65537 /dev/urandom >"$work/www/dir/small.bin"
printf 'hello\n' >"$work/www/hello.txt"
: >"$work/www/empty"
touch -d '2020-01-01' "$work/www"/*.* "$work/www/dir/small.bin"
ln -s /etc/passwd "$work/www/escape"
ln -s hello.txt "$work/www/inside"

origin=$(free_port)
echo_port=$(free_port)
port=$(free_port)
start_nginx "$origin" "$work/www" "location /moved { return 302 /hello.txt; } location /teapot { return 418; }"

# Echoes content by length or chunked; /chunked answers chunked; /close until close; /early answers 103 first; /upgrade speaks another
# protocol; /break ends in the middle.
cat >"$work/echo.py" <<'EOF'
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def content(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            out = b""
            while True:
                n = int(self.rfile.readline(), 16)
                out += self.rfile.read(n); self.rfile.readline()
                if n == 0: return out
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))
    def do_POST(self):
        body = self.content()
        self.send_response(200); self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Saw", ",".join(k for k in self.headers.keys() if k.lower().startswith("mssl")) or "none")
        self.send_header("MSSL-Evil", "1")
        self.end_headers(); self.wfile.write(body)
    do_PUT = do_POST
    def do_GET(self):
        if self.path == "/chunked":
            self.send_response(200); self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
            for i in range(100): self.wfile.write(b"3e8\r\n" + b"%01000d" % i + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/close":
            self.send_response(200); self.send_header("Connection", "close"); self.end_headers()
            self.wfile.write(b"y" * 300000); self.close_connection = True
        elif self.path == "/early":
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
        elif self.path == "/upgrade":
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); self.wfile.flush()
            while True:
                line = self.rfile.readline()
                if not line: break
                self.wfile.write(line); self.wfile.flush()
            self.close_connection = True
        elif self.path == "/break":
            self.send_response(200); self.send_header("Content-Length", "1000000"); self.end_headers()
            self.wfile.write(b"z" * 1000); self.close_connection = True
        else:
            body = ("%s %s" % (self.headers.get("X-Forwarded-Proto"), self.headers.get("X-Forwarded-For"))).encode()
            self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
EOF
start echo python3 "$work/echo.py" "$echo_port"
wait_for 10 listens "$echo_port"

make_ca
make_certificate tls files.test echo.test root.test dead.test
cat >"$work/server.toml" <<EOF
[server]
listen = ["127.0.0.1:$port"]
certificate = "tls.pem"
private-key = "tls.key"
state = "state"
[[origin]]
host = "files.test"
url = "http://127.0.0.1:$origin"
[[origin]]
host = "echo.test"
url = "http://127.0.0.1:$echo_port"
[[origin]]
host = "root.test"
root = "www"
[[origin]]
host = "dead.test"
url = "http://127.0.0.1:1"
EOF
start server "$msslproxy" -c "$work/server.toml"
server=$last_pid
wait_for 10 listens "$port"

all="files.test echo.test root.test dead.test other.test"
names=
for host in $all; do names="$names --connect-to $host:80:127.0.0.1:$port --resolve $host:$port:127.0.0.1"; done
ours() { host=$1; path=$2; shift 2; curl -sS --max-time 60 --cacert "$work/ca.pem" $names "$@" "https://$host:$port$path"; }
direct() { path=$1; shift; curl -sS --max-time 60 -H "Host: files.test" "$@" "http://127.0.0.1:$origin$path"; }
# Heads without what must differ: a proxy's own framing, dates.
head_of() { tr -d '\r' <"$1" | grep -iv -e '^date:' -e '^connection:' -e '^keep-alive:' -e '^$' | sort; }

same() {
    what=$1; path=$2; shift 2
    direct "$path" -D "$work/h1" -o "$work/b1" "$@" || :
    ours files.test "$path" -D "$work/h2" -o "$work/b2" "$@" || :
    # With -I curl writes the head as if it were the body.
    case " $* " in *" -I "*) ;; *) cmp -s "$work/b1" "$work/b2" || bad "$what: bodies differ" ;; esac
    head_of "$work/h1" >"$work/n1"; head_of "$work/h2" >"$work/n2"
    diff "$work/n1" "$work/n2" || bad "$what: heads differ"
}
tell "through the server and directly"
etag=$(direct /hello.txt -I | tr -d '\r' | sed -n 's/^ETag: //Ip')
same "GET" /hello.txt
same "GET empty" /empty
same "GET big" /big.bin
same "HEAD" /hello.txt -I
same "404" /nothing
same "405" /hello.txt -X DELETE
same "302" /moved
same "418" /teapot
same "range" /big.bin -r 1000-70000
same "suffix range" /big.bin -r -5
same "416" /hello.txt -r 100-
same "304" /hello.txt -H "If-None-Match: $etag"
same "412" /hello.txt -H 'If-Match: "other"'
same "If-Range" /big.bin -r 0-9 -H 'If-Range: "other"'
same "directory" /dir

tell "keep-alive and HTTP/1.0"
n=$(ours files.test /hello.txt -o /dev/null -o /dev/null -w '%{num_connects}' "https://files.test:$port/dir/small.bin")
case $n in 1*0*) ;; *) bad "keep-alive: connects '$n'" ;; esac
same "HTTP/1.0" /hello.txt -0 --no-alpn

tell "pipelining, in order"
{ for f in hello.txt nothing empty hello.txt; do printf 'GET /%s HTTP/1.1\r\nHost: files.test\r\n\r\n' $f; done
  printf 'GET /hello.txt HTTP/1.1\r\nHost: files.test\r\nConnection: close\r\n\r\n'; } >"$work/pipe"
speak() { openssl s_client -quiet -ign_eof -connect "127.0.0.1:$port" -CAfile "$work/ca.pem" 2>/dev/null; }
got=$(speak <"$work/pipe" | tr -d '\r' | sed -n 's/^HTTP\/1.1 \([0-9]*\).*/\1/p' | tr '\n' ' ')
[ "$got" = "200 404 200 200 200 " ] || bad "pipelining: '$got'"

tell "uploads, framings, interim answers, upgrade"
head -c 20000000 /dev/urandom >"$work/upload"
ours echo.test /x --data-binary "@$work/upload" -H 'MSSL-Resolve: v=1' -D "$work/h" -o "$work/b"
cmp -s "$work/upload" "$work/b" || bad "upload by length"
grep -qi '^x-saw: none' "$work/h" || bad "an MSSL field reached the origin"
grep -qi '^mssl' "$work/h" && bad "an MSSL field of the origin came through"
ours echo.test /x -T - -H 'Transfer-Encoding: chunked' <"$work/upload" -o "$work/b"
cmp -s "$work/upload" "$work/b" || bad "upload chunked"
ours echo.test /x --data-binary "@$work/www/dir/small.bin" -H 'Expect: 100-continue' -o "$work/b"
cmp -s "$work/www/dir/small.bin" "$work/b" || bad "Expect: 100-continue"
[ "$(ours echo.test /chunked | wc -c)" -eq 100000 ] || bad "chunked answer"
[ "$(ours echo.test /chunked -0 --no-alpn | wc -c)" -eq 100000 ] || bad "chunked answer to HTTP/1.0"
[ "$(ours echo.test /close | wc -c)" -eq 300000 ] || bad "answer until close"
ours echo.test /early -D "$work/h" -o "$work/b"
grep -q '103' "$work/h" || bad "103 did not come through"
[ "$(cat "$work/b")" = ok ] || bad "answer after a 103"
[ "$(ours echo.test /fwd -H 'X-Forwarded-For: 192.0.2.7')" = "https 192.0.2.7, 127.0.0.1" ] || bad "X-Forwarded-*"
many=$(seq -s , -f '192.0.2.%g' 1 31)
[ "$(ours echo.test /fwd -o /dev/null -w '%{http_code}' -H "X-Forwarded-For: $many")" = 200 ] || bad "31 hops are no loop"
[ "$(ours echo.test /fwd -o /dev/null -w '%{http_code}' -H "X-Forwarded-For: $many, 192.0.2.32")" = 508 ] || bad "a loop goes on"
[ "$(ours echo.test /fwd -o /dev/null -w '%{http_code}' -X OPTIONS -H 'Max-Forwards: 0')" = 200 ] || bad "OPTIONS went on"
[ "$(ours echo.test /fwd -o /dev/null -w '%{http_code}' -X OPTIONS -H 'Max-Forwards: 1')" = 501 ] || bad "OPTIONS did not reach the origin"
[ "$(ours echo.test /fwd -o /dev/null -w '%{http_code}' -X TRACE -H 'Max-Forwards: 0')" = 405 ] || bad "TRACE was answered"
cat >"$work/upgrade.py" <<'EOF'
import socket, ssl, sys
tls = ssl.create_default_context(cafile=sys.argv[2])
s = tls.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20), server_hostname="echo.test")
s.sendall(b"GET /upgrade HTTP/1.1\r\nHost: echo.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\none\n")
f = s.makefile("rb")
assert f.readline().split()[1] == b"101"
while f.readline().strip(): pass
assert f.readline() == b"one\n"
s.sendall(b"two\n")
assert f.readline() == b"two\n"
EOF
python3 "$work/upgrade.py" "$port" "$work/ca.pem" || bad "upgrade"

tell "failures are failures"
code() { ours "$@" -o /dev/null -w '%{http_code}' || :; }
[ "$(code dead.test /)" = 502 ] || bad "refused connection is not 502"
[ "$(code files.test /hello.txt -H 'Host: other.test')" = 421 ] || bad "unknown host is not 421"
ours echo.test /break -o /dev/null 2>/dev/null && bad "a broken answer looks whole"
for probe in 'GET / HTTP/1.1\r\nHost: files.test\r\nHost: x\r\n\r\n' 'GET / HTTP/1.1\r\nHost: files.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n' \
    'GET /\r\n\r\n' 'GET / HTTP/1.1\r\nHost : files.test\r\n\r\n'; do
    printf "$probe" | speak | head -n 1 | grep -q ' 400 ' || bad "no 400 for: $probe"
done

tell "a directory as origin"
ours root.test /big.bin | cmp -s - "$work/www/big.bin" || bad "root: bytes"
[ "$(ours root.test /hello.txt)" = hello ] || bad "root: text"
[ "$(ours root.test /inside)" = hello ] || bad "root: link inside"
[ "$(code root.test /escape)" = 404 ] || bad "root: link outside is $(code root.test /escape)"
[ "$(code root.test /%2e%2e/server.toml --path-as-is)" = 404 ] || bad "root: encoded dots"
[ "$(code root.test /../server.toml --path-as-is)" = 404 ] || bad "root: dots"
[ "$(code root.test /dir)" = 404 ] || bad "root: directory"
[ "$(code root.test / -X POST -d x)" = 405 ] || bad "root: POST"
[ "$(ours root.test /big.bin -r 7-1000006 | wc -c)" -eq 1000000 ] || bad "root: range"
etag=$(ours root.test /hello.txt -I | tr -d '\r' | sed -n 's/^ETag: //Ip')
[ "$(code root.test /hello.txt -H "If-None-Match: $etag")" = 304 ] || bad "root: 304"

tell "reload and an orderly end"
sed 's/dead.test/other.test/' "$work/server.toml" >"$work/new" && sed -i "s/:1\"/:$origin\"/" "$work/new" && mv "$work/new" "$work/server.toml"
kill -HUP "$server"
other() { [ "$(code files.test /hello.txt -H 'Host: other.test')" = 200 ]; }
wait_for 10 other || bad "reload: new origin"
rm -f "$work/b"
ours files.test /big.bin --limit-rate 25M -o "$work/b" &
transfer=$!
wait_for 10 test -s "$work/b" || bad "no bytes before the drain"
kill -TERM "$server"
wait "$transfer" || bad "drain: the transfer under way broke"
cmp -s "$work/www/big.bin" "$work/b" || bad "drain: bytes"
wait "$server" || bad "exit status $?"
