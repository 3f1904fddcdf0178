"""TLS of applications that is intercepted: for the sites that say so, by a CA of this host, and for nothing else."""
import json
import os
import stat
import sys

from harness import DAEMON_USER, NAME, mssl, run, wait_for
from scene import World, case, content, expect, expect_whole, fetch, get, output_of, transfer
from cases_https import HTTPS_ONLY, OTHER, PlainSite, needs, tls_nginx_in_place

URL = "https://%s/big.bin" % NAME
SMALL = "https://%s/small.bin" % NAME
SOCKS = '[[intercept]]\nmode = "socks5"\nlisten = "127.0.0.1:1080"\n'
OUR_CA = "mSSL interception CA"


def intercepting(w, redirect=True, **kw):
    """A client that intercepts NAME's TLS, with the CA that mssl ca made; c.ca is what its applications trust."""
    c = w.client(start=False, redirect=False, extra_site="intercept-tls = true", extra=kw.pop("extra", "") + (
        '[[intercept]]\nmode = "redirect"\nlisten = "[::]:3129"\n' if redirect else ""), **kw)
    directory = os.path.join(c.state, "interception-ca")
    c.host.run(mssl(), "ca", "create", "--directory", directory, NAME)
    c.ca = c.host.write("ca.pem", content(os.path.join(directory, "ca.pem")).decode())
    c.start()
    if redirect:
        on(c)
    return c


def on(c, *more):
    c.host.run(mssl(), "intercept", "on", "--user", DAEMON_USER, "--dport", "443", "--dport", "80", *more)


def shown(host, *options, address=None, name=NAME):
    """What openssl s_client is told: the certificate's issuer, version and protocol."""
    r = host.run("openssl", "s_client", "-connect", "%s:443" % (address or name), *(("-servername", name) if name else ()), *options,
                 check=False, stdin=-3, errors="replace")
    return r.stdout


def issuer(text):
    lines = [line for line in text.splitlines() if line.strip().startswith("issuer=")]
    return lines[0] if lines else text


@case()
def intercepted_https_is_shared(lab):
    """An unmodified curl that trusts the CA gets https objects from server and peers, IPv4 and IPv6, over HTTP/1.1."""
    w = World(lab, nginx_extra=HTTPS_ONLY)
    first, second = intercepting(w), intercepting(w, fallback="none")
    for c in (first, second):
        for family in ("-4", "-6"):
            expect_whole(fetch(c, URL, family, "--cacert", c.ca, via_proxy=False), w.sum)
    expect(len(w.bodies()) == 1, "the origin to have sent it once", w.bodies())
    t = transfer(second)
    expect(t["from_peers"] > 0 and t["verified"] == w.length and t["url"].startswith("https://"), "bytes from a peer", t)
    status, fields, body = get(first, SMALL, "--cacert", first.ca, via_proxy=False)
    expect(status == 200 and body == content(w.small) and "via" not in fields, "what is not shared as well", (status, fields))
    text = shown(first.host, "-alpn", "h2,http/1.1")
    expect(OUR_CA in issuer(text) and "ALPN protocol: http/1.1" in text, "our certificate, and HTTP/1.1", text)
    r = first.curl(URL, "-o", os.devnull, via_proxy=False, check=False)
    expect(r.returncode == 60, "a curl that does not trust the CA to refuse it (60)", (r.returncode, r.stdout))
    wait_for("a word on that in the log", lambda: "must trust this host's interception CA" in first.log())


@case()
def tproxy_is_intercepted(lab):
    """By TPROXY too the site's TLS is intercepted, and another site's is not."""
    w = World(lab)
    site = PlainSite(w)
    c = intercepting(w, redirect=False, extra='[[intercept]]\nmode = "tproxy"\nlisten = "[::]:3130"\n', capabilities="net_admin")
    on(c, "--tproxy", "--port", "3130")
    for family in ("-4", "-6"):
        expect_whole(fetch(c, URL, family, "--cacert", c.ca, via_proxy=False), w.sum)
        status, _, body = get(c, "https://%s/small.bin" % OTHER, family, "--cacert", w.issue.ca, via_proxy=False)
        expect(status == 200 and body == content(site.small), "another site by its own certificate", status)
    expect(transfer(c)["url"].startswith("https://"), "shared", c.transfers())


# Says something first, and returns what it is told.
_SPEAKS_FIRST = r"""
import socket, sys
s = socket.create_server(("::", 443), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    c, _ = s.accept()
    c.sendall(b"220 hello\n")
    c.sendall(c.recv(100))
    c.close()
"""


