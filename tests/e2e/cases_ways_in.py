"""Ways in beside REDIRECT and the HTTP proxy: SOCKS, TPROXY, and programs that mistake one port for another."""
import os
import pwd

from harness import DAEMON_USER, NAME
from scene import World, case, content, expect, expect_whole, fetch, get, output_of, transfer

SOCKS = '[[intercept]]\nmode = "socks5"\nlisten = "127.0.0.1:1080"\n'
TPROXY = '[[intercept]]\nmode = "tproxy"\nlisten = "[::]:3130"\n'


@case()
def socks_by_name_and_by_address(lab):
    """A program that knows SOCKS 5 alone gets shared objects, whether it or the proxy looks the name up, and sees no proxy."""
    w = World(lab)
    c = w.client(redirect=False, extra=SOCKS)
    for option in ("--socks5-hostname", "--socks5"):
        out = output_of(c)
        head = out + ".head"
        c.host.run("curl", "-sS", option, "127.0.0.1:1080", "-D", head, "-o", out, "http://%s/big.bin" % NAME)
        expect(content(out) == content(w.big), "the object through " + option)
        expect("via:" not in content(head).decode().lower(), "no Via", content(head))
    t = transfer(c)
    expect(t["verified"] == w.length and len(c.transfers()) == 1, "one shared transfer", c.transfers())


@case()
def socks_tunnels_what_is_no_http(lab):
    """Through SOCKS, what goes to another port is a tunnel, both ways; what cannot be reached is an error of SOCKS."""
    w = World(lab)
    c = w.client(redirect=False, extra=SOCKS)
    out = output_of(c)
    c.host.run("curl", "-sS", "--socks5-hostname", "127.0.0.1:1080", "--cacert", w.issue.ca, "-o", out, "https://%s/big.bin" % NAME)
    expect(content(out) == content(w.big), "the object through TLS through SOCKS")
    expect(c.transfers() == [], "nothing of a tunnel shared", c.transfers())
    r = c.host.run("curl", "-sS", "--socks5-hostname", "127.0.0.1:1080", "http://%s:9/" % NAME, check=False)
    expect(r.returncode == 97, "curl to say that the proxy refused (97)", (r.returncode, r.stdout))


@case()
def socks_host_is_checked(lab):
    """Through SOCKS too, a request whose Host is not where the connection goes gets that place's bytes, and nothing is shared."""
    w = World(lab)
    c = w.client(redirect=False, extra=SOCKS)
    lab.name("other.example.org", w.host.ip, w.host.ip6)
    out = output_of(c)
    c.host.run("curl", "-sS", "--socks5-hostname", "127.0.0.1:1080", "-H", "Host: " + NAME, "-o", out,
               "http://other.example.org/small.bin")
    expect(content(out) == content(w.small), "the bytes of where it went")
    out = output_of(c)
    c.host.run("curl", "-sS", "--socks5-hostname", "127.0.0.1:1080", "-H", "Host: " + NAME, "-o", out,
               "http://other.example.org/big.bin")
    expect(content(out) == content(w.big) and c.transfers() == [], "nothing shared", c.transfers())


@case()
def proxy_requests_at_the_redirect_port(lab):
    """A program of this host that takes the redirect port for an HTTP proxy is served as by one; another host's is refused."""
    w = World(lab)
    c = w.client()
    out = output_of(c)
    c.host.run("curl", "-sS", "-x", "http://127.0.0.1:%d" % c.redirect_port, "-o", out, "http://%s/big.bin" % NAME)
    expect(content(out) == content(w.big), "the object")
    expect(transfer(c)["verified"] == w.length, "shared", c.transfers())
    r = w.host.run("curl", "-sS", "--noproxy", "", "-x", "http://%s:%d" % (c.host.ip, c.redirect_port), "-o", "/dev/null", "-w",
                   "%{http_code}", "http://%s/small.bin" % NAME)
    expect(r.stdout == "400", "400 to another host", r.stdout)


@case()
def tproxy_by_both_families(lab):
    """Connections that TPROXY sends here are answered as redirected ones, IPv4 and IPv6; who connects straight to it is refused."""
    w = World(lab)
    lab.name(NAME, w.host.ip, w.host.ip6)
    c = w.client(redirect=False, extra=TPROXY, capabilities="net_admin")
    rules = c.host.write("tproxy.nft", """
table inet mssl_lab {
  chain output {
    type route hook output priority mangle; policy accept;
    meta skuid %d accept
    tcp dport 80 meta mark set 1
  }
  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    meta mark 1 meta l4proto tcp tproxy to :3130
  }
}
""" % pwd.getpwnam(DAEMON_USER).pw_uid)
    c.host.run("nft", "-f", rules)
    for family in ("-4", "-6"):
        c.host.run("ip", family, "rule", "add", "fwmark", "1", "lookup", "100")
        c.host.run("ip", family, "route", "add", "local", "default", "dev", "lo", "table", "100")
    for family in ("-4", "-6"):
        expect_whole(fetch(c, "/big.bin", family, via_proxy=False), w.sum, family)
        status, _, body = get(c, "/small.bin", family, via_proxy=False)
        expect(status == 200 and body == content(w.small), "what is not shared as well " + family, status)
    expect(len(c.transfers()) == 1, "one shared transfer", c.transfers())
    r = c.host.run("curl", "-sS", "--noproxy", "*", "-o", os.devnull, "-w", "%{http_code}", "-H", "Host: " + NAME,
                   "http://127.0.0.1:3130/big.bin")
    expect(r.stdout == "400", "400 to a direct hit", r.stdout)
