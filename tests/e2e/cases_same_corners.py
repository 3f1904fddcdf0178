"""The corners of HTTP, each request directly and through both proxies: the same status, fields and bytes (twin.py says what may differ)."""
from scene import case, expect, named
from twin import Place, Row, SIZE, ask, compare, differences, message

GZIP = ("Accept-Encoding", "gzip")
TIMED = "Tue, 14 Nov 2023 22:13:20 GMT"  # of the files
EARLIER, LATER = "Mon, 13 Nov 2023 00:00:00 GMT", "Wed, 15 Nov 2023 00:00:00 GMT"

RANGES = ("0-0", "0-", "0-99", "65000-66000", "%d-" % (SIZE - 1), "%d-%d" % (SIZE - 1, SIZE + 10), "-1", "-1000", "-%d" % (SIZE + 1),
          "%d-" % SIZE, "%d-%d" % (SIZE, SIZE), "-0", "0-0,10-19", "0-9,5-14", "0-0,-1", "0-0,%d-" % SIZE, "5-4", "a-b", "", "1-2,", " 3-4",
          "0-99999999999999999999")


def of_script():
    get = [(path, ()) for path in (
        "strong", "no-ranges", "ranges-none", "no-validator", "weak", "dated", "dateless", "cookie", "vary", "vary-encoding", "vary-star",
        "encoded", "private", "no-store", "no-cache", "reason", "no-reason", "empty", "redirect", "interim", "close", "old", "old-close",
        "chunked", "trailers", "odd-fields", "long-fields", "many-fields", "if-none-match", "negotiated", "nothing", "short",
        "short-chunked")]
    get += [("status/%d" % n, ()) for n in (200, 203, 204, 206, 300, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 407, 408, 410,
                                            416, 418, 421, 425, 429, 451, 500, 501, 502, 503, 504, 505, 511, 599)]
    rows = [Row("GET " + path, "script", "GET", "/" + path, fields) for path, fields in get]
    rows += [Row("HEAD " + path, "script", "HEAD", "/" + path) for path in ("strong", "weak", "chunked", "close", "redirect", "nothing", "cookie")]
    for path in ("strong", "no-ranges", "ranges-none", "no-validator", "weak", "dated", "old", "chunked"):
        for fields in ([("Range", "bytes=10-19")], [("If-None-Match", '"strong"')], [("If-Match", '"other"')], [("If-None-Match", "*")],
                       [("If-Modified-Since", LATER)], [("If-Unmodified-Since", EARLIER)],
                       [("Range", "bytes=10-19"), ("If-Range", '"strong"')]):
            # This origin takes no notice of ranges and conditions, and says that it does.
            if fields[0][0] == "Range" and path not in ("no-ranges", "ranges-none", "no-validator", "weak", "chunked"):
                continue
            rows.append(Row("GET %s with %s" % (path, fields), "script", "GET", "/" + path, fields))
    rows += [
        Row("HTTP/1.0", "script", "GET", "/strong", minor=0),
        Row("HTTP/1.0 chunked", "script", "GET", "/chunked", minor=0),
        Row("HTTP/1.0 kept alive", "script", "GET", "/strong", [("Connection", "keep-alive")], minor=0),
        Row("HTTP/1.0 upload", "script", "POST", "/upload", body="a" * 1000, minor=0),
        Row("accepting gzip", "script", "GET", "/negotiated", [GZIP]),
        Row("not accepting gzip", "script", "GET", "/negotiated", [("Accept-Encoding", "identity")]),
        Row("its own 304", "script", "GET", "/if-none-match", [("If-None-Match", '"inm"')]),
        Row("not its own 304", "script", "GET", "/if-none-match", [("If-None-Match", '"other"')]),
        Row("101", "script", "GET", "/upgrade", [("Connection", "Upgrade"), ("Upgrade", "echo")], tunnel="through the tunnel"),
        Row("interim answers to a part of what is not shared", "script", "GET", "/interim-small", [("Range", "bytes=0-1")]),
        Row("no 101", "script", "GET", "/upgrade"),
        Row("no 101 for another protocol", "script", "GET", "/upgrade", [("Connection", "Upgrade"), ("Upgrade", "websocket")]),
        Row("trailers accepted", "script", "GET", "/trailers", [("TE", "trailers"), ("Connection", "TE, close")]),
        Row("trailers of a HEAD", "script", "HEAD", "/trailers"),
        Row("absolute-form", "script", "GET", "/strong", target="http://script.example.org/strong"),
        Row("absolute-form and another Host", "script", "GET", "/echo", [("Host", "other.example.org")],
            target="http://script.example.org/echo"),
        Row("echo", "script", "GET", "/echo?a=b&c=%2F%20+'\"", [("Cookie", "a=b"), ("Authorization", "Basic eDp5"), ("X-Twice", "1"),
            ("X-Twice", "2"), ("x-lower", "a"), ("X-Empty", ""), ("Accept", "*/*"), ("Referer", "http://a/b"), ("Cache-Control", "no-cache"),
            ("User-Agent", "u/1"), ("DNT", "1"), ("X_underscore", "1"), ("Accept-Encoding", "gzip, br;q=0.5, *;q=0")]),
        Row("echo of a range", "script", "GET", "/echo", [("Range", "bytes=1-2"), ("If-Range", '"x"')]),
        Row("echo of preconditions", "script", "GET", "/echo", [("If-None-Match", '"x", W/"y"'), ("If-Modified-Since", LATER)]),
        Row("unknown method", "script", "FROBNICATE", "/echo"),
        Row("DELETE", "script", "DELETE", "/echo"),
        Row("OPTIONS", "script", "OPTIONS", "/echo"),
        Row("PATCH", "script", "PATCH", "/echo", [("Content-Type", "a/b")], body="x" * 1000),
        Row("GET with content", "script", "GET", "/echo", body="content"),
        Row("GET with no content", "script", "GET", "/strong", body=""),
        Row("POST of nothing", "script", "POST", "/upload", body=""),
        Row("POST without length", "script", "POST", "/upload"),
        Row("POST of a byte", "script", "POST", "/upload", body="a"),
        Row("PUT of megabytes", "script", "PUT", "/upload", body="0123456789abcdef" * 200_000, states=("warm",)),
        Row("POST of no chunks", "script", "POST", "/upload", body=[]),
        Row("POST of a chunk", "script", "POST", "/upload", body=["a"]),
        Row("PUT of chunks", "script", "PUT", "/upload", body=["0123456789abcdef" * 5000] * 40, states=("warm",)),
        Row("Expect: 100-continue", "script", "PUT", "/upload", [("Expect", "100-continue")], body="a" * 1000, expect=True),
        Row("Expect, refused", "script", "PUT", "/expectation-failed", [("Expect", "100-continue")], body="a" * 1000, expect=True),
        Row("Expect, too large", "script", "PUT", "/refused-early", [("Expect", "100-continue")], body="a" * 1000, expect=True),
        Row("a large request head", "script", "GET", "/echo", [("X-Large", "x" * 30000), ("Cookie", "c" * 16000)]),
        Row("many request fields", "script", "GET", "/echo", [("X-%d" % i, str(i)) for i in range(100)]),
        Row("a long target", "script", "GET", "/echo?" + "q" * 8000),
    ]
    return rows


