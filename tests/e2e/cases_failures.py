"""Somebody dies in the middle of a download: the server, the peers, the client itself. What can go on goes on, and nothing that
is cut short looks whole."""
import os
import signal
import subprocess

from harness import NAME, wait_for
from scene import (MIB, SLOW, World, begin, case, content, expect, expect_broken, expect_whole, fetch, half_way, named, transfer,
                   wait_received)


def wait_verified(client, at_least):
    wait_for("%d bytes verified" % at_least, lambda: transfer(client)["verified"] >= at_least)


def wait_from_peers(client, at_least=1):
    wait_for("bytes from peers", lambda: transfer(client)["from_peers"] >= at_least)


# ── The server ──

@case()
def server_dies_a_peer_has_it_all(lab):
    """The server dies in mid-download: who is half-way goes on and ends with what a peer has."""
    w = World(lab)
    first = w.client()
    expect_whole(fetch(first), w.sum, "the first")
    w.host.shape(up_mbit=SLOW)
    second = w.client(down=2 * SLOW)
    d = begin(second)
    wait_from_peers(second)
    wait_received(d, MIB)
    w.server.program.kill()
    expect(transfer(second)["verified"] < w.length, "the second to be half-way", transfer(second))
    d.finish()
    expect_whole(d, w.sum, "the second")


@case()
def server_dies_alone(lab):
    """The server dies in mid-download and no peer has anything: the answer breaks; asked again, the origin gives the rest."""
    w = World(lab, up=SLOW)
    c = w.client(fallback="origin")
    d = begin(c)
    wait_received(d, MIB)
    w.server.program.kill()
    expect_broken(w, d)
    expect("end=\"broken" in c.log() or "end=broken" in c.log(), "the log to say that it broke", c.program.tail())
    w.host.shape(up_mbit=1000)
    c.curl("/big.bin", "-C", "-", "-o", d.output)
    expect_whole(d, w.sum)
    expect("how=fallback" in c.log(), "the log to name the fallback", c.program.tail())


@case()
def server_dies_before_the_first_byte(lab):
    """The server cannot be reached: fallback = "origin" gives the origin's bytes, "none" a 502, redirected or by the proxy port."""
    w = World(lab)
    c, strict = w.client(), w.client(fallback="none")
    for p in (c, strict):
        expect_whole(fetch(p), w.sum)
    w.server.program.kill()
    for via in (False, True):
        d = fetch(c, via_proxy=via)
        expect(d.result["status"] == 200, "200 (by the proxy port: %s)" % via, d.result)
        expect_whole(d, w.sum)
        d = fetch(strict, via_proxy=via)
        expect(d.result["status"] == 502, "502 (by the proxy port: %s)" % via, d.result)
        expect(b"fallback = \"none\"" in content(d.output), "the answer to say why", content(d.output))
    expect(c.status()["counters"]["fallbacks"] == 2, "two fallbacks counted", c.status()["counters"])


@case()
def server_hangs(lab):
    """The server takes connections and says nothing: one request waits for it, the next have the origin at once; then it is back."""
    w = World(lab)
    c = w.client()
    expect_whole(fetch(c), w.sum)
    # Connections made before, that hang without a word, are the pool's: gone with the program.
    c.program.stop()
    w.server.program.signal(signal.SIGSTOP)
    try:
        c.start()
        for _ in range(3):
            expect_whole(fetch(c), w.sum)
        waited = c.log().count("did not answer a moment ago")
        expect(waited == 2, "two of three not to have waited", c.log())
    finally:
        w.server.program.signal(signal.SIGCONT)

    def shared_again():
        before = c.log().count("how=shared")
        expect_whole(fetch(c), w.sum)
        return c.log().count("how=shared") > before

    wait_for("the server to be used again", shared_again, 60)


@case()
def server_restarts_in_mid_download(lab):
    """The server is killed and started again in mid-download: the download goes on, and a hashed object is not read again."""
    w, c, d = half_way(lab)
    w.server.program.kill()
    w.server.start()
    expect(d.process.poll() is None, "the download to wait for the server", d.size())
    d.finish()
    expect_whole(d, w.sum)
    other = w.client(fallback="none")
    expect_whole(fetch(other), w.sum, "a newcomer")
    expect(w.bodies() == [(200, w.length)], "one read of the origin in all", w.bodies())
    same = {t["object"] for p in (c, other) for t in p.transfers()}
    expect(len(same) == 1, "the manifest to outlive the server", same)


