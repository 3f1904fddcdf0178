"""A configuration that is wrong in any way: refused with where and what, before anything happens; and while running, not taken."""
import os
import shutil
import signal

from harness import DAEMON_USER, msslproxy, run, wait_for
from scene import World, case, expect, expect_whole, fetch

CLIENT = "[client]\nstate = \"state\"\n"
SERVER = "[server]\ncertificate = \"good.pem\"\nprivate-key = \"good.key\"\nstate = \"state\"\n"
SITE = CLIENT + "[[site]]\nhost = \"a.example\"\n"
ORIGIN = SERVER + "[[origin]]\nhost = \"a.example\"\n"

# What is wrong, the file, line:column, what the message says.
WRONG = (
    ("nothing in it", "", "1:1", "expected at least one"),
    ("no TOML", "[client\n", "1:8", ""),
    ("a value missing", "[client]\nstate =\n", "2:8", ""),
    ("an unknown table", "[clinet]\n", "1:2", "did you mean client?"),
    ("an unknown key", "[client]\nstat = \"x\"\n", "2:1", "did you mean state?"),
    ("a key twice", CLIENT + "state = \"again\"\n", "3:9", "cannot redefine"),
    ("a number for a string", "[client]\nstate = 1\n", "2:9", "found integer 1, expected a string"),
    ("a string for a boolean", CLIENT + "[peer]\nupload = \"yes\"\n", "4:10", "expected true or false"),
    ("a size without unit", CLIENT + "[store]\nmax-size = \"10\"\n", "4:12", "expected a unit"),
    ("a size with a wrong unit", CLIENT + "[store]\nmax-size = \"10gigs\"\n", "4:12", "expected a unit"),
    ("a rate that is a size", CLIENT + "[peer]\nupload-limit = \"20 parsecs\"\n", "4:16", "expected a unit"),
    ("a duration too long", CLIENT + "[process]\ndrain-timeout = \"2d\"\n", "4:17", "expected from"),
    ("a number too large", CLIENT + "[process]\nthreads = 65\n", "4:11", "from 0 to 64"),
    ("a port without address", CLIENT + "[peer]\nlisten = \"4434\"\n", "4:10", "expected an IP address and port"),
    ("a name for an address", CLIENT + "[[intercept]]\nmode = \"http-proxy\"\nlisten = \"localhost:3128\"\n", "5:10", "not an IP address"),
    ("a port beyond all", CLIENT + "[status]\nlisten = \"127.0.0.1:65536\"\n", "4:10", ""),
    ("an unknown mode", CLIENT + "[[intercept]]\nmode = \"magic\"\nlisten = \"127.0.0.1:1\"\n", "4:8", "expected \"http-proxy\", \"redirect\", \"tproxy\", \"socks5\" or \"forward\""),
    ("a site without host", CLIENT + "[[site]]\nserver = \"192.0.2.1\"\n", "3:1", "needs the key host"),
    ("a site twice", SITE + "[[site]]\nhost = \"A.EXAMPLE:80\"\n", "6:8", "a second [[site]] for a.example:80"),
    ("a fallback of no kind", SITE + "fallback = \"maybe\"\n", "5:12", "expected \"origin\" or \"none\""),
    ("a CA that is not there", SITE + "ca = \"none.pem\"\n", "5:6", "No such file"),
    ("a CA of garbage", SITE + "ca = \"garbage.pem\"\n", "5:6", "expected PEM certificates"),
    ("a token that all may read", SITE + "token-file = \"garbage.pem\"\n", "5:14", "expected mode 0600"),
    ("a certificate that is not there", SERVER.replace("good.pem", "none.pem"), "2:15", "No such file"),
    ("a certificate of garbage", SERVER.replace("good.pem", "garbage.pem"), "2:15", "garbage.pem"),
    ("a key that it may not read", SERVER.replace("good.key", "secret.key"), "3:15", "secret.key: Permission denied"),
    ("a key that all may read", SERVER.replace("good.key", "open.key"), "3:15", "expected mode 0600 or 0640"),
    ("a key of another certificate", SERVER.replace("good.key", "other.key"), "2:15", ""),
    ("an origin twice", ORIGIN + "root = \".\"\n[[origin]]\nhost = \"a.example\"\nroot = \".\"\n", "9:8", "a second [[origin]]"),
    ("an origin from nowhere", ORIGIN, "6:8", "needs the key url or root"),
    ("an origin over TLS", ORIGIN + "url = \"https://b.example\"\n", "7:7", "expected http://host:port"),
    ("a root that is a file", ORIGIN + "root = \"good.pem\"\n", "7:8", "found a file, expected a directory"),
    ("an exchange of a later version", ORIGIN + "root = \".\"\n[[origin.share]]\npath = \"*\"\nexchange = \"purchase\"\n", "10:12",
     "not available in this version"),
    ("a table without its half", "[[origin]]\nhost = \"a.example\"\n", "1:1", "without [server]"),
)


