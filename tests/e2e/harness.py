"""Hosts, wires and programs for the end-to-end tests and the demonstration.

A Lab is a temporary directory with hosts in it. With root and network namespaces each host is a namespace on one bridge,
its uplink and downlink shaped by tbf; without them all hosts are this machine and differ by port. Programs are real: nginx,
msslproxy, curl. Nothing sleeps for synchronisation: daemons say READY=1 (sd_notify), everything else is waited for with a
deadline. Lab.close() undoes all of it, also after an exception or a signal.
"""
import contextlib
import hashlib
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("MSSL_BUILD", os.path.join(TOP, "build"))
NAME = "files.example.org"
DAEMON_USER = "nobody"
TIMEOUT = 30  # seconds that anything may take unless a caller says otherwise; loaded machines are slow


class Failure(Exception):
    """A promise that did not hold, or a program that did not do its part."""


def run(*argv, check=True, **kw):
    r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if check and r.returncode != 0:
        raise Failure("%s: exit %d\n%s" % (" ".join(argv), r.returncode, r.stdout))
    return r


def namespaces_work():
    """None, or why there are no namespaces here."""
    if os.environ.get("MSSL_NO_NETNS"):
        return "MSSL_NO_NETNS is set"
    if os.geteuid() != 0:
        return "not root"
    name = "mssl-try-%d" % os.getpid()
    with contextlib.suppress(FileNotFoundError):
        r = run("ip", "netns", "add", name, check=False)
        if r.returncode == 0:
            run("ip", "netns", "del", name)
            return None
        return r.stdout.strip()
    return "no ip command"


def wait_for(what, condition, timeout=TIMEOUT):
    """Returns condition()'s first true value. Polls: states of other processes cannot be waited for otherwise."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure("waited %g s for %s" % (timeout, what))
        time.sleep(0.02)


given_ports = set()


def free_port():
    """A TCP port that nobody listens on now, and that was not given before: its program may not have begun yet. Not one that the
    system gave: those it gives to outgoing connections too, such as another test's."""
    while True:
        port = random.randrange(10000, 32768)  # ip(7): from 32768 on they are given out
        if port in given_ports:
            continue
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            given_ports.add(port)
            return port


