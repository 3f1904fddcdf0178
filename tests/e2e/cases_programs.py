"""Real programs, each through both proxies and directly: the same files, and how much of them came from peers."""
import os
import shutil
import sys

from harness import NAME, random_file, run, sha256
from scene import KIB, MIB, Skip, World, case, content, expect, fetch, note
from twin import Place, name_of

SIZE = 4 * MIB
URL = "http://%s/" % NAME


def needs(*programs):
    for p in programs:
        if shutil.which(p) is None:
            raise Skip("no %s" % p)


class Twins:
    """Two clients, the first of which has every object already, and a host without mSSL. Programs run on the second and on that host."""

    def __init__(self, lab, objects, nginx_extra=""):
        self.w = World(lab, size=SIZE, nginx_extra=nginx_extra)
        for n, name in enumerate(objects):
            path = random_file(os.path.join(self.w.root, name), SIZE, seed=100 + n)
            os.utime(path, (1700000000, 1700000000))
        self.first, self.client = self.w.client(), self.w.client()
        self.alone = lab.host("alone")
        for name in objects:
            fetch(self.first, "/" + name)
        self.counted = 0

    def root(self, name):
        return os.path.join(self.w.root, name)

    def both(self, what, *argv, files=(), check=True, env=None, prepare=None):
        """Runs argv on both hosts, each in a directory of its own; {dir} in it is that directory. The files that come of it must be the
        same, and the exit status. Returns the second host's directory."""
        results, folders = [], []
        for host in (self.alone, self.client.host):
            folder = os.path.join(host.dir, what)
            os.makedirs(folder, exist_ok=True)
            if prepare:
                prepare(folder)
            r = host.run(*[a.replace("{dir}", folder) for a in argv], check=check, cwd=folder, env=dict(os.environ, **(env or {})))
            results.append(r.returncode)
            folders.append(folder)
        expect(results[0] == results[1], "%s to end as directly" % what, results)
        for name in files:
            direct, ours = (os.path.join(folder, name) for folder in folders)
            expect(os.path.exists(direct) == os.path.exists(ours), "%s of %s in both places" % (name, what))
            expect(not os.path.exists(direct) or content(direct) == content(ours), "%s of %s to be the same" % (name, what),
                   [os.path.getsize(p) for p in (direct, ours)])
        return folders[1]

    def from_peers(self, what, at_least=1):
        """What came from peers since the last time."""
        rows = self.client.transfers()
        peers, server = (sum(t[k] for t in rows) for k in ("from_peers", "from_server"))
        note("%s: %.1f MiB from peers, %.1f MiB from the server so far" % (what, peers / MIB, server / MIB))
        expect(peers - self.counted >= at_least, "%s to have had something from peers" % what, rows)
        self.counted = peers


