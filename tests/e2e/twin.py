"""Each request twice, to the origin directly and through client proxy and server proxy, and what may differ between the answers.

A Place has one origin or more, each under a name and an address of its own, one server proxy before all of them, client proxies, and
a host without any of it. Requests are made and answers read by twin_asker.py inside the hosts' networks.
"""
import email.utils
import json
import os
import subprocess
import sys

from harness import Client, Failure, Nginx, Server, random_file, wait_for
from scene import KIB, Skip

HERE = os.path.dirname(os.path.abspath(__file__))
SIZE = 200_000  # of the shared object: more than one block, less than the socket buffers of one connection
OLD = 1700000000  # a date that is a strong validator
ORIGINS = ("script", "nginx", "apache", "python")
APACHE = "/usr/sbin/apache2"


def name_of(origin):
    return origin + ".example.org"


class Place:
    def __init__(self, lab, *origins, clients=1, copies=0, process="", share="", site="", nginx_extra="", apache_extra="", store="10GiB"):
        self.lab, self.origins = lab, origins
        self.host = lab.host("origin")
        self.alone = lab.host("alone")
        self.address = {o: "10.77.200.%d" % (1 + ORIGINS.index(o)) for o in origins}
        self.root = os.path.join(self.host.dir, "www")
        os.mkdir(self.root, 0o755)
        self._fill(copies)
        for origin, address in self.address.items():
            self.host.run("ip", "addr", "add", address + "/16", "dev", "eth0")
            lab.name(name_of(origin), address)
            getattr(self, "_start_" + origin)(address, nginx_extra if origin == "nginx" else apache_extra)
        issue = lab.authority()
        names = ",".join("DNS:" + name_of(o) for o in origins)

        def origin_table(o):
            return '[[origin]]\nhost = "%s"\nurl = "http://%s:80"\ntimeout = "5s"\n' % (name_of(o), self.address[o])

        def share_table():
            return '[[origin.share]]\npath = "*"\nmin-size = "64KiB"\n' + share + "\n"
        first, rest = origins[0], origins[1:]
        self.server = Server(self.host, lambda name: issue(name, san=names), 'url = "http://%s:80"\ntimeout = "5s"' % self.address[first],
                             name=name_of(first), extra=share + "\n" + "".join(origin_table(o) + share_table() for o in rest),
                             process=process)

        def site_table(o):
            return '[[site]]\nhost = "%s"\nserver = "%s"\nca = "%s"\n%s\n' % (name_of(o), self.server.address(), issue.ca, site)
        self.clients = [Client(lab.host("client%d" % (n + 1)), self.server.address(), issue.ca, name=name_of(first), process=process, store=store,
                               extra_site=site, extra="".join(site_table(o) for o in rest)) for n in range(clients)]

    def _fill(self, copies):
        random_file(os.path.join(self.root, "obj.bin"), SIZE)
        random_file(os.path.join(self.root, "small.bin"), 10 * KIB, seed=2)
        with open(os.path.join(self.root, "empty.bin"), "w"):
            pass
        with open(os.path.join(self.root, "text.txt"), "w") as f:
            f.writelines("line %d of what compresses well\n" % n for n in range(5000))
        os.mkdir(os.path.join(self.root, "directory"))
        for name in ("obj.bin", "small.bin", "empty.bin", "text.txt"):
            os.utime(os.path.join(self.root, name), (OLD, OLD))
        for kind in "cw":
            for n in range(copies):
                os.symlink(".", os.path.join(self.root, "%s%d" % (kind, n)))

    # ── Origins ──

    def _python(self, name, address, *argv):
        p = self.host.program(name, [sys.executable, "-u", *argv])
        wait_for(name, lambda: self.host.run("bash", "-c", "exec 3<>/dev/tcp/%s/80" % address, check=False).returncode == 0)
        return p

    def _start_script(self, address, _extra):
        self.log = os.path.join(self.host.dir, "origin-requests.log")
        with open(self.log, "w"):
            pass
        self.script = self._python("script", address, os.path.join(HERE, "twin_origin.py"), address, "80", self.log,
                                   os.path.join(self.root, "obj.bin"))

    def _start_python(self, address, _extra):
        self._python("http.server", address, "-m", "http.server", "--bind", address, "-d", self.root, "80")

    def _start_nginx(self, address, extra):
        self.nginx = Nginx(self.host, self.root, listen="%s:80; listen 127.0.0.1:80" % address,
                           extra="gzip on; gzip_types text/plain; %s" % extra)

    def _start_apache(self, address, extra):
        if not os.path.exists(APACHE):
            raise Skip("apache2 is not installed")
        wanted = ("mpm_prefork", "authz_core", "dir", "mime", "filter", "deflate", "alias", "env", "setenvif", "cgi", "headers")
        modules = "".join("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n" % (m, m) for m in wanted)
        conf = self.host.write("apache.conf", """
%(modules)s
ServerRoot %(dir)s
ServerName %(name)s
Listen %(address)s:80
PidFile %(dir)s/apache.pid
DefaultRuntimeDir %(dir)s
ErrorLog %(dir)s/apache-error.log
User nobody
Group nogroup
StartServers 12
DocumentRoot %(root)s
TypesConfig /etc/mime.types
AddOutputFilterByType DEFLATE text/plain
<Directory %(root)s>
  Require all granted
  Options FollowSymLinks
</Directory>
%(extra)s
""" % dict(modules=modules, dir=self.host.dir, name=name_of("apache"), address=address, root=self.root, extra=extra))
        if not os.path.exists("/etc/mime.types"):
            raise Skip("/etc/mime.types is not there")
        self.apache = self.host.program("apache", [APACHE, "-DFOREGROUND", "-f", conf])
        wait_for("apache", lambda: self.host.run("bash", "-c", "exec 3<>/dev/tcp/%s/80" % address, check=False).returncode == 0)

    def seen(self):
        """The requests that the scripted origin got: {"line", "head"} each."""
        with open(self.log) as f:
            return [json.loads(line) for line in f]


