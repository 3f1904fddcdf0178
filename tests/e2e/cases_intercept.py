"""mssl intercept: an unmodified application is brought to the client proxy, and left alone again; nothing else is touched."""
import json
import os
import pwd
import signal
import sys

from harness import DAEMON_USER, Failure, NAME, mssl, sha256, wait_for
from scene import MIB, World, begin, case, expect, expect_whole, fetch, get, transfer, wait_received


def intercept(host, *argv, status=0, prefix=(), env=None):
    """Runs the verb; its output, standard error included."""
    r = host.run(*prefix, mssl(), "intercept", *argv, check=False, env=dict(os.environ, **(env or {})))
    if r.returncode != status:
        raise Failure("mssl intercept %s: exit %d, expected %d\n%s" % (" ".join(argv), r.returncode, status, r.stdout))
    return r.stdout


def on(host, *argv, **kw):
    return intercept(host, "on", "--user", DAEMON_USER, *argv, **kw)


def network(host):
    """All that the verb could touch: rule sets, rules and routes of both families. Counters left out."""
    tables = host.run("ip", "route", "show", "table", "all").stdout + host.run("ip", "-6", "route", "show", "table", "all").stdout
    return [host.run("nft", "-s", "list", "ruleset").stdout, host.run("ip", "rule").stdout, host.run("ip", "-6", "rule").stdout,
            [line for line in sorted(tables.splitlines()) if "expires" not in line]]


def connections_taken(host):
    """Since the last on, as the kernel counts."""
    return json.loads(intercept(host, "status", "--json"))["connections"]


FOREIGN = """
table inet firewall {
  set blocked {
    type ipv4_addr
    elements = { 192.0.2.7 }
  }
  chain input {
    type filter hook input priority 0; policy accept;
    ip saddr @blocked drop
  }
  chain output {
    type nat hook output priority -100; policy accept;
    tcp dport 81 redirect to :82
  }
}
table ip mssl_of_somebody {
  chain output {
    type filter hook output priority 0; policy accept;
  }
}
"""


def link_local_is_settled(host):
    """The kernel adds the route of its own link-local address when it has found that nobody else has it (RFC 4862 section 5.4)."""
    addresses = host.run("ip", "-6", "addr", "show", "dev", "eth0", "scope", "link").stdout
    return "fe80:" in addresses and "tentative" not in addresses


def uncaptured(lab, **kw):
    """A world and a client whose host has tables of its own, and where the verb has not run."""
    w = World(lab, **kw)
    c = w.client()
    intercept(c.host, "off")
    c.host.run("nft", "-f", c.host.write("foreign.nft", FOREIGN))
    wait_for("the kernel to have its routes", lambda: link_local_is_settled(c.host))
    return w, c


@case()
def on_brings_curl_to_the_proxy(lab):
    """on: an unmodified curl is redirected, over IPv4 and IPv6, and gets a shared object; off: it reaches the origin itself."""
    w, c = uncaptured(lab)
    expect_whole(fetch(c), w.sum)
    expect(c.transfers() == [], "no transfer before", c.transfers())
    on(c.host)
    for family in ("-4", "-6"):
        before = c.status()["counters"]["connections_accepted"]
        expect_whole(fetch(c, "/big.bin", family), w.sum)
        expect(c.status()["counters"]["connections_accepted"] > before, "the proxy to have taken it (%s)" % family)
    expect(transfer(c)["from_server"] == w.length, "a transfer", c.transfers())
    intercept(c.host, "off")
    seen = len(w.nginx.requests())
    whole = w.bodies()
    expect_whole(fetch(c), w.sum)
    expect(len(w.nginx.requests()) == seen + 1 and len(w.bodies()) == len(whole) + 1, "the origin to have sent it", w.nginx.requests())


@case()
def off_restores_exactly(lab):
    """Every kind of on, once or twice, and off, once or twice, leave rule sets, rules and routes as they were; no other table is touched."""
    _, c = uncaptured(lab)
    before = network(c.host)
    for options in ((), ("--forwarded",), ("--tproxy",), ("--tproxy", "--forwarded", "--dport", "443"), ("--host", NAME, "--host", "10.9.0.0/16", "--dport", "80",
                                                                                     "--dport", "443")):
        on(c.host, *options)
        once = network(c.host)
        expect(once != before, "something to be there after on %s" % (options,))
        expect(once[0].startswith(before[0].rstrip("\n")), "the other tables as they were", once[0])
        on(c.host, *options)
        expect(network(c.host) == once, "twice to be as once %s" % (options,), network(c.host))
        intercept(c.host, "off")
        expect(network(c.host) == before, "off to restore all of it %s" % (options,), network(c.host))
        intercept(c.host, "off")
        expect(network(c.host) == before, "a second off to change nothing", network(c.host))
    on(c.host, "--tproxy")
    on(c.host)
    now = network(c.host)
    expect(now[1:] == before[1:], "REDIRECT after TPROXY to leave no routes of it", now)
    intercept(c.host, "off")
    expect(network(c.host) == before, "and off to restore all", network(c.host))


