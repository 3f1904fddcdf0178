"""Tests of the .tap scripts: each keeps one promise, in a directory of its own, and raises Failure where it is broken."""
import os
import tempfile
import traceback

from harness import Failure
from scene import Skip

PROMISES = []



def promise(name):
    def keep(function):
        PROMISES.append((name, function))
        return function
    return keep


def expect(condition, what):
    if not condition:
        raise Failure(what)


def expect_equal(found, wanted, what):
    expect(found == wanted, "%s: found %r, expected %r" % (what, found, wanted))


def run_promises(words, at_end=lambda: None):
    """All, or those whose names have one of the words, as TAP. Those called real_... need nginx."""
    chosen = [(n, f) for n, f in PROMISES if not words or any(w in n for w in words)]
    print("1..%d" % len(chosen), flush=True)
    try:
        for number, (name, function) in enumerate(chosen, 1):
            with tempfile.TemporaryDirectory(prefix="mssl-tap-") as d:
                try:
                    if function.__name__.startswith("real_") and not os.path.exists("/usr/sbin/nginx"):
                        raise Skip("no nginx")
                    function(d)
                    print("ok %d - %s" % (number, name), flush=True)
                except Skip as e:
                    print("ok %d - %s # SKIP %s" % (number, name, e), flush=True)
                except Exception as e:  # pylint: disable=broad-except
                    print("not ok %d - %s" % (number, name), flush=True)
                    text = str(e) if isinstance(e, Failure) else traceback.format_exc()
                    print("\n".join("# " + line for line in text.splitlines()), flush=True)
    finally:
        at_end()
