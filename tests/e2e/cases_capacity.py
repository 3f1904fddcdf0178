"""How much one daemon takes: many clients, many connections, few descriptors, bounded memory."""
import asyncio
import contextlib
import fcntl
import glob
import os
import shutil
import socket
import ssl
import subprocess
import time

from crowd import MemoryWatch, Visitor, browser_tls, cpu_seconds, freshen, memory, need_descriptors, visitors
from harness import Download, sha256, wait_for
from scene import KIB, MIB, Skip, World, case, content, expect, expect_whole, fetch, note, output_of

GIB = 1 << 30
SMALL_DAEMON = 'threads = 1\nworkers = 1\nbuffer-memory = "16MiB"'


# ── Many clients ──

def start_at_once(lab, clients, path):
    """One curl a client, all of them let go in the same moment: they stand behind one lock."""
    gate = os.path.join(lab.dir, "gate")
    with open(gate, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        inode = ":%d " % os.fstat(held.fileno()).st_ino
        downloads = []
        for c in clients:
            out = output_of(c)
            argv = ["flock", "-s", gate, *c.curl_argv(path, "-o", out)]
            downloads.append(Download(c, out, c.host.popen(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)))

        def all_stand_there():
            with open("/proc/locks") as f:
                return sum("->" in line and inode in line for line in f) == len(clients)
        wait_for("all to stand at the gate", all_stand_there)
    return downloads  # the lock went with the file


# On loopback: in namespaces of one bridge each would need an entry for each other in the kernel's neighbour table, which all
# namespaces share and which holds 1,024.
@case(needs_namespaces=False)
def fifty_clients_cold(lab):
    """Fifty clients ask for one cold object in the same second: one read of the origin, all get the right bytes."""
    w = World(lab, size=4 * MIB)
    clients = [w.client(process=SMALL_DAEMON) for _ in range(50)]
    downloads = start_at_once(lab, clients, "/big.bin")
    for d in downloads:
        d.finish()
        expect_whole(d, w.sum, d.client.host.name)
    expect(w.bodies() == [(200, w.length)], "one whole read of the origin and no other", w.bodies())
    states = [c.status() for c in clients]
    past = [c.host.name for c, s in zip(clients, states) if s["counters"]["fallbacks"] or s["counters"]["requests_shared"] != 1]
    expect(not past, "everybody to have been served by mSSL", past)
    sent = sum(t["from_server"] for s in states for t in s["transfers"])
    note("copies sent by the server to 50 clients: %.2f" % (sent / w.length))
    dead = [p.host.name for p in [w.server, *clients] if not p.program.alive()]
    expect(not dead, "nobody to have died", dead)


# ── Many connections ──

IDLE, ACTIVE = 1000, 200


async def crowd(w, proxy, port, **kw):
    """IDLE connections that have asked once, beside ACTIVE ones all in the middle of a download."""
    small = sha256(w.small)
    idle = await visitors(IDLE, port, "/small.bin", **kw)
    active = await visitors(ACTIVE, port, beside=idle, **kw)

    async def half(v):
        status, length = await v.head("/big.bin")
        await v.read(length // 2)
        return status
    expect(set(await asyncio.gather(*[half(v) for v in active])) == {200}, "all of the active ones to be answered 200")
    await freshen(idle, "/small.bin")
    open_now = proxy.status()["counters"]["connections_open"]
    expect(open_now >= IDLE + ACTIVE, "%d connections at once" % (IDLE + ACTIVE), open_now)
    wrong = sum(s != w.sum for s in await asyncio.gather(*[v.rest() for v in active]))
    expect(wrong == 0, "all of the active ones to get the right bytes", "%d that did not" % wrong)

    again = await freshen(idle, "/small.bin", at_least=0)
    wrong = sum(a != (200, small) for a in again)
    expect(len(again) == IDLE and wrong == 0, "all of the idle ones to be answered as before", "%d that were not" % wrong)
    expect(proxy.program.alive(), "the proxy to live")
    for v in idle + active:
        v.close()


# As a shell or systemd starts programs: a daemon that wants more than 1,024 descriptors has to ask.
USUAL_LIMIT = "1024:8192"


@case(needs_namespaces=False)
def crowd_at_the_client(lab):
    """1,000 idle connections of applications beside 200 that download: nobody is dropped, all bytes are right."""
    need_descriptors(4096)
    w = World(lab, size=2 * MIB)
    c = w.client(limit_nofile=USUAL_LIMIT)
    asyncio.run(crowd(w, c, c.proxy_port, via_proxy=True))


@case(needs_namespaces=False)
def crowd_at_the_server(lab):
    """1,000 idle TLS connections of browsers at the server beside 200 that download: nobody is dropped, all bytes are right."""
    need_descriptors(4096)
    w = World(lab, size=2 * MIB, limit_nofile=USUAL_LIMIT)
    asyncio.run(crowd(w, w.server, w.server.port, tls=browser_tls(w.issue.ca)))


# ── Descriptors run out ──

FEW = 96


def pauses(proxy):
    return proxy.log().count("accepting paused")


async def starve(w, proxy, port, **kw):
    first = await Visitor(port, **kw).open()
    expect(await first.get("/small.bin") == (200, sha256(w.small)), "a first answer")
    held = []
    for _ in range(4 * FEW):
        if pauses(proxy):
            break
        with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):  # refused, or never taken
            held.append(await asyncio.wait_for(Visitor(port, **kw).open(), 2))
    expect(pauses(proxy) > 0, "accepting to pause", "%d connections open" % len(held))

    # Whoever is connected still gets an answer, though there may be no descriptor to get more than a refusal with.
    status, _ = await first.head("/big.bin")
    await first.rest()
    expect(status == 200 or status >= 500, "an answer for who is connected", status)

    # Those that wait in the kernel's queue make the listener ready all the time: a loop that does not look away spins.
    waiting = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(20)]
    wait_for("accepting to stand still", lambda: proxy.log().rstrip().splitlines()[-1].count("accepting resumed") == 0)
    began, cpu, before = time.monotonic(), cpu_seconds(proxy.program.pid()), pauses(proxy)
    wait_for("three seconds", lambda: time.monotonic() - began >= 3)
    wall, cpu = time.monotonic() - began, cpu_seconds(proxy.program.pid()) - cpu
    note("paused for %.1f s: %.2f s of CPU, %d more pauses" % (wall, cpu, pauses(proxy) - before))
    expect(cpu <= wall / 4, "a paused daemon to be quiet", "%.2f s of CPU in %.1f s" % (cpu, wall))
    expect(proxy.program.alive(), "the daemon to live")

    for s in waiting:
        s.close()
    for v in held:
        v.close()
    wait_for("accepting to resume", lambda: "accepting resumed" in proxy.log())
    first.close()