@case()
def all_else_passes_through(lab):
    """What is not for the site passes untouched: other names, no name, other protocols, no TLS at all, TLS 1.2 and 1.3; the other end's
    own certificate is what the application sees."""
    w = World(lab)
    site = PlainSite(w)
    c = intercepting(w)
    real = "CN = Lab CA"
    for options in (("-tls1_3",), ("-tls1_2",), ("-tls1_3", "-alpn", "h2,http/1.1")):
        text = shown(c.host, *options, name=OTHER)
        expect(real in issuer(text), "the site's own certificate %s" % (options,), text)
    status, _, body = get(c, "https://%s/small.bin" % OTHER, "--cacert", w.issue.ca, via_proxy=False)
    expect(status == 200 and body == content(site.small), "its bytes", status)
    expect(real in issuer(shown(c.host, "-noservername", address=NAME, name=None)), "without a name the host's own certificate")
    expect(real in issuer(shown(c.host, "-alpn", "mssl/1", "-tls1_3")), "for another protocol than HTTP/1.1 the host's own certificate")
    expect(OUR_CA in issuer(shown(c.host)), "ours for the site itself")
    other = lab.host("talks")
    program = other.program("talks", [sys.executable, "-c", _SPEAKS_FIRST])
    wait_for("a server that speaks first", lambda: "ready" in program.text())
    r = c.host.run(sys.executable, "-c", "import socket, sys\ns = socket.create_connection((sys.argv[1], 443), 30)\n"
                   "print(s.recv(100))\ns.sendall(b'SSH-2.0-x')\nprint(s.recv(100))", other.ip)
    expect(r.stdout == "b'220 hello\\n'\nb'SSH-2.0-x'\n", "another protocol both ways", r.stdout)
    expect(c.transfers() == [], "nothing shared", c.transfers())


# Listens after CONNECT until it is told something, and then says something itself.
_THROUGH_A_PROXY = r"""
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30)
s.sendall(b"CONNECT %s:443 HTTP/1.1\r\nHost: x\r\n\r\n" % sys.argv[2].encode())
f = s.makefile("rb")
status = f.readline().split()[1].decode()
while f.readline() != b"\r\n":
    pass
first = f.readline()
s.sendall(b"SSH-2.0-x")
print(status, first, f.read())
"""


@case()
def connect_and_socks_are_intercepted(lab):
    """Through CONNECT and through SOCKS, by name and by address, the site's TLS is intercepted and everybody else's is not."""
    w = World(lab)
    PlainSite(w)
    c = intercepting(w, redirect=False, extra=SOCKS)
    ways = (("-x", "http://127.0.0.1:%d" % c.proxy_port), ("--socks5-hostname", "127.0.0.1:1080"), ("--socks5", "127.0.0.1:1080"))
    for way in ways:
        out = output_of(c)
        head = out + ".head"
        c.host.run("curl", "-sS", *way, "--cacert", c.ca, "-D", head, "-o", out, URL)
        expect(content(out) == content(w.big), "the object, %s" % way[0])
        expect("via:" not in content(head).decode().lower(), "no Via within TLS", content(head))
        r = c.host.run("curl", "-sS", *way, "--cacert", w.issue.ca, "-o", os.devnull, "-w", "%{http_code}", "https://%s/small.bin" % OTHER)
        expect(r.stdout == "200", "another site by its own certificate, %s" % way[0], r.stdout)
    expect(len(c.transfers()) == 1, "one shared transfer", c.transfers())
    r = c.host.run("curl", "-sS", *ways[0], "https://%s:9/" % NAME, check=False)
    expect(r.returncode == 56, "a port where nobody is to be said by the proxy (56)", (r.returncode, r.stdout))
    # An address does not say whose it is: what is not there is said as without us, and who speaks first is heard at once.
    talks = lab.host("talks")
    for way, said in zip(ways, (56, 97, 97)):
        r = c.host.run("curl", "-sS", *way, "https://%s/" % talks.ip, check=False)
        expect(r.returncode == said, "an address where nobody is to be said by the proxy (%d)" % said, (r.returncode, r.stdout))
    program = talks.program("talks", [sys.executable, "-c", _SPEAKS_FIRST])
    wait_for("a server that speaks first", lambda: "ready" in program.text())
    r = c.host.run(sys.executable, "-c", _THROUGH_A_PROXY, str(c.proxy_port), talks.ip)
    expect(r.stdout == "200 b'220 hello\\n' b'SSH-2.0-x'\n", "another protocol both ways", r.stdout)


@case()
def gnutls_is_served(lab):
    """wget, which is built on GnuTLS, downloads through an interception and refuses it without the CA."""
    needs("wget")
    w = World(lab)
    c = intercepting(w)
    out = output_of(c)
    c.host.run("wget", "-q", "--ca-certificate", c.ca, "-O", out, URL)
    expect(content(out) == content(w.big), "the object")
    expect(transfer(c)["verified"] == w.length, "shared", c.transfers())
    expect(c.host.run("wget", "-q", "-O", os.devnull, URL, check=False).returncode == 5, "a refusal without the CA (5)")


