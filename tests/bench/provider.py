"""The parts of the benchmark that measure mssl.so, as it is installed, in programs of OpenSSL: f, g. On one core."""
import os
import re
import statistics
import subprocess

from harness import Failure
from meter import MIB

HANDSHAKES = 2000  # a run


def on_one_core():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def output_of(argv, env):
    r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, preexec_fn=on_one_core,
                       env=dict(os.environ, OPENSSL_MODULES=os.environ["MSSL_MODULES"], **env))
    if r.returncode != 0:
        raise Failure("%s: exit %d\n%s" % (" ".join(argv), r.returncode, r.stderr))
    return r.stdout


def configuration(path, lines=""):
    with open(path, "w") as f:
        f.write("openssl_conf = init\n[init]\nproviders = all\n[all]\ndefault = d\nmssl = m\n[d]\nactivate = 1\n[m]\nactivate = 1\n" + lines)
    return {"OPENSSL_CONF": path}


def realm(directory, tokens):
    """The configuration of a member and a server that requires one, in one process."""
    state, file = os.path.join(directory, "realm"), os.path.join(directory, "tokens")
    os.makedirs(state)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", "-subj", "/CN=realm", "-keyout",
                    os.path.join(state, "realm.key"), "-out", os.path.join(state, "realm.pem")], stderr=subprocess.DEVNULL, check=True)
    subprocess.run([os.environ["MSSL"], "member", "issue", "--state", state, "-o", file, "--tokens", str(tokens)],
                   stdout=subprocess.DEVNULL, check=True)
    return configuration(os.path.join(directory, "member.cnf"), "auth-key-file = %s/auth.key\nrequire = yes\ntoken-file = %s\n" % (state, file))


def full_handshakes(lab, report, _size, runs):
    """f: full handshakes, both ends in one process, over mssl_x25519 against X25519."""
    pem = os.path.join(lab.dir, "server.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-keyout", pem, "-out", pem + ".crt"], stderr=subprocess.DEVNULL, check=True)
    with open(pem, "a") as f, open(pem + ".crt") as certificate:
        f.write(certificate.read())
    plain = configuration(os.path.join(lab.dir, "plain.cnf"))
    # What a run warms up with takes tokens as well.
    member = realm(lab.dir, (runs + 1) * (HANDSHAKES + HANDSHAKES // 10 + 1))
    rows = {"x25519": ("X25519", plain), "mssl": ("mssl_x25519", plain), "member": ("mssl_x25519", member)}
    rates, cpu = ({name: [] for name in rows} for _ in range(2))
    for n in range(runs + 1):  # the first round warms up and is not counted
        for name, (group, env) in rows.items():
            count, took, used = (float(x) for x in output_of([os.environ["HANDSHAKE_RATE"], pem, group, str(HANDSHAKES)], env).split())
            if n > 0:
                rates[name].append(count / took)
                cpu[name].append(count / used)
    report.runs["f"] = {"rates": rates, "cpu": cpu}
    for name in rows:
        report.value("handshakes." + name, statistics.median(rates[name]), "a second", 0)
        report.value("handshakes.%s.cpu" % name, statistics.median(cpu[name]), "a CPU-second", 0)
    for name, goal in (("mssl", 0.95), ("member", 0.85)):
        # One ratio a round, whose runs met the same noise.
        ratios = [ours / theirs for ours, theirs in zip(rates[name], rates["x25519"])]
        report.goal("f." + name, statistics.median(ratios), goal, "of X25519's handshakes a second")
        report.value("f.%s.cpu" % name, statistics.median(o / t for o, t in zip(cpu[name], cpu["x25519"])), "of X25519's a CPU-second")


def digest(_lab, report, _size, runs):
    """g: the Merkle digest against SHA-256, by openssl speed."""
    rates = {"sha256": [], "mssl-merkle": []}
    for n in range(runs + 1):
        for name, row in rates.items():
            out = output_of(["openssl", "speed", "-mr", "-provider", "default", "-provider", "mssl", "-evp", name, "-bytes", str(MIB),
                             "-seconds", "1"], {"OPENSSL_CONF": os.devnull})
            found = re.search(r"^\+F:\d+:%s:([0-9.]+)$" % name, out, re.M)
            if not found:
                raise Failure("openssl speed said no speed of " + name)
            if n > 0:
                row.append(float(found[1]) / MIB)
    report.runs["g"] = rates
    for name, row in rates.items():
        report.value("digest." + name, statistics.median(row), "MiB/s", 0)
    with open("/proc/cpuinfo") as f:
        wide = "avx512f" in f.read()
    with open(os.path.join(os.environ["MSSL_MODULES"], "mssl.so"), "rb") as f:
        lanes = wide and b"libIPSec_MB" in f.read()
    report.goal("g.digest", statistics.median(o / t for o, t in zip(rates["mssl-merkle"], rates["sha256"])), 1.5 if lanes else 0.97,
                "of sha256's rate" + (", with libipsec-mb and AVX-512" if lanes else ""))


PARTS = {"handshakes": full_handshakes, "digest": digest}
