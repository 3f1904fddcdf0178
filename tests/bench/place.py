"""Where it is measured: one machine, everything on its loopback. nginx as the origin, stunnel as the peer, msslproxy as it is
installed with the configuration that one would write, and curl as the application.
"""
import hashlib
import mmap
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))

from harness import Client, DAEMON_USER, Failure, Lab, NAME, Nginx, Server, random_file, sha256, wait_for  # noqa: E402
from meter import MIB, Run, settle  # noqa: E402


class WrongBytes(Failure):
    """The one thing that makes a benchmark fail."""


class Sink:
    """Where curl writes: memory that was touched before, so that no run pays for new pages; wiped before each run, so that what
    is compared afterwards is what this run brought."""

    def __init__(self, directory, size):
        shm = "/dev/shm"
        there = os.path.isdir(shm) and shutil.disk_usage(shm).free > 2 * size
        self.path = os.path.join(shm, "mssl-bench-%d" % os.getpid()) if there else os.path.join(directory, "sink")
        self.size = size
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.ftruncate(self.fd, size)
        self.wipe()

    def wipe(self):
        zeros = bytes(4 * MIB)
        for at in range(0, self.size, len(zeros)):
            os.pwrite(self.fd, zeros[:min(len(zeros), self.size - at)], at)
        os.lseek(self.fd, 0, os.SEEK_SET)

    def sum(self):
        with mmap.mmap(self.fd, self.size, prot=mmap.PROT_READ) as m:
            return hashlib.sha256(m).hexdigest()

    def close(self):
        os.close(self.fd)
        os.unlink(self.path)


class Stunnel:
    """The peer: TLS from end to end, and nothing else."""

    def __init__(self, host, issue, name=NAME):
        certificate, key = issue(name)
        self.server_port, self.client_port = host.port(0), host.port(0)
        self.programs = {}
        for end, text in (
                ("server", "accept = 127.0.0.1:%d\nconnect = 127.0.0.1:%d\ncert = %s\nkey = %s\n"
                 % (self.server_port, host.origin_port, certificate, key)),
                ("client", "client = yes\naccept = 127.0.0.1:%d\nconnect = 127.0.0.1:%d\nCAfile = %s\nverifyChain = yes\n"
                           "checkHost = %s\n" % (self.client_port, self.server_port, issue.ca, name))):
            conf = host.write("stunnel-%s.conf" % end, "foreground = yes\npid =\nsyslog = no\ndebug = 4\n[bench]\n" + text)
            stunnel = shutil.which("stunnel") or shutil.which("stunnel4") or "/usr/bin/stunnel4"
            self.programs[end] = host.program("stunnel-" + end, [stunnel, conf])
        for port in (self.server_port, self.client_port):
            wait_for("stunnel", lambda p=port: subprocess.run(["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/%d" % p],
                                                              stderr=subprocess.DEVNULL, check=False).returncode == 0)

    def pids(self):
        return {"stunnel-" + end: p.pid() for end, p in self.programs.items()}


class Place:
    def __init__(self, lab, size, stunnel=True):
        self.lab, self.size = lab, size
        self.host = lab.host("bench")
        self.root = os.path.join(self.host.dir, "www")
        os.mkdir(self.root, 0o755)
        self.big = random_file(os.path.join(self.root, "big.bin"), size)
        self.warm = random_file(os.path.join(self.root, "warm.bin"), MIB, seed=3)
        self.small = random_file(os.path.join(self.root, "small.bin"), 10 * 1024, seed=2)
        for path in (self.big, self.warm, self.small):
            os.utime(path, (1700000000, 1700000000))
        self.sum = sha256(self.big)
        self.issue = lab.authority()
        self.nginx = Nginx(self.host, self.root)
        self.host.origin_port = self.nginx.port
        self.stunnel = Stunnel(self.host, self.issue) if stunnel else None
        self.server = Server(self.host, self.issue, 'url = "http://127.0.0.1:%d"' % self.nginx.port)
        self.client = Client(self.host, self.server.address(), self.issue.ca)
        self.sink = None
        self.memory = WarmMemory(lab.dir)
        self.names = 0
        self.meet()

    def close(self):
        if self.sink:
            self.sink.close()

    def pids(self):
        return {"server": self.server.program.pid(), "client": self.client.program.pid()}

    def origin(self):
        return {"nginx": self.nginx.program.pid()}

    def meet(self):
        """The client is enrolled and its connections are made: what is measured is a proxy at work, not its first second."""
        r = subprocess.run(self.client.curl_argv("/warm.bin", "-o", "/dev/null", "-w", "%{http_code}"), stdout=subprocess.PIPE,
                           text=True, check=True)
        if r.stdout != "200":
            raise Failure("the proxies answer %s:\n%s" % (r.stdout, self.client.program.tail()))
        settle(self.pids().values())

    def restart(self, server=True, client=True):
        """The same proxies with empty stores."""
        if client:
            self.client.program.stop()
            shutil.rmtree(os.path.join(self.client.state, "store"), ignore_errors=True)
        if server:
            self.server.program.stop()
            shutil.rmtree(os.path.join(self.server.state, "spool"), ignore_errors=True)
            self.server.start()
        if client:
            self.client.start()
        self.meet()

    def new_name(self):
        """The big file under a name that nobody has asked for: another URL is another object."""
        self.names += 1
        name = "big-%d.bin" % self.names
        os.link(self.big, os.path.join(self.root, name))
        return "/" + name

    def fetch(self, what, argv, daemons):
        """A measured download into the sink; the hash is compared."""
        if self.sink is None:
            self.sink = Sink(self.host.dir, self.size)
        self.sink.wipe()
        self.memory.fill()
        run = Run(argv, daemons, stdout=self.sink.fd)
        if run.exit != 0:
            raise WrongBytes("%s: curl ended with %d" % (what, run.exit))
        found = self.sink.sum()
        if found != self.sum:
            raise WrongBytes("%s: SHA-256 is %s instead of %s" % (what, found, self.sum))
        return run.row(self.size)

    def by_mssl(self, what, path, origin=True):
        pids = dict(self.pids(), **(self.origin() if origin else {}))
        return self.fetch(what, self.client.curl_argv(path), pids)

    def direct(self, port=None, path="/big.bin"):
        return ["curl", "-sS", "--noproxy", "*", "http://127.0.0.1:%d%s" % (port or self.nginx.port, path)]


def memory(field):
    with open("/proc/meminfo") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(field))


class WarmMemory:
    """Pages that a virtual machine has never touched, or has given back to its host since they were free (free page reporting, of
    which a guest notices nothing), cost a multiple of what a page of a machine that has run for a while costs: 3 CPU-seconds a GiB
    of new file instead of 0.14 where this was measured. What is compared here is programs, so the state of such a machine is made:
    all of the memory holds clean page cache (of a file without blocks, so nothing is written), which the kernel hands out anew."""

    MOST = 64 << 30  # a larger machine is left as it is: minutes of reading for the same figures
    LEAVE = MIB << 9

    def __init__(self, directory):
        self.path = os.path.join(directory, "page-cache")
        self.size = memory("MemTotal:")

    def fill(self):
        if self.size > self.MOST or memory("MemFree:") <= 4 * self.LEAVE:
            return
        piece = bytearray(4 * MIB)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(fd, self.size)
            for at in range(0, self.size, len(piece)):
                if memory("MemFree:") <= self.LEAVE:
                    return
                os.preadv(fd, [piece], at)
        finally:
            os.close(fd)


__all__ = ["DAEMON_USER", "Failure", "Lab", "Place", "WrongBytes"]