def of_files(origin):
    """What every server of files has an opinion about."""
    etag = {"nginx": '"65540a70-30d40"', "apache": '"30d40-60a242d70f800"', "python": '"none"'}[origin]
    rows = [Row("GET " + path, origin, "GET", "/" + path) for path in ("obj.bin", "small.bin", "empty.bin", "text.txt", "none")]
    rows.append(Row("GET directory", origin, "GET", "/directory", states=("warm", "peer")))
    rows += [Row("HEAD " + path, origin, "HEAD", "/" + path) for path in ("obj.bin", "small.bin", "empty.bin", "text.txt", "none")]
    rows += [Row("Range " + r, origin, "GET", "/obj.bin", [("Range", "bytes=" + r)]) for r in RANGES]
    rows += [Row("Range %s of what is not shared" % r, origin, "GET", "/small.bin", [("Range", "bytes=" + r)]) for r in ("0-9", "0-0,2-3", "99999-")]
    conditions = [
        [("If-Match", etag)], [("If-Match", '"other"')], [("If-Match", "*")], [("If-Match", '"a", %s' % etag)], [("If-Match", "W/" + etag)],
        [("If-Match", "broken")], [("If-None-Match", etag)], [("If-None-Match", "W/" + etag)], [("If-None-Match", '"other"')],
        [("If-None-Match", "*")], [("If-None-Match", '"a", %s' % etag)], [("If-None-Match", "broken")],
        [("If-Modified-Since", TIMED)], [("If-Modified-Since", EARLIER)], [("If-Modified-Since", LATER)], [("If-Modified-Since", "x")],
        [("If-Unmodified-Since", TIMED)], [("If-Unmodified-Since", EARLIER)], [("If-Unmodified-Since", LATER)],
        [("If-None-Match", '"other"'), ("If-Modified-Since", LATER)], [("If-None-Match", etag), ("If-Modified-Since", EARLIER)],
        [("If-Match", etag), ("If-Unmodified-Since", EARLIER)], [("If-Match", '"other"'), ("If-None-Match", etag)],
        [("If-Match", etag), ("If-None-Match", etag)], [("If-Unmodified-Since", EARLIER), ("If-None-Match", etag)],
    ]
    for c in conditions:
        rows.append(Row("GET %s" % c, origin, "GET", "/obj.bin", c))
        rows.append(Row("HEAD %s" % c, origin, "HEAD", "/obj.bin", c))
        rows.append(Row("Range with %s" % c, origin, "GET", "/obj.bin", c + [("Range", "bytes=10-19")]))
    rows += [Row("If-Range %s" % v, origin, "GET", "/obj.bin", [("Range", "bytes=10-19"), ("If-Range", v)])
             for v in (etag, "W/" + etag, '"other"', TIMED, EARLIER, LATER, "x", "%s, %s" % (etag, etag))]
    rows += [
        Row("If-Range, beyond the end", origin, "GET", "/obj.bin", [("Range", "bytes=%d-" % SIZE), ("If-Range", etag)]),
        Row("If-Range of another, beyond the end", origin, "GET", "/obj.bin", [("Range", "bytes=%d-" % SIZE), ("If-Range", '"other"')]),
        Row("If-Range without Range", origin, "GET", "/obj.bin", [("If-Range", '"other"')]),
        Row("Range of another unit", origin, "GET", "/obj.bin", [("Range", "lines=1-2")]),
        Row("HEAD with Range", origin, "HEAD", "/obj.bin", [("Range", "bytes=1-2")]),
        Row("gzip accepted", origin, "GET", "/text.txt", [GZIP]),
        Row("gzip accepted, HEAD", origin, "HEAD", "/text.txt", [GZIP]),
        Row("gzip accepted where nothing is compressed", origin, "GET", "/obj.bin", [GZIP]),
        Row("gzip accepted, Range", origin, "GET", "/text.txt", [GZIP, ("Range", "bytes=0-99")]),
        Row("gzip refused", origin, "GET", "/text.txt", [("Accept-Encoding", "identity, gzip;q=0")]),
        Row("HTTP/1.0", origin, "GET", "/obj.bin", minor=0),
        Row("HTTP/1.0 not shared", origin, "GET", "/small.bin", minor=0),
        Row("HTTP/1.0 without Host", origin, "GET", "/small.bin", [("Host", "")], minor=0, states=()),
        Row("POST to a file", origin, "POST", "/obj.bin", body="x"),
        Row("a query", origin, "GET", "/obj.bin?a=b"),
        Row("an encoded path", origin, "GET", "/%6fbj.bin"),
        Row("no-cache", origin, "GET", "/obj.bin", [("Cache-Control", "no-cache")]),
        Row("Accept-Language", origin, "GET", "/obj.bin", [("Accept-Language", "de, en;q=0.5")]),
    ]
    return rows