# A TLS client whose first message arrives byte by byte.
_DRIBBLES = r"""
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[3])
i, o = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(i, o, server_hostname=sys.argv[2])
s = socket.create_connection((sys.argv[1], 443), 60)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
def step(do):
    while True:
        try:
            return do()
        except ssl.SSLWantReadError:
            data = o.read()
            for n in range(0, len(data), 7):
                s.sendall(data[n:n + 7])
            i.write(s.recv(65536))
step(tls.do_handshake)
tls.write(b"GET /small.bin HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % sys.argv[4].encode())
s.sendall(o.read())
print(step(lambda: tls.read(12)).decode())
"""


@case()
def a_hello_in_pieces_and_another_host(lab):
    """A ClientHello that comes in small pieces is waited for; a request for another host than it named is refused with 421."""
    w = World(lab)
    c = intercepting(w)
    for host, status in ((NAME, "200"), (OTHER, "421")):
        r = c.host.run(sys.executable, "-c", _DRIBBLES, w.host.ip, NAME, c.ca, host)
        expect(r.stdout == "HTTP/1.1 %s\n" % status, status, r.stdout)


@case()
def a_wrong_server_is_never_passed(lab):
    """Behind an interception a server that cannot prove its name is a 502, through mSSL and in fallback; one that can is fetched from."""
    w = World(lab, certificate_for="wrong.example.org")
    c = intercepting(w)
    status, _, body = get(c, URL, "--cacert", c.ca, via_proxy=False)
    expect(status == 502 and b"not who it should be" in body, "a 502 that says why", (status, body))
    w.server.program.stop()
    nginx = tls_nginx_in_place(w, NAME)
    wait_for("the server's refusal to be forgotten", lambda: get(c, SMALL, "--cacert", c.ca, via_proxy=False)[0] == 200)
    expect_whole(fetch(c, URL, "--cacert", c.ca, via_proxy=False), w.sum)
    nginx.program.stop()
    tls_nginx_in_place(w, "wrong.example.org")
    status, _, body = get(c, URL, "--cacert", c.ca, via_proxy=False)
    expect(status == 502 and b"not who it should be" in body, "a 502 in fallback as well", (status, body))


@case()
def a_renewed_ca_is_taken_over(lab):
    """mssl ca renew and a reload: from then on the new CA vouches, and the old one for nothing."""
    w = World(lab)
    c = intercepting(w)
    directory = os.path.join(c.state, "interception-ca")
    expect_whole(fetch(c, URL, "--cacert", c.ca, via_proxy=False), w.sum)
    c.host.run(mssl(), "ca", "renew", "--directory", directory, "--days", "1")
    new = c.host.write("new.pem", content(os.path.join(directory, "ca.pem")).decode())
    c.program.signal(1)
    wait_for("the new CA", lambda: c.curl(SMALL, "--cacert", new, "-o", os.devnull, via_proxy=False, check=False).returncode == 0)
    expect(c.curl(SMALL, "--cacert", c.ca, "-o", os.devnull, via_proxy=False, check=False).returncode == 60, "the old one to be of no use")
    wait_for("a warning of its end in the log", lambda: "the interception CA expires soon" in c.log())


@case()
def a_loop_through_tls_ends(lab):
    """Where the packet filter exempts the wrong user, the daemon's own TLS connections come back to it and end there: the application gets
    an error, and no request goes round."""
    w = World(lab)
    c = intercepting(w)
    c.host.run(mssl(), "intercept", "on", "--user", "12345", "--dport", "443")
    before = c.status()["counters"]["connections_accepted"]
    status, _, _ = get(c, SMALL, "--cacert", c.ca, via_proxy=False)
    expect(status in (502, 504, 508), "an error", status)
    expect("was sent back to it" in c.log(), "the log to say why", c.log())
    expect(c.status()["counters"]["connections_accepted"] - before < 12, "a handful of connections", c.status()["counters"])


# 0 when UDP to the address is refused, 1 when nothing comes back.
_UDP = r"""
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.connect((sys.argv[1], int(sys.argv[2])))
try:
    s.send(b"x")
    s.recv(1)
except (ConnectionRefusedError, PermissionError):  # by ICMP, or by the send itself
    print("refused")
except TimeoutError:
    print("silence")
"""


