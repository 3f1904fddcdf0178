"""A path with access = "restricted": the origin decides anew about each who asks, and what proves who that is goes nowhere else."""
import base64
import os

from harness import Nginx
from scene import MIB, World, case, content, expect, expect_whole, fetch, get, transfer

PASSWORD, OTHER_PASSWORD = "correct-horse-battery", "staple-of-another"
COOKIE = "c0okie-of-who-may"
TOKEN = "t0ken-in-a-query"


def basic(user, password):
    return base64.b64encode(("%s:%s" % (user, password)).encode()).decode()


def nginx_of(who_may):
    """who_may: a file of `"Authorization|Cookie" 1;` lines, which the test changes. Nothing here says private: the configuration does."""
    return """
    add_header Cache-Control "max-age=600" always;
    location / { if ($may = 0) { return 401; } }
    } map $http_authorization|$http_cookie $may { default 0; include %s; } server { listen 127.0.0.1:8999;""" % who_may


class PrivateWorld:
    def __init__(self, lab):
        self.file = os.path.join(lab.dir, "who-may")
        self.allow("me")
        self.w = World(lab, size=4 * MIB, extra='access = "restricted"', nginx_extra=nginx_of(self.file), process='log-level = "debug"')
        self.clients = [self.w.client(fallback="none", process='log-level = "debug"') for _ in range(3)]

    def allow(self, *users):
        rows = {"me": '"Basic %s|" 1;' % basic("me", PASSWORD), "other": '"Basic %s|" 1;' % basic("other", OTHER_PASSWORD),
                "cookie": '"|session=%s" 1;' % COOKIE, "anybody": '"|" 1;'}
        with open(self.file, "w") as f:
            f.write("\n".join(rows[u] for u in users))

    def change(self, *users):
        self.allow(*users)
        self.w.nginx.program.stop()
        self.w.nginx = Nginx(self.w.host, self.w.root, extra=nginx_of(self.file))


ME = ("-u", "me:" + PASSWORD)
OTHER = ("-u", "other:" + OTHER_PASSWORD)
WITH_COOKIE = ("-b", "session=" + COOKIE)


def expect_refused(client, *args):
    status, _, body = get(client, "/big.bin?token=" + TOKEN, *args)
    expect(status == 401 and len(body) < 1000, "the origin's 401 and nothing of the object", (status, len(body)))


@case()
def who_is_refused_now_gets_nothing(lab):
    """Who the origin refuses gets nothing that others have, nor what he had himself, however fresh it is called; who is let in has it from peers."""
    p = PrivateWorld(lab)
    first, second, third = p.clients
    url = "/big.bin?token=" + TOKEN
    expect_refused(first)
    expect_whole(fetch(first, url, *ME), p.w.sum)
    for wrong in ((), ("-u", "me:wrong"), OTHER, WITH_COOKIE):
        expect_refused(first, *wrong)
        expect_refused(second, *wrong)
    expect(second.transfers() == [], "no transfer of who was refused", second.transfers())
    expect_whole(fetch(second, url, *ME), p.w.sum)
    expect(transfer(second)["from_peers"] > 0, "bytes from a peer", transfer(second))
    p.change("other", "cookie")
    for client in (first, second):
        expect_refused(client, *ME)
        expect_refused(client, *ME, "-H", "Range: bytes=0-9")
    status, _, body = get(first, url, *OTHER, "-H", "Range: bytes=5-9")
    expect(status == 206 and body == content(p.w.big)[5:10], "a part for who may now", status)
    expect_whole(fetch(third, url, *WITH_COOKIE), p.w.sum)
    expect(transfer(third)["from_peers"] > 0, "bytes from a peer", transfer(third))
    # Nothing in a request says that this origin goes by something else.
    p.change("anybody")
    expect_whole(fetch(first, url), p.w.sum)
    p.change("me")
    expect_refused(first)


def files_under(directory):
    for at, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(at, name)
            if os.path.isfile(path):
                yield path


@case()
def what_proves_who_asks_is_nowhere_else(lab):
    """Authorization and Cookie are in no log, no state directory and at no peer; a query is in no log; what only some may have is at who may."""
    p = PrivateWorld(lab)
    p.change("me", "cookie")
    first, second, stranger = p.clients
    url = "/big.bin?token=" + TOKEN
    expect_whole(fetch(first, url, *ME), p.w.sum)
    expect_whole(fetch(second, url, *WITH_COOKIE), p.w.sum)
    get(first, "/small.bin?token=" + TOKEN, *ME)
    expect_refused(stranger, "-u", "me:" + OTHER_PASSWORD)
    for proxy in (*p.clients, p.w.server):
        expect("/big.bin" in proxy.log() or proxy is p.w.server, "a log that says something", proxy.program.tail())
        proxy.program.stop()
    secrets = [s.encode() for s in (PASSWORD, OTHER_PASSWORD, COOKIE, basic("me", PASSWORD), basic("me", OTHER_PASSWORD))]
    logs = [proxy.program.log for proxy in (*p.clients, p.w.server)]
    states = [path for proxy in (*p.clients, p.w.server) for path in files_under(proxy.state)]
    expect(len(states) > 8, "files to look into", states)
    for path in logs + states:
        data = content(path)
        found = [s for s in secrets if s in data]
        expect(not found, "no secret in " + path, found)
        expect(path not in logs or TOKEN.encode() not in data, "no query in " + path)
    piece = content(p.w.big)[MIB:MIB + 64]
    expect(any(piece in content(path) for path in files_under(first.state)), "the object at who may have it")
    expect(not any(piece in content(path) for path in files_under(stranger.state)), "nothing of it at who may not")
    expect(not any(piece in content(path) for path in logs), "nothing of it in a log")
