"""What signals do to a daemon at work, and the demonstration where there are no namespaces."""
import asyncio
import os
import pwd
import signal
import socket
import ssl
import subprocess

from crowd import Visitor, browser_tls
from harness import DAEMON_USER, NAME, msslproxy, wait_for
from scene import KIB, MIB, Skip, World, begin, case, content, expect, expect_whole, fetch, wait_received

HERE = os.path.dirname(os.path.abspath(__file__))
SLOW = ("--limit-rate", "1M")  # far slower than any machine: what it reads is under way for as long as a case needs


def rewrite(proxy, old, new):
    text = content(proxy.config_path).decode()
    assert old in text, old
    with open(proxy.config_path, "w") as f:
        f.write(text.replace(old, new, 1))


def hang_up(proxy, answer):
    """HUP, and what the log then says."""
    before = proxy.log().count(answer)
    proxy.program.signal(signal.SIGHUP)
    wait_for("the log to say '%s'" % answer, lambda: proxy.log().count(answer) > before)


# ── TERM ──

def past_the_deadline(proxy, download):
    wait_received(download, 64 * KIB)
    proxy.program.signal(signal.SIGTERM)
    status = proxy.program.process.wait(60)
    expect(status == 0, "an orderly exit", status)
    expect("drain deadline passed" in proxy.log(), "the deadline to have ended it", proxy.program.tail())
    download.finish(check=False)
    expect(download.exit != 0, "the application to see that its download broke", download.result)
    expect(download.size() < 32 * MIB, "it to have been under way", download.size())


@case(needs_namespaces=False)
def term_ends_what_takes_too_long_at_the_client(lab):
    """A client told to end waits drain-timeout for a transfer; then it ends it, and the application sees that it broke."""
    w = World(lab, size=32 * MIB)
    c = w.client(process='drain-timeout = "500ms"')
    past_the_deadline(c, begin(c, "/big.bin", *SLOW))


def start_browser(w, *args):
    """curl that speaks TLS to the server itself."""
    c = w.client(start=False)
    url = "https://%s:%d/big.bin" % (NAME, w.server.port)
    return begin(c, url, "--cacert", w.issue.ca, "--resolve", "%s:%d:127.0.0.1" % (NAME, w.server.port), *args, via_proxy=False)


@case(needs_namespaces=False)
def term_ends_what_takes_too_long_at_the_server(lab):
    """A server told to end waits drain-timeout for an answer; then it ends it, and the browser sees that it broke."""
    w = World(lab, size=32 * MIB, process='drain-timeout = "500ms"')
    past_the_deadline(w.server, start_browser(w, *SLOW, "--noproxy", "*"))


@case(needs_namespaces=False)
def a_second_term_ends_at_once(lab):
    """A second TERM does not wait for what the first one waits for."""
    w = World(lab, size=32 * MIB)
    c = w.client(process='drain-timeout = "1d"')
    d = begin(c, "/big.bin", *SLOW)
    wait_received(d, 64 * KIB)
    c.program.signal(signal.SIGTERM)
    wait_for("it to drain", lambda: "draining" in c.log())
    expect(c.program.alive(), "the first TERM to wait")
    c.program.signal(signal.SIGTERM)
    status = c.program.process.wait(60)
    expect(status == 0, "an orderly exit", status)
    d.finish(check=False)
    expect(d.exit != 0, "the application to see that its download broke", d.result)


# ── HUP ──

@case(needs_namespaces=False)
def hup_refuses_what_is_wrong(lab):
    """A configuration with an error is not taken over, nor is any part of it; the old one goes on, then a good one is taken."""
    w = World(lab)
    c = w.client()
    expect_whole(fetch(c), w.sum)
    # The first change would take effect, the second is nonsense: neither may happen.
    text = content(w.server.config_path).decode()
    rewrite(w.server, 'host = "%s"' % NAME, 'host = "other.example.org"')
    rewrite(w.server, "min-size", "min-sise")
    hang_up(w.server, "reload refused")
    line = [line for line in w.server.log().splitlines() if "reload refused" in line][-1]
    expect("server.toml:" in line and "min-sise" in line, "the log to say what is wrong and where", line)
    expect_whole(fetch(c), w.sum, "an application after the refused reload")
    expect(w.server.program.alive(), "the server to live")
    with open(w.server.config_path, "w") as f:
        f.write(text.replace('min-size = "64KiB"', 'min-size = "65KiB"'))
    hang_up(w.server, " reloaded ")
    expect_whole(fetch(c), w.sum, "an application after the good one")


