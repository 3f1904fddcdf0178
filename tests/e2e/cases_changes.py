"""The origin fails, changes what it has, or lies about it: 502 or 504 where nothing was said yet, a broken connection where
something was, never an end that looks whole and is not, never a mixture."""
import os
import shutil
import sys

from harness import random_file, sha256, wait_for
from scene import (MIB, SLOW, World, begin, case, content, expect, expect_broken, expect_whole, fetch, half_way, named, transfer,
                   wait_hashed, wait_received)

# /shared/END, /length/END, /chunked/END: half of the file, then, once the file `go` is there, the END: close, reset or hang.
# /mute: no answer at all. HEAD and conditions mean nothing to it.
_ORIGIN = r"""
import os, socket, struct, sys, threading, time
port, path, go = int(sys.argv[1]), sys.argv[2], sys.argv[3]
body = open(path, "rb").read()
held = []

def serve(s):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = s.recv(65536)
        if not piece:
            return s.close()
        data += piece
    kind, _, end = data.split(b" ")[1].decode().strip("/").partition("/")
    if kind == "mute":
        return held.append(s)
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
    half = body[:len(body) // 2]
    if kind == "chunked":
        s.sendall((head + "Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(half)).encode() + half + b"\r\n")
    else:
        if kind == "shared":
            head += 'ETag: "%s"\r\nAccept-Ranges: bytes\r\n' % end
        s.sendall((head + "Content-Length: %d\r\n\r\n" % len(body)).encode() + half)
    while not os.path.exists(go):
        time.sleep(0.02)
    if end == "hang":
        return held.append(s)
    if end == "reset":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()

listener = socket.create_server(("127.0.0.1", port))
print("listening", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def scripted(lab):
    """A world before whose nginx stands an origin that fails on demand; and the file that demands it."""
    w = World(lab, origin='url = "http://127.0.0.1:8081"\ntimeout = "2s"')
    go = os.path.join(w.host.dir, "go")
    p = w.host.program("script", [sys.executable, w.host.write("script.py", _ORIGIN), "8081", w.big, go])
    wait_for("the origin", lambda: "listening" in p.text())
    return w, go, p


# ── It dies ──

def breaks_off(lab, kind):
    w, go, _ = scripted(lab)
    c = w.client(fallback="none")
    for end in ("close", "reset", "hang"):
        d = begin(c, "/%s/%s" % (kind, end))
        wait_received(d, MIB)
        with open(go, "w"):
            pass
        expect_broken(w, d)
        expect(len(content(d.output)) <= w.length // 2, "no more than the origin sent (%s)" % end, d.size())
        os.unlink(go)
    if kind == "shared":
        expect(w.server.status()["counters"]["manifests_withdrawn"] == 3, "the server to let go of what it could not finish")


for _kind, _what in (("shared", "a shared object"), ("length", "a relayed answer"), ("chunked", "a relayed chunked answer")):
    def _case(lab, kind=_kind):
        breaks_off(lab, kind)
    globals()["origin_breaks_off_" + _kind] = case()(named(
        _case, "origin_breaks_off_" + _kind,
        "An origin that closes, resets or falls silent in the middle of %s: the application's connection breaks too." % _what))
del _kind, _what, _case


@case()
def origin_is_mute(lab):
    """An origin that takes a request and says nothing is a 504; one that is gone a 502."""
    w, _, script = scripted(lab)
    c = w.client(fallback="origin")
    for via in (False, True):
        d = fetch(c, "/mute", via_proxy=via)
        expect(d.result["status"] == 504, "504", d.result)
    script.kill()
    for via in (False, True):
        d = fetch(c, "/mute", via_proxy=via)
        expect(d.result["status"] == 502, "502", d.result)


@case()
def origin_killed_cold(lab):
    """The origin is killed while it sends a cold object: the application's connection breaks; whoever asks then gets 502."""
    w = World(lab, nginx_extra="limit_rate 2m;")
    c, other = w.client(fallback="none"), w.client(fallback="none")
    downloads = [begin(p) for p in (c, other)]
    for d in downloads:
        wait_received(d, MIB)
    w.nginx.program.kill()
    for d in downloads:
        expect_broken(w, d)
    for path in ("/big.bin", "/small.bin"):
        d = fetch(c, path)
        expect(d.result["status"] == 502, "502 for " + path, d.result)


@case()
def origin_killed_known(lab):
    """The origin is killed after an object was hashed: downloads under way end whole; nothing comes without the origin's word."""
    w, c, d = half_way(lab)
    w.nginx.program.kill()
    d.finish()
    expect_whole(d, w.sum)
    for path in ("/big.bin", "/small.bin"):
        d = fetch(c, path)
        expect(d.result["status"] == 502, "502 for %s, in the store or not" % path, d.result)