# ── Asking ──

def message(origin, way, method, path, fields=(), body=None, minor=1, keep=False, target=None):
    """One request as text. way: "direct", "redirect" (the same bytes) or "proxy" (absolute-form). body: text, or a list of chunks."""
    if target is None:
        target = "http://%s%s" % (name_of(origin), path) if way == "proxy" else path
    lines = ["%s %s HTTP/1.%d" % (method, target, minor)]
    if not any(n.lower() == "host" for n, _ in fields):
        lines.append("Host: " + name_of(origin))
    lines += ["%s: %s" % f for f in fields]
    if not keep and not any(n.lower() == "connection" for n, _ in fields):
        lines.append("Connection: close")
    content = ""
    if isinstance(body, str):
        lines.append("Content-Length: %d" % len(body))
        content = body
    elif body is not None:
        lines.append("Transfer-Encoding: chunked")
        content = "".join("%x\r\n%s\r\n" % (len(c), c) for c in body) + "0\r\n\r\n"
    return "\r\n".join(lines) + "\r\n\r\n", content


class Row:
    """One request of a table. kw: body, minor, keep, target as of message(); expect (wait for a 100), tunnel, states."""

    def __init__(self, name, origin, method, path, fields=(), states=None, expect=False, tunnel=None, **kw):
        self.name, self.origin, self.method, self.path, self.fields = name, origin, method, path, list(fields)
        self.states, self.expect, self.tunnel, self.kw = states, expect, tunnel, kw

    def request(self, place, way, path, proxy_port=None):
        head, content = message(self.origin, way, self.method, path, self.fields, **self.kw)
        to = ["127.0.0.1", proxy_port] if way == "proxy" else [place.address[self.origin], 80]
        r = {"to": to, "method": self.method, "segments": [head, content] if self.expect else [head + content]}
        if self.expect:
            r["wait"] = 100
        if self.tunnel is not None:
            r["tunnel"] = self.tunnel
        return r


def ask(host, requests):
    """[[answer of twin_asker.py, …] of each request]."""
    r = subprocess.run(host.prefix + [sys.executable, os.path.join(HERE, "twin_asker.py")], input=json.dumps(requests), text=True,
                       stdout=subprocess.PIPE, timeout=120, check=False)
    if r.returncode != 0:
        raise Failure("the asker failed on %s" % host.name)
    return json.loads(r.stdout)


