"""A request that two programs could read in two ways is refused and gets no further (RFC 9112 §11.2)."""
import subprocess

from scene import case, expect
from twin import Place, ask, name_of

HOST = "Host: script.example.org\r\n"
SECOND = "GET /smuggled HTTP/1.1\r\n" + HOST + "\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n\r\n"


def post(fields, content=""):
    return "POST %s HTTP/1.1\r\n" + HOST + fields + content


def get(more):
    return "GET %s HTTP/1.1\r\n" + HOST + more


# %s is the path, or the whole URL. Refused before anything is passed on.
HEADS = {
    "CL and TE": post("Content-Length: 6\r\n" + CHUNKED, "0\r\n\r\nG"),
    "TE and CL": post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", "5c\r\n" + SECOND),
    "two lengths": post("Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SECOND), SECOND),
    "the same length twice": post("Content-Length: 0\r\nContent-Length: 0\r\n\r\n"),
    "a list of lengths": post("Content-Length: 0, 0\r\n\r\n"),
    "a signed length": post("Content-Length: +0\r\n\r\n", SECOND),
    "a length in base 16": post("Content-Length: 0x0\r\n\r\n", SECOND),
    "space before the colon": post("Content-Length : 5\r\n\r\n", "abcde"),
    "tab before the colon": post("Transfer-Encoding\t: chunked\r\n\r\n", "0\r\n\r\n"),
    "another coding": post("Transfer-Encoding: xchunked\r\n\r\n", "0\r\n\r\n"),
    "codings": post("Transfer-Encoding: gzip, chunked\r\n\r\n", "0\r\n\r\n"),
    "chunked twice": post("Transfer-Encoding: chunked\r\n" + CHUNKED, "0\r\n\r\n"),
    "chunked for HTTP/1.0": "POST %s HTTP/1.0\r\n" + HOST + CHUNKED + "0\r\n\r\n",
    "folded": get("X: a\r\n b\r\n\r\n"),
    "folded coding": post("Transfer-Encoding:\r\n chunked\r\n\r\n", "0\r\n\r\n"),
    "bare LF": get("X: a\nTransfer-Encoding: chunked\r\n\r\n"),
    "bare CR": get("X: a\rTransfer-Encoding: chunked\r\n\r\n"),
    "LF alone ends the head": get("X: a\r\n\n" + SECOND),
    "NUL": get("X: a\0b\r\n\r\n"),
    "two Hosts": get("Host: other.example.org\r\n\r\n"),
    "no Host": "GET %s HTTP/1.1\r\n\r\n",
    "a space in the target": "GET %s x HTTP/1.1\r\n" + HOST + "\r\n",
    "a method that is none": "G(T %s HTTP/1.1\r\n" + HOST + "\r\n",
    "no colon": get("X\r\n\r\n"),
    "a version of its own": "GET %s HTTP/1.2\r\n" + HOST + "\r\n",
}
# Refused in the content: the origin may have seen the head, and never an end of the content, nor what follows.
CONTENTS = {
    "LF after a chunk's size": "3\nabc\r\n0\r\n\r\n",
    "LF in an extension": "3;a\nabc\r\n0\r\n\r\n",
    "CR in an extension": "3;a\rb\r\nabc\r\n0\r\n\r\n",
    "an extension without a size": ";a\r\n\r\n",
    "a size in another form": "0x3\r\nabc\r\n0\r\n\r\n",
    "a signed size": "+3\r\nabc\r\n0\r\n\r\n",
    "space around a size": "3 \r\nabc\r\n0\r\n\r\n",
    "a size beyond all bounds": "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a chunk that is longer than it says": "3\r\nabcd\r\n0\r\n\r\n",
    "a trailer without a colon": "0\r\nX\r\n\r\n",
    "a folded trailer": "0\r\nX: a\r\n b\r\n\r\n",
}


def nothing_of(place, path):
    return [r for r in place.seen() if path in r["line"] or "smuggled" in r["line"]]


@case()
def two_readings_are_refused(lab):
    """What could smuggle a request is a 400 at the client, redirected or as by a proxy, and at the server; the origin sees nothing of it."""
    place = Place(lab, "script", clients=1)
    client = place.clients[0]
    for way in ("redirect", "proxy"):
        probes, paths = [], []
        to = [place.address["script"], 80] if way == "redirect" else ["127.0.0.1", client.proxy_port]
        for n, text in enumerate(list(HEADS.values()) + [post(CHUNKED, c) for c in CONTENTS.values()]):
            paths.append("/%s%d/%s" % ("c" if way == "redirect" else "w", n, "upload" if n >= len(HEADS) else "echo"))
            target = paths[-1] if way == "redirect" else "http://" + name_of("script") + paths[-1]
            # Whatever is left of it in somebody's buffer is to come out.
            probes.append({"to": to, "method": "GET", "segments": [text % target + SECOND], "timeout": 5})
        answers = [a[0] for a in ask(client.host, probes)]
        for n, (name, answer) in enumerate(zip(list(HEADS) + list(CONTENTS), answers)):
            expect(answer["status"] == 400, "400 for %s (%s)" % (name, way), answer)
            seen = nothing_of(place, paths[n])
            if n < len(HEADS):
                expect(seen == [], "the origin to see nothing of %s (%s)" % (name, way), seen)
            else:
                expect(all(r["what"] == "head" and "smuggled" not in r["line"] for r in seen), "no more than a head of %s (%s)" % (name, way), seen)

    # A browser at the server.
    server = place.server
    for n, (name, text) in enumerate(HEADS.items()):
        path = "/s%d/echo" % n
        r = subprocess.run(place.alone.prefix + ["openssl", "s_client", "-quiet", "-connect", server.address(), "-servername", name_of("script")],
                           input=(text % path + SECOND).encode("latin-1"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, check=False)
        expect(r.stdout.startswith(b"HTTP/1.1 400 "), "400 for %s at the server" % name, r.stdout[:200])
        expect(nothing_of(place, path) == [], "the origin to see nothing of %s by the server" % name)


@case()
def what_is_well_formed_is_passed(lab):
    """Chunk extensions and trailers that are well formed go no further, their content does; an empty line before a request is none."""
    place = Place(lab, "script", clients=1)
    client = place.clients[0]
    to = [place.address["script"], 80]
    bodies = ["3;a=b;c=\"d\"\r\nabc\r\n0;x\r\n\r\n", "3\r\nabc\r\n0\r\nX-Trailer: a\r\nY: b\r\n\r\n", "00003\r\nabc\r\n000\r\n\r\n"]
    probes = [{"to": to, "method": "POST", "segments": [post(CHUNKED, body) % "/upload"]} for body in bodies]
    probes.append({"to": to, "method": "GET", "segments": ["\r\n" + get("\r\n") % "/no-validator"]})
    answers = [a[0] for a in ask(client.host, probes)]
    for body, answer in zip(bodies, answers):
        fields = {n.lower(): v for n, v in answer["fields"]}
        expect(answer["status"] == 201 and fields["x-length"] == "3", "three bytes of %r" % body, answer)
    expect(answers[-1]["status"] == 200, "an answer after an empty line", answers[-1])
    expect(not any("x-trailer" in r["head"].lower() for r in place.seen()), "no trailer at the origin")
