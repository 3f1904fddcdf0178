"""Disks that are full, or cannot be written: bytes flow all the same, and the log and the status say so."""
import contextlib
import os
import pwd
import shutil

from harness import DAEMON_USER, msslproxy, run
from scene import MIB, World, case, expect, expect_whole, fetch, transfer


@contextlib.contextmanager
def disk(path, mib, read_only=False):
    """A file system of its own at path, for the daemon's user."""
    os.makedirs(path, exist_ok=True)
    user = pwd.getpwnam(DAEMON_USER)
    os.chown(path, user.pw_uid, user.pw_gid)
    run("mount", "-t", "tmpfs", "-o", "size=%dm,mode=0700,uid=%d,gid=%d%s" % (mib, user.pw_uid, user.pw_gid, ",ro" if read_only else ""),
        "tmpfs", path)
    try:
        yield
    finally:
        run("umount", "-l", path)


def expect_unstored(w, c, why):
    """Right bytes, twice; the transfer says that it is not stored, and the log why."""
    for turn in ("first", "second"):
        expect_whole(fetch(c), w.sum, "the application (%s time)" % turn)
        t = transfer(c)
        expect(t["stored"] is False, "the status to say that it is not stored", t)
    expect(why in c.log(), "the log to say '%s'" % why, c.program.tail())


@case()
def client_store_too_small(lab):
    """An object larger than the store goes through all the same."""
    w = World(lab, size=24 * MIB)
    c = w.client(store="1MiB")
    expect_unstored(w, c, "object larger than the store")
    used = c.status()["store"]["used_bytes"]
    expect(used <= MIB, "no more than the limit to be used", used)


@case()
def client_disk_full(lab):
    """The client's disk fills up in mid-download: the bytes go on."""
    w = World(lab, size=24 * MIB)
    c = w.client(start=False)
    with disk(os.path.join(c.state, "store"), 4):
        c.start()
        expect_unstored(w, c, "the store failed; the download goes on in memory")
        # Peers are served what there is, and get the rest elsewhere.
        other = w.client()
        expect_whole(fetch(other), w.sum, "another client")


@case()
def client_store_read_only(lab):
    """A store that cannot be written does not keep the client from starting, nor bytes from flowing."""
    w = World(lab, size=24 * MIB)
    c = w.client(start=False)
    with disk(os.path.join(c.state, "store"), 4, read_only=True):
        c.start()
        store = c.status()["store"]
        expect(store["healthy"] is False and "error" in store, "the status to say that the store is of no use", store)
        expect_unstored(w, c, "store not usable")


def server_disk(lab, mib, read_only):
    # Less memory than the object is long: what the spool does not take is really gone.
    w = World(lab, size=24 * MIB, start=False, process='buffer-memory = "16MiB"')
    with disk(os.path.join(w.server.state, "spool"), mib, read_only):
        w.server.start()
        clients = [w.client(fallback="none") for _ in range(2)]
        for c in clients:
            expect_whole(fetch(c), w.sum, c.host.name)
            expect(transfer(c)["verified"] == w.length, "%s to have had it as a shared object" % c.host.name, transfer(c))
            c.program.kill()  # the next one gets it from the server
    return w


@case()
def server_spool_full(lab):
    """The server's disk fills up while it spools an object: everybody gets it all the same, what is not at hand read again."""
    w = server_disk(lab, 4, read_only=False)
    expect("object is not spooled" in w.server.log(), "the log to say so", w.server.program.tail())
    expect(any(status == 206 for status, _ in w.bodies()), "the origin to have been read again", w.bodies())


@case()
def server_spool_read_only(lab):
    """A spool that cannot be written keeps neither the server from starting nor an object from being shared."""
    w = server_disk(lab, 4, read_only=True)
    expect("store not usable" in w.server.log(), "the log to say so", w.server.program.tail())


