"""The protocol of README.md, for a client that is given as three functions."""

import os
import sys
import time


def contend(lock, unlock, resource, duration_ms, directory):
    inside = os.path.join(directory, "inside")
    locks = violations = 0
    end = time.monotonic() + duration_ms / 1000
    while time.monotonic() < end:
        if not lock(resource, 5000):
            time.sleep(0.001)
            continue
        locks += 1
        try:
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
            time.sleep(0.001)
            os.unlink(inside)
        except OSError:
            violations += 1
        unlock()
        time.sleep(0.001)
    return locks, violations


def serve(lock, unlock):
    """`lock(resource, ttl_ms)` makes one attempt and says whether it holds; `unlock()` releases the last one."""
    for line in sys.stdin:
        words = line.split()
        if words[0] == "lock":
            answer = "held" if lock(words[1], int(words[2])) else "busy"
        elif words[0] == "unlock":
            unlock()
            answer = "released"
        elif words[0] == "contend":
            answer = "done %d %d" % contend(lock, unlock, words[1], int(words[2]), words[3])
        else:
            answer = "unknown command"
        print(answer, flush=True)