def works_again(w, proxy, port, **kw):
    async def asks():
        v = await Visitor(port, **kw).open()
        return await v.get("/big.bin")

    def answered():
        with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            return asyncio.run(asks()) == (200, w.sum)
        return False
    wait_for("the right bytes once connections have ended", answered)
    expect(proxy.program.alive(), "the daemon to live on")


@case(needs_namespaces=False)
def client_without_descriptors(lab):
    """A client that runs out of descriptors stops accepting without spinning, and goes on when some come back."""
    w = World(lab, size=2 * MIB)
    c = w.client(limit_nofile=FEW)
    asyncio.run(starve(w, c, c.proxy_port, via_proxy=True))
    works_again(w, c, c.proxy_port, via_proxy=True)


@case(needs_namespaces=False)
def server_without_descriptors(lab):
    """A server that runs out of descriptors stops accepting without spinning, and goes on when some come back."""
    w = World(lab, size=2 * MIB, limit_nofile=FEW)
    tls = browser_tls(w.issue.ca)
    asyncio.run(starve(w, w.server, w.server.port, tls=tls))
    works_again(w, w.server, w.server.port, tls=tls)
    d = fetch(w.client(), "/big.bin")
    expect_whole(d, w.sum, "a member")


# ── Memory ──

MOST_IDLE = 24 * KIB
MOST_DOWNLOAD = 64 * MIB


def cost_of(pid, arrive):
    """Bytes resident that each of IDLE connections adds. Some come before: what the first cost once is not counted."""
    async def measure():
        early = await arrive(50)
        before = memory(pid)[0]
        held = await arrive(IDLE)
        after = memory(pid)[0]
        for v in early + held:
            v.close()
        return (after - before) / IDLE
    return asyncio.run(measure())


@case(needs_namespaces=False)
def memory_of_an_idle_tls_connection(lab):
    """An idle TLS connection costs the server at most 24 KiB."""
    need_descriptors(4096)
    w = World(lab)
    tls = browser_tls(w.issue.ca)
    each = cost_of(w.server.program.pid(), lambda n: visitors(n, w.server.port, "/small.bin", tls=tls))
    note("an idle TLS connection: %.1f KiB" % (each / KIB))
    expect(0 < each <= MOST_IDLE, "at most 24 KiB each", "%.1f KiB" % (each / KIB))