@case()
def server_killed_while_hashing(lab):
    """The server is killed while it reads a cold object: nobody gets an end that looks whole, and who asks anew gets it all."""
    w = World(lab, nginx_extra="limit_rate 2m;")
    c = w.client(fallback="none")
    d = begin(c)
    wait_received(d, MIB)
    w.server.program.kill()
    expect("object complete" not in w.server.log(), "the object not to be hashed yet", w.server.log())
    w.server.start()
    expect_broken(w, d)
    expect_whole(fetch(c), w.sum)


# ── The peers ──

@case()
def all_peers_die(lab):
    """All peers die in mid-download: the server goes on."""
    w = World(lab)
    peers = [w.client(up=SLOW) for _ in range(2)]
    for p in peers:
        expect_whole(fetch(p), w.sum, p.host.name)
    w.host.shape(up_mbit=SLOW)
    c = w.client()
    d = begin(c)
    wait_from_peers(c)
    wait_received(d, MIB)
    for p in peers:
        p.program.kill()
    expect(transfer(c)["verified"] < w.length, "the download to be half-way", transfer(c))
    before = transfer(c)["from_server"]
    d.finish()
    expect_whole(d, w.sum)
    expect(transfer(c)["from_server"] > before, "the server to have given the rest", transfer(c))


# ── The client ──

