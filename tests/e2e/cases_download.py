"""The main job: cold objects, several clients, one read of the origin."""
import os
import time

from harness import NAME, Nginx, Server, random_file, sha256, wait_for
from scene import MIB, World, begin, case, expect, expect_whole, fetch, named, note, transfer

# Mbit/s of everybody: slow enough that wires, and not a loaded machine, are the limit. Downlinks are wider, so that passing on
# pays.
UPLINK = 40


def expect_shared(w, clients, downloads, copies=1.5):
    for c, d in zip(clients, downloads):
        d.finish()
        expect_whole(d, w.sum, c.host.name)
    moved = [transfer(c) for c in clients]
    sent = sum(t["from_server"] for t in moved)
    note("copies sent by the server: %.2f" % (sent / w.length))
    expect(sent <= copies * w.length, "at most %.1f copies from the server" % copies, sent / w.length)
    for c, t in zip(clients, moved):
        got = t["from_server"] + t["from_peers"]
        expect(got >= w.length, "%s to have got all of it from somewhere" % c.host.name, t)
    if len(clients) > 1:
        expect(sum(t["from_peers"] for t in moved) > 0, "peers to have given something", moved)
    expect(w.bodies() == [(200, w.length)], "one whole read of the origin and no other", w.bodies())


def cold(lab, **kw):
    w = World(lab, size=16 * MIB, up=UPLINK, **kw)
    clients = [w.client(up=UPLINK, down=400, **kw) for _ in range(4)]
    expect_shared(w, clients, [begin(c) for c in clients])
    return w, clients


for _n in (1, 4):
    def _cold(lab, n=_n):
        w, clients = cold(lab, process="threads = %d" % n)
        for p in [w.server, *clients]:
            expect(" loops=%d " % n in p.log(), "%d loops to run" % n, p.log())
    globals()["four_clients_cold_loops_%d" % _n] = case()(named(
        _cold, "four_clients_cold_loops_%d" % _n,
        "Four clients, transparently redirected, fetch a cold object: right bytes, at most 1.5 copies (%d event loop%s)."
        % (_n, "s" if _n > 1 else "")))
del _n, _cold


@case()
def one_client_by_ipv6(lab):
    """A client that knows nothing but IPv6, redirected, gets the object."""
    w = World(lab)
    lab.name(NAME, w.host.ip6)
    c = w.client(server="[%s]:%d" % (w.host.ip6, w.server.port))
    d = begin(c, "/big.bin", "-6")
    expect_shared(w, [c], [d])


@case()
def second_joins_after_50_ms(lab):
    """A second client that joins 50 ms after the first receives from it."""
    w = World(lab, up=UPLINK)
    first, second = w.client(up=UPLINK, down=400), w.client(up=UPLINK, down=400)
    start = time.monotonic()
    a = begin(first)
    wait_for("50 ms", lambda: time.monotonic() - start >= 0.05)
    b = begin(second)
    for d in (a, b):
        d.finish()
        expect_whole(d, w.sum, d.client.host.name)
    expect(transfer(second)["from_peers"] > 0, "the second to have got something from the first", transfer(second))


@case()
def readers_of_one_host_share(lab):
    """Three applications of one host that read one object share one transfer."""
    w = World(lab, up=40)
    c = w.client()
    downloads = [begin(c) for _ in range(3)]
    for d in downloads:
        d.finish()
        expect_whole(d, w.sum)
    rows = c.transfers()
    expect(len(rows) == 1, "one transfer", rows)
    expect(rows[0]["from_server"] + rows[0]["from_peers"] == w.length, "each byte to have been fetched once", rows)


@case()
def second_time_from_the_store(lab):
    """What was fetched is not fetched again: the origin confirms the validator, the bytes come from the store."""
    w = World(lab)
    c = w.client()
    d = begin(c)
    d.finish()
    expect_whole(d, w.sum)
    c.program.stop()
    c.start()
    again = begin(c)
    again.finish()
    expect_whole(again, w.sum)
    t = transfer(c)
    expect(t["from_server"] + t["from_peers"] == 0 and t["from_store"] >= w.length, "all of it out of the store", t)
    expect(w.bodies() == [(200, w.length)], "one body from the origin", w.bodies())
    expect(any(line.startswith("304 ") for line in w.nginx.requests()), "the origin to have been asked", w.nginx.requests())


@case()
def two_sites_at_one_peer_port(lab):
    """Clients of two servers, which know nothing of each other, have the objects of both from one another, at one port each."""
    w = World(lab)
    host = lab.host("second")
    root = os.path.join(host.dir, "www")
    os.mkdir(root, 0o755)
    other = random_file(os.path.join(root, "big.bin"), 4 * MIB, seed=9)
    name = "second.example.org"
    lab.name(name, host.ip, host.ip6)
    nginx = Nginx(host, root)
    server = Server(host, w.issue, 'url = "http://127.0.0.1:%d"' % nginx.port, name=name)
    site = '[[site]]\nhost = "%s"\nserver = "%s"\nca = "%s"\nfallback = "none"\n' % (name, server.address(), w.issue.ca)
    first, second = w.client(extra=site), w.client(extra=site)
    url = "http://%s/big.bin" % name
    for c in (first, second):
        expect_whole(fetch(c), w.sum)
        expect_whole(fetch(c, url), sha256(other))
    rows = {t["url"]: t["from_peers"] for t in second.transfers()}
    expect(len(rows) == 2 and all(n > 0 for n in rows.values()), "bytes of both sites' objects from the peer", rows)