def sha256(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for piece in iter(lambda: f.read(1 << 20), b""):
            h.update(piece)
    return h.hexdigest()


def random_file(path, size, seed=1):
    """size bytes that do not compress, the same for the same seed."""
    with open(path, "wb") as f:
        key = hashlib.sha256(b"mssl e2e %d" % seed).hexdigest()
        p = subprocess.Popen(["openssl", "enc", "-aes-256-ctr", "-K", key, "-iv", "0" * 32, "-nosalt"],
                             stdin=subprocess.PIPE, stdout=f)
        zeros = bytes(1 << 20)
        left = size
        while left:
            left -= p.stdin.write(zeros[:min(left, len(zeros))])
        p.stdin.close()
        if p.wait() != 0:
            raise Failure("openssl enc failed")
    return path


class Program:
    """A running program of a host, with its output in a file."""

    def __init__(self, host, name, argv, user=None, ready=False, env=None, limit_nofile=None, capabilities=None):
        self.host, self.name = host, name
        self.log = os.path.join(host.dir, name + ".log")
        self.argv = argv
        environment = dict(os.environ, **(env or {}))
        prefix = list(host.prefix)
        if user and os.geteuid() == 0:
            prefix += ["setpriv", "--reuid=" + user, "--regid=%d" % pwd.getpwnam(user).pw_gid, "--clear-groups"]
            if capabilities:  # as AmbientCapabilities= of a unit
                prefix += ["--inh-caps=+" + capabilities, "--ambient-caps=+" + capabilities]
        if limit_nofile:
            # One number is the soft and the hard limit; "soft:hard" as prlimit(1) says it.
            limit = limit_nofile if ":" in str(limit_nofile) else "%d:%d" % (limit_nofile, limit_nofile)
            prefix += ["prlimit", "--nofile=%s" % limit]
        notify = None
        if ready:
            path = os.path.join(host.dir, name + ".notify")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            notify.bind(path)
            os.chmod(path, 0o777)
            environment["NOTIFY_SOCKET"] = path
        self.out = open(self.log, "ab")
        self.process = subprocess.Popen(prefix + argv, stdout=self.out, stderr=self.out, stdin=subprocess.DEVNULL,
                                        env=environment, start_new_session=True)
        host.lab.programs.append(self)
        if ready:
            notify.settimeout(0.2)

            def said_ready():
                if self.process.poll() is not None:
                    raise Failure("%s ended with %d:\n%s" % (name, self.process.returncode, self.tail()))
                with contextlib.suppress(TimeoutError, socket.timeout):
                    return b"READY=1" in notify.recv(4096)
                return False

            wait_for(name + " to be ready", said_ready)
            self.notify = notify

    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9, and gone when this returns."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout=15):
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def tail(self, lines=15):
        return "\n".join(self.text().splitlines()[-lines:])


class Host:
    """One machine: an address, a directory, programs."""

    def __init__(self, lab, name, number):
        self.lab, self.name, self.number = lab, name, number
        self.dir = os.path.join(lab.dir, name)
        os.mkdir(self.dir, 0o755)
        if lab.netns:
            self.ns = "%s-%s" % (lab.prefix, name)
            self.prefix = ["ip", "netns", "exec", self.ns]
            self.ip, self.ip6 = "10.77.%d.%d" % (number // 250, number % 250 + 1), "fd77::%x" % (number + 1)
            self._plug()
        else:
            self.ns, self.prefix = None, []
            self.ip, self.ip6 = "127.0.0.1", "::1"

    def _plug(self):
        sw, veth = self.lab.switch, "v%d" % self.number
        run("ip", "netns", "add", self.ns)
        run("ip", "-n", sw, "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", self.ns)
        run("ip", "-n", sw, "link", "set", veth, "master", "br0", "up")
        run("ip", "-n", self.ns, "link", "set", "lo", "up")
        run("ip", "-n", self.ns, "addr", "add", self.ip + "/16", "dev", "eth0")
        run("ip", "-n", self.ns, "addr", "add", self.ip6 + "/64", "dev", "eth0", "nodad")
        run("ip", "-n", self.ns, "link", "set", "eth0", "up")
        # So that a daemon without privilege can listen on 443.
        run(*self.prefix, "sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=0")
        os.makedirs("/etc/netns/" + self.ns, exist_ok=True)
        self.lab.write_hosts()

    def shape(self, up_mbit=None, down_mbit=None):
        """Uplink at the host's interface, downlink at the switch's port."""
        if not self.lab.netns:
            return
        for argv, rate in ((["tc", "-n", self.ns, "qdisc", "replace", "dev", "eth0"], up_mbit),
                           (["tc", "-n", self.lab.switch, "qdisc", "replace", "dev", "v%d" % self.number], down_mbit)):
            if rate:
                run(*argv, "root", "tbf", "rate", "%gmbit" % rate, "burst", "32k", "latency", "100ms")

    def sent_bytes(self):
        """What left this host's interface, headers included."""
        out = run(*self.prefix, "cat", "/sys/class/net/eth0/statistics/tx_bytes").stdout
        return int(out)

    def unplug(self, out=True):
        run("ip", "-n", self.lab.switch, "link", "set", "v%d" % self.number, "down" if out else "up")

    def program(self, name, argv, **kw):
        return Program(self, name, argv, **kw)

    def run(self, *argv, **kw):
        return run(*self.prefix, *argv, **kw)

    def popen(self, *argv, **kw):
        return subprocess.Popen(self.prefix + list(argv), **kw)

    def port(self, fixed):
        """The port that a service of this host listens on: fixed in a namespace of its own, else any free one."""
        if self.lab.netns:
            return fixed
        return free_port()

    def state_dir(self, name):
        path = os.path.join(self.dir, name)
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
            if os.geteuid() == 0:
                shutil.chown(path, DAEMON_USER)
        return path

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path


class Lab:
    def __init__(self, keep=False, want_netns=True):
        self.keep = keep
        why = namespaces_work() if want_netns else "not asked for"
        self.netns, self.no_netns_because = why is None, why
        self.dir = tempfile.mkdtemp(prefix="mssl-lab-")
        os.chmod(self.dir, 0o755)
        self.prefix = os.path.basename(self.dir).replace("mssl-lab-", "mssl-").replace("_", "")
        self.hosts, self.programs = [], []
        self.names = {}
        if self.netns:
            self.switch = self.prefix + "-sw"
            run("ip", "netns", "add", self.switch)
            run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge")
            run("ip", "-n", self.switch, "link", "set", "br0", "up")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._interrupted)

    def _interrupted(self, number, _frame):
        raise KeyboardInterrupt("signal %d" % number)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, _tb):
        if kind is not None and not self.keep:
            for p in self.programs:
                tail = p.tail(8)
                if tail:
                    print("# %s of %s:\n%s" % (p.name, p.host.name, "\n".join("#   " + t for t in tail.splitlines())),
                          file=sys.stderr)
        if not self.keep:
            self.close()

    def close(self):
        for p in reversed(self.programs):
            with contextlib.suppress(Exception):
                p.stop(3)
        for p in self.programs:
            with contextlib.suppress(Exception):
                p.kill()
                p.out.close()
        if self.netns:
            for ns in [h.ns for h in self.hosts] + [self.switch]:
                subprocess.run(["ip", "netns", "del", ns], stderr=subprocess.DEVNULL, check=False)
                shutil.rmtree("/etc/netns/" + ns, ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)

    def host(self, name):
        h = Host(self, name, len(self.hosts))
        self.hosts.append(h)
        if self.netns:
            self.write_hosts()
        return h

    def name(self, name, *addresses):
        """Adds to every host's /etc/hosts."""
        self.names[name] = list(addresses)
        self.write_hosts()

    def write_hosts(self):
        if not self.netns:
            return
        text = "127.0.0.1 localhost\n::1 localhost\n"
        for name, addresses in self.names.items():
            text += "".join("%s %s\n" % (a, name) for a in addresses)
        for h in self.hosts:
            path = "/etc/netns/%s/hosts" % h.ns
            # Written in place: a running `ip netns exec` has this very file mounted over /etc/hosts.
            with open(path, "w") as f:
                f.write(text)

    def authority(self, directory=None):
        """A CA of the web kind; returns a function that makes (certificate chain, key) for a name."""
        d = directory or os.path.join(self.dir, "ca")
        os.makedirs(d, exist_ok=True)
        ca, key = os.path.join(d, "ca.pem"), os.path.join(d, "ca.key")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", "/CN=Lab CA", "-keyout", key, "-out", ca)

        def issue(name, san=None):
            base = os.path.join(d, name)
            ext = base + ".ext"
            with open(ext, "w") as f:
                f.write("subjectAltName=%s\nbasicConstraints=CA:FALSE\n" % (san or "DNS:" + name))
            run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name,
                "-keyout", base + ".key", "-out", base + ".csr")
            run("openssl", "x509", "-req", "-in", base + ".csr", "-CA", ca, "-CAkey", key, "-CAcreateserial", "-days", "30",
                "-extfile", ext, "-out", base + ".pem")
            if os.geteuid() == 0:
                shutil.chown(base + ".key", DAEMON_USER)  # openssl made it for its owner alone
            return base + ".pem", base + ".key"

        issue.ca = ca
        return issue