def as_daemon(*argv):
    """As the daemon runs; the exit status and all that it said. What would not end by itself is ended."""
    drop = ["setpriv", "--reuid=" + DAEMON_USER, "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    r = run("timeout", "20", *drop, *argv, check=False)
    return r.returncode, r.stdout


def files(lab):
    """A host with a certificate and key that are good, and some that are not."""
    host = lab.host("machine")
    issue = lab.authority()
    for name in ("good", "other"):
        certificate, key = issue(name)
        for path in (certificate, key):
            with open(path) as f:
                copy = host.write(os.path.basename(path), f.read(), mode=0o644 if path == certificate else 0o600)
            if os.geteuid() == 0:
                shutil.chown(copy, DAEMON_USER)
    shutil.copyfile(os.path.join(host.dir, "good.key"), os.path.join(host.dir, "open.key"))
    os.chmod(os.path.join(host.dir, "open.key"), 0o644)
    host.write("garbage.pem", "garbage\n")
    host.write("secret.key", "nobody reads this\n", mode=0o000)
    return host


@case(needs_namespaces=False)
def wrong_configurations(lab):
    """Each wrong configuration ends msslproxy, with -t and without, in 78, file:line:column, and what was expected."""
    host = files(lab)
    for good in (CLIENT, SERVER, SITE, ORIGIN + "root = \".\"\n"):
        status, said = as_daemon(msslproxy(), "-t", "-c", host.write("t.toml", good))
        expect(status == 0, "a good configuration to be good", said)
    for what, text, where, words in WRONG:
        path = host.write("t.toml", text)
        for check in (["-t"], []):
            status, said = as_daemon(msslproxy(), *check, "-c", path)
            expect(status == 78, "%s: exit 78 (%s)" % (what, check), (status, said))
            expect(said.startswith("msslproxy: %s:%s: " % (path, where)), "%s: %s:%s" % (what, path, where), said)
            expect(words in said and said.count("\n") == 1, "%s: one line that says '%s'" % (what, words), said)
        expect(not os.path.exists(os.path.join(host.dir, "state")), "%s: nothing to have been made" % what, os.listdir(host.dir))
    status, said = as_daemon(msslproxy(), "-c", os.path.join(host.dir, "none.toml"))
    expect(status == 78 and "none.toml: No such file" in said, "a file that is not there", (status, said))
    status, said = as_daemon(msslproxy(), "-t", "-c", host.dir)
    expect(status == 78 and host.dir in said, "a directory for a file", (status, said))


@case()
def wrong_configuration_at_hup(lab):
    """SIGHUP with a wrong configuration: the old one goes on, the log says where and what; a right one is then taken over."""
    w = World(lab)
    c = w.client()
    for p in (w.server, c):
        with open(p.config_path) as f:
            right = f.read()
        line = right.count("\n") + 2
        refused = "reload refused, the old configuration stays"
        for n, (text, where, words) in enumerate((
                (right + "\nsurprise = 1\n", "%s:%d:1" % (p.config_path, line), "surprise"),
                ("[client\n", p.config_path + ":1:8", ""),
                (right.replace('listen = "127.0.0.1:%d"' % p.status_port, 'listen = "127.0.0.1:1"'), p.config_path, "needs a restart"))):
            p.host.write(p.name + ".toml", text)
            p.program.signal(signal.SIGHUP)
            wait_for("the refusal", lambda n=n, p=p: p.log().count(refused) == n + 1)
            said = [row for row in p.log().splitlines() if refused in row][-1]
            expect(where in said and words in said, "the log to say %s and '%s'" % (where, words), said)
            expect_whole(fetch(c), w.sum, "the application, after a refused reload")
        p.host.write(p.name + ".toml", right.replace("[process]", "[process]\nlog-level = \"debug\""))
        p.program.signal(signal.SIGHUP)
        wait_for("the reload", lambda p=p: "reloaded" in p.log())
    expect_whole(fetch(c), w.sum)
