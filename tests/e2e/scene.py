"""What the cases of run-all are written with: what a case is, what it expects, and the usual set of hosts."""
import functools
import inspect
import json
import os
import sys

from harness import Client, Failure, Lab, NAME, Nginx, Server, random_file, sha256, wait_for

MIB = 1 << 20
KIB = 1 << 10
SLOW = 8  # Mbit/s: a MiB a second, so that a download has a middle
BROKEN = (18, 56)  # what curl says of an answer that ended early


class Skip(Exception):
    """Why a case cannot run here."""


def case(needs_namespaces=True):
    """Makes a function a case: it is given a Lab. Its docstring is the promise."""
    def wrap(function):
        @functools.wraps(function)
        def call():
            with Lab(want_netns=needs_namespaces) as lab:
                if needs_namespaces and not lab.netns:
                    raise Skip("no network namespaces: %s" % lab.no_netns_because)
                function(lab)
        call.is_case = True
        return call
    return wrap


def named(function, name, promise):
    """For cases made in a loop."""
    function.__name__, function.__doc__ = name, promise
    return function


def cases_of(module):
    return [(n, f) for n, f in vars(module).items() if inspect.isfunction(f) and getattr(f, "is_case", False)]


def promise_of(function):
    return " ".join((function.__doc__ or "").split()).rstrip(".")


_sabotage = os.environ.get("MSSL_E2E_SABOTAGE") == "1"


def expect(holds, what, found=None):
    """Every promise is checked through here. Under run-all --prove the first check of a case is turned round."""
    global _sabotage
    if _sabotage:
        _sabotage = False
        if holds:
            raise Failure("turned round: expected NOT %s" % what)
        return
    if not holds:
        raise Failure("expected %s%s" % (what, "" if found is None else "; found %s" % (found,)))


def note(text):
    print("# " + text, file=sys.stderr, flush=True)


class World:
    """An origin with nginx and a server proxy before it, and clients as wanted."""

    def __init__(self, lab, size=8 * MIB, up=None, nginx_extra="", origin=None, certificate_for=None, **server):
        self.lab = lab
        self.host = lab.host("origin")
        self.root = os.path.join(self.host.dir, "www")
        os.mkdir(self.root, 0o755)
        self.big = random_file(os.path.join(self.root, "big.bin"), size)
        self.small = random_file(os.path.join(self.root, "small.bin"), 10 * KIB, seed=2)
        # Of a file that is not brand-new a date is a strong validator too (RFC 9110 §8.8.2.2).
        for path in (self.big, self.small):
            os.utime(path, (1700000000, 1700000000))
        self.length, self.sum = size, sha256(self.big)
        if lab.netns:
            lab.name(NAME, self.host.ip, self.host.ip6)
        self.issue = lab.authority()
        self.nginx = Nginx(self.host, self.root, extra=nginx_extra)
        issue = self.issue if certificate_for is None else lambda _name: self.issue(certificate_for)
        self.server = Server(self.host, issue, origin or 'url = "http://127.0.0.1:%d"' % self.nginx.port, **server)
        if up:
            self.host.shape(up_mbit=up)
        self.clients = []

    def client(self, up=None, down=None, **kw):
        host = self.lab.host("client%d" % (len(self.clients) + 1))
        if up or down:
            host.shape(up_mbit=up, down_mbit=down)
        kw.setdefault("server", self.server.address())
        kw.setdefault("ca", self.issue.ca)
        self.clients.append(Client(host, **kw))
        return self.clients[-1]

    def bodies(self):
        """How many whole or partial contents nginx sent of /big.bin, and of how many bytes."""
        rows = [line.split(" ", 2) for line in self.nginx.requests() if '"GET /big.bin' in line]
        return [(int(status), int(size)) for status, size, _ in rows if int(size) > 0 and status in ("200", "206")]


_outputs = [0]


def output_of(client):
    _outputs[0] += 1
    return os.path.join(client.host.dir, "out-%d" % _outputs[0])


def begin(client, path="/big.bin", *args, **kw):
    return client.start_curl(path, output_of(client), *args, **kw)


def fetch(client, path="/big.bin", *args, check=True, **kw):
    """A finished download: .exit, .result (status, size …), .output."""
    d = begin(client, path, *args, **kw)
    d.finish(check=check)
    return d


def expect_whole(download, wanted, who="the application"):
    found = sha256(download.output) if os.path.exists(download.output) else "no file"
    expect(found == wanted, "%s to get the right bytes" % who, found)


def content(path):
    with open(path, "rb") as f:
        return f.read()


def transfer(client):
    """The transfer that the client's status page shows; of several the one that moved most."""
    rows = client.transfers()
    return max(rows, key=lambda t: t["verified"]) if rows else {"from_server": 0, "from_peers": 0, "from_store": 0, "verified": 0,
                                                                 "cut": [], "peers": []}


def wait_received(download, at_least):
    """Until the application holds this many bytes, the download going on."""
    def there():
        if download.process.poll() is not None:
            raise Failure("the download ended (%d) before it was half done" % download.process.returncode)
        return download.size() >= at_least
    wait_for("%d bytes at the application" % at_least, there)


def wait_hashed(w):
    wait_for("the object to be hashed", lambda: "object complete" in w.server.log())


def half_way(lab):
    """A world, its one client, and that client's download under way, when the server has read and hashed the whole object."""
    w = World(lab, up=2 * SLOW)
    c = w.client(fallback="none")
    d = begin(c)
    wait_received(d, MIB)
    wait_hashed(w)
    return w, c, d


def expect_broken(w, d, timeout=120):
    """The application was told that it has not got everything, and what it has got is right."""
    d.finish(timeout=timeout, check=False)
    expect(d.exit in BROKEN, "curl to say that the answer broke", d.exit)
    got = content(d.output)
    expect(len(got) < w.length, "fewer bytes than the object has", len(got))
    expect(got == content(w.big)[:len(got)], "the right ones as far as they go")


# Sends standard input to a socket and prints what comes back until the other side ends. In a host of its own network a case cannot
# open a socket by itself.
_TALK = r"""
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 30)
s.settimeout(30)
s.sendall(sys.stdin.buffer.read())
try:
    while piece := s.recv(65536):
        sys.stdout.buffer.write(piece)
except ConnectionResetError:
    pass
"""


def talk(host, address, port, data):
    import subprocess
    r = subprocess.run(host.prefix + [sys.executable, "-c", _TALK, address, str(port)], input=data, stdout=subprocess.PIPE,
                       timeout=60, check=True)
    return r.stdout


def answers(data):
    """[(status, {field: value}, body)] of a run of answers with Content-Length."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        n = int(fields.get("content-length", 0))
        found.append((int(lines[0].split()[1]), fields, data[:n]))
        data = data[n:]
    return found


def head_of(path):
    """(status, {field: value}) of a file written by curl -D: the last answer in it."""
    with open(path, encoding="latin-1") as f:
        last = [block for block in f.read().replace("\r\n", "\n").split("\n\n") if block.strip()][-1]
    lines = last.split("\n")
    return int(lines[0].split()[1]), {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}


def get(client, path, *args, **kw):
    """(status, fields, body) of one request through the proxy."""
    out = output_of(client)
    client.curl(path, "-o", out, "-D", out + ".head", *args, **kw)
    status, fields = head_of(out + ".head")
    return status, fields, content(out) if os.path.exists(out) else b""


def show(rows):
    return json.dumps(rows, indent=1)