@case(needs_namespaces=False)
def memory_of_an_idle_application(lab):
    """An application's idle connection costs the client at most 24 KiB, and has let go of what its answer needed."""
    need_descriptors(4096)
    w = World(lab)
    c = w.client()
    each = cost_of(c.program.pid(), lambda n: visitors(n, c.proxy_port, "/small.bin", via_proxy=True))
    note("an application's idle connection: %.1f KiB" % (each / KIB))
    expect(0 < each <= MOST_IDLE, "at most 24 KiB each", "%.1f KiB" % (each / KIB))


@case(needs_namespaces=False)
def memory_of_an_idle_member(lab):
    """An idle session of a member costs the server at most 24 KiB."""
    need_descriptors(4096)
    w = World(lab)
    c = w.client()
    expect_whole(fetch(c), w.sum)  # enrols
    membership = os.path.dirname(glob.glob(os.path.join(c.state, "**", "member.pem"), recursive=True)[0])
    chain = os.path.join(lab.dir, "chain.pem")
    with open(chain, "wb") as f:
        f.write(content(membership + "/member.pem") + content(membership + "/signer.pem"))
    tls = browser_tls(w.issue.ca, "mssl/1")
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    tls.load_cert_chain(chain, membership + "/member.key")

    async def session():
        v = await Visitor(w.server.port, tls=tls).open()
        kind = await v.reader.readexactly(4)
        # Its HELLO serves as ours: same version, abilities and realm.
        hello = kind + await v.reader.readexactly(int.from_bytes(kind[1:], "big"))
        v.writer.write(hello)
        return v

    async def arrive(n):
        out = []
        for i in range(0, n, 50):
            out += await asyncio.gather(*[session() for _ in range(min(50, n - i))])
        return out
    each = cost_of(w.server.program.pid(), arrive)
    refused = [line for line in w.server.log().splitlines() if "refused" in line]
    expect(not refused, "the server to take them for members", refused[:3])
    note("an idle member's session: %.1f KiB" % (each / KIB))
    expect(0 < each <= MOST_IDLE, "at most 24 KiB each", "%.1f KiB" % (each / KIB))


def marked_file(path, size):
    """Sparse, but no two blocks are alike."""
    with open(path, "wb") as f:
        for at in range(0, size, 64 * KIB):
            f.seek(at)
            f.write(b"%015d\n" % at)
        f.truncate(size)
    os.utime(path, (1700000000, 1700000000))
    return path


@case(needs_namespaces=False)
def memory_of_a_large_download(lab):
    """A download of 512 MiB (MSSL_E2E_LARGE=1: 4 GiB), cold, adds at most 64 MiB to each proxy's anonymous memory."""
    size = 4 * GIB if os.environ.get("MSSL_E2E_LARGE") == "1" else 512 * MIB
    if shutil.disk_usage(lab.dir).free < 3 * size:
        raise Skip("a store, a spool and the origin's file need %d MiB in %s" % (3 * size // MIB, lab.dir))
    w = World(lab, size=256 * KIB)
    c = w.client()
    expect_whole(fetch(c), w.sum)  # enrolled, connected, warm
    large = sha256(marked_file(os.path.join(w.root, "large.bin"), size))
    pids = [w.server.program.pid(), c.program.pid()]
    with MemoryWatch(pids) as watch:
        curl = c.host.popen(*c.curl_argv("/large.bin"), stdout=subprocess.PIPE)
        summed = subprocess.run(["sha256sum"], stdin=curl.stdout, stdout=subprocess.PIPE, text=True, check=True)
        curl.stdout.close()
        status = curl.wait()
    expect((status, summed.stdout.split()[0]) == (0, large), "the right bytes", (status, summed.stdout))
    added = [watch.added(pid) for pid in pids]
    note("%d MiB: server +%.1f MiB, client +%.1f MiB of anonymous memory (%d samples)"
         % (size // MIB, added[0] / MIB, added[1] / MIB, watch.samples))
    for who, bytes_added in zip(("the server", "the client"), added):
        expect(bytes_added <= MOST_DOWNLOAD, "at most 64 MiB more at " + who, "%.1f MiB" % (bytes_added / MIB))
    counters = c.status()["counters"]
    expect(counters["bytes_from_server"] >= size and counters["fallbacks"] == 0, "it to have come as blocks", counters)
