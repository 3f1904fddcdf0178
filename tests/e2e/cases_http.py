"""What an application sees of HTTP through the client proxy: as if it spoke to the origin."""
import os

from harness import NAME, Nginx, random_file, wait_for
from scene import (KIB, MIB, World, answers, case, content, expect, expect_whole, fetch, get, output_of, talk, transfer)


def request(path, *fields, method="GET", host=NAME):
    return "\r\n".join(["%s %s HTTP/1.1" % (method, path), "Host: " + host, *fields, "", ""]).encode()


def seeded(lab, **kw):
    """A world whose one client has fetched the object."""
    w = World(lab, **kw)
    c = w.client()
    d = fetch(c)
    expect_whole(d, w.sum)
    return w, c


@case()
def pipelined_requests_in_order(lab):
    """Pipelined requests, shared and relayed mixed, are answered in order on one connection."""
    w, c = seeded(lab)
    whole, small = content(w.big), content(w.small)
    data = talk(c.host, w.host.ip, 80, request("/small.bin") + request("/big.bin", "Range: bytes=100-199") + request("/big.bin")
                + request("/none") + request("/small.bin", "Connection: close"))
    found = answers(data)
    expect([a[0] for a in found] == [200, 206, 200, 404, 200], "five answers", [a[0] for a in found])
    expect(found[0][2] == small and found[4][2] == small, "the small object first and last")
    expect(found[1][2] == whole[100:200] and found[2][2] == whole, "the shared object's bytes in between")


@case()
def connections_are_kept(lab):
    """A second request goes over the application's first connection, shared objects included."""
    w, c = seeded(lab)
    out = [output_of(c) for _ in range(3)]
    url = "http://%s/" % NAME
    r = c.host.run("curl", "-sS", "--noproxy", "*", "-w", "%{num_connects} ", "-o", out[0], url + "big.bin", "-o", out[1],
                   url + "small.bin", "-o", out[2], url + "big.bin")
    expect(r.stdout.split() == ["1", "0", "0"], "one connection for three requests", r.stdout)
    expect(content(out[2]) == content(w.big) and content(out[1]) == content(w.small), "the right bytes")


@case()
def one_handshake_for_all_requests(lab):
    """Applications that come one after another share one TLS connection to the server: no handshake but the first, which is counted once."""
    w = World(lab)
    c = w.client(process="threads = 3")

    def handshakes(proxy):
        return proxy.status()["counters"]["tls_handshakes"]

    def come_and_go():
        expect(get(c, "/small.bin", via_proxy=True)[0] == 200, "200")
        wait_for("the application to be gone",
                 lambda: not c.host.run("ss", "-Htn", "state", "connected", "sport = :%d" % c.proxy_port).stdout.strip())

    come_and_go()
    first = handshakes(w.server)
    expect(first == 2, "one for enrolment and one for the request", first)
    for _ in range(6):
        come_and_go()
    expect(handshakes(w.server) == first, "no further handshake", handshakes(w.server))
    expect(handshakes(c) == first, "the client to count what the server counts", handshakes(c))


@case()
def origin_answers_as_if_we_were_not_there(lab):
    """The origin compresses and names schemes as for the application itself, also behind an explicit proxy."""
    w = World(lab, nginx_extra="""
        gzip on; gzip_types *;
        location = /proto { default_type text/plain; return 200 "$http_x_forwarded_proto $http_x_forwarded_for $http_via"; }""")
    c = w.client()
    direct = w.host.run("curl", "-sS", "--noproxy", "*", "-H", "Accept-Encoding: gzip", "-H", "Host: " + NAME, "-D-", "-o", "/dev/null",
                        "http://127.0.0.1/small.bin").stdout
    expect("Content-Encoding: gzip" in direct, "nginx to compress", direct)
    for proxied in ([], ["-x", "http://127.0.0.1:%d" % c.proxy_port]):
        url = "http://%s/" % NAME
        through = proxied or ["--noproxy", "*"]
        out = output_of(c)
        head = c.host.run("curl", "-sS", *through, "--compressed", "-D-", "-o", out, url + "small.bin").stdout
        expect("Content-Encoding: gzip" in head and content(out) == content(w.small), "the same through us", head)
        seen = c.host.run("curl", "-sS", *through, url + "proto").stdout
        expect(seen == "http %s " % c.host.ip, "scheme and address of who asks, and no Via", seen)


