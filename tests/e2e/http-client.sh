#!/bin/sh
# An application that is told of the client as its HTTP proxy sees what it would see at the origin (invariant 15): status, end-to-end
# fields, bytes, and where an answer breaks. What is malformed gets a 400, and nothing of it reaches an origin. A site whose server
# cannot be reached falls back as it says; one whose server is not who it should be never does.
. "$(dirname "$0")/lib.sh"
need nginx curl openssl python3
[ -x "$msslproxy" ] || skip "no msslproxy"

mkdir -p "$work/www"
head -c 50000000 /dev/urandom >"$work/www/big.bin"
printf 'hello\n' >"$work/www/hello.txt"
: >"$work/www/empty"
touch -d '2020-01-01' "$work/www"/*

origin=$(free_port)
script=$(free_port)
port=$(free_port)
status=$(free_port)
wrong=$(free_port)
start_nginx "$origin" "$work/www" "location /moved { return 302 /hello.txt; } location /teapot { return 418; } location /down { return 204; }"

# An origin that notes each request line that it sees, echoes content, and can misbehave.
cat >"$work/script.py" <<'EOF'
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def parse_request(self):
        with open(sys.argv[2], "ab") as f: f.write(self.raw_requestline)
        return super().parse_request()
    def content(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            out = []
            while True:
                n = int(self.rfile.readline(), 16)
                out.append(self.rfile.read(n)); self.rfile.readline()
                if n == 0: return b"".join(out)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))
    def whole(self, body, *fields):
        self.send_response(200); self.send_header("Content-Length", str(len(body)))
        for f in fields: self.send_header(*f)
        self.end_headers(); self.wfile.write(body)
    def do_POST(self):
        if self.path == "/refuse":
            self.send_response(413); self.send_header("Content-Length", "3"); self.send_header("Connection", "close")
            self.end_headers(); self.wfile.write(b"no\n"); self.close_connection = True
            return
        self.whole(self.content())
    do_PUT = do_POST
    def do_GET(self):
        if self.path == "/seen":
            self.whole("".join("%s: %s\n" % f for f in self.headers.items()).encode(), ("MSSL-Evil", "1"), ("Connection", "X-Hop"), ("X-Hop", "1"))
        elif self.path == "/chunked":
            self.send_response(200); self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
            for i in range(100): self.wfile.write(b"3e8\r\n" + b"%01000d" % i + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/close":
            self.send_response(200); self.send_header("Connection", "close"); self.end_headers()
            self.wfile.write(b"y" * 300000); self.close_connection = True
        elif self.path == "/early":
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"); self.whole(b"ok")
        elif self.path == "/break":
            self.send_response(200); self.send_header("Content-Length", "1000000"); self.end_headers()
            self.wfile.write(b"z" * 1000); self.close_connection = True
        elif self.path == "/break-chunked":
            self.send_response(200); self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
            self.wfile.write(b"3e8\r\n" + b"z" * 1000 + b"\r\n"); self.close_connection = True
        elif self.path == "/nonsense":
            self.wfile.write(b"what is this\r\n\r\n"); self.close_connection = True
        elif self.path == "/upgrade":
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); self.wfile.flush()
            for line in self.rfile:
                self.wfile.write(line); self.wfile.flush()
            self.wfile.write(b"bye\n"); self.close_connection = True
        else: self.whole(self.path.encode())
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
EOF
: >"$work/seen"
start script python3 "$work/script.py" "$script" "$work/seen"

make_ca
# A server that anybody could have put there.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=localhost" -addext 'subjectAltName=DNS:localhost' \
    -keyout "$work/wrong.key" -out "$work/wrong.pem" 2>/dev/null
start wrong openssl s_server -quiet -accept "127.0.0.1:$wrong" -cert "$work/wrong.pem" -key "$work/wrong.key" -tls1_3 -alpn mssl/1,http/1.1

for kind in origin none; do
    name=127.0.0.1
    [ $kind = none ] && name=localhost
    sites="${sites:-}
[[site]]
host = \"$name:$script\"
server = \"127.0.0.1:1\"
ca = \"ca.pem\"
fallback = \"$kind\""
done
cat >"$work/client.toml" <<EOF
[client]
state = "state"
[[intercept]]
mode = "http-proxy"
listen = "127.0.0.1:$port"
[status]
listen = "127.0.0.1:$status"
EOF
cp "$work/client.toml" "$work/plain.toml"
start client "$msslproxy" -c "$work/client.toml"
client=$last_pid
for p in "$port" "$script" "$status" "$wrong"; do wait_for 10 listens "$p"; done

ours() { curl -sS --max-time 60 -x "http://127.0.0.1:$port" --noproxy '' "$@"; }
direct() { curl -sS --max-time 60 --noproxy '*' "$@"; }
head_of() { tr -d '\r' <"$1" | grep -iv -e '^date:' -e '^connection:' -e '^keep-alive:' -e '^via: 1.[01] msslproxy$' -e '^$' | sort; }
same() {
    what=$1; url=http://127.0.0.1:$origin$2; shift 2
    direct "$url" -D "$work/h1" -o "$work/b1" "$@" || :
    ours "$url" -D "$work/h2" -o "$work/b2" "$@" || :
    case " $* " in *" -I "*) ;; *) cmp -s "$work/b1" "$work/b2" || bad "$what: bodies differ" ;; esac
    grep -qi '^via: 1\.[01] msslproxy' "$work/h2" || bad "$what: no Via"
    head_of "$work/h1" >"$work/n1"; head_of "$work/h2" >"$work/n2"
    diff "$work/n1" "$work/n2" || bad "$what: heads differ"
}

tell "through the proxy and directly"
etag=$(direct "http://127.0.0.1:$origin/hello.txt" -I | tr -d '\r' | sed -n 's/^ETag: //Ip')
same "GET" /hello.txt
same "GET empty" /empty
same "GET big" /big.bin
same "HEAD" /hello.txt -I
same "204" /down
same "404" /nothing
same "405" /hello.txt -X DELETE
same "302" /moved
same "418" /teapot
same "range" /big.bin -r 1000-70000
same "416" /hello.txt -r 100-
same "304" /hello.txt -H "If-None-Match: $etag"
same "412" /hello.txt -H 'If-Match: "other"'
same "HTTP/1.0" /hello.txt -0

tell "uploads, framings, interim answers"
u=http://127.0.0.1:$script
head -c 40000000 /dev/urandom >"$work/upload"
ours "$u/x" --data-binary "@$work/upload" -o "$work/b"; cmp -s "$work/upload" "$work/b" || bad "POST by length"
ours "$u/x" -T - <"$work/upload" -o "$work/b"; cmp -s "$work/upload" "$work/b" || bad "PUT chunked"
ours "$u/x" --data-binary @"$work/www/hello.txt" -H 'Expect: 100-continue' -o "$work/b"; cmp -s "$work/www/hello.txt" "$work/b" || bad "Expect"
[ "$(ours "$u/refuse" --data-binary "@$work/upload" -o /dev/null -w '%{http_code}' 2>/dev/null)" = 413 ] || bad "an answer before the content was read"
[ "$(ours "$u/chunked" | wc -c)" -eq 100000 ] || bad "chunked answer"
[ "$(ours "$u/chunked" -0 | wc -c)" -eq 100000 ] || bad "chunked answer to HTTP/1.0"
[ "$(ours "$u/close" | wc -c)" -eq 300000 ] || bad "answer until close"
ours "$u/early" -D "$work/h" -o "$work/b"; grep -q ' 103' "$work/h" || bad "103 did not come through"
[ "$(cat "$work/b")" = ok ] || bad "answer after a 103"
ours "$u/seen" -H 'MSSL-Resolve: v=1' -H 'Proxy-Authorization: Basic eDp5' -H 'Connection: x-mine' -H 'X-Mine: 1' -H 'TE: trailers' -D "$work/h" -o "$work/b"
grep -qi -e '^mssl' -e '^proxy-' -e '^x-mine' -e '^te:' "$work/b" && bad "hop-by-hop or own fields reached the origin: $(cat "$work/b")"
grep -qi '^via: 1.1 msslproxy' "$work/b" || bad "no Via at the origin"
grep -qi -e '^mssl' -e '^x-hop' "$work/h" && bad "hop-by-hop or own fields reached the application"

tell "CONNECT"
ours -p "$u/chunked" | wc -c | grep -qx 100000 || bad "tunnel: chunked"
ours -p "http://127.0.0.1:$origin/big.bin" -o "$work/b"; cmp -s "$work/www/big.bin" "$work/b" || bad "tunnel: bytes"
[ "$(ours -p http://127.0.0.1:1/ -o /dev/null -w '%{http_connect}' 2>/dev/null)" = 502 ] || bad "tunnel to nowhere is no 502"

tell "failures are failures"
code() { ours "$@" -o /dev/null -w '%{http_code}' 2>/dev/null || :; }
[ "$(code http://127.0.0.1:1/)" = 502 ] || bad "refused connection is no 502"
[ "$(code http://nowhere.invalid/)" = 502 ] || bad "unknown name is no 502"
[ "$(code "$u/nonsense")" = 502 ] || bad "nonsense of an origin is no 502"
ours "$u/break" -o /dev/null 2>/dev/null && bad "a broken answer looks whole"
ours "$u/break-chunked" -o /dev/null 2>/dev/null && bad "a broken chunked answer looks whole"
ours -0 "$u/break-chunked" -o /dev/null 2>/dev/null && bad "a broken answer until close looks whole"

tell "order, pipelines, half-closed applications, tunnels, smuggling"
cat >"$work/probe.py" <<'EOF'
import socket, sys
proxy, origin, script, seen = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
failed = 0
def check(what, ok, found=b""):
    global failed
    if not ok: failed += 1; print("FAILED: %s: %r" % (what, found))
def talk(data, half_close=True):
    s = socket.create_connection(("127.0.0.1", proxy), 20); s.settimeout(20)
    s.sendall(data)
    if half_close: s.shutdown(socket.SHUT_WR)
    out = b""
    try:
        while piece := s.recv(65536): out += piece
    except ConnectionResetError: out += b"<reset>"
    return out
S = b"http://127.0.0.1:%d" % script
H = b" HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % script
five = b"".join(b"GET %s/p%d%s\r\n" % (S, i, H) for i in range(5))
got = talk(five)
check("pipelining in order, after a half-close", [got.find(b"/p%d" % i) >= 0 for i in range(5)] == [True] * 5
      and sorted(got.find(b"\r\n\r\n/p%d" % i) for i in range(5)) == [got.find(b"\r\n\r\n/p%d" % i) for i in range(5)], got)
got = talk(b"POST %s/a%sContent-Length: 3\r\n\r\nonePOST %s/b%sTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n" % (S, H, S, H))
check("pipelined contents", got.count(b" 200 OK") == 2 and b"\r\n\r\none" in got and b"two" in got, got)

def quiet(what, data, status=b" 400 "):
    before = open(seen, "rb").read()
    got = talk(data)
    check(what, status in got.split(b"\r\n")[0], got)
    check(what + " reached the origin", open(seen, "rb").read() == before)
T = S + b"/smuggled"
quiet("origin-form on the proxy port", b"GET /smuggled" + H + b"\r\n")
got = talk(b"GET " + T + b" HTTP/1.1\r\nHost: x\r\n\r\n")
check("another Host beside absolute-form, which alone counts (RFC 9112 3.2.2)", b" 200 OK" in got and got.endswith(b"/smuggled"), got)
quiet("two Hosts", b"GET " + T + H + b"Host: 127.0.0.1\r\n\r\n")
quiet("length and chunked", b"POST " + T + H + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
quiet("two lengths", b"POST " + T + H + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab")
quiet("length with a sign", b"POST " + T + H + b"Content-Length: +1\r\n\r\na")
quiet("obscure transfer coding", b"POST " + T + H + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")
quiet("chunked twice", b"POST " + T + H + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n")
quiet("chunked in HTTP/1.0", b"POST " + T + b" HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
quiet("space before the colon", b"GET " + T + H + b"X : 1\r\n\r\n")
quiet("folded field", b"GET " + T + H + b"X: 1\r\n 2\r\n\r\n")
quiet("bare LF", b"GET " + T + b" HTTP/1.1\nHost: 127.0.0.1:%d\n\n" % script)
quiet("bare CR", b"GET " + T + H + b"X: a\rY: b\r\n\r\n")
quiet("NUL", b"GET " + T + H + b"X: a\0b\r\n\r\n")
quiet("HTTP/0.9", b"GET " + T + b"\r\n\r\n")
quiet("user info", b"GET http://a@127.0.0.1:%d/smuggled" % script + H + b"\r\n")
quiet("https without CONNECT", b"GET https://127.0.0.1:%d/smuggled" % script + H + b"\r\n")
quiet("CONNECT without a port", b"CONNECT 127.0.0.1" + H + b"\r\n")
quiet("head over 64 KiB", b"GET " + T + H + b"X: " + b"a" * 70000 + b"\r\n\r\n", b" 431 ")
quiet("TRACE that ends here", b"TRACE " + T + H + b"Max-Forwards: 0\r\n\r\n", b" 405 ")
quiet("OPTIONS that ends here", b"OPTIONS " + T + H + b"Max-Forwards: 0\r\nConnection: close\r\n\r\n", b" 200 ")
got = talk(b"POST %s/x%sTransfer-Encoding: chunked\r\n\r\n3\r\none\r\nzz\r\n" % (S, H))
check("malformed chunk in mid-content", b" 400 " in got.split(b"\r\n")[0] or got == b"<reset>", got)
got = talk(b"GET %s/one%s\r\nGET /two%s\r\nGET %s/three%s\r\n" % (S, H, H, S, H))
check("nothing after a refusal", b"/one" in got and b" 400 " in got and b"/three" not in got, got)

# A tunnel ends each direction by itself, and what came with CONNECT goes through.
s = socket.create_connection(("127.0.0.1", proxy), 20); s.settimeout(20)
s.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\nGET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\none\n" % script)
s.shutdown(socket.SHUT_WR)
got = b""
while piece := s.recv(65536): got += piece
check("half-closed tunnel", got.endswith(b"\r\n\r\none\nbye\n"), got)
s = socket.create_connection(("127.0.0.1", proxy), 20); s.settimeout(20)
s.sendall(b"GET %s/upgrade%sConnection: Upgrade\r\nUpgrade: echo\r\n\r\n" % (S, H))
f = s.makefile("rb")
check("101", f.readline().split()[1] == b"101")
while f.readline().strip(): pass
s.sendall(b"two\n"); check("upgraded", f.readline() == b"two\n")
s.shutdown(socket.SHUT_WR); check("half-closed upgrade", f.read() == b"bye\n")

# An application that leaves in mid-answer leaves no connection behind, here or at the origin.
for _ in range(20):
    s = socket.create_connection(("127.0.0.1", proxy), 20)
    s.sendall(b"GET http://127.0.0.1:%d/big.bin HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % (origin, origin)); s.recv(1000); s.close()
sys.exit(failed != 0)
EOF
python3 "$work/probe.py" "$port" "$origin" "$script" "$work/seen" || bad "probes"
alone() { curl -sS --noproxy '*' "http://127.0.0.1:$status/metrics" | grep -qx 'mssl_connections_open 1'; }
wait_for 10 alone || bad "connections left: $(curl -sS --noproxy '*' "http://127.0.0.1:$status/metrics" | grep connections_open)"

tell "the status page"
page() { curl -sS --noproxy '*' "http://127.0.0.1:$status$@"; }
page /status.json | python3 -c 'import json, sys; s = json.load(sys.stdin); assert s["role"] == ["client"] and s["counters"]["requests"] > 20 and s["transfers"] == []' || bad "status.json"
page / | grep -q '<title>mSSL' || bad "the page"
page / | grep -qi -e 'src=' -e 'http://' && bad "the page loads something from elsewhere"
[ "$(curl -sS --noproxy '*' -H 'Host: evil.example' -o /dev/null -w '%{http_code}' "http://127.0.0.1:$status/status.json")" = 403 ] || bad "a rebound name reads the status"
[ "$(curl -sS --noproxy '*' -X POST -H 'Origin: http://evil.example' -o /dev/null -w '%{http_code}' "http://127.0.0.1:$status/publish?url=x")" = 403 ] || bad "another site's page may publish"

tell "fallback, and what never falls back"
printf '%s\n' "$sites" >>"$work/client.toml"
kill -HUP "$client"
fell_back() { page /metrics | grep -q '^mssl_fallbacks_total [1-9]'; }
asked() { ours "$u/hello" -o "$work/b" && fell_back; }
wait_for 20 asked || bad "no fallback"
[ "$(cat "$work/b")" = /hello ] || bad "fallback: bytes"
ours "$u/x" --data-binary "@$work/upload" -o "$work/b"; cmp -s "$work/upload" "$work/b" || bad "fallback: content"
[ "$(ours "http://localhost:$script/hello" -o "$work/b" -w '%{http_code}')" = 502 ] || bad "fallback = none is no 502"
grep -q 'fallback = "none"' "$work/b" || bad "the 502 does not say what to do: $(cat "$work/b")"
sed "s/127.0.0.1:1\"/127.0.0.1:$wrong\"/" "$work/client.toml" >"$work/new" && mv "$work/new" "$work/client.toml"
kill -HUP "$client"
refused() { [ "$(code "$u/hello")" = 502 ]; }
wait_for 20 refused || bad "a wrong certificate fell back"

tell "an orderly end"
cp "$work/plain.toml" "$work/client.toml"
kill -HUP "$client"
wait_for 10 ours "$u/again" -f -o /dev/null || bad "reload without sites"
rm -f "$work/b"
ours "http://127.0.0.1:$origin/big.bin" --limit-rate 25M -o "$work/b" &
transfer=$!
wait_for 10 test -s "$work/b" || bad "no bytes before the drain"
kill -TERM "$client"
wait "$transfer" || bad "drain: the transfer under way broke"
cmp -s "$work/www/big.bin" "$work/b" || bad "drain: bytes"
wait "$client" || bad "exit status $?"
