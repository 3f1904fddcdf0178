"""The environment of programs that use the mssl.so of this build."""
import os
import subprocess

from harness import BUILD

MODULES = os.environ.get("MSSL_MODULES", os.path.join(BUILD, ".libs"))


def sanitizer():
    """What programs built without a sanitizer need for a module built with one. Their own leaks are none of ours."""
    symbols = subprocess.run(["nm", "-D", "--undefined-only", os.path.join(MODULES, "mssl.so")], stdout=subprocess.PIPE,
                             check=True).stdout.decode()
    libraries = [subprocess.run(["gcc", "-print-file-name=lib%s.so" % name], stdout=subprocess.PIPE,
                                check=True).stdout.decode().strip()
                 for name in ("asan", "tsan", "ubsan") if "__%s_" % name in symbols]
    if not libraries:
        return {}
    return {"LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


ENVIRONMENT = dict(os.environ, OPENSSL_MODULES=MODULES, **sanitizer())