@case()
def head_as_at_the_origin(lab):
    """HEAD of a shared object says what the origin says, and has no body."""
    w, c = seeded(lab)
    r = c.curl("/big.bin", "-I")
    direct = w.host.run("curl", "-sS", "-I", "--noproxy", "*", "-H", "Host: " + NAME, "http://127.0.0.1/big.bin").stdout
    want = {k: v for k, v in (line.strip().split(": ", 1) for line in direct.splitlines() if ": " in line)}
    for name in ("ETag", "Content-Length", "Last-Modified", "Content-Type", "Accept-Ranges"):
        expect("%s: %s" % (name, want[name]) in r.stdout, "%s as at the origin" % name, r.stdout)


@case()
def shared_fields_as_at_the_origin(lab):
    """The fields of a shared object's answer are the origin's, cold and known, those that the proxy must not touch included."""
    w = World(lab, nginx_extra='add_header X-End-To-End "as it is"; add_header Cache-Control "public, max-age=5";')
    c = w.client()
    for turn in ("cold", "known"):
        status, fields, body = get(c, "/big.bin")
        direct = w.host.run("curl", "-sS", "-I", "--noproxy", "*", "-H", "Host: " + NAME, "http://127.0.0.1/big.bin").stdout
        want = {k.lower(): v for k, v in (line.strip().split(": ", 1) for line in direct.splitlines() if ": " in line)}
        for name in ("etag", "content-length", "last-modified", "content-type", "accept-ranges", "x-end-to-end", "cache-control"):
            expect(fields.get(name) == want[name], "%s (%s) as at the origin: %s" % (name, turn, want[name]), fields)
        expect(status == 200 and len(body) == w.length, "the whole object", (status, len(body)))
        expect(not [k for k in fields if k.startswith("mssl")], "no field of ours", fields)


@case()
def ranges_of_a_shared_object(lab):
    """Ranges of a shared object: first byte, last, suffix, across blocks, to the end; beyond it 416."""
    w, c = seeded(lab)
    whole, n = content(w.big), w.length
    for asked, begin, end in (("0-0", 0, 1), ("%d-%d" % (n - 1, n - 1), n - 1, n), ("-1000", n - 1000, n), ("65000-66000", 65000, 66001),
                              ("%d-" % (n - 70000), n - 70000, n), ("5-%d" % (10 * n), 5, n)):
        status, fields, body = get(c, "/big.bin", "-H", "Range: bytes=" + asked)
        expect(status == 206 and body == whole[begin:end], "206 and those bytes for " + asked, (status, len(body)))
        expect(fields.get("content-range") == "bytes %d-%d/%d" % (begin, end - 1, n), "Content-Range of " + asked, fields)
    status, fields, _ = get(c, "/big.bin", "-H", "Range: bytes=%d-" % n)
    expect(status == 416 and fields.get("content-range") == "bytes */%d" % n, "416 beyond the end", (status, fields))


@case()
def range_of_a_cold_object(lab):
    """A range of an object that nobody asked for before is those bytes."""
    w = World(lab)
    c = w.client()
    status, fields, body = get(c, "/big.bin", "-H", "Range: bytes=5000000-5000999")
    expect(status == 206 and body == content(w.big)[5000000:5001000], "206 and those bytes", (status, len(body), fields))


@case()
def if_range_right_and_wrong(lab):
    """If-Range: with the object's validator a part comes, with another the whole."""
    w, c = seeded(lab)
    whole = content(w.big)
    etag = get(c, "/big.bin", "-I")[1]["etag"]
    status, _, body = get(c, "/big.bin", "-H", "Range: bytes=10-19", "-H", "If-Range: " + etag)
    expect(status == 206 and body == whole[10:20], "206 with the right validator", (status, len(body)))
    for wrong in ('"other"', "W/" + etag, "Wed, 01 Jan 2020 00:00:00 GMT"):
        status, _, body = get(c, "/big.bin", "-H", "Range: bytes=10-19", "-H", "If-Range: " + wrong)
        expect(status == 200 and body == whole, "200 and the whole with If-Range: " + wrong, (status, len(body)))


@case()
def conditional_requests(lab):
    """If-None-Match with the object's validator is 304 without a body; with another it is the object."""
    w, c = seeded(lab)
    etag = get(c, "/big.bin", "-I")[1]["etag"]
    status, fields, body = get(c, "/big.bin", "-H", "If-None-Match: " + etag)
    expect(status == 304 and body == b"" and fields.get("etag") == etag, "304", (status, fields))
    status, fields, body = get(c, "/big.bin", "-H", 'If-None-Match: "a", ' + etag)
    expect(status == 304, "304 from a list", status)
    status, _, body = get(c, "/big.bin", "-H", 'If-None-Match: "other"')
    expect(status == 200 and body == content(w.big), "200 and the object", (status, len(body)))
    status, _, _ = get(c, "/big.bin", "-H", 'If-Match: "other"')
    expect(status == 412, "412 to If-Match of another", status)


