"""The façade of redlock-ng 2.0.4: the programs of its page, and what it does better."""

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from libredlock import ConfigError, NoQuorumError
from libredlock.compat.redlock_ng import AsyncRedlock, Lock, Redlock, RedlockConfig, algorithm, scripts

HERE = Path(__file__).parent
ALIAS = """
import sys
import libredlock.compat.redlock_ng as facade
sys.modules["redlock"] = facade
"""


@pytest.fixture
def config(urls):
    return RedlockConfig(masters=urls, socket_timeout=2, socket_connect_timeout=2)


@pytest.fixture
def redlock(config):
    with Redlock(config) as made:
        yield made


@pytest.mark.parametrize(
    "number, output",
    [
        (0, "Lock acquired: my-resource\nLocked! This might have waited.\n"),
        (1, "Async lock acquired!\n"),
    ],
)
def test_the_programs_of_its_page_run_as_printed(urls, number, output):
    program = (HERE / "pages" / "redlock-ng.txt").read_text().split("----\n")[number]
    places = iter(urls)
    program = re.sub(r"redis://localhost:\d+/0", lambda _: next(places) + "/0", program)
    run = subprocess.run([sys.executable, "-c", ALIAS + program], capture_output=True, text=True, timeout=60)
    assert run.stdout == output, run.stderr


def test_a_lock_is_had_refused_extended_and_released(redlock, config, name):
    lock = redlock.acquire(name, 10_000)
    assert isinstance(lock, Lock) and lock.valid and 0 < lock.validity <= 9_898
    assert (lock.resource, lock.client) == (name, redlock)
    assert redlock.client.quorum == 3
    with Redlock(config, retry_count=0) as other:
        assert other.acquire(name, 10_000) is None
        with other.lock(name, ttl=10_000) as refused:
            assert not refused.valid and refused.value == ""
        assert redlock.extend(lock, 60_000) and 50_000 < lock.validity < 60_000
        # From another process: by what it knows.
        other.release((name, lock.value))
        with other.lock(name, ttl=10_000) as mine:
            assert mine.valid
            redlock.release(lock)
            assert not redlock.extend(lock, 10_000)
            assert redlock.acquire(name, 10_000) is None or pytest.fail("another's lock was released")
    assert not mine.valid


def test_a_lock_is_valid_for_as_long_as_its_ttl_allows(redlock, name):
    lock = redlock.acquire(name, 300)
    time.sleep(0.4)
    assert not lock.valid and not redlock.extend(lock, 1_000)


def test_blocking_waits_until_it_is_free(redlock, config, name):
    with Redlock(config) as other:
        other.acquire(name, 1_500)
        begun = time.monotonic()
        with redlock.lock(name, ttl=10_000, blocking=True) as lock:
            assert lock.valid and time.monotonic() - begun > 1


def test_what_cannot_work_is_refused_at_once():
    for masters in ([], "redis://localhost", [1]):
        with pytest.raises(ValueError):
            RedlockConfig(masters=masters)
    with pytest.raises(ValueError):
        Redlock([])
    with pytest.raises(ValueError):
        Redlock("redis://localhost")
    with pytest.raises(ValueError):
        RedlockConfig(masters=["redis://localhost"], socket_timeout=0)


def test_dead_minorities_cost_nothing_and_errors_of_majorities_are_told(urls, name):
    dead = ["redis://127.0.0.1:1", "redis://127.0.0.1:2"]
    with Redlock([*dead, *urls[:3]]) as redlock:
        assert redlock.acquire(name, 5_000).valid
    with Redlock([*dead, urls[0]]) as redlock, pytest.raises(NoQuorumError):
        redlock.acquire(name, 5_000)
    refused = [url.replace("redis://", "redis://nobody:wrong@") for url in urls]
    with Redlock(refused) as redlock, pytest.raises(ConfigError, match="WRONGPASS"):
        redlock.acquire(name, 5_000)


def test_asyncio_does_the_same_and_leaves_nothing_when_it_is_cancelled(config, name, client):
    async def work():
        async with AsyncRedlock(config, retry_count=0) as redlock, AsyncRedlock(config) as other:
            lock = await redlock.acquire(name, 10_000)
            assert lock.valid and await redlock.extend(lock, 20_000) and lock.validity > 10_000
            assert await redlock.acquire(name, 10_000) is None
            waiting = asyncio.create_task(other.acquire(name, 10_000, blocking=True))
            await asyncio.sleep(0.2)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await other.unlock(name, lock.value)
            assert not await redlock.extend(lock, 1_000) and not lock.valid
            async with other.lock(name, ttl=10_000) as mine:
                assert mine.valid
                async with redlock.lock(name, ttl=10_000) as refused:
                    assert not refused.valid

    asyncio.run(work())
    assert not client.inspect(name).held


def test_the_arithmetic_is_that_of_the_page():
    assert [algorithm.get_quorum(n) for n in (1, 2, 3, 4, 5)] == [1, 2, 2, 3, 3]
    assert algorithm.calculate_drift(10_000) == 102
    assert algorithm.calculate_validity(10_000, 50, 102) == 9_848
    assert len({algorithm.get_random_token() for _ in range(100)}) == 100
    assert abs(algorithm.current_time_ms() - time.time() * 1000) < 10_000
    assert all("redis.call" in text for text in (scripts.RELEASE_SCRIPT, scripts.EXTEND_SCRIPT))


def test_it_excludes_the_original_and_is_excluded_by_it(redlock, urls, name, original):
    theirs = f"""
import sys, redlock
manager = redlock.Redlock({urls!r}, retry_count=0)
lock = manager.acquire({name!r}, 60000)
print(lock is not None, flush=True)
if sys.stdin.readline() and lock: manager.release(lock)
"""
    with redlock.lock(name, ttl=60_000):
        assert original("redlock-ng", theirs) == "False\n"
    process = original("redlock-ng", theirs, keep=True)
    assert process.stdout.readline() == "True\n"
    assert redlock.acquire(name, 10_000) is None
    process.communicate("release\n", timeout=30)
    assert redlock.acquire(name, 10_000).valid
