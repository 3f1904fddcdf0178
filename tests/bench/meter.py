"""What is measured: seconds, CPU-seconds and memory of processes; and how it is told.

CPU-seconds of a daemon are those of all its threads, from /proc/PID/stat; of a program that ends, from wait4. What a daemon still
does after the application has its last byte (writing to its store) is counted too: settle() waits for it.
"""
import json
import os
import statistics
import subprocess
import time

MIB = 1 << 20
GIB = 1 << 30
TICK = os.sysconf("SC_CLK_TCK")
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK  # utime, stime


def resident_kib(pid):
    with open("/proc/%d/statm" % pid) as f:
        return int(f.read().split()[1]) * PAGE_KIB


def peak_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM:"))


def forget_peak(pid):
    """The peak starts anew at what is resident now (proc(5), clear_refs)."""
    with open("/proc/%d/clear_refs" % pid, "w") as f:
        f.write("5")


def settle(pids, still=0.3, most=15):
    """Until none of these has used any CPU for a while: three ticks of the scheduler's clock at least."""
    deadline = time.monotonic() + most
    last, since = None, time.monotonic()
    while time.monotonic() < deadline:
        now = [cpu_seconds(p) for p in pids]
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since >= still:
            return
        time.sleep(0.02)


class Run:
    """One measured run of a program beside daemons: seconds, and CPU-seconds by name."""

    def __init__(self, argv, daemons, name="curl", **kw):
        before = {d: cpu_seconds(pid) for d, pid in daemons.items()}
        begin = time.monotonic()
        p = subprocess.Popen(argv, **kw)
        _, status, usage = os.wait4(p.pid, 0)
        self.seconds = time.monotonic() - begin
        p.returncode = os.waitstatus_to_exitcode(status)
        self.exit = p.returncode
        settle(daemons.values())
        self.cpu = {name: usage.ru_utime + usage.ru_stime}
        self.cpu.update((d, cpu_seconds(pid) - before[d]) for d, pid in daemons.items())

    def row(self, size):
        """As it is kept: MiB/s, and CPU-seconds a GiB by process."""
        gib = size / GIB
        return {"seconds": self.seconds, "rate": size / MIB / self.seconds,
                "cpu": {name: seconds / gib for name, seconds in self.cpu.items()}}


def median(rows, key):
    return statistics.median(key(r) for r in rows)


class Report:
    """Lines of `name: value unit`, goals, and the same as JSON."""

    def __init__(self):
        self.values, self.goals, self.runs, self.about = {}, [], {}, {}

    def note(self, text):
        print("# " + text, flush=True)

    def value(self, name, value, unit, digits=2):
        self.values[name] = {"value": value, "unit": unit}
        print("%s: %.*f %s" % (name, digits, value, unit), flush=True)

    def goal(self, name, value, goal, unit, at_least=True, digits=2):
        met = value >= goal if at_least else value <= goal
        self.goals.append({"name": name, "value": value, "goal": goal, "unit": unit, "at_least": at_least, "met": met})
        print("goal.%s: %.*f %s (%s %.*f: %s)" % (name, digits, value, unit, "at least" if at_least else "at most", digits, goal,
                                                  "met" if met else "MISSED"), flush=True)

    def path(self, name, rows):
        """Medians of one path's runs."""
        self.runs[name] = rows
        self.value(name + ".rate", median(rows, lambda r: r["rate"]), "MiB/s", 0)
        for process in rows[0]["cpu"]:
            self.value("%s.cpu.%s" % (name, process), median(rows, lambda r: r["cpu"][process]), "CPU-s/GiB")
        self.value(name + ".cpu", self.cpu(rows), "CPU-s/GiB")

    @staticmethod
    def cpu(rows):
        return median(rows, lambda r: sum(r["cpu"].values()))

    def compare(self, name, ours, theirs, goal):
        """Rate against rate decides; CPU against CPU says the same with less noise where others use the machine too."""
        self.goal(name, median(ours, lambda r: r["rate"]) / median(theirs, lambda r: r["rate"]), goal, "of the peer's rate")
        self.value(name + ".best", max(r["rate"] for r in ours) / max(r["rate"] for r in theirs), "of the peer's rate, best runs")
        self.value(name + ".cpu", self.cpu(theirs) / self.cpu(ours), "of the peer's bytes a CPU-second")

    def write(self, path):
        with open(path, "w") as f:
            json.dump({"about": self.about, "values": self.values, "goals": self.goals, "runs": self.runs}, f, indent=1)
            f.write("\n")