@case()
def small_is_relayed(lab):
    """What is not configured as shared is relayed byte for byte, and nothing of it is kept."""
    w = World(lab)
    c = w.client()
    status, fields, body = get(c, "/small.bin")
    expect(status == 200 and body == content(w.small), "the small object", (status, len(body)))
    expect(c.transfers() == [], "no transfer", c.transfers())
    expect("how=relayed" in c.log(), "the log to say relayed", c.log())
    status, _, body = get(c, "/small.bin", "-H", "Range: bytes=5-9")
    expect(status == 206 and body == content(w.small)[5:10], "its range from the origin", (status, body))
    status, _, _ = get(c, "/nothing")
    expect(status == 404, "the origin's 404", status)


@case()
def uploads_are_relayed(lab):
    """POST and PUT reach the origin with their bodies, 8 MiB of them too, by length and chunked."""
    w = World(lab, nginx_extra="location /say { return 200 \"$request_method\"; } location /put/ { dav_methods PUT; "
                               "create_full_put_path on; client_max_body_size 100m; }")
    os.makedirs(os.path.join(w.root, "put"))
    c = w.client()
    _, _, body = get(c, "/say", "-d", "a=b")
    expect(body == b"POST", "the origin to have seen a POST", body)
    for name, more in (("length", []), ("chunked", ["-H", "Transfer-Encoding: chunked"])):
        status, _, _ = get(c, "/put/" + name, "-T", w.big, *more)
        expect(status == 201, "201 for the %s upload" % name, status)
        expect(content(os.path.join(w.root, "put", name)) == content(w.big), "the %s upload's bytes at the origin" % name)


@case()
def connect_is_a_tunnel(lab):
    """CONNECT is an opaque tunnel: what goes through it is neither read nor shared."""
    w = World(lab)
    c = w.client()
    d = fetch(c, "/big.bin", "--proxytunnel", via_proxy=True)
    expect_whole(d, w.sum)
    expect(c.transfers() == [], "no transfer", c.transfers())
    expect(w.server.log().count("object begun") == 0, "the server to have seen nothing", w.server.log())


@case()
def proxy_port_shares_too(lab):
    """An application that is configured to use the proxy gets shared objects as well."""
    w = World(lab)
    c = w.client(redirect=False)
    d = fetch(c, "/big.bin", via_proxy=True)
    expect_whole(d, w.sum)
    expect(transfer(c)["from_server"] == w.length, "a transfer", c.transfers())


@case()
def loops_are_refused(lab):
    """Who connects to the redirect port itself is refused; the daemon does not connect to itself."""
    w, c = seeded(lab)
    for address in ("127.0.0.1", "[::1]", c.host.ip):
        before = c.status()["counters"]["connections_accepted"]
        r = c.host.run("curl", "-sS", "--noproxy", "*", "--max-time", "20", "-w", "%{http_code}", "-o", output_of(c), "-H", "Host: " + NAME,
                       "http://%s:%d/big.bin" % (address, c.redirect_port), check=False)
        expect(r.returncode not in (0, 28) or r.stdout.endswith(("400", "403", "421", "508")), "a refusal from " + address, r.stdout)
        # This request's own, and the status page's.
        after = c.status()["counters"]["connections_accepted"]
        expect(after - before <= 3, "no loop of connections", (before, after))
    expect_whole(fetch(c), w.sum)


@case()
def host_is_checked_against_destination(lab):
    """A request to a foreign address with the site's Host gets the foreign server's bytes, and nothing is shared."""
    w = World(lab)
    foreign = lab.host("foreign")
    root = os.path.join(foreign.dir, "www")
    os.mkdir(root, 0o755)
    other = random_file(os.path.join(root, "big.bin"), MIB, seed=9)
    Nginx(foreign, root)
    c = w.client()
    for known in (False, True):
        status, _, body = get(c, "http://%s/big.bin" % foreign.ip, "-H", "Host: " + NAME)
        expect(status == 200 and body == content(other), "the foreign server's bytes (object known: %s)" % known, (status, len(body)))
        expect(len(c.transfers()) == (1 if known else 0), "nothing of it shared", c.transfers())
        if not known:
            expect(w.nginx.requests() == [], "the site's origin not to have been asked", w.nginx.requests())
            expect_whole(fetch(c), w.sum)
