"""What the Python peers share: the timed loop and the line that peers/run reads."""

import os
import time


def nodes():
    return os.environ["REDLOCK_NODES"].split(",")


def measure(name, pair):
    """Calls `pair()` (one lock and unlock, true if both worked) for PEER_SECONDS after a short warm-up."""
    for _ in range(20):
        pair()
    samples = []
    began = now = time.perf_counter()
    end = began + float(os.environ["PEER_SECONDS"])
    while now < end:
        if not pair():
            raise SystemExit(f"{name}: a lock failed")
        after = time.perf_counter()
        samples.append(after - now)
        now = after
    samples.sort()
    p50, p99 = samples[len(samples) // 2], samples[(len(samples) - 1) * 99 // 100]
    print(name, f"{len(samples) / (now - began):.1f}", f"{p50 * 1e6:.1f}", f"{p99 * 1e6:.1f}", sep="\t")
