"""The façade of redlock 1.2.0: its own tests, the programs of its page, and what it does better."""

import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from libredlock.compat.redlock import RedLock, RedLockError, RedLockFactory, ReentrantRedLock

HERE = Path(__file__).parent
ALIAS = """
import sys
import libredlock.compat.redlock as facade
sys.modules["redlock"] = facade
sys.modules["redlock.lock"] = facade.lock
"""


@pytest.fixture
def details(urls):
    return [{"url": url, "socket_timeout": 2} for url in urls]


def test_the_tests_of_the_original_pass_unchanged(urls, tmp_path, downloads):
    with tarfile.open(downloads / "redlock-1.2.0.tar.gz") as archive:
        tests = [one for one in archive.getmembers() if one.name.startswith("redlock-1.2.0/tests/test_")]
        assert len(tests) == 2
        for one in tests:
            # One Redis on localhost:6379 is what they are written for: the port of a server of ours is put there.
            text = archive.extractfile(one).read().decode()
            (tmp_path / Path(one.name).name).write_text(text)
    port = int(urls[0].rsplit(":", 1)[1])
    (tmp_path / "conftest.py").write_text(
        ALIAS
        + f"""
from libredlock.compat.redlock import nodes
write = nodes._url
nodes._url = lambda parts: write({{"port": {port}, **parts}})
begin = nodes.Node.__init__
def elsewhere(self, details):
    begin(self, details)
    self.url = self.url.replace("redis://localhost/", "redis://localhost:{port}/").replace(":6379/", ":{port}/")
nodes.Node.__init__ = elsewhere
"""
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0 and "12 passed" in run.stdout, run.stdout + run.stderr


def programs():
    page = (HERE / "pages" / "redlock.txt").read_text()
    blocks = [block.strip("\n") for block in page.split("----\n")]
    assert len(blocks) == 4
    return blocks


@pytest.mark.parametrize("number", range(4))
def test_the_programs_of_its_page_run_as_printed(urls, number):
    program = programs()[number]
    ports = iter([url.rsplit(":", 1)[1] for url in urls])
    hosts = re.compile(r"'xxx\.xxx\.xxx\.xxx'(, 'port': 6379)?")
    program = hosts.sub(lambda _: f"'127.0.0.1', 'port': {next(ports)}", program)
    default = f"""
from libredlock.compat.redlock import nodes
write = nodes._url
nodes._url = lambda parts: write({{"port": {urls[0].rsplit(':', 1)[1]}, **parts}})
"""
    done = "done = []\ndo_something = lambda: done.append(1)\n"
    check = "\nassert done, 'nothing was done'\nprint('finished')\n"
    run = subprocess.run(
        [sys.executable, "-c", ALIAS + default + done + program + check], capture_output=True, text=True, timeout=60
    )
    assert run.stdout == "finished\n", run.stderr


def test_a_dead_minority_costs_nothing_and_a_dead_majority_is_an_error(urls, name):
    dead = [{"host": "127.0.0.1", "port": 1}, {"host": "127.0.0.1", "port": 2}]
    lock = RedLock(name, [*dead, *({"url": url} for url in urls[:3])], ttl=10_000)
    begun = time.monotonic()
    assert lock.acquire()
    lock.release()
    assert time.monotonic() - begun < 5
    with pytest.raises(RedLockError, match="no quorum"):
        RedLock(name, [*dead, {"url": urls[0]}], retry_times=1).acquire()


def test_what_is_given_is_left_as_it_is_and_the_last_attempt_is_not_slept_after(details, name):
    before = [dict(one) for one in details]
    with RedLock(name, details, ttl=60_000):
        assert details == before
        begun = time.monotonic()
        assert not RedLock(name, details, retry_times=1, retry_delay=60_000).acquire()
        assert time.monotonic() - begun < 10
        with pytest.raises(RedLockError, match="failed to acquire lock"):
            with RedLock(name, details, retry_times=2, retry_delay=10):
                pass
    assert not RedLock(name, details, retry_times=0).acquire()


def test_a_lock_is_released_by_its_key_alone(details, name):
    first = RedLock(name, details, ttl=60_000)
    assert first.acquire() and re.fullmatch("[0-9a-f]{32}", first.lock_key)
    second = RedLock(name, details)
    second.lock_key = first.lock_key
    second.release()
    assert second.acquire()
    first.release()
    assert not RedLock(name, details, retry_times=1).acquire(), "another's lock stays"
    second.release()


def test_reentrant_locks_count_and_notice_their_end(details, name):
    lock = ReentrantRedLock(name, details, ttl=60_000)
    assert lock.release() is False
    assert lock.acquire() and lock.acquire()
    assert lock.release() is True
    assert not RedLock(name, details, retry_times=1).acquire()
    assert lock.release() is None
    brief = ReentrantRedLock(name, details, ttl=200)
    assert brief.acquire()
    time.sleep(0.5)
    other = RedLock(name, details, ttl=60_000)
    assert other.acquire()
    assert not brief.acquire(), "its time had passed, and another has it"
    assert brief.release() is False
    other.release()


def test_factories_share_their_connections(details, name):
    factory = RedLockFactory(details)
    locks = [factory.create_lock(f"{name}-{number}", ttl=5_000) for number in range(3)]
    assert all(lock.redis_nodes is factory.redis_nodes and lock.quorum == 3 for lock in locks)
    for lock in locks:
        with lock:
            assert not factory.create_lock(lock.resource, retry_times=1).acquire()
    assert len({id(lock.redis_nodes.client) for lock in locks}) == 1


def test_clients_of_redis_py_say_where_they_are_connected(urls, name):
    redis = pytest.importorskip("redis")
    clients = [redis.Redis.from_url(url) for url in urls]
    with RedLock(name, clients, ttl=10_000):
        assert sum(client.exists(name) for client in clients) >= 3
        assert not RedLock(name, [{"url": url} for url in urls], retry_times=1).acquire()
    secured = redis.Redis(host="db.example", port=6380, password="p@ss/word", username="bob", ssl=True, db=2)
    node = RedLockFactory([secured]).redis_nodes[0]
    assert node.url == "rediss://bob:p%40ss%2Fword@db.example:6380/2"
    assert "p%40ss" not in repr(node)
    provider = redis.credentials.UsernamePasswordCredentialProvider("bob", "secret")
    provided = redis.Redis(host="db.example", credential_provider=provider)
    assert RedLockFactory([provided]).redis_nodes[0].url == "redis://bob:secret@db.example:6379/0"
    socket = redis.Redis(unix_socket_path="/run/my redis.sock", db=1)
    assert RedLockFactory([socket]).redis_nodes[0].url == "unix:///run/my%20redis.sock?db=1"


def test_details_that_do_not_exist_are_refused():
    with pytest.raises(TypeError, match="'hots'"):
        RedLock("x", [{"hots": "localhost"}])
    with pytest.raises(TypeError, match="not int"):
        RedLock("x", [1])


def test_it_excludes_the_original_and_is_excluded_by_it(details, name, original):
    theirs = f"""
import sys, redlock
lock = redlock.RedLock({name!r}, {[{"url": one["url"]} for one in details]!r}, retry_times=1, ttl=60000)
print(lock.acquire(), flush=True)
if sys.stdin.readline(): lock.release()
"""
    with RedLock(name, details, ttl=60_000):
        assert original("redlock", theirs) == "False\n"
    assert original("redlock", theirs) == "True\n"
    process = original("redlock", theirs, keep=True)
    assert process.stdout.readline() == "True\n"
    assert not RedLock(name, details, retry_times=1).acquire()
    process.communicate("release\n", timeout=30)
    with RedLock(name, details, ttl=60_000):
        pass