@case()
def server_small_memory_and_spool(lab):
    """Objects larger than buffer-memory, three times as much as spool-size: each arrives whole, the oldest leave the spool."""
    spool = 70 * MIB
    w = World(lab, size=32 * MIB, extra_server='spool-size = "70MiB"', process='buffer-memory = "16MiB"')
    c = w.client()
    for number in range(7):
        os.link(w.big, os.path.join(w.root, "big%d.bin" % number))
        expect_whole(fetch(c, "/big%d.bin" % number), w.sum, "the application (object %d)" % number)
    expect("object is not spooled" not in w.server.log(), "room to be made in the spool", w.server.program.tail())
    used = sum(os.lstat(os.path.join(d, f)).st_blocks * 512 for d, _, names in os.walk(os.path.join(w.server.state, "spool")) for f in names)
    expect(used <= spool + 2 * MIB, "no more than spool-size to be used", used)
    # What left the spool is read from the origin again, for a client that has nothing; also after a restart, which finds a spool
    # with some of what the catalog knows.
    expect_whole(fetch(w.client(), "/big0.bin"), w.sum, "another client")
    for program in [w.server.program] + [client.program for client in w.clients]:
        program.stop()
    w.server.start()
    other = w.client()
    for number in range(7):
        expect_whole(fetch(other, "/big%d.bin" % number), w.sum, "the application (object %d, after a restart)" % number)


@case()
def server_lost_what_only_some_may_have(lab):
    """A path that needs a password: after a restart without its spool the server reads it again as who asks."""
    w = World(lab, size=4 * MIB, extra='access = "restricted"', process='buffer-memory = "16MiB"', nginx_extra="""
        location / { if ($http_authorization != "Basic bWU6cmlnaHQ=") { return 401; } }""")
    first = w.client(fallback="none")
    me = ("-u", "me:right")
    expect_whole(fetch(first, "/big.bin", *me), w.sum)
    for program in (w.server.program, first.program):
        program.stop()
    shutil.rmtree(os.path.join(w.server.state, "spool"))
    w.server.start()
    second = w.client(fallback="none")
    expect(fetch(second, "/big.bin", check=False).result["status"] == 401, "the origin's 401 for who says nothing")
    d = fetch(second, "/big.bin", *me)
    expect_whole(d, w.sum)
    expect("withdrawn" not in w.server.log(), "the object to stay", w.server.program.tail())


@case()
def origin_refuses_a_re_read(lab):
    """An origin that refuses the server's re-read of what only some may have: the application is answered otherwise, in time."""
    w = World(lab, size=4 * MIB, extra='access = "restricted"', process='buffer-memory = "16MiB"', nginx_extra="""
        location / { if ($http_if_range) { return 401; } if ($http_authorization != "Basic bWU6cmlnaHQ=") { return 401; } }""")
    me = ("-u", "me:right")
    first = w.client()
    expect_whole(fetch(first, "/big.bin", *me), w.sum)
    for program in (w.server.program, first.program):
        program.stop()
    shutil.rmtree(os.path.join(w.server.state, "spool"))
    w.server.start()
    expect_whole(fetch(w.client(), "/big.bin", *me), w.sum, "who is relayed when the object is withdrawn")
    expect("withdrawn" in w.server.log(), "the object to be withdrawn", w.server.program.tail())
    third = w.client(fallback="none")
    expect(fetch(third, "/big.bin", check=False).result["status"] == 401, "the origin's 401 for who says nothing")
    expect_whole(fetch(third, "/big.bin", *me), w.sum, "who comes then, of a new object")


@case()
def state_belongs_to_one_program(lab):
    """A second program on the same state does not start, and says why; once the first has ended, however it did, one can."""
    w = World(lab)
    for proxy in (w.server, w.client()):
        second = proxy.host.run(msslproxy(), "-c", proxy.config_path, check=False)
        expect(second.returncode == 1, "exit status 1", second.returncode)
        expect("another process uses the state" in second.stdout, "the reason", second.stdout)
        proxy.program.kill()
        proxy.start()