# ── What may differ (msslproxy(8), TRANSPARENCY) ──

HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "trailer", "te"}
DATE_SECONDS = 5


def end_to_end(answer, way):
    """[(name, value)] of the fields that must be the same, sorted by name, repeated ones in their order."""
    skip = set(HOP_BY_HOP)
    if answer["status"] != 101:
        skip.add("upgrade")
    if answer["status"] == 206:
        skip.add("accept-ranges")
    fields = [(n.lower(), v) for n, v in answer["fields"] if n.lower() not in skip]
    if way == "proxy":
        fields = [f for f in fields if not (f[0] == "via" and f[1].endswith("msslproxy"))]
    return sorted(fields, key=lambda f: f[0])


def near(value, at):
    """Whether a Date is of the time at which the answer came."""
    try:
        return abs(email.utils.parsedate_to_datetime(value).timestamp() - at) <= DATE_SECONDS
    except (TypeError, ValueError):
        return False


def fields_differ(direct, ours, way):
    a, b = end_to_end(direct, way), end_to_end(ours, way)
    if len(a) == len(b) and all(x == y or (x[0] == y[0] == "date" and near(x[1], direct["at"]) and near(y[1], ours["at"]))
                                for x, y in zip(a, b)):
        return []
    only = [f for f in a if f not in b], [f for f in b if f not in a]
    return ["fields: only direct %s, only through us %s" % only]


def differences(direct, ours, way):
    # Trailers are not passed on.
    told = ["end", "status", "reason", "length", "body"]
    # Of what breaks off an abort may take with it what was on its way: how much there is of it is chance, directly too.
    if direct["end"] == ours["end"] == "broken":
        told = ["status", "reason"]
    found = ["%s: %.80r directly, %.80r through us" % (key, direct[key], ours[key]) for key in told if direct[key] != ours[key]]
    found += fields_differ(direct, ours, way)
    if len(direct["interim"]) != len(ours["interim"]):
        found.append("interim: %s directly, %s through us" % ([i["status"] for i in direct["interim"]], [i["status"] for i in ours["interim"]]))
    for a, b in zip(direct["interim"], ours["interim"]):
        found += ["interim status: %d, %d" % (a["status"], b["status"])] if a["status"] != b["status"] else fields_differ(a, b, way)
    via = [v for n, v in ours["fields"] if n.lower() == "via"]
    if (way == "proxy") != any(v.endswith("msslproxy") for v in via) and ours["status"] != 101:
        found.append("Via: %s by way of %s" % (via, way))
    return found


def compare(place, rows):
    """Each row directly, and through the first client cold and warm, through the last one with the first as its peer; by REDIRECT and by
    the explicit proxy. What differs, a line each; and how many answers were compared."""
    direct = [a[0] for a in ask(place.alone, [row.request(place, "direct", "/w0" + row.path) for row in rows])]
    shared = sorted({(row.origin, row.path) for row in rows})
    found, count = [], 0
    for state in ("cold", "warm", "peer"):
        client = place.clients[-1 if state == "peer" else 0]
        if state == "peer" and len(place.clients) == 1:
            continue
        if state == "warm":
            # One asks before the others, so that they find it whole.
            warm_up = [Row("warm up", origin, "GET", path) for origin, path in shared]
            ask(client.host, [row.request(place, "redirect", "/w0" + row.path) for row in warm_up])
        for number, way in enumerate(("redirect", "proxy")):
            asked = [row for row in rows if row.states is None or state in row.states]

            def path(n, row):
                return ("/c%d" % (2 * n + number) if state == "cold" else "/w0") + row.path
            answers = ask(client.host, [row.request(place, way, path(n, row), client.proxy_port) for n, row in enumerate(asked)])
            for row, answer in zip(asked, answers):
                count += 1
                different = differences(direct[rows.index(row)], answer[0], way)
                if different:
                    found.append("%s, %s, %s: %s" % (row.name, state, way, "; ".join(different)))
    return found, count
