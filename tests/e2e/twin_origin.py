"""An HTTP server for the twin cases: raw sockets, so that every oddity of an origin can be had on demand.

twin_origin.py ADDRESS PORT LOG OBJECT

The first part of a path, if it is c or w and digits, only makes another resource of the same behaviour. What the rest does is in
ANSWERS. Every request head is appended to LOG as one line of JSON, and once more, as "whole", when an upload has
all come.
"""
import email.utils
import gzip
import hashlib
import json
import re
import socket
import sys
import threading
import time

ADDRESS, PORT, LOG, OBJECT = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
with open(OBJECT, "rb") as f:
    BODY = f.read()
LAST_MODIFIED = "Tue, 14 Nov 2023 22:13:20 GMT"
STRONG = [("ETag", '"strong"'), ("Accept-Ranges", "bytes")]
log_lock = threading.Lock()


class Request:
    def __init__(self, stream, head):
        self.stream, self.head = stream, head
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ", 2)
        self.fields = [(n, v.strip()) for n, _, v in (line.partition(":") for line in lines[1:] if line)]
        # RFC 9112 §3.2.2: an origin takes absolute-form as well.
        if self.target.startswith("http://"):
            host = self.target.split("/")[2]
            self.fields = [(n, host if n.lower() == "host" else v) for n, v in self.fields]
        self.path = "/" + self.target.split("/", 3)[3] if self.target.startswith("http://") else self.target

    def field(self, name):
        return next((v for n, v in self.fields if n.lower() == name), None)

    def content(self):
        """Reads the request's content; None where it broke off."""
        s = self.stream
        if (self.field("transfer-encoding") or "").lower() == "chunked":
            out = b""
            while True:
                size = s.readline()
                if not size.endswith(b"\r\n"):
                    return None
                n = int(size.split(b";")[0], 16)
                if n == 0:
                    while s.readline() not in (b"\r\n", b""):
                        pass
                    return out
                piece = s.read(n)
                if len(piece) < n or s.read(2) != b"\r\n":
                    return None
                out += piece
        n = int(self.field("content-length") or 0)
        data = s.read(n)
        return data if len(data) == n else None

    def send(self, data):
        self.stream.write(data)
        self.stream.flush()

    def answer(self, status="200 OK", fields=(), body=b"", framing="length", version="1.1", date=True):
        head = "HTTP/%s %s\r\n" % (version, status)
        head += "".join("%s: %s\r\n" % (n, v) for n, v in fields)
        if date == "now":
            head += "Date: %s\r\n" % email.utils.formatdate(usegmt=True)
        elif date:
            head += "Date: Wed, 01 Jan 2025 00:00:00 GMT\r\n"
        if framing == "length":
            head += "Content-Length: %d\r\n" % len(body)
        elif framing == "chunked":
            head += "Transfer-Encoding: chunked\r\n"
        self.send(head.encode("latin-1") + b"\r\n" + (b"" if self.method == "HEAD" else body))


def note(r, what):
    with log_lock, open(LOG, "a") as f:
        f.write(json.dumps({"line": "%s %s" % (r.method, r.target), "what": what, "head": r.head.decode("latin-1")}) + "\n")