def same(lab, origin):
    rows = of_script() if origin == "script" else of_files(origin)
    place = Place(lab, origin, clients=2, copies=2 * len(rows))
    found, count = compare(place, rows)
    expect(not found, "%d answers to be the same" % count, "\n  ".join(["%d differences" % len(found)] + found))
    for client in place.clients:
        moved = sum(t["from_server"] + t["from_peers"] for t in client.transfers())
        expect(moved >= SIZE, "%s to have had shared objects" % client.host.name, client.transfers())


# On one connection, without waiting for any answer.
PIPELINED = [("GET", "/strong"), ("HEAD", "/strong"), ("GET", "/chunked"), ("POST", "/upload", (), "a" * 5000), ("GET", "/status/404"),
             ("GET", "/no-ranges", [("Range", "bytes=10-19")]), ("GET", "/empty"), ("GET", "/interim"), ("PUT", "/upload", (), ["ab", "c" * 3000]),
             ("GET", "/if-none-match", [("If-None-Match", '"inm"')]), ("GET", "/status/204"), ("GET", "/dated"), ("FROBNICATE", "/echo"),
             ("GET", "/no-validator"), ("GET", "/odd-fields")]


@case()
def pipelined_as_directly(lab):
    """Fifteen requests on one connection, sent at once, have the answers that they have directly, in their order, cold and from the store."""
    place = Place(lab, "script", clients=1)
    client = place.clients[0]

    def pipeline(way):
        to = ["127.0.0.1", client.proxy_port] if way == "proxy" else [place.address["script"], 80]
        text = "".join("".join(message("script", way, *row, keep=row is not PIPELINED[-1])) for row in PIPELINED)
        return {"to": to, "method": "GET", "methods": [row[0] for row in PIPELINED], "segments": [text]}
    direct = ask(place.alone, [pipeline("direct")])[0]
    expect(len(direct) == len(PIPELINED), "an answer to each directly", [a["status"] for a in direct])
    for state in ("cold", "warm"):
        for way in ("redirect", "proxy"):
            ours = ask(client.host, [pipeline(way)])[0]
            expect(len(ours) == len(direct), "an answer to each, %s, %s" % (state, way), [a["status"] for a in ours])
            found = ["%s: %s" % (row[:2], d) for row, a, b in zip(PIPELINED, direct, ours) for d in differences(a, b, way)]
            expect(not found, "the same answers, %s, %s" % (state, way), found)
    expect("how=shared" in client.log(), "shared objects among them")


for _origin, _what in (("script", "an origin with every oddity"), ("nginx", "nginx"), ("apache", "Apache"), ("python", "Python's http.server")):
    def _case(lab, origin=_origin):
        same(lab, origin)
    globals()["answers_of_" + _origin] = case()(named(
        _case, "answers_of_" + _origin, "Every request to %s has the same answer as without us: cold, from the store, from a peer." % _what))
del _origin, _what, _case