class Nginx:
    """The unmodified origin. Counts what it sent from its access log."""

    def __init__(self, host, root, port=80, extra="", listen=None, tls=None):
        self.host, self.port = host, host.port(port)
        os.makedirs(os.path.join(host.dir, "nginx-tmp"), exist_ok=True)
        self.access = os.path.join(host.dir, "nginx-access.log")
        paths = "\n".join("%s_temp_path %s/nginx-tmp/%s;" % (k, host.dir, k)
                          for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        ssl = " ssl" if tls else ""
        if tls:
            extra += "ssl_certificate %s; ssl_certificate_key %s;" % tls
        v6 = "listen [::]:%d%s;" % (self.port, ssl) if host.lab.netns else ""
        conf = host.write("nginx.conf", """
daemon off; master_process off; worker_processes 1; pid %(dir)s/nginx.pid; error_log %(dir)s/nginx-error.log;
events { worker_connections 4096; }
http {
  log_format counted '$status $body_bytes_sent "$request" "$http_range" "$http_if_none_match"';
  access_log %(access)s counted; sendfile on; keepalive_requests 100000; %(paths)s
  types { text/plain txt; application/octet-stream bin iso; }
  server { listen %(listen)s; %(v6)s root %(root)s; %(extra)s }
}
""" % dict(dir=host.dir, access=self.access, paths=paths, root=root, extra=extra, v6=v6,
           listen=(listen or ("%d" % self.port if host.lab.netns else "127.0.0.1:%d" % self.port)) + ssl))
        self.program = host.program("nginx", ["/usr/sbin/nginx", "-e", host.dir + "/nginx-error.log", "-p", host.dir, "-c", conf])
        wait_for("nginx", lambda: host.run("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/%d" % self.port, check=False).returncode == 0)

    def requests(self):
        with open(self.access) as f:
            return [line.rstrip("\n") for line in f]

    def body_bytes(self):
        return sum(int(line.split(" ", 2)[1]) for line in self.requests())


def msslproxy():
    return os.environ.get("MSSLPROXY", os.path.join(BUILD, "msslproxy"))


def mssl():
    return os.environ.get("MSSL", os.path.join(BUILD, "mssl"))


class Proxy:
    """A running msslproxy with its configuration and status page."""

    def __init__(self, host, name, config, start=True, env=None, limit_nofile=None, capabilities=None):
        self.host, self.name, self.env, self.limit_nofile = host, name, env, limit_nofile
        self.capabilities = capabilities
        self.status_port = host.port(9440)
        self.config_path = host.write(name + ".toml", config + '\n[status]\nlisten = "127.0.0.1:%d"\n' % self.status_port)
        self.program = None
        if start:
            self.start()

    def start(self):
        self.program = self.host.program(self.name, [msslproxy(), "-c", self.config_path], user=DAEMON_USER, ready=True,
                                         env=self.env, limit_nofile=self.limit_nofile, capabilities=self.capabilities)
        return self

    def status(self):
        r = self.host.run("curl", "-sS", "--max-time", "10", "--noproxy", "*", "http://127.0.0.1:%d/status.json" % self.status_port)
        return json.loads(r.stdout)

    def transfers(self):
        return self.status().get("transfers", [])

    def log(self):
        return self.program.text()


class Server(Proxy):
    """msslproxy in front of an origin."""

    def __init__(self, host, issue, origin, name=NAME, share="*", min_size="64KiB", extra_server="", extra="", process="", **kw):
        certificate, key = issue(name)
        self.port = host.port(443)
        listen = '"[::]:%d"' % self.port if host.lab.netns else '"127.0.0.1:%d"' % self.port
        self.state = host.state_dir("server-state")
        super().__init__(host, "server", """
[server]
listen = [%s]
certificate = "%s"
private-key = "%s"
state = "%s"
%s
[[origin]]
host = "%s"
%s
[[origin.share]]
path = "%s"
min-size = "%s"
%s
[process]
%s
""" % (listen, certificate, key, self.state, extra_server, name, origin, share, min_size, extra, process), **kw)

    def address(self):
        return "%s:%d" % (self.host.ip, self.port)


class Client(Proxy):
    """msslproxy beside the applications of a host, and the host's curl."""

    def __init__(self, host, server, ca, name=NAME, origin_port=80, fallback="origin", store="10GiB", redirect=None,
                 extra_site="", extra="", process="", upload=None, **kw):
        self.redirect = host.lab.netns if redirect is None else redirect
        self.state = host.state_dir("client-state")
        self.proxy_port = host.port(3128)
        self.redirect_port = host.port(3129)
        self.peer_port = host.port(4434)
        self.origin_port = origin_port
        any_ip = "[::]" if host.lab.netns else "127.0.0.1"
        intercept = '[[intercept]]\nmode = "http-proxy"\nlisten = "127.0.0.1:%d"\n' % self.proxy_port
        if self.redirect:
            intercept += '[[intercept]]\nmode = "redirect"\nlisten = "[::]:%d"\n' % self.redirect_port
        super().__init__(host, "client", """
[client]
state = "%s"
%s
[peer]
listen = "%s:%d"
%s
[store]
max-size = "%s"
[[site]]
host = "%s"
server = "%s"
ca = "%s"
fallback = "%s"
%s
%s
[process]
%s
""" % (self.state, intercept, any_ip, self.peer_port, 'upload-limit = "%s"' % upload if upload else "", store,
            name if origin_port == 80 else "%s:%d" % (name, origin_port), server, ca, fallback, extra_site, extra, process), **kw)
        if self.redirect:
            self.capture()

    def capture(self):
        """All of this host's HTTP, but the daemon's own."""
        self.host.run(mssl(), "intercept", "on", "--user", DAEMON_USER, "--port", str(self.redirect_port))

    def curl_argv(self, path, *args, via_proxy=None):
        via_proxy = (not self.redirect) if via_proxy is None else via_proxy
        proxy = ["--proxy", "http://127.0.0.1:%d" % self.proxy_port] if via_proxy else ["--noproxy", "*"]
        port = "" if self.origin_port == 80 else ":%d" % self.origin_port
        url = path if "://" in path else "http://%s%s%s" % (NAME, port, path)
        return ["curl", "-sS", *proxy, *args, url]

    def curl(self, path, *args, via_proxy=None, check=True, **kw):
        return self.host.run(*self.curl_argv(path, *args, via_proxy=via_proxy), check=check, **kw)

    def start_curl(self, path, output, *args, via_proxy=None):
        fmt = '{"seconds": %{time_total}, "first": %{time_starttransfer}, "status": %{http_code}, "size": %{size_download}}\\n'
        argv = self.curl_argv(path, "-o", output, "-w", fmt, *args, via_proxy=via_proxy)
        return Download(self, output, self.host.popen(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))


class Download:
    """A curl at work."""

    def __init__(self, client, output, process):
        self.client, self.output, self.process = client, output, process
        self.result = None

    def finish(self, timeout=120, check=True):
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure("curl of %s is not done after %d s" % (self.client.host.name, timeout))
        self.exit = self.process.returncode
        if check and self.exit != 0:
            raise Failure("curl of %s: exit %d: %s" % (self.client.host.name, self.exit, err.strip()))
        self.result = json.loads(out) if out.strip() else {}
        return self.result

    def size(self):
        with contextlib.suppress(FileNotFoundError):
            return os.path.getsize(self.output)
        return 0