@case()
def dry_run_changes_nothing(lab):
    """--dry-run changes nothing, and what it prints does, given to sh, what on does."""
    _, c = uncaptured(lab)
    before = network(c.host)
    for options in (("--forwarded",), ("--tproxy", "--host", NAME), ("--dport", "443", "--forwarded", "--host", NAME)):
        script = c.host.write("dry.sh", on(c.host, "--dry-run", *options))
        expect(network(c.host) == before, "nothing changed by --dry-run", network(c.host))
        c.host.run("sh", "-e", script)
        by_hand = network(c.host)
        intercept(c.host, "off")
        on(c.host, *options)
        expect(network(c.host) == by_hand and by_hand != before, "the script to do what on does", by_hand)
        script = c.host.write("dry-off.sh", intercept(c.host, "off", "--dry-run"))
        c.host.run("sh", "-e", script)
        expect(network(c.host) == before, "and that of off what off does", network(c.host))


@case()
def the_daemons_own_are_left_alone(lab):
    """The daemon's own connections to port 80 are not brought back to it: with fallback to the origin nothing loops."""
    w, c = uncaptured(lab)
    on(c.host)
    w.server.program.stop()
    before = c.status()["counters"]["connections_accepted"]
    expect_whole(fetch(c), w.sum)
    expect(c.status()["counters"]["connections_accepted"] - before <= 2, "one connection, and the status page's")
    # With the wrong uid exempted the daemon meets itself, which shows that it is the exemption that keeps it from it.
    c.program.stop()  # and with it its open connections to the origin
    c.start()
    intercept(c.host, "on", "--user", "12345")
    status, _, _ = get(c, "/small.bin")
    expect(status in (502, 508), "a refusal of the loop", status)


@case()
def only_what_was_asked_for(lab):
    """--host and --dport limit what is taken; this host's own addresses and loopback are never taken."""
    w, c = uncaptured(lab)
    c.host.run("sh", "-c", "mkdir -p %s/own && echo mine > %s/own/x" % (c.host.dir, c.host.dir))
    c.host.program("own", [sys.executable, "-m", "http.server", "80", "--bind", "::", "--directory", c.host.dir + "/own"])
    own = lambda address: c.host.run("curl", "-sS", "--noproxy", "*", "http://%s/x" % address, check=False).stdout
    wait_for("a server of this host", lambda: own("127.0.0.1") == "mine\n")
    on(c.host)
    taken = lambda: connections_taken(c.host)
    for address in ("127.0.0.1", c.host.ip, "[%s]" % c.host.ip6, "[::1]"):
        expect(own(address) == "mine\n" and taken() == 0, "%s to be left alone" % address, taken())
    on(c.host, "--host", "10.200.0.0/16", "--host", "fd99::/64")
    expect_whole(fetch(c), w.sum)
    expect(taken() == 0, "another host's to be left alone", taken())
    on(c.host, "--dport", "8080")
    expect_whole(fetch(c), w.sum)
    expect(taken() == 0, "another port's to be left alone", taken())
    on(c.host, "--host", NAME, "--dport", "8080", "--dport", "80")
    for family in ("-4", "-6"):
        expect_whole(fetch(c, "/big.bin", family), w.sum)
    expect(taken() == 2, "this name's to be taken by both its addresses", taken())
    text = intercept(c.host, "status")
    expect("80, 8080" in text and w.host.ip in text and "on:" in text and "(redirect)" in text, "status to say so", text)