@case()
def origin_fails_at_every_re_read(lab):
    """An origin that answers 503 to what the server has to read again: the application gets the origin's own answer, in time."""
    # The origin is slower than any reader: who is there from the beginning never needs a block that memory has let go of.
    w = World(lab, size=32 * MIB, extra_server='spool-size = "0"', process='buffer-memory = "16MiB"',
              nginx_extra="limit_rate 8m; location / { if ($http_if_range) { return 503; } }")
    first = w.client()
    expect_whole(fetch(first), w.sum)
    first.program.stop()  # it would serve the others
    late = w.client()
    expect_whole(fetch(late), w.sum, "who comes when the server has it no more")
    expect("object cannot be read" in w.server.log(), "the server to have given up", w.server.program.tail())
    asked = len(w.nginx.requests())
    expect_whole(fetch(w.client(fallback="none")), w.sum, "who comes then, and may not go past the server")
    expect(len(w.nginx.requests()) == asked + 2, "one question and one answer, no further tries", w.nginx.requests()[asked:])


# ── It changes ──

def change(w, same_validator):
    """Another file of the same length under the same name; with the same ETag at will. The new one's checksum."""
    fresh = random_file(w.big + ".new", w.length, seed=77)
    when = 1700000000 if same_validator else 1710000000
    os.utime(fresh, (when, when))
    os.rename(fresh, w.big)
    return sha256(w.big)


class Old:
    """What the object was."""

    def __init__(self, w):
        self.length, self.big = w.length, w.big + ".old"
        shutil.copyfile(w.big, self.big)


def unspooled(lab, **kw):
    """A server that keeps little of its object, a quarter of its memory: the rest it reads again."""
    return World(lab, size=32 * MIB, extra_server='spool-size = "0"', process='buffer-memory = "16MiB"', **kw)


def ranges_read(w):
    return [size for status, size in w.bodies() if status == 206]


@case()
def spool_off_reads_again(lab):
    """A server without a spool reads again what it no longer holds, and sends it once it verifies."""
    w = unspooled(lab, up=400)
    c, late = w.client(), w.client()
    for p in (c, late):
        expect_whole(fetch(p), w.sum, p.host.name)
        p.program.kill()
    expect(len(ranges_read(w)) > 0, "ranges to have been read again", w.bodies())


def changes(lab, same_validator):
    w = unspooled(lab)
    old = Old(w)
    clients = [w.client(down=2 * SLOW, fallback="none") for _ in range(2)]
    downloads = [begin(c) for c in clients]
    for d in downloads:
        wait_received(d, MIB)
    wait_hashed(w)
    was = transfer(clients[0])["object"]
    fresh = change(w, same_validator)
    for d in downloads:
        expect_broken(old, d)
    expect("object withdrawn" in w.server.log(), "the server to withdraw it", w.server.program.tail())
    expect(w.server.status()["counters"]["manifests_withdrawn"] == 1, "one withdrawal", w.server.status()["counters"])
    for c in clients:
        expect("withdrawn" in c.log(), "the client to say why", c.program.tail())
    for c in clients:
        c.host.shape(down_mbit=1000)
        expect_whole(fetch(c), fresh, "who asks anew (%s)" % c.host.name)
        expect(all(t["object"] != was for t in c.transfers() if t["state"] != "failed"), "another object", c.transfers())
    return w


@case()
def object_changes_in_mid_download(lab):
    """The object is replaced at the origin in mid-download: no mixture; what cannot go on breaks, and who asks anew gets the new one."""
    changes(lab, same_validator=False)


@case()
def object_changes_but_is_spooled(lab):
    """The object is replaced in mid-download when the server has it spooled: the download ends with all of the old bytes."""
    w, c, d = half_way(lab)
    fresh = change(w, same_validator=False)
    d.finish()
    expect_whole(d, w.sum)
    w.host.shape(up_mbit=1000)
    expect_whole(fetch(c), fresh, "who asks anew")


@case()
def origin_lies_about_its_etag(lab):
    """Other bytes under the same ETag: found at a second read, withdrawn, transfers broken off, nothing wrong delivered."""
    w = changes(lab, same_validator=True)
    expect("do not verify" in w.server.log(), "the log to say what was wrong", w.server.program.tail())


@case()
def lie_found_after_a_restart(lab):
    """A server that lost its spool finds that the origin's bytes changed under their ETag, and withdraws what it once signed."""
    w = World(lab)
    first = w.client(fallback="none")
    expect_whole(fetch(first), w.sum)
    first.program.stop()
    w.server.program.stop()
    shutil.rmtree(os.path.join(w.server.state, "spool"))
    old = Old(w)
    fresh = change(w, same_validator=True)
    w.server.start()
    second = w.client(fallback="none")
    d = fetch(second, check=False)
    if d.exit == 0:
        expect(d.result["status"] == 502, "502, or a broken connection", d.result)
    else:
        expect_broken(old, d)
    expect("do not verify" in w.server.log(), "the log to say what was wrong", w.server.program.tail())
    expect_whole(fetch(second), fresh, "who asks anew")
    # Neither a restart nor the store of who has the old bytes brings them back.
    w.server.program.kill()
    w.server.start()
    first.start()
    for c in (first, second):
        expect_whole(fetch(c), fresh, c.host.name)