@case()
def curl_in_its_ways(lab):
    """curl: compressed, resumed, only if newer, by HTTP/1.0, uploads: the same files and exit statuses as directly; most of it from peers."""
    t = Twins(lab, ["a.bin", "b.bin", "c.bin"], "gzip on; gzip_min_length 1; location /put/ { dav_methods PUT; client_max_body_size 100m; }")
    os.mkdir(t.root("put"))
    with open(t.root("text.txt"), "w") as f:
        f.writelines("line %d of what compresses well\n" % n for n in range(20000))
    curl = ["curl", "-sS", "--noproxy", "*"]
    t.both("compressed", *curl, "--compressed", "-o", "text", URL + "text.txt", files=["text"])
    t.both("compressed object", *curl, "--compressed", "-o", "a", URL + "a.bin", files=["a"])

    def half(folder):
        with open(os.path.join(folder, "b"), "wb") as f:
            f.write(content(t.root("b.bin"))[:SIZE // 2 + 7])
    folder = t.both("resumed", *curl, "-C", "-", "-o", "b", URL + "b.bin", files=["b"], prepare=half)
    expect(sha256(folder + "/b") == sha256(t.root("b.bin")), "the whole after a resumption")
    t.both("resumed when whole", *curl, "-C", "-", "-o", "b", URL + "b.bin", files=["b"], prepare=lambda d: shutil.copy(t.root("b.bin"), d + "/b"),
           check=False)
    for what, date in (("newer", "2023-11-13"), ("not newer", "2023-11-15")):
        t.both(what, *curl, "-z", date, "-R", "-o", "c", "-w", "%{stderr}%{http_code}", URL + "c.bin", files=["c"])
    t.both("http 1.0", *curl, "--http1.0", "-o", "a", URL + "a.bin", files=["a"])
    for n in (0, 1, 3 * MIB):
        for more in ([], ["-H", "Transfer-Encoding: chunked"])[:2 if n else 1]:  # of an empty file curl makes no last chunk
            source = random_file(os.path.join(lab.dir, "upload"), n, seed=7)
            t.both("put", *curl, "-f", "-T", source, *more, URL + "put/%d" % n)
            expect(sha256(t.root("put/%d" % n)) == sha256(source), "the upload of %d bytes %s" % (n, more))
            os.unlink(t.root("put/%d" % n))
    t.from_peers("curl", SIZE)


@case()
def wget_aria2_and_requests(lab):
    """wget (-c, -N, mirrored), aria2 with eight connections, and Python's requests streaming have the same files as directly, mostly from peers."""
    t = Twins(lab, ["a.bin", "b.bin", "c.bin", "d.bin"], "autoindex on;")
    if shutil.which("wget"):
        def half(folder):
            with open(os.path.join(folder, "a.bin"), "wb") as f:
                f.write(content(t.root("a.bin"))[:SIZE // 3])
        wget = ["wget", "-q", "--no-proxy"]
        folder = t.both("wget", *wget, "-c", URL + "a.bin", files=["a.bin"], prepare=half)
        expect(sha256(folder + "/a.bin") == sha256(t.root("a.bin")), "the whole after a resumption")
        for _ in range(2):
            folder = t.both("wget-N", *wget, "-N", URL + "b.bin", files=["b.bin"])
        expect(os.path.getmtime(folder + "/b.bin") == 1700000000, "the origin's date", os.path.getmtime(folder + "/b.bin"))
        t.from_peers("wget", SIZE // 2)
    if shutil.which("aria2c"):
        folder = t.both("aria2", "aria2c", "-q", "-x8", "-s8", "-k1M", "--no-conf", "--all-proxy=", URL + "c.bin", files=["c.bin"])
        expect(sha256(folder + "/c.bin") == sha256(t.root("c.bin")), "the whole in eight parts")
        t.from_peers("aria2")
    script = ("import requests, sys\n"
              "s = requests.Session(); s.trust_env = False\n"
              "with s.get(sys.argv[1], stream=True, timeout=30) as r, open('out', 'wb') as f:\n"
              "    r.raise_for_status()\n"
              "    for piece in r.iter_content(65536): f.write(piece)\n"
              "with open('fields', 'w') as f: f.write('%s' % sorted((k, v) for k, v in r.headers.items() if k not in ('Date', 'Connection')))\n")
    if run(sys.executable, "-c", "import requests", check=False).returncode == 0:
        folder = t.both("requests", sys.executable, "-c", script, URL + "d.bin", files=["out", "fields"])
        expect(sha256(folder + "/out") == sha256(t.root("d.bin")), "the whole as a stream")
        t.from_peers("requests", SIZE // 2)
    else:
        note("no requests for %s" % sys.executable)


def repository(t, packages):
    """A flat repository of packages, as apt-ftparchive makes it."""
    pool = t.root("pool")
    os.mkdir(pool)
    for n in range(packages):
        tree = os.path.join(t.w.host.dir, "thing%d" % n)
        os.makedirs(tree + "/DEBIAN")
        with open(tree + "/DEBIAN/control", "w") as f:
            f.write("Package: thing%d\nVersion: 1.%d\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: a thing\n" % (n, n))
        os.makedirs(tree + "/usr/share/thing")
        random_file(tree + "/usr/share/thing/%d" % n, MIB if n == 0 else 150 * KIB, seed=200 + n)
        run("dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, pool)
    run("sh", "-c", "apt-ftparchive packages pool > Packages && gzip -k Packages && apt-ftparchive release . > Release.new && mv Release.new Release",
        cwd=t.w.root)
    run("chmod", "-R", "a+rX", t.w.root)
    return sorted(os.listdir(pool))


@case()
def apt_updates_and_downloads(lab):
    """apt-get update and download of many packages, ten requests deep, and of one that was broken off: the same files as directly, from peers too."""
    needs("apt-get", "apt-ftparchive", "dpkg-deb")
    t = Twins(lab, [])
    names = repository(t, 20)
    for name in names:
        fetch(t.first, "/pool/" + name)

    def prepare(folder):
        for d in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/apt.conf.d", "etc/trusted.gpg.d", "dpkg"):
            os.makedirs(os.path.join(folder, d), exist_ok=True)
        with open(folder + "/etc/sources.list", "w") as f:
            f.write("deb [trusted=yes] %s ./\n" % URL)
        with open(folder + "/dpkg/status", "w"):
            pass

    def broken_off(folder):
        prepare(folder)
        partial = os.path.join(folder, "cache/archives/partial", names[0])
        with open(partial, "wb") as f:
            f.write(content(t.root("pool/" + names[0]))[:400_000])
        os.utime(partial, (os.path.getmtime(t.root("pool/" + names[0])),) * 2)
    apt = ["apt-get", "-qq", "-o", "Dir={dir}", "-o", "Dir::State={dir}/state", "-o", "Dir::Cache={dir}/cache", "-o", "Dir::Etc={dir}/etc",
           "-o", "Dir::State::status={dir}/dpkg/status", "-o", "APT::Sandbox::User=root", "-o", "Acquire::http::Pipeline-Depth=10",
           "-o", "Acquire::Languages=none", "-o", "Acquire::Retries=0", "-o", "Debug::NoLocking=1", "-o", "Acquire::http::Proxy=DIRECT"]
    env = {"APT_CONFIG": "/dev/null", "DEBIAN_FRONTEND": "noninteractive"}
    folder = t.both("apt", *apt, "update", prepare=broken_off, env=env)
    lists = [n for n in os.listdir(folder + "/state/lists") if n.endswith("Packages") or n.endswith("Release")]
    expect(lists, "lists", os.listdir(folder + "/state/lists"))
    wanted = [n.partition("_")[0] for n in names]
    files = ["cache/archives/" + n for n in names]
    folder = t.both("apt", *apt, "-y", "--download-only", "install", *wanted, files=files, env=env)
    for name in names:
        expect(content(os.path.join(folder, "cache/archives", name)) == content(t.root("pool/" + name)), "the package " + name)
    ranges = [line for line in t.w.nginx.requests() if names[0] in line and line.startswith("206 ")]
    expect(ranges, "the broken off one to be resumed directly", t.w.nginx.requests()[-5:])
    ours = [line for line in t.client.log().splitlines() if names[0] in line and "status=206" in line]
    expect(ours, "it to be resumed through us", [line for line in t.client.log().splitlines() + t.w.nginx.requests() if names[0] in line])
    # Once more, with nothing new.
    t.both("apt", *apt, "update", env=env)
    t.from_peers("apt", MIB // 2)


@case()
def git_over_smart_http(lab):
    """git clones and pushes several MB over smart HTTP as it does directly; nothing of it is shared."""
    needs("git")
    backend = "/usr/lib/git-core/git-http-backend"
    if not os.path.exists(backend):
        raise Skip("no " + backend)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main", "-c", "safe.directory=*",
           "-c", "http.proxy=", "-c", "gc.auto=0"]
    repositories = os.path.join(lab.dir, "git")
    place = Place(lab, "apache", clients=1, apache_extra="""
SetEnv GIT_PROJECT_ROOT %s
SetEnv GIT_HTTP_EXPORT_ALL
SetEnv GIT_CONFIG_COUNT 1
SetEnv GIT_CONFIG_KEY_0 safe.directory
SetEnv GIT_CONFIG_VALUE_0 *
ScriptAlias /git/ %s/
<Directory /usr/lib/git-core>
  Require all granted
</Directory>
""" % (repositories, backend))
    client = place.clients[0]
    heads = []
    for host in (place.alone, client.host):
        bare = os.path.join(repositories, host.name + ".git")
        run(*git, "init", "-q", "--bare", bare)
        run(*git, "-C", bare, "config", "http.receivepack", "true")
        run("chown", "-R", "nobody:nogroup", bare)
        url = "http://%s/git/%s.git" % (name_of("apache"), host.name)
        tree, again = os.path.join(host.dir, "tree"), os.path.join(host.dir, "again")
        run(*git, "init", "-q", tree)
        for n in range(3):
            random_file(os.path.join(tree, "data%d" % n), 2 * MIB, seed=300 + n)
        run(*git, "-C", tree, "add", ".")
        run(*git, "-C", tree, "commit", "-q", "-m", "data", env=dict(os.environ, GIT_AUTHOR_DATE="1700000000 +0000", GIT_COMMITTER_DATE="1700000000 +0000"))
        host.run(*git, "-C", tree, "push", "-q", url, "main")
        host.run(*git, "clone", "-q", "-b", "main", url, again)
        for n in range(3):
            expect(sha256("%s/data%d" % (again, n)) == sha256("%s/data%d" % (tree, n)), "the file that was pushed, from %s" % host.name)
        heads.append(run(*git, "-C", again, "rev-parse", "HEAD").stdout)
    expect(heads[0] == heads[1], "the same commit", heads)
    expect(client.transfers() == [], "nothing of it to be shared", client.transfers())
    note("git: nothing from peers, as nothing of it is an object")


@case()
def ffmpeg_reads_hls(lab):
    """ffmpeg reads an HLS playlist and its segments, which come from peers, to the same stream as directly."""
    needs("ffmpeg")
    t = Twins(lab, [], "types { application/vnd.apple.mpegurl m3u8; video/mp2t ts; }")
    folder = t.root("hls")
    os.mkdir(folder)
    run("ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=12", "-f", "lavfi", "-i",
        "anoisesrc=duration=12:seed=1", "-c:v", "mpeg2video", "-b:v", "1M", "-g", "25", "-c:a", "mp2", "-f", "hls", "-hls_time", "3", "-hls_list_size", "0",
        "-hls_playlist_type", "vod", folder + "/list.m3u8")
    segments = sorted(n for n in os.listdir(folder) if n.endswith(".ts"))
    run("chmod", "-R", "a+rX", folder)
    for name in segments:
        os.utime(os.path.join(folder, name), (1700000000, 1700000000))
        fetch(t.first, "/hls/" + name)
    expect(len(segments) >= 3, "segments", segments)
    t.both("ffmpeg", "ffmpeg", "-v", "error", "-nostdin", "-i", URL + "hls/list.m3u8", "-map", "0", "-c", "copy", "-f", "framemd5", "frames",
           files=["frames"], env={"http_proxy": "", "no_proxy": "*"})
    t.from_peers("ffmpeg", 64 * KIB)