@case()
def client_killed_goes_on(lab):
    """The client is killed in mid-download and started again: only what had not been verified is fetched again."""
    w = World(lab, up=2 * SLOW)
    c = w.client()
    d = begin(c)
    wait_verified(c, w.length // 2)
    c.program.kill()
    expect_broken(w, d)
    c.start()
    again = begin(c)
    again.finish()
    expect_whole(again, w.sum)
    t = transfer(c)
    expect(t["from_server"] <= w.length * 3 // 4, "at least a quarter not to come again", t)
    expect(t["from_server"] + t["from_store"] >= w.length, "the rest out of the store", t)
    expect(w.bodies() == [(200, w.length)], "one read of the origin", w.bodies())


# ── The application ──

def expect_stopped(w, c, sent_before):
    """Its transfer stopped for want of readers, and what the server sent after that moment is what crossed its way. The uplink
    carries SLOW a second: how much came is how long it took."""
    wait_for("the transfer to stop", lambda: transfer(c).get("state") == "seeding")
    expect('end="no reader left"' in c.log(), "no reader left", c.program.tail())
    sent = w.host.sent_bytes()
    expect(sent - sent_before < 3 * SLOW * 1000000 / 8 + MIB, "the server to have stopped sending", (sent_before, sent))
    wait_for("the server to stand still", lambda: w.host.sent_bytes() - sent < 256 * 1024)


@case()
def application_killed_in_mid_download(lab):
    """The only application dies in mid-download, asked by number or for any block: the server is not asked for the rest."""
    w, c, d = half_way(lab)
    w.host.shape(up_mbit=SLOW)
    wait_received(d, d.size() + 256 * 1024)
    before = w.host.sent_bytes()
    d.process.kill()
    d.process.wait()
    expect_stopped(w, c, before)
    verified = transfer(c)["verified"]
    expect(verified < w.length, "the rest never to have come", verified)


@case()
def application_killed_while_nothing_comes(lab):
    """The application ends while nothing can be delivered to it: a reset or an end of its direction is noticed all the same, long
    before the transfer would have given up."""
    w, c, d = half_way(lab)
    w.host.unplug()
    size = [-1]

    def still():
        before, size[0] = size[0], d.size()
        return before == size[0]
    wait_for("the download to stand still", still)
    d.process.kill()
    d.process.wait()
    wait_for("the transfer to stop", lambda: transfer(c).get("state") != "fetching")
    expect(transfer(c)["state"] == "seeding", "for want of a reader, not of sources", transfer(c))


# ── Who the server is not ──

def wrong_certificate(lab, how):
    w = World(lab, certificate_for="other.example.org" if how == "name" else None)
    ca = w.issue.ca
    if how == "authority":
        ca = lab.authority(os.path.join(lab.dir, "another-ca")).ca
    for fallback in ("origin", "none"):
        c = w.client(ca=ca, fallback=fallback)
        for path in ("/big.bin", "/small.bin"):
            for via in (False, True):
                d = fetch(c, path, via_proxy=via)
                where = "%s, fallback = %s, by the proxy port: %s" % (path, fallback, via)
                expect(d.result["status"] == 502, "502 (%s)" % where, d.result)
                expect(b"is not who it should be" in content(d.output), "the answer to say why (%s)" % where, content(d.output))
    expect(w.nginx.requests() == [], "the origin not to have been asked", w.nginx.requests())


for _how, _what in (("authority", "of another authority"), ("name", "for another name")):
    def _case(lab, how=_how):
        wrong_certificate(lab, how)
    globals()["server_certificate_wrong_" + _how] = case()(named(
        _case, "server_certificate_wrong_" + _how, "A server whose certificate is %s is a 502, whatever the fallback." % _what))
del _how, _what, _case


@case()
def server_certificate_turns_wrong(lab):
    """A member whose server comes back with a certificate of another authority gets 502, with fallback = "origin" too."""
    w = World(lab)
    c = w.client(fallback="origin")
    expect_whole(fetch(c), w.sum)
    w.server.program.kill()
    impostor = lab.authority(os.path.join(lab.dir, "another-ca"))
    certificate, key = impostor(NAME)
    with open(w.server.config_path) as f:
        text = f.read()
    for old, new in ((os.path.join(lab.dir, "ca", NAME + ".pem"), certificate), (os.path.join(lab.dir, "ca", NAME + ".key"), key)):
        expect(old in text, "the configuration to name " + old, text)
        text = text.replace(old, new)
    w.server.host.write("server.toml", text)
    w.server.start()
    asked = len(w.nginx.requests())
    for via in (False, True):
        d = fetch(c, via_proxy=via)
        expect(d.result["status"] == 502, "502 (by the proxy port: %s)" % via, d.result)
    expect(len(w.nginx.requests()) == asked, "the origin not to have been asked", w.nginx.requests()[asked:])


@case()
def server_swapped_between_two_connections(lab):
    """The server that answered is swapped before the blocks are fetched: 502 with fallback = "origin" too, not the origin's word."""
    w = World(lab)
    c = w.client(fallback="origin", process="threads = 1")  # one loop, so one pool of connections
    expect(fetch(c, "/small.bin").result["status"] == 200, "the small object")
    impostor = lab.authority(os.path.join(lab.dir, "another-ca"))
    certificate, key = impostor(NAME)
    p = w.host.program("impostor", ["openssl", "s_server", "-accept", "8443", "-cert", certificate, "-key", key, "-tls1_3", "-alpn",
                                    "mssl/1,http/1.1", "-www"])
    wait_for("the impostor", lambda: "ACCEPT" in p.text())
    # New connections go to somebody else; the one that carried that request is kept.
    w.host.run("nft", "-f", w.host.write("swap.nft", """
table inet swap {
  chain in {
    type nat hook prerouting priority -100; policy accept;
    tcp dport %d tcp flags & (fin | syn | rst | ack) == syn redirect to :8443
  }
}
""" % w.server.port))
    asked = w.nginx.requests()
    d = fetch(c)
    expect("object begun" in w.server.log(), "the true server to have answered first", w.server.log())
    expect(d.result["status"] == 502, "502", d.result)
    expect(b"is not who it should be" in content(d.output), "the answer to say why", content(d.output))
    wait_for("the server's own read to end", lambda: "object complete" in w.server.log())
    expect(len(w.nginx.requests()) == len(asked) + 1, "the origin to have been asked by the server alone", w.nginx.requests())


# ── Who is no member ──

@case()
def strangers_get_nothing(lab):
    """Who connects to a member, or to the server, without a membership or with a certificate of its own making gets no block."""
    w = World(lab, size=MIB)
    c = w.client()
    expect_whole(fetch(c), w.sum)
    stranger = lab.host("stranger")
    own = os.path.join(stranger.dir, "own")
    stranger.run("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", "-subj", "/CN=me", "-keyout", own + ".key",
                 "-out", own + ".pem")
    cards = {"no certificate": [], "a self-made one": ["-cert", own + ".pem", "-key", own + ".key"]}
    piece = content(w.big)[:32]
    for who, port in (("the peer", "%s:%d" % (c.host.ip, c.peer_port)), ("the server", w.server.address())):
        for what, args in cards.items():
            # Frames of nobody: enough of them that the other side has something to refuse.
            r = subprocess.run([*stranger.prefix, "openssl", "s_client", "-connect", port, "-servername", NAME, "-alpn", "mssl/1", "-tls1_3",
                                "-quiet", "-verify_quiet", *args], input=bytes(4096), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               timeout=60, check=False)
            # At most a HELLO and the reason of the end.
            expect(piece not in r.stdout and len(r.stdout) < 256, "%s to give nothing for %s" % (who, what), r.stdout)
            if who == "the peer" and not args:
                expect(r.stdout == b"" and b"alert" in r.stderr, "the handshake itself to fail with " + what, (r.stdout, r.stderr))
    # Nothing of the object, and nobody the worse for it.
    expect(transfer(c)["to_peers"] == 0 and transfer(c)["takers"] == 0, "nothing to have been given", transfer(c))
    friend = w.client()
    expect_whole(fetch(friend), w.sum, "a member")
