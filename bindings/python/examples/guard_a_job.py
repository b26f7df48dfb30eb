"""Guards a job: of several copies that are started at the same time one runs at a time.

python guard_a_job.py    the nodes are in REDLOCK_NODES, separated by commas
"""

import os

from libredlock import Client


def write_report() -> None:
    print("report written")


with Client(os.environ["REDLOCK_NODES"].split(",")) as client:
    # 30 seconds after a crash of this process the next copy may run; until then the lock extends itself.
    with client.lock("examples/report", ttl=30, auto_extend=True):
        write_report()
