"""The parts of the benchmark, a to e. Each alternates what is ours and what it is compared with, so that both meet the same noise."""
import os
import socket
import ssl
import statistics
import subprocess
import time

from meter import GIB, MIB, Run, forget_peak, peak_kib, resident_kib, settle
from place import Failure, Place, WrongBytes
from harness import NAME

IDLE_CONNECTIONS = 1000
SMALL_REQUESTS = 200


def transfers(lab, report, size, runs):
    """a, b: one file through both proxies, against stunnel and against nginx alone."""
    place = Place(lab, size)
    rows = {name: [] for name in ("stunnel", "cold", "published", "store", "nginx")}
    mssl = os.environ["MSSL"]
    try:
        for n in range(runs + 1):  # the first round warms up and is not counted
            took = {}
            took["stunnel"] = place.fetch("stunnel", place.direct(place.stunnel.client_port),
                                          dict(place.stunnel.pids(), **place.origin()))
            place.restart()
            took["cold"] = place.by_mssl("cold", place.new_name())

            place.restart()
            path = place.new_name()
            subprocess.run([mssl, "publish", "-q", "--status", "127.0.0.1:%d" % place.server.status_port,
                            "http://%s%s" % (NAME, path)], check=True)
            settle(place.pids().values())
            took["published"] = place.by_mssl("published", path)

            took["nginx"] = place.fetch("nginx", place.direct(), place.origin())
            took["store"] = place.by_mssl("store", path)
            if n == 0 and runs > 1:
                continue
            for name, row in took.items():
                rows[name].append(row)
            report.note("run %d: MiB/s %s" % (n, ", ".join("%s %.0f" % (k, v["rate"]) for k, v in took.items())))
    finally:
        place.close()
    for name, r in rows.items():
        report.path(name, r)
    report.compare("a.cold", rows["cold"], rows["stunnel"], 0.7)
    report.compare("a.published", rows["published"], rows["stunnel"], 0.9)
    report.compare("b.store", rows["store"], rows["nginx"], 0.8)


def hashing(lab, report, size, runs):
    """c: the Merkle root of a file against its SHA-256, both pinned to one core, the file in the page cache."""
    from harness import random_file
    path = random_file(os.path.join(lab.dir, "hash.bin"), size)
    core = min(os.sched_getaffinity(0))
    rows = {"hash": [], "openssl": []}
    for n in range(runs + 1):
        for name, argv in (("openssl", ["openssl", "dgst", "-sha256", path]), ("hash", [os.environ["MSSL"], "hash", path])):
            run = Run(argv, {}, name=name, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
            if run.exit != 0:
                raise Failure("%s: exit %d" % (argv[0], run.exit))
            if n > 0:
                rows[name].append(run.row(size))
    for name, r in rows.items():
        report.path(name, r)
    report.compare("c.hash", rows["hash"], rows["openssl"], 0.96)
    os.unlink(path)


def handshakes(proxy):
    text = proxy.host.run("curl", "-sS", "http://127.0.0.1:%d/metrics" % proxy.status_port).stdout
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("mssl_tls_handshakes_total "))


def timed(argv):
    """(seconds to the first byte, seconds of the TLS handshake) of one curl, whose bytes are compared by the caller."""
    r = subprocess.run(argv[:1] + ["-w", "%{stderr}%{time_starttransfer} %{time_connect} %{time_appconnect}"] + argv[1:],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    first, connect, app = (float(x) for x in r.stderr.split())
    return r.stdout, first, max(0.0, app - connect)


def small_object(lab, report, _size, runs):
    """d: 10 KiB that are not shared: what the proxies add until the first byte."""
    place = Place(lab, MIB, stunnel=True)
    with open(place.small, "rb") as f:
        wanted = f.read()

    def get(argv):
        content, first, handshake = timed(argv)
        if content != wanted:
            raise WrongBytes("the 10 KiB are others")
        return first, handshake

    direct = place.direct(path="/small.bin")
    via_tls = ["curl", "-sS", "--noproxy", "*", "--cacert", place.issue.ca, "--resolve",
               "%s:%d:127.0.0.1" % (NAME, place.stunnel.server_port),
               "https://%s:%d/small.bin" % (NAME, place.stunnel.server_port)]
    ours = place.client.curl_argv("/small.bin")
    plain, shake, first, later = [], [], [], []
    for _ in range(max(5, runs)):
        place.client.program.stop()
        place.client.start()
        # Whatever the client does by itself after its start is done; no connection for applications is open yet.
        settle(place.pids().values())
        plain.append(get(direct)[0])
        shake.append(get(via_tls)[1])
        first.append(get(ours)[0])
    before = handshakes(place.server)
    for _ in range(SMALL_REQUESTS):
        plain.append(get(direct)[0])
        shake.append(get(via_tls)[1])
        later.append(get(ours)[0])
    more = handshakes(place.server) - before

    def ms(values):
        return 1000 * statistics.median(values)

    report.value("direct.first-byte", ms(plain), "ms", 3)
    report.value("handshake", ms(shake), "ms", 3)
    report.value("small.first-request", ms(first), "ms", 3)
    report.value("small.later-requests", ms(later), "ms", 3)
    report.goal("d.first", ms(first) - ms(plain) - ms(shake), 1.0, "ms added to direct and a handshake", at_least=False)
    report.goal("d.later", ms(later) - ms(plain), 1.0, "ms added to direct", at_least=False)
    report.goal("d.handshakes", more, 0, "more from the second request on", at_least=False, digits=0)


def idle_connections(lab, report, _size, _runs):
    """e, first half: what a TLS connection costs the server proxy that has served a request and waits for the next."""
    place = Place(lab, MIB, stunnel=False)
    pid = place.server.program.pid()
    context = ssl.create_default_context(cafile=place.issue.ca)
    context.set_alpn_protocols(["http/1.1"])
    request = b"GET /small.bin HTTP/1.1\r\nHost: %s\r\n\r\n" % NAME.encode()
    with open(place.small, "rb") as f:
        wanted = f.read()
    held = []

    def connect(count):
        for _ in range(count):
            s = context.wrap_socket(socket.create_connection(("127.0.0.1", place.server.port), 30), server_hostname=NAME)
            s.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer or len(answer.split(b"\r\n\r\n", 1)[1]) < len(wanted):
                answer += s.recv(65536)
            if answer.split(b"\r\n\r\n", 1)[1] != wanted:
                raise WrongBytes("the 10 KiB are others")
            held.append(s)

    connect(50)  # what the first connections cost once: code, caches, the allocator's arenas
    settle([pid])
    before = resident_kib(pid)
    connect(IDLE_CONNECTIONS)
    settle([pid])
    each = (resident_kib(pid) - before) / IDLE_CONNECTIONS
    for s in held:
        s.close()
    report.goal("e.idle-connection", each, 24, "KiB resident", at_least=False, digits=1)


def memory(lab, report, size, _runs):
    """e, second half: what a download of four times the size adds to each proxy, cold, at its worst moment."""
    place = Place(lab, 4 * size, stunnel=False)
    try:
        pids = place.pids()
        before = {name: resident_kib(pid) for name, pid in pids.items()}
        for pid in pids.values():
            forget_peak(pid)
        place.by_mssl("memory", "/big.bin", origin=False)
        for name, pid in pids.items():
            added = (peak_kib(pid) - before[name]) / 1024
            report.goal("e.%.3g-GiB.%s" % (4 * size / GIB, name), added, 64, "MiB added", at_least=False, digits=1)
    finally:
        place.close()


PARTS = {"transfers": transfers, "hash": hashing, "small": small_object, "idle": idle_connections, "memory": memory}
