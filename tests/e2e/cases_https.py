"""Applications and origins that speak HTTPS: the forward mode, which stands for an https site on a port of this host."""
import os
import shutil
import sys
import zipfile

from harness import NAME, Nginx, random_file, run, sha256
from scene import KIB, MIB, Skip, World, case, content, expect, expect_whole, fetch, get, output_of, transfer

OTHER = "other.example.org"
# As many real sites do: what seems to come by http is led to https.
HTTPS_ONLY = 'if ($http_x_forwarded_proto != "https") { return 301 https://$host$request_uri; }'


def forward(port, to, more=""):
    return '[[intercept]]\nmode = "forward"\nlisten = "127.0.0.1:%d"\nto = "https://%s"\n%s\n' % (port, to, more)


def at(port, path):
    return "http://127.0.0.1:%d%s" % (port, path)


class PlainSite:
    """An HTTPS site that knows nothing of mSSL, on a host of its own."""

    def __init__(self, w, name=OTHER, certificate_for=None, extra=""):
        self.host = w.lab.host("plain%d" % len(w.lab.hosts))
        self.root = os.path.join(self.host.dir, "www")
        os.mkdir(self.root, 0o755)
        self.small = random_file(os.path.join(self.root, "small.bin"), 10 * KIB, seed=3)
        w.lab.name(name, self.host.ip, self.host.ip6)
        certificate, key = w.issue(certificate_for or name)
        self.nginx = tls_nginx(self.host, self.root, certificate, key, extra)


def tls_nginx(host, root, certificate, key, extra=""):
    return Nginx(host, root, port=443, tls=(certificate, key), extra="""
    ssl_protocols TLSv1.2 TLSv1.3; %s
    location = /moved { return 302 https://$host/small.bin; }
    location = /away { return 302 https://elsewhere.example.org/x; }
    location = /cookie { add_header Set-Cookie "id=1; Domain=$host; Secure; HttpOnly; Path=/"; return 200 "%s"; }
    location = /seen { return 200 "$http_cookie|$http_origin|$host|$http_x_forwarded_for"; }
""" % (extra, "https://$host/link"))


@case()
def forward_shares_what_is_asked_by_https(lab):
    """A port that stands for an https site gives its shared objects, from peers too, and the origin is asked as by https."""
    w = World(lab, nginx_extra=HTTPS_ONLY)
    first = w.client(redirect=False, extra=forward(8001, NAME))
    second = w.client(redirect=False, fallback="none", extra=forward(8001, NAME))
    expect_whole(fetch(first, at(8001, "/big.bin"), via_proxy=False), w.sum)
    whole = len(w.bodies())
    expect_whole(fetch(second, at(8001, "/big.bin"), via_proxy=False), w.sum)
    expect(len(w.bodies()) == whole == 1, "the origin to have sent it once", w.bodies())
    t = transfer(second)
    expect(t["from_peers"] > 0 and t["verified"] == w.length, "bytes from a peer", t)
    expect(t["url"] == "https://%s:443/big.bin" % NAME, "the object to be one of https", t)
    status, _, body = get(first, at(8001, "/small.bin"), via_proxy=False)
    expect(status == 200 and body == content(w.small), "what is not shared as well", status)
    # By http the same path is another resource, which this origin redirects.
    status, fields, _ = get(first, "/big.bin", via_proxy=True)
    expect(status == 301 and fields["location"] == "https://%s/big.bin" % NAME, "the origin's own answer by http", (status, fields))


@case()
def forward_reads_the_origin_again_as_by_https(lab):
    """What the server no longer holds it reads from the origin again, and as by https: an object of https is not taken back."""
    w = World(lab, nginx_extra=HTTPS_ONLY, extra_server='spool-size = "0"')
    c = w.client(redirect=False, fallback="none", extra=forward(8001, NAME))
    expect_whole(fetch(c, at(8001, "/big.bin"), via_proxy=False), w.sum)
    other = w.client(redirect=False, fallback="none", upload=None, extra=forward(8001, NAME))
    c.program.stop()
    expect_whole(fetch(other, at(8001, "/big.bin"), via_proxy=False), w.sum)
    expect(transfer(other)["verified"] == w.length, "a shared object again", other.transfers())


@case()
def forward_to_any_https_site(lab):
    """A site without mSSL is reached over verified TLS; where it leads to itself the application comes back, elsewhere it goes."""
    w = World(lab)
    site = PlainSite(w)
    c = w.client(redirect=False, extra=forward(8002, OTHER, 'ca = "%s"' % w.issue.ca))
    status, fields, body = get(c, at(8002, "/moved"), via_proxy=False)
    expect(status == 302 and fields["location"] == at(8002, "/small.bin"), "a redirection back here", fields)
    status, _, body = get(c, at(8002, "/moved"), "-L", via_proxy=False)
    expect(status == 200 and body == content(site.small), "the bytes behind it", status)
    _, fields, _ = get(c, at(8002, "/away"), via_proxy=False)
    expect(fields["location"] == "https://elsewhere.example.org/x", "another site's address untouched", fields)
    _, fields, _ = get(c, "http://localhost:8002/moved", via_proxy=False)
    expect(fields["location"] == "http://localhost:8002/small.bin", "the name that the application used", fields)
    jar = os.path.join(c.host.dir, "jar")
    _, fields, body = get(c, at(8002, "/cookie"), "-c", jar, via_proxy=False)
    expect(fields["set-cookie"] == "id=1; HttpOnly; Path=/", "a cookie that the application keeps", fields)
    expect(body == b"https://%s/link" % OTHER.encode(), "links in content untouched", body)
    _, fields, body = get(c, at(8002, "/seen"), "-b", jar, "-H", "Origin: http://127.0.0.1:8002", via_proxy=False)
    expect(body == ("id=1|https://%s|%s|" % (OTHER, OTHER)).encode(), "the site to see itself and nothing of us", body)
    expect("via" not in fields, "no Via", fields)


