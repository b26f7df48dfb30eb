#!/usr/bin/env python3
"""Lock and unlock by this package, by the C library and by other packages, on the same servers in the same run.

    tools/servers run 5 -- target/python-venv/bin/python bindings/python/benchmark.py [--seconds 1] [--rounds 3] [--only NAME,...]

REDLOCK_NODES names the servers, REDLOCK_LIBRARY the library (default: target/release/libredlock.so). What is measured is one
lock of 30 s and its release, without contention, by one thread; and 64 tasks of one event loop, each with a lock of its own.
Rounds are interleaved; of each contestant the best one counts. The other packages are installed once, each into a virtual
environment of its own under target/; one that cannot be installed is left out and named. The C library is measured by
benches/peers/in_c.c where gcc is there.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "python-benchmark"
LIBRARY = os.environ.get("REDLOCK_LIBRARY") or str(CACHE.parent / "release" / "libredlock.so")
PACKAGES = {
    "redlock-ng": ["redlock-ng==2.0.4"],
    "redlock": ["redlock==1.2.0"],
    "redlock-py": ["redlock-py==1.0.8"],
    "pottery": ["pottery==3.0.1"],
}
TASKS = 64


def of_libredlock(urls):
    from libredlock import Client

    lock = Client(urls).lock("benchmark", ttl=30)

    def pair():
        assert lock.acquire(timeout=0)
        lock.release()

    return pair


def of_redlock_ng(urls):
    from redlock import Redlock

    manager = Redlock(urls)

    def pair():
        manager.release(manager.acquire("benchmark", 30_000))

    return pair


def of_redlock(urls):
    from redlock import RedLock

    lock = RedLock("benchmark", [{"url": url} for url in urls], ttl=30_000)

    def pair():
        assert lock.acquire()
        lock.release()

    return pair


def of_redlock_py(urls):
    from redlock import Redlock

    places = [url.split("//")[1].split(":") for url in urls]
    manager = Redlock([{"host": host, "port": int(port)} for host, port in places])

    def pair():
        lock = manager.lock("benchmark", 30_000)
        assert lock
        manager.unlock(lock)

    return pair


def of_pottery(urls):
    from pottery import Redlock
    from redis import Redis

    lock = Redlock(key="benchmark", masters={Redis.from_url(url) for url in urls}, auto_release_time=30)

    def pair():
        assert lock.acquire()
        lock.release()

    return pair


def measure(pair, seconds):
    """Median in microseconds."""
    for _ in range(20):
        pair()
    samples = []
    now = time.perf_counter()
    end = now + seconds
    while now < end:
        pair()
        after = time.perf_counter()
        samples.append(after - now)
        now = after
    return statistics.median(samples) * 1e6


async def tasks_of_libredlock(urls, seconds):
    """Pairs per second."""
    from libredlock import AsyncClient

    pairs = 0
    async with AsyncClient(urls) as client:

        async def work(lock, end):
            nonlocal pairs
            while time.perf_counter() < end:
                assert await lock.acquire(0)
                await lock.release()
                pairs += 1

        locks = [client.lock(f"benchmark-{number}", ttl=30) for number in range(TASKS)]
        begun = time.perf_counter()
        await asyncio.gather(*(work(lock, begun + seconds) for lock in locks))
        return pairs / (time.perf_counter() - begun)


async def tasks_of_redlock_ng(urls, seconds):
    from redlock import AsyncRedlock

    pairs, manager = 0, AsyncRedlock(urls)

    async def work(name, end):
        nonlocal pairs
        while time.perf_counter() < end:
            lock = await manager.acquire(name, 30_000)
            if lock is not None:
                await manager.release(lock)
                pairs += 1

    begun = time.perf_counter()
    await asyncio.gather(*(work(f"benchmark-{number}", begun + seconds) for number in range(TASKS)))
    return pairs / (time.perf_counter() - begun)


def child(name, seconds):
    urls = os.environ["REDLOCK_NODES"].split(",")[:5]
    function = globals()["of_" + name.replace("-", "_")]
    print(measure(function(urls), seconds))
    tasks = globals().get("tasks_of_" + name.replace("-", "_"))
    print(asyncio.run(tasks(urls, seconds)) if tasks else 0)


def python_with(name):
    """The interpreter that has a package."""
    if name == "libredlock":
        return sys.executable
    home = CACHE / name
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "--quiet", "install", *PACKAGES[name]], check=True)
        (home / "ready").touch()
    return str(python)


def c_program():
    """benches/peers/in_c.c with the library, or None."""
    sources = [ROOT / "benches/peers/in_c.c"]
    sources += [ROOT / f"benches/{part}.c" for part in "contestants floor handover library loss measure nodes".split()]
    program = CACHE / "in_c"
    try:
        subprocess.run(
            ["gcc", "-std=gnu11", "-O2", "-DBENCH_WITH_LIBRARY", "-I", ROOT / "include", *sources, "-o", program]
            + [LIBRARY, f"-Wl,-rpath,{Path(LIBRARY).resolve().parent}", "-lpthread", "-lm"],
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"left out: the C library and the floor ({error})")
        return None
    return str(program)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="C,libredlock," + ",".join(PACKAGES))
    parser.add_argument("--child")
    arguments = parser.parse_args()
    if arguments.child:
        return child(arguments.child, arguments.seconds)

    CACHE.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "REDLOCK_LIBRARY": LIBRARY,
        "PEER_SECONDS": str(arguments.seconds),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    commands = {}
    only = arguments.only.split(",")
    if "C" in only:
        program = c_program()
        if program:
            commands["floor (C, no library)"] = [program, "floor"]
            commands["C library"] = [program, "library"]
    for name in ["libredlock", *PACKAGES]:
        if name not in only:
            continue
        try:
            python = python_with(name)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"left out: {name} ({error})")
            continue
        commands[name] = [python, str(HERE / "benchmark.py"), "--child", name, "--seconds", str(arguments.seconds)]

    latency, tasks = {}, {}
    for _ in range(arguments.rounds):
        for name, command in list(commands.items()):
            ours = {"PYTHONPATH": str(HERE)} if name == "libredlock" else {"PYTHONPATH": ""}
            run = subprocess.run(command, env={**environment, **ours}, capture_output=True, text=True)
            if run.returncode != 0:
                print(f"left out: {name} ({(run.stderr.strip().splitlines() or ['no reason given'])[-1]})")
                del commands[name]
                continue
            if "\t" in run.stdout:
                found, rate = float(run.stdout.split("\t")[2]), 0.0
            else:
                found, rate = map(float, run.stdout.split())
            latency[name] = min(found, latency.get(name, found))
            tasks[name] = max(rate, tasks.get(name, rate))

    base = latency.get("C library")
    print(f"{'lock and unlock':24} {'median µs':>10} {'to C':>7}")
    for name, found in sorted(latency.items(), key=lambda one: one[1]):
        print(f"{name:24} {found:10.1f} {f'{found / base:.2f}' if base else '-':>7}")
    print(f"\n{f'{TASKS} asyncio tasks':24} {'pairs/s':>10}")
    for name, rate in sorted(tasks.items(), key=lambda one: -one[1]):
        if rate:
            print(f"{name:24} {rate:10.0f}")


if __name__ == "__main__":
    main()