def serial(port, ca):
    with socket.create_connection(("127.0.0.1", port), 30) as plain, \
            ssl.create_default_context(cafile=ca).wrap_socket(plain, server_hostname=NAME) as s:
        return s.getpeercert()["serialNumber"]


@case(needs_namespaces=False)
def hup_replaces_the_certificate(lab):
    """A certificate that was renewed is shown after HUP; what goes on over the old one is not dropped; a wrong key is refused."""
    w = World(lab, size=16 * MIB)
    port, ca = w.server.port, w.issue.ca
    first = serial(port, ca)

    async def renew():
        v = await Visitor(port, tls=browser_tls(ca)).open()
        await v.head("/big.bin")
        await v.read(64 * KIB)
        w.issue(NAME)  # writes where the server's certificate and key are
        hang_up(w.server, " reloaded ")
        return await v.rest()
    found = asyncio.run(renew())
    expect(found == w.sum, "the answer under way to end as it began", found)
    second = serial(port, ca)
    expect(second != first, "new connections to see the new certificate", second)

    # Half a renewal: the certificate without its key.
    key = content(os.path.join(lab.dir, "ca", NAME + ".key"))
    w.issue(NAME)
    with open(os.path.join(lab.dir, "ca", NAME + ".key"), "wb") as f:
        f.write(key)
    hang_up(w.server, "reload refused")
    expect(serial(port, ca) == second, "the old certificate to stay")


# ── USR1 ──

@case(needs_namespaces=False)
def usr1_opens_the_log_again(lab):
    """After its log was moved away and USR1 was sent, a daemon writes to a new one and no longer to the old."""
    w = World(lab)
    directory = w.host.state_dir("logs")
    log, old = directory + "/msslproxy.log", directory + "/msslproxy.log.1"
    c = w.client(process='log-file = "%s"' % log)
    fetch(c, "/small.bin")
    wait_for("the answer to be logged", lambda: b"/small.bin" in content(log))
    os.rename(log, old)
    fetch(c, "/small.bin")
    wait_for("the old file to be written to still", lambda: content(old).count(b"/small.bin") == 2)
    c.program.signal(signal.SIGUSR1)
    wait_for("a new log", lambda: os.path.exists(log))
    expect_whole(fetch(c), w.sum)
    wait_for("the answer in the new log", lambda: b"/big.bin" in content(log))
    expect(b"/big.bin" not in content(old), "nothing more in the old log")


# ── Without namespaces ──

def show_demo(prefix=(), **environment):
    return subprocess.run([*prefix, os.path.join(HERE, "demo"), "--clients", "3", "--size", "8"],
                          env=dict(os.environ, MSSL_NO_NETNS="1", **environment), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=150, check=False)


def expect_shown(r):
    expect(r.returncode == 0 and r.stdout.count(" equal") == 3, "three clients with the right bytes", r.stdout)
    expect("loopback" in r.stdout and "nginx sent 1.00 copies" in r.stdout, "loopback, and one read of the origin", r.stdout)


@case(needs_namespaces=False)
def demo_on_loopback(_lab):
    """The demonstration works without network namespaces, by loopback and http_proxy."""
    expect_shown(show_demo())


@case(needs_namespaces=False)
def demo_without_privilege(lab):
    """The demonstration works for a user who is not root."""
    if os.geteuid() != 0:
        raise Skip("not root: demo_on_loopback showed it already")
    user = pwd.getpwnam(DAEMON_USER)
    become = ["setpriv", "--reuid=%d" % user.pw_uid, "--regid=%d" % user.pw_gid, "--clear-groups"]
    home = os.path.join(lab.dir, "home")
    os.mkdir(home)
    os.chown(home, user.pw_uid, user.pw_gid)
    # Root's own interpreter may lie where nobody else may go: the system's does not.
    own = dict(HOME=home, TMPDIR=home, PATH="/usr/sbin:/usr/bin:/sbin:/bin")
    may = subprocess.run([*become, "test", "-r", os.path.join(HERE, "demo"), "-a", "-x", msslproxy()], check=False)
    if may.returncode != 0:
        raise Skip("%s may not read %s" % (DAEMON_USER, HERE))
    expect_shown(show_demo(become, **own))