@case()
def a_failing_on_leaves_nothing(lab):
    """An on that fails half way leaves what was there before, says what failed and what to do."""
    _, c = uncaptured(lab)
    before = network(c.host)
    # The kernel refuses the table (somebody else owns one of that name) after the routes were made.
    owner = c.host.popen("nft", "-i", stdin=-1, stdout=-1, stderr=-2, text=True)
    owner.stdin.write("add table inet mssl { flags owner; }\n")
    owner.stdin.flush()
    wait_for("the owned table", lambda: "table inet mssl" in c.host.run("nft", "list", "tables").stdout)
    owned = network(c.host)
    text = on(c.host, "--tproxy", status=1)
    expect("nft -f - failed" in text and "owns the table" in text and "Nothing was changed" in text, "the reason", text)
    expect(network(c.host) == owned, "no rules and routes left", network(c.host))
    owner.stdin.close()
    owner.wait()
    wait_for("the owned table to be gone", lambda: network(c.host) == before)
    # Without the privilege, without nft, with a user or a name that does not exist.
    weak = ("setpriv", "--reuid=" + DAEMON_USER, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all")
    for options in ((), ("--tproxy",)):
        text = on(c.host, *options, status=1, prefix=weak)
        expect("as root" in text and "Nothing was changed" in text, "what to do", text)
    intercept(c.host, "status", status=1, prefix=weak)
    tools = os.path.join(c.host.dir, "tools")
    os.mkdir(tools)
    text = intercept(c.host, "on", "--user", "no-such-user", status=2)
    expect("--user" in text, "the option that helps", text)
    text = on(c.host, "--host", "no-such-name.invalid", status=1)
    expect("no-such-name.invalid" in text, "the name", text)
    on(c.host, "--port", "0", status=2)
    on(c.host, "--host", "10.0.0.0/33", status=2)
    expect(network(c.host) == before, "nothing changed by any of these", network(c.host))
    # A refused change of what is on leaves what is on.
    on(c.host)
    is_on = network(c.host)
    on(c.host, "--host", "no-such-name.invalid", status=1)
    expect(network(c.host) == is_on, "it to be on as before", network(c.host))


# Two requests on one connection, the second when a line comes.
_TWICE = r"""
import http.client, sys
c = http.client.HTTPConnection(sys.argv[1], 80, timeout=60)
for _ in range(2):
    c.request("GET", "/small.bin")
    print(len(c.getresponse().read()), flush=True)
    sys.stdin.readline()
"""


@case()
def open_connections_live(lab):
    """A connection that is open when on comes goes on to where it leads; so does one that was taken when on comes again."""
    w, c = uncaptured(lab, size=16 * MIB)
    w.host.shape(up_mbit=40)
    small = "%d\n" % os.path.getsize(w.small)
    for options in ((), ("--tproxy",)):
        c.host.run("nft", "flush", "ruleset")  # nothing tracks connections: an open one would look new in its middle
        p = c.host.popen(sys.executable, "-c", _TWICE, w.host.ip, stdin=-1, stdout=-1, stderr=-2, text=True)
        expect(p.stdout.readline() == small, "a first answer")
        on(c.host, *options)
        out, _ = p.communicate("\n\n", timeout=90)
        expect(out == small, "a second one on the same connection %s" % (options,), out)
        intercept(c.host, "off")
    on(c.host)
    d = begin(c)
    wait_received(d, MIB)
    on(c.host)
    d.finish()
    expect_whole(d, w.sum)
    expect(len(c.transfers()) == 1, "it to have been taken", c.transfers())


@case()
def foreground_undoes_at_the_end(lab):
    """--foreground is on until it is told to end by any signal, and undoes all of it then."""
    _, c = uncaptured(lab)
    before = network(c.host)
    for number, options in ((signal.SIGINT, ()), (signal.SIGTERM, ("--tproxy",)), (signal.SIGHUP, ())):
        p = c.host.program("foreground", [mssl(), "intercept", "on", "--user", DAEMON_USER, "--foreground", *options])
        wait_for("it to be on", lambda: p.text().count("on, until interrupted") and network(c.host) != before)
        p.signal(number)
        expect(p.process.wait(60) == -number, "death of the signal, as of any program", p.process.returncode)
        expect(network(c.host) == before, "all of it to be undone", network(c.host))
        os.unlink(p.log)


# Answers each connection with the address that it was meant for, as getsockname() of a transparent socket tells, and where it came from.
_TRANSPARENT = r"""
import encodings.idna, os, socket, sys   # now: as another user the library may be out of reach
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_IP, 19, 1)     # IP_TRANSPARENT
s.setsockopt(41, 75, 1)                # IPV6_TRANSPARENT
s.bind(("::", int(sys.argv[1])))
s.listen(64)
os.setuid(int(sys.argv[2]))
print("ready", flush=True)
while True:
    c, peer = s.accept()
    meant = c.getsockname()
    head = b""
    while b"\r\n\r\n" not in head and (piece := c.recv(65536)):
        head += piece
    body = "%s %d from %s" % (meant[0].removeprefix("::ffff:"), meant[1], peer[0].removeprefix("::ffff:"))
    if b"GET /relay" in head:   # as the daemon does: a connection of its own to where the application's was meant to go
        with socket.create_connection(meant[:2], 10) as to:
            to.sendall(b"GET /small.bin HTTP/1.0\r\nHost: x\r\n\r\n")
            answer = b""
            while piece := to.recv(65536):
                answer += piece
        body = "relayed %d" % len(answer.partition(b"\r\n\r\n")[2])
    c.sendall(("HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)).encode())
    c.close()
"""


def transparent(host, port):
    program = host.program("transparent", [sys.executable, "-c", _TRANSPARENT, str(port), str(pwd.getpwnam(DAEMON_USER).pw_uid)])
    wait_for("the transparent listener", lambda: "ready" in program.text())
    return program


@case()
def tproxy_brings_it_with_its_destination(lab):
    """--tproxy: a transparent listener gets this host's connections, IPv4 and IPv6, with their destination as its own address."""
    w = World(lab)
    h = lab.host("beside")
    on(h, "--tproxy", "--port", "4000")
    listener = transparent(h, 4000)
    ask = lambda *a: h.run("curl", "-sS", "--noproxy", "*", "--max-time", "30", *a, check=False)
    for family, there, here in (("-4", w.host.ip, h.ip), ("-6", w.host.ip6, h.ip6)):
        for _ in range(3):
            r = ask(family, "http://%s/big.bin" % NAME)
            expect(r.stdout == "%s 80 from %s" % (there, here), "destination and source (%s)" % family, r.stdout)
        expect(ask(family, "http://%s/relay" % NAME).stdout == "relayed %d" % os.path.getsize(w.small), "the listener's own not to be taken")
    listener.kill()
    r = ask("http://%s/big.bin" % NAME)
    expect(r.returncode == 7, "a refusal while nobody listens, and at once", (r.returncode, r.stdout))
    text = intercept(h, "status")
    expect("(tproxy)" in text and "missing" not in text, "status to say tproxy", text)
    h.run("ip", "-6", "rule", "del", "pref", "28019")
    text = intercept(h, "status", status=1)
    expect("missing  ip -6 rule add" in text, "status to say what is missing", text)
    on(h, "--tproxy", "--port", "4000")
    intercept(h, "status")
    intercept(h, "off")
    d = h.run("curl", "-sS", "--noproxy", "*", "-o", os.path.join(h.dir, "direct"), "http://%s/small.bin" % NAME)
    expect(os.path.getsize(os.path.join(h.dir, "direct")) == os.path.getsize(w.small), "off to leave it alone", d.stdout)


def routed(lab, w, router):
    """A host whose way to the origin leads through the router."""
    inner = lab.host("inner")
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.eth0.send_redirects=0",
               "net.ipv6.conf.all.forwarding=1")
    # The router is on the same wire as the origin, and says so.
    inner.run("sysctl", "-qw", "net.ipv6.conf.eth0.accept_redirects=0", "net.ipv4.conf.eth0.accept_redirects=0")
    inner.run("ip", "route", "add", w.host.ip + "/32", "via", router.ip)
    inner.run("ip", "-6", "route", "add", w.host.ip6 + "/128", "via", router.ip6)
    return inner