def chunks(data, last=b"0\r\n\r\n"):
    step = max(1, len(data) // 5)
    return b"".join(b"%x\r\n%s\r\n" % (len(data[i:i + step]), data[i:i + step]) for i in range(0, len(data), step)) + last


def echo(r):
    """What the origin saw, as the answer: the request's own comparison."""
    body = r.content()
    own = ("x-forwarded-for", "x-forwarded-proto", "connection", "via")
    seen = {"method": r.method, "target": re.sub("/[cw][0-9]+/", "/", r.path), "fields": sorted([n.lower(), v] for n, v in r.fields if n.lower() not in own),
            "length": len(body), "sum": hashlib.sha256(body).hexdigest()}
    r.answer(fields=[("Content-Type", "application/json")], body=json.dumps(seen).encode())


def upload(r):
    if (r.field("expect") or "").lower() == "100-continue":
        r.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = r.content()
    if body is None:
        return False
    note(r, "whole")
    r.answer("201 Created", [("Location", "/made"), ("X-Length", str(len(body))), ("X-Sum", hashlib.sha256(body).hexdigest())], b"made\n")
    return None


def refused_early(r):
    r.answer("413 Content Too Large", [("Connection", "close")], b"too large\n")
    return False


def expectation_failed(r):
    r.answer("417 Expectation Failed", [("Connection", "close")], b"no\n")
    return False


def interim(r):
    r.send(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nX-Hint: 1\r\n\r\n")
    r.answer(fields=STRONG, body=BODY)


def interim_small(r):
    r.send(b"HTTP/1.1 103 Early Hints\r\nX-Hint: 1\r\n\r\n")
    r.answer(fields=STRONG, body=b"small\n")


def upgrade(r):
    if (r.field("upgrade") or "").lower() != "echo":
        return r.answer("426 Upgrade Required", [("Upgrade", "echo"), ("Connection", "Upgrade")], b"upgrade\n")
    r.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\nX-Protocol: 1\r\n\r\n")
    while data := r.stream.read1(65536):
        r.send(data.upper())
    return False


def close_delimited(r):
    r.answer(fields=[("ETag", '"c"'), ("Connection", "close")], body=BODY, framing="close")
    return False


def old(r):
    r.answer(fields=STRONG, body=BODY, version="1.0")
    return False


def old_close_delimited(r):
    r.answer(fields=[("Content-Type", "text/plain")], body=b"to the end\n", framing="close", version="1.0")
    return False


def short(r):
    r.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
    return False


def short_chunked(r):
    r.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\nonly this")
    return False


def chunked(r):
    r.answer(fields=[("ETag", '"ch"'), ("Accept-Ranges", "bytes")], body=chunks(BODY), framing="chunked")


def trailers(r):
    last = b"0\r\nX-Checksum: 0123\r\nServer-Timing: total;dur=1\r\n\r\n"
    r.answer(fields=[("Trailer", "X-Checksum, Server-Timing")], body=chunks(b"with trailers", last), framing="chunked")


def odd_fields(r):
    r.answer(fields=[("X-Empty", ""), ("x-lower", "a"), ("X-UPPER", "B"), ("X-Twice", "1"), ("X-Twice", "2"), ("X-Tab", "a\tb"),
                     ("X-Latin", "caf\xe9"), ("X-Quoted", '"a, \\"b"'), ("X-Spaces", "a   b"), ("Link", "</a>; rel=next"),
                     ("WWW-Authenticate", 'Basic realm="x"'), ("Age", "7"), ("Warning", '199 - "x"'), ("Pragma", "no-cache"),
                     ("Expires", "0"), ("X_underscore", "1"), ("Content-Language", "de, en"), ("Content-Location", "/else"),
                     ("Refresh", "5; url=/x"), ("Alt-Svc", 'h3=":443"'), ("Strict-Transport-Security", "max-age=1")] + STRONG,
             body=BODY)


def long_fields(r):
    r.answer(fields=[("X-Long", "a" * 30000), ("X-Also-Long", "b" * 20000)], body=b"long\n")


def many_fields(r):
    r.answer(fields=[("X-%d" % i, str(i)) for i in range(120)], body=b"many\n")


def status_of(code):
    def answer(r):
        none = code in ("204", "304")
        extra = [("Location", "/elsewhere"), ("Retry-After", "7")]
        r.answer(code + " As It Is", extra, b"" if none else b"status " + code.encode(), "none" if none else "length")
    return answer


def shared(*fields, date=True, status="200 OK", body=BODY):
    return lambda r: r.answer(status, list(fields), body, date=date)


def fresh(*fields):
    return shared(*STRONG, *fields, date="now")


def in_seconds(n):
    return email.utils.formatdate(time.time() + n, usegmt=True)


def expires_in(n):
    return lambda r: r.answer(fields=[*STRONG, ("Expires", in_seconds(n))], body=BODY, date="now")


def cache_control(value):
    return fresh(("Cache-Control", value))


def if_none_match(r):
    tags = r.field("if-none-match") or ""
    if '"inm"' in tags:
        return r.answer("304 Not Modified", [("ETag", '"inm"')], framing="none")
    return r.answer(fields=[("ETag", '"inm"'), ("Accept-Ranges", "bytes"), ("X-Of-200", "1")], body=BODY)


def negotiated(r):
    """Compresses for who accepts it, and says nothing in Vary, as many do."""
    if '"plain"' in (r.field("if-none-match") or ""):
        return r.answer("304 Not Modified", [("ETag", '"plain"')], framing="none")
    if "gzip" in (r.field("accept-encoding") or ""):
        return r.answer(fields=[("ETag", 'W/"plain"'), ("Content-Encoding", "gzip")], body=gzip.compress(BODY, 1, mtime=0))
    return r.answer(fields=[("ETag", '"plain"'), ("Accept-Ranges", "bytes")], body=BODY)


ANSWERS = {
    "strong": shared(*STRONG, ("Content-Type", "application/octet-stream")),
    "no-ranges": shared(("ETag", '"n"')),
    "ranges-none": shared(("ETag", '"n"'), ("Accept-Ranges", "none")),
    "no-validator": shared(("Accept-Ranges", "bytes")),
    "weak": shared(("ETag", 'W/"w"'), ("Accept-Ranges", "bytes")),
    "dated": shared(("Last-Modified", LAST_MODIFIED), ("Accept-Ranges", "bytes")),
    "dateless": shared(*STRONG, date=False),
    "cookie": shared(*STRONG, ("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2, 3")),
    "vary": shared(*STRONG, ("Vary", "User-Agent")),
    "vary-encoding": shared(*STRONG, ("Vary", "accept-encoding")),
    "vary-star": shared(*STRONG, ("Vary", "*")),
    "encoded": shared(*STRONG, ("Content-Encoding", "gzip"), body=gzip.compress(BODY, 1, mtime=0)),
    "private": shared(*STRONG, ("Cache-Control", "private, max-age=60")),
    "no-store": shared(*STRONG, ("Cache-Control", "no-store")),
    "no-cache": shared(*STRONG, ("Cache-Control", "no-cache")),
    "reason": shared(status="200 Very fine, thank you", body=b"x"),
    "no-reason": shared(status="200 ", body=b"x"),
    "empty": shared(*STRONG, body=b""),
    "redirect": shared(("Location", "https://script.example.org/strong"), status="301 Moved Permanently", body=b"moved"),
    "interim": interim, "interim-small": interim_small, "upgrade": upgrade, "close": close_delimited, "old": old, "old-close": old_close_delimited,
    "short": short, "short-chunked": short_chunked, "chunked": chunked, "trailers": trailers, "odd-fields": odd_fields,
    "long-fields": long_fields, "many-fields": many_fields, "echo": echo, "upload": upload, "refused-early": refused_early,
    "expectation-failed": expectation_failed, "if-none-match": if_none_match, "negotiated": negotiated,
    "fresh/max-age": cache_control("max-age=600"), "fresh/s-maxage": cache_control("max-age=0, s-maxage=600"), "fresh/expires": expires_in(600),
    "fresh/revalidate": cache_control("max-age=600, must-revalidate"), "fresh/short": cache_control("max-age=2"),
    "fresh/vary-encoding": fresh(("Cache-Control", "max-age=600"), ("Vary", "Accept-Encoding")),
    "stale/nothing": fresh(), "stale/expired": expires_in(-1), "stale/s-maxage": cache_control("max-age=600, s-maxage=0"),
    "stale/twice": cache_control("max-age=600, max-age=600"), "stale/unreadable": cache_control("max-age=a"),
    "stale/private": cache_control("private, max-age=600"), "stale/no-store": cache_control("no-store, max-age=600"),
    "stale/no-cache": cache_control("no-cache, max-age=600"), "stale/aged": fresh(("Cache-Control", "max-age=600"), ("Age", "600")),
    "stale/heuristic": fresh(("Last-Modified", LAST_MODIFIED)),
    "stale/cookie": fresh(("Cache-Control", "max-age=600"), ("Set-Cookie", "a=1")),
    "stale/vary": fresh(("Cache-Control", "max-age=600"), ("Vary", "User-Agent")),
    "stale/vary-star": fresh(("Cache-Control", "max-age=600"), ("Vary", "*")),
}


def serve(connection):
    stream = connection.makefile("rwb")
    while True:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                return
            head += line
        r = Request(stream, head[:-4])
        note(r, "head")
        name = re.sub(r"^/[cw][0-9]+(?=/)", "", r.path.partition("?")[0]).lstrip("/")
        if name.startswith("status/"):
            answer = status_of(name[7:])
        else:
            answer = ANSWERS.get(name, shared(status="404 Not Found", body=b"no such thing\n"))
        if answer(r) is False or (r.field("connection") or "").lower() == "close":
            return


def guarded(connection):
    with connection:
        try:
            serve(connection)
        except (OSError, ValueError):
            pass


with socket.create_server((ADDRESS, PORT), backlog=128) as listener:
    print("listening", flush=True)
    while True:
        threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()
