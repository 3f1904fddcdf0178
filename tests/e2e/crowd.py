"""Many connections from one process, for the cases about capacity: http/1.1 plain or in TLS, and what a process costs.

Only where all hosts share this machine's loopback: a case cannot open sockets in a host's own network.
"""
import asyncio
import contextlib
import hashlib
import os
import resource
import socket
import ssl
import threading
import time

from harness import Failure, NAME
from scene import KIB, Skip

ANSWER_TIME = 60   # seconds for one step of one connection; the whole crowd shares two cores
AT_ONCE = 50       # connections that are being made
FRESH = 20         # seconds between two requests of an idle connection: the proxies end one after 75, machines can be slow
WINDOW = 64 * KIB  # receive buffers: small, so that a download that is not read stands still


def need_descriptors(n):
    """Lets this process open n files, or skips the case."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < n:
        raise Skip("the hard limit of open files is %d, %d are needed" % (hard, n))
    if soft != resource.RLIM_INFINITY and soft < n:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n, hard))


class Visitor:
    """One connection that asks, may idle, and asks again."""

    def __init__(self, port, tls=None, via_proxy=False):
        self.port, self.tls = port, tls
        self.base = "http://" + NAME if via_proxy else ""

    async def open(self):
        s = socket.socket()
        try:
            s.setblocking(False)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(s, ("127.0.0.1", self.port)), ANSWER_TIME)
            self.reader, self.writer = await asyncio.wait_for(
                asyncio.open_connection(sock=s, limit=WINDOW, ssl=self.tls, server_hostname=NAME if self.tls else None),
                ANSWER_TIME)
        except BaseException:
            s.close()
            raise
        return self

    async def head(self, path):
        """Asks; returns (status, length) as soon as the head is there."""
        self.asked = time.monotonic()
        self.writer.write(("GET %s%s HTTP/1.1\r\nHost: %s\r\n\r\n" % (self.base, path, NAME)).encode())
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), ANSWER_TIME)
        lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        self.left, self.hash = int(fields["content-length"]), hashlib.sha256()
        return int(lines[0].split()[1]), self.left

    async def read(self, most):
        """Up to so many bytes of the content."""
        most = min(most, self.left)
        while most:
            piece = await asyncio.wait_for(self.reader.read(min(most, WINDOW)), ANSWER_TIME)
            if not piece:
                raise Failure("an answer ended %d bytes too early" % self.left)
            self.hash.update(piece)
            most -= len(piece)
            self.left -= len(piece)

    async def rest(self):
        await self.read(self.left)
        return self.hash.hexdigest()

    async def get(self, path):
        status, _ = await self.head(path)
        return status, await self.rest()

    def close(self):
        self.writer.transport.abort()


async def freshen(idle, path, at_least=FRESH):
    """Those that have not asked for so long ask again. Returns what they got."""
    due = [v for v in idle if time.monotonic() - v.asked >= at_least]
    found = []
    for i in range(0, len(due), AT_ONCE):
        found += await asyncio.gather(*[v.get(path) for v in due[i:i + AT_ONCE]])
    return found


async def visitors(n, port, first_path=None, beside=(), **kw):
    """n open connections, each having got first_path, and beside them others kept fresh."""
    all_of_them = [Visitor(port, **kw) for _ in range(n)]

    async def come(v):
        await v.open()
        if first_path:
            await v.get(first_path)
        return v
    for i in range(0, n, AT_ONCE):
        await asyncio.gather(*[come(v) for v in all_of_them[i:i + AT_ONCE]])
        if first_path or beside:
            await freshen([*beside, *(all_of_them[:i] if first_path else ())], first_path or "/small.bin")
    return all_of_them


def browser_tls(ca, alpn="http/1.1"):
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols([alpn])
    return context


def memory(pid):
    """(resident, of it anonymous) in bytes."""
    with open("/proc/%d/status" % pid) as f:
        rows = dict(line.split(":", 1) for line in f)
    return tuple(int(rows[name].split()[0]) * KIB for name in ("VmRSS", "RssAnon"))


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class MemoryWatch(contextlib.AbstractContextManager):
    """The most anonymous memory that each process has had resident inside the with."""

    def __init__(self, pids):
        self.most = {pid: memory(pid)[1] for pid in pids}
        self.before = dict(self.most)
        self.samples = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _watch(self):
        while not self._end.wait(0.02):
            self.samples += 1
            for pid in self.most:
                with contextlib.suppress(FileNotFoundError, KeyError):  # it ended; whoever waits for it says so
                    self.most[pid] = max(self.most[pid], memory(pid)[1])

    def added(self, pid):
        return self.most[pid] - self.before[pid]