@case()
def quic_is_refused_where_tcp_is_taken(lab):
    """With --dport 443 UDP to port 443 of the same hosts is refused at once, of both families, and of no other; off ends that."""
    w = World(lab)
    other = lab.host("other")
    c = w.client(redirect=False)
    for host in (w.host, other):
        host.run("nft", "-f", host.write("drop.nft", "table inet quiet { chain i { type filter hook input priority 0; udp dport { 443, 444 } drop; }; }"))
    said = lambda address, port=443: c.host.run(sys.executable, "-c", _UDP, address, str(port)).stdout.strip()
    expect(said(w.host.ip) == "silence", "nothing before")
    for options in ((), ("--tproxy",)):
        on(c, "--host", NAME, *options)
        for address in (w.host.ip, w.host.ip6):
            expect(said(address) == "refused", "a refusal by %s %s" % (address, options))
            expect(said(address, 444) == "silence", "another port to be left alone")
        expect(said(other.ip) == "silence", "another host to be left alone")
        text = c.host.run(mssl(), "intercept", "status").stdout
        expect("refused  UDP to port 443" in text, "status to say so", text)
        expect(json.loads(c.host.run(mssl(), "intercept", "status", "--json").stdout)["quic_refused"] is True, "and as JSON")
    c.host.run(mssl(), "intercept", "on", "--user", DAEMON_USER, "--host", NAME)
    expect(said(w.host.ip) == "silence", "nothing where port 443 is not taken")
    c.host.run(mssl(), "intercept", "off")
    expect(said(w.host.ip) == "silence", "nothing after off")


@case(needs_namespaces=False)
def a_ca_for_its_hosts_alone(lab):
    """mssl ca makes a CA that openssl verify takes for its hosts and for no other, with a key for its owner's eyes alone."""
    directory = os.path.join(lab.dir, "ca-of-host")
    ca = lambda *argv, **kw: run(mssl(), "ca", *argv, "--directory", directory, **kw)
    expect(ca("show", check=False).returncode == 1, "nothing to show before")
    text = ca("create", "Files.Example.org", "b.example.org").stdout
    for word in ("update-ca-certificates --fresh", "--cacert", "certutil", "b.example.org, files.example.org"):
        expect(word in text, "how to install and remove it (%s)" % word, text)
    key, certificate = os.path.join(directory, "ca.key"), os.path.join(directory, "ca.pem")
    expect(stat.S_IMODE(os.stat(key).st_mode) == 0o600 and stat.S_IMODE(os.stat(certificate).st_mode) == 0o644, "modes", os.stat(key))
    expect("PRIVATE" not in content(certificate).decode(), "no key in what is installed")
    text = run("openssl", "x509", "-in", certificate, "-noout", "-text").stdout
    expect("X509v3 Name Constraints: critical" in text and "DNS:files.example.org" in text, "critical name constraints", text)

    def verified(name, san):
        base = os.path.join(lab.dir, "leaf")
        with open(base + ".ext", "w") as f:
            f.write("subjectAltName=%s\n" % san)
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/O=x", "-keyout", base + ".key",
            "-out", base + ".csr")
        run("openssl", "x509", "-req", "-in", base + ".csr", "-CA", certificate, "-CAkey", key, "-days", "1", "-extfile", base + ".ext",
            "-set_serial", "1", "-out", base + ".pem")
        r = run("openssl", "verify", "-CAfile", certificate, *name, base + ".pem", check=False)
        return r.returncode == 0, r.stdout

    good, text = verified(("-verify_hostname", "files.example.org"), "DNS:files.example.org")
    expect(good, "its host to verify", text)
    for name, san in ((("-verify_hostname", "other.example.org"), "DNS:other.example.org"), (("-verify_ip", "192.0.2.1"), "IP:192.0.2.1")):
        good, text = verified(name, san)
        expect(not good and "subtree violation" in text, "%s to be refused for the constraints" % san, text)
    before = json.loads(ca("show", "--json").stdout)
    r = ca("create", "files.example.org", check=False)
    expect(r.returncode == 1 and "renew" in r.stdout, "a second create to change nothing", r.stdout)
    expect(json.loads(ca("show", "--json").stdout) == before, "as it was")
    ca("renew", "--days", "30")
    after = json.loads(ca("show", "--json").stdout)
    expect(after["hosts"] == before["hosts"] and after["sha256"] != before["sha256"], "a new one for the same hosts", after)
    ca("renew", "c.example.org")
    expect(json.loads(ca("show", "--json").stdout)["hosts"] == ["c.example.org"], "one for other hosts")
    for bad in ("192.0.2.1", "*.example.org", "a b"):
        expect(run(mssl(), "ca", "create", "--directory", directory + "2", bad, check=False).returncode == 2, "'%s' to be refused" % bad)
    expect(not os.path.exists(directory + "2"), "nothing made of it")