@case()
def forwarded_is_taken_when_asked_for(lab):
    """--forwarded: what the host routes for another is taken as well, IPv4 and IPv6, by REDIRECT and by TPROXY; without it it is not."""
    w, c = uncaptured(lab)
    inner = routed(lab, w, c.host)
    ask = lambda *a: inner.run("curl", "-sS", "--noproxy", "*", "--max-time", "60", *a, check=False)
    on(c.host)
    r = ask("http://%s/small.bin" % NAME, "-o", inner.dir + "/small", "-w", "%{http_code}")
    expect(r.stdout == "200" and connections_taken(c.host) == 0, "an answer, and nothing taken", r.stdout)
    on(c.host, "--forwarded")
    for number, family in enumerate(("-4", "-6"), 1):
        r = ask(family, "http://%s/big.bin" % NAME, "-o", inner.dir + "/big", "-w", "%{http_code}")
        expect(r.stdout == "200" and sha256(inner.dir + "/big") == w.sum, "the object (%s)" % family, r.stdout)
        expect(connections_taken(c.host) == number, "the routed connection to be taken (%s)" % family, connections_taken(c.host))
    expect(transfer(c)["from_server"] == w.length, "a transfer", c.transfers())
    on(c.host, "--forwarded", "--tproxy", "--port", "4000")
    listener = transparent(c.host, 4000)
    for family, there, here in (("-4", w.host.ip, inner.ip), ("-6", w.host.ip6, inner.ip6)):
        r = ask(family, "http://%s/big.bin" % NAME)
        expect(r.stdout == "%s 80 from %s" % (there, here), "destination and source (%s)" % family, r.stdout)
        r = c.host.run("curl", "-sS", "--noproxy", "*", family, "http://%s/big.bin" % NAME)
        expect(r.stdout.startswith("%s 80 from" % there), "the host's own to be taken as well (%s)" % family, r.stdout)
    listener.kill()
    expect(ask("http://%s/big.bin" % NAME).returncode == 7, "a refusal while nobody listens")
