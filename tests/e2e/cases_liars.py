"""Members that lie to their peers: the application gets the right bytes, and the liar is named."""
import os
import re

from harness import BUILD, Failure, NAME, wait_for
from scene import MIB, World, begin, case, expect, expect_whole, fetch, named, transfer

LIES = {
    "flip": "flips a bit in a block",
    "nodes": "sends wrong nodes",
    "other": "sends another block",
    "excess": "sends more than was asked for",
    "silent": "sends nothing",
    "trickle": "sends a byte a second",
    "garbage": "sends garbage for frames",
}
SLOW = ("silent", "trickle")  # no lie that could be proven: passed over


def start_liar(w, mode):
    """A member that holds the object and lies about it; its program, and its member id."""
    host = w.lab.host("liar")
    state = os.path.join(host.dir, "state")
    os.mkdir(state, 0o700)
    config = host.write("liar.toml", """
[client]
state = "%s"
[[intercept]]
mode = "http-proxy"
listen = "127.0.0.1:3128"
[peer]
listen = "[::]:4434"
[[site]]
host = "%s"
server = "%s"
ca = "%s"
""" % (state, NAME, w.server.address(), w.issue.ca))
    p = host.program("liar", [os.path.join(BUILD, "tests/e2e/liar"), "-c", config, "-u", "http://%s/big.bin" % NAME, "-m", mode])

    def holding():
        if not p.alive():
            raise Failure("the liar ended: " + p.tail())
        return "holding" in p.text()
    wait_for("the liar to hold the object", holding)
    return p, re.search(r"enrolled .*member=([0-9a-f]{64})", p.text()).group(1)


def lied_to(lab, mode):
    w = World(lab, size=4 * MIB)
    warm = w.client()
    fetch(warm)
    warm.program.kill()
    liar, member = start_liar(w, mode)
    # The server alone would take long; so the liar is asked.
    w.host.shape(up_mbit=8)
    c = w.client()
    d = begin(c)
    d.finish()
    expect_whole(d, w.sum)
    expect("served" in liar.text() or mode == "silent", "the liar to have been asked", liar.text())
    if mode in SLOW:
        expect(re.search("peer (stalled|cut) .*" + member, c.log()), "the log to name %s as passed over" % member[:8], c.log())
    else:
        cut = transfer(c)["cut"]
        expect(any(line.startswith(member) for line in cut), "the status to name %s" % member[:8], cut)
        expect(re.search("peer cut .*" + member, c.log()), "the log to name %s" % member[:8], c.log())
        wait_for("the server to hear of it", lambda: re.search("member reported .*" + member, w.server.log()))
    expect(transfer(c)["from_server"] > 0, "the server to have stepped in", transfer(c))
    # Nothing was poisoned: once more, from the store.
    expect_whole(fetch(c), w.sum)


for _mode, _what in LIES.items():
    def _case(lab, mode=_mode):
        lied_to(lab, mode)
    globals()["peer_" + _mode] = case()(named(
        _case, "peer_" + _mode, "A peer that %s: the application gets the right bytes, the peer is %s."
        % (_what, "passed over and logged" if _mode in SLOW else "named in status and log")))
del _mode, _what, _case