@case()
def forward_refuses_other_names(lab):
    """A web page that points a name of its own at the port is refused, whatever it asks; the site is not asked."""
    w = World(lab)
    site = PlainSite(w)
    c = w.client(redirect=False, extra=forward(8002, OTHER, 'ca = "%s"' % w.issue.ca))
    seen = len(site.nginx.requests())
    for host in ("attacker.example", "attacker.example:8002", OTHER):
        status, _, body = get(c, at(8002, "/small.bin"), "-H", "Host: " + host, via_proxy=False)
        expect(status == 421 and b"http://127.0.0.1:8002/" in body, "421, and how to ask", (status, body))
    expect(len(site.nginx.requests()) == seen, "nothing to have reached the site", site.nginx.requests())


@case()
def forward_passes_nothing_of_a_wrong_server(lab):
    """A site that cannot prove its name is a 502 that says so, with and without mSSL; nothing of it is passed."""
    w = World(lab)
    PlainSite(w, certificate_for="wrong.example.org")
    c = w.client(redirect=False, extra=forward(8001, NAME) + forward(8002, OTHER, 'ca = "%s"' % w.issue.ca) + forward(8003, OTHER))
    for port in (8002, 8003):  # the wrong name; a CA that the system does not know
        status, _, body = get(c, at(port, "/small.bin"), via_proxy=False)
        expect(status == 502 and b"not who it should be" in body, "a 502 that says why", (status, body))
    # The fallback of an mSSL site: its https, verified.
    w.server.program.stop()
    nginx = tls_nginx_in_place(w, NAME)
    expect_whole(fetch(c, at(8001, "/big.bin"), via_proxy=False), w.sum)
    nginx.program.stop()
    tls_nginx_in_place(w, "wrong.example.org")
    status, _, body = get(c, at(8001, "/big.bin"), via_proxy=False)
    expect(status == 502 and b"not who it should be" in body, "a 502 after fallback as well", (status, body))


def tls_nginx_in_place(w, certificate_for):
    certificate, key = w.issue(certificate_for)
    return tls_nginx(w.host, w.root, certificate, key)


def needs(program):
    if shutil.which(program) is None:
        raise Skip("no %s" % program)


@case()
def git_clones_through_forward(lab):
    """git clones over plain HTTP from the port, and has what the https site has."""
    needs("git")
    w = World(lab)
    source, bare = os.path.join(w.host.dir, "source"), os.path.join(w.root, "repository.git")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main", "-c", "safe.directory=*"]
    run(*git, "init", "-q", source)
    random_file(os.path.join(source, "data.bin"), 2 * MIB, seed=4)
    run(*git, "-C", source, "add", ".")
    run(*git, "-C", source, "commit", "-q", "-m", "data")
    run(*git, "clone", "-q", "--bare", source, bare)
    run(*git, "-C", bare, "repack", "-adq")
    run(*git, "-C", bare, "update-server-info")
    run("chmod", "-R", "a+rX", bare)
    c = w.client(redirect=False, extra=forward(8001, NAME))
    target = os.path.join(c.host.dir, "clone")
    c.host.run(*git, "clone", "-q", at(8001, "/repository.git"), target)
    expect(sha256(os.path.join(target, "data.bin")) == sha256(os.path.join(source, "data.bin")), "the file as it was committed")
    expect(transfer(c)["verified"] > 2 * MIB, "the pack to be a shared object", c.transfers())


@case()
def pip_installs_through_forward(lab):
    """pip installs from an index behind the port, relative links and all."""
    w = World(lab, nginx_extra="location /simple/ { types { text/html html; application/octet-stream whl; } index index.html; }")
    if run(sys.executable, "-m", "pip", "--version", check=False).returncode != 0:
        raise Skip("no pip for %s" % sys.executable)
    folder = os.path.join(w.root, "simple", "thing")
    os.makedirs(folder)
    wheel = os.path.join(folder, "thing-1.0-py3-none-any.whl")
    with zipfile.ZipFile(wheel, "w") as z:
        z.write(w.big, "thing/data.bin")
        z.writestr("thing/__init__.py", "")
        z.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        z.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr("thing-1.0.dist-info/RECORD", "")
    os.utime(wheel, (1700000000, 1700000000))
    with open(os.path.join(folder, "index.html"), "w") as f:
        f.write('<!DOCTYPE html><html><body><a href="thing-1.0-py3-none-any.whl">thing-1.0-py3-none-any.whl</a></body></html>')
    run("chmod", "-R", "a+rX", w.root)
    c = w.client(redirect=False, extra=forward(8001, NAME))
    target = os.path.join(c.host.dir, "installed")
    c.host.run(sys.executable, "-m", "pip", "install", "-q", "--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore",
               "--index-url", at(8001, "/simple/"), "--target", target, "thing")
    expect(sha256(os.path.join(target, "thing", "data.bin")) == w.sum, "the installed file")
    expect(transfer(c)["verified"] == os.path.getsize(wheel), "the wheel to be a shared object", c.transfers())
