"""Every program of examples/ runs, and says what it is there to show."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
OUTPUT = {
    "guard_a_job.py": "report written\n",
    "wait_with_a_deadline.py": "order 42 shipped\norder 42 is being shipped by somebody else\n",
    "long_work.py": "3 batches written\nstopped: the lock 'examples/migration' is lost\n",
    "long_work_asyncio.py": "held for 30 s\nstopped: the lock 'examples/migration-2' is lost\n",
}


def test_no_example_is_left_out():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(OUTPUT)


@pytest.mark.parametrize("name", sorted(OUTPUT))
def test_an_example_does_what_it_says(name):
    run = subprocess.run([sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == (OUTPUT[name], "")


def test_the_benchmark_runs():
    command = [sys.executable, str(EXAMPLES.parent / "benchmark.py"), "--only", "libredlock", "--rounds", "1", "--seconds", "0.1"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.stderr == "" and run.stdout.count("libredlock") == 2, run.stdout
