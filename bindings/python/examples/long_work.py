"""Long work under a lock that extends itself: each step looks whether the lock is still held, and each write carries a
fencing token, so that the store can refuse a writer that was stopped for too long."""

import os
from typing import Dict

from libredlock import Client, LockLostError

store: Dict[str, int] = {"fence": 0, "batches": 0}


def write(batch: int, fence: int) -> None:
    if fence < store["fence"]:
        raise PermissionError(f"batch {batch} comes from an earlier holder")
    store.update(fence=fence, batches=store["batches"] + 1)


with Client(os.environ["REDLOCK_NODES"].split(",")) as client:
    with client.lock("examples/migration", ttl=30, auto_extend=True, fence=True) as lock:
        assert lock.fence is not None
        for batch in range(3):
            lock.ensure_held()
            write(batch, lock.fence)
    print(store["batches"], "batches written")

    # The same when an operator takes the lock away.
    try:
        with client.lock("examples/migration", ttl=30, auto_extend=True) as lock:
            client.unlock("examples/migration", lock.token)
            lock.wait_lost(timeout=20)
            lock.ensure_held()
            print("never printed")
    except LockLostError as error:
        print("stopped:", error)
