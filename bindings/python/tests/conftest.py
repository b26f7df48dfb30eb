"""Real servers: those of `tools/servers run 5`. Packages that are compared with come from the index, once."""

import itertools
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from libredlock import Client

_count = itertools.count()
ROOT = Path(__file__).parents[3]
CACHE = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "python-originals"
ORIGINALS = {"redlock": "redlock==1.2.0", "redlock-ng": "redlock-ng==2.0.4"}


@pytest.fixture(scope="session")
def urls():
    return os.environ["REDLOCK_NODES"].split(",")


@pytest.fixture
def client(urls):
    with Client(urls, node_timeout_ms=2000) as made:
        yield made


@pytest.fixture
def name():
    return f"python-{os.getpid()}-{next(_count)}"


def pip(*arguments):
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True)


@pytest.fixture(scope="session")
def downloads():
    """A directory with the source distribution of redlock 1.2.0."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if not (CACHE / "redlock-1.2.0.tar.gz").exists():
        pip("download", "--no-deps", "--no-binary", ":all:", "--dest", str(CACHE), ORIGINALS["redlock"])
    return CACHE


@pytest.fixture(scope="session")
def original():
    """Runs a program in a Python that has the original package; its output, or the process if it is to be kept."""

    def run(package, program, keep=False):
        home = CACHE / package
        python = home / "bin" / "python"
        if not (home / "ready").exists():
            venv.create(home, with_pip=True)
            subprocess.run([str(python), "-m", "pip", "--quiet", "install", ORIGINALS[package]], check=True)
            (home / "ready").touch()
        process = subprocess.Popen(
            [str(python), "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={}
        )
        return process if keep else process.communicate("\n", timeout=60)[0]

    return run
