"""Locks for threads, on real servers."""

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest

from libredlock import (
    Client,
    ClosedError,
    ConfigError,
    ForkedError,
    InvalidError,
    LockLostError,
    NoQuorumError,
    NotAcquiredError,
)


def test_a_block_holds_the_lock_and_releases_it(client, name):
    with client.lock(name, ttl=30) as lock:
        assert lock.locked() and 25 < lock.remaining <= 30 and len(lock.token) == 32 and lock.fence is None
        assert not client.lock(name, ttl=30).acquire(blocking=False)
        seen = client.inspect(name)
        assert seen.held and seen.token == lock.token and seen.node_count_held >= 3 and len(seen.nodes) == 5
    assert not lock.locked() and lock.remaining == 0
    assert not client.inspect(name).held
    assert client.lock(name, ttl=30).acquire(blocking=False)


def test_a_refusal_names_what_each_node_said(client, name):
    with client.lock(name, ttl=30):
        with pytest.raises(NotAcquiredError) as refused:
            with client.lock(name, ttl=30, wait=0.05):
                pass
    assert "held on nodes" in str(refused.value) and len(refused.value.nodes) == 5


def test_a_waiter_gets_the_lock_when_it_is_released(client, urls, name):
    other, lock = Client(urls, node_timeout_ms=2000), client.lock(name, ttl=30)
    lock.acquire()
    timer = threading.Timer(0.3, lock.release)
    timer.start()
    waiting = other.lock(name, ttl=30)
    assert waiting.acquire(timeout=20)
    waiting.release()
    timer.join()
    other.close()


def test_fencing_tokens_grow(client, name):
    seen = []
    for _ in range(5):
        with client.lock(name, ttl=30, fence=True) as lock:
            seen.append(lock.fence)
    assert seen == sorted(set(seen))


def test_what_is_lost_is_told_unless_the_body_failed_itself(client, name):
    with pytest.raises(LockLostError):
        with client.lock(name, ttl=30) as lock:
            client.unlock(name, lock.token)
            # Another's now.
            client.lock(name, ttl=30).acquire(blocking=False)
    with pytest.raises(ZeroDivisionError):
        with client.lock(name + "b", ttl=30) as lock:
            client.unlock(name + "b", lock.token)
            raise ZeroDivisionError


def test_tokens_extend_and_release_and_wrong_ones_do_not(client, name):
    with client.lock(name, ttl=5) as lock:
        client.extend(name, lock.token, 60)
        assert client.inspect(name).remaining > 30
        for wrong in (client.unlock, lambda name, token: client.extend(name, token, 60)):
            with pytest.raises(LockLostError):
                wrong(name, b"another's")
        lock.extend(90)
        assert lock.remaining > 60


def test_a_lock_extends_itself_and_its_loss_is_noticed(client, name):
    with pytest.raises(LockLostError):
        with client.lock(name, ttl=0.6, auto_extend=True) as lock:
            assert not lock.wait_lost(1.5)
            client.unlock(name, lock.token)
            assert lock.wait_lost(10)
            lock.ensure_held()


def test_an_rlock_counts_and_belongs_to_its_thread(client, name):
    lock = client.rlock(name, ttl=30)
    with lock, lock:
        assert client.inspect(name).held
        others = []
        thread = threading.Thread(target=lambda: others.append(lock.acquire(blocking=False)))
        thread.start()
        thread.join()
        assert others == [False]
    assert not client.inspect(name).held
    with pytest.raises(RuntimeError):
        lock.release()


def test_an_rlock_that_was_lost_is_not_taken_again(client, name):
    lock = client.rlock(name, ttl=0.3)
    lock.acquire()
    time.sleep(0.4)
    with pytest.raises(LockLostError):
        lock.acquire()


def test_a_decorated_function_runs_under_the_lock(client, name):
    @client.locked(name, ttl=30)
    def job(value):
        assert client.inspect(name).held
        return value + 1

    assert job(1) == 2


def test_mutual_exclusion_of_threads(client, name):
    inside, most, turns = 0, 0, 0

    def work():
        nonlocal inside, most, turns
        for _ in range(20):
            with client.lock(name, ttl=30):
                inside += 1
                most = max(most, inside)
                turns += 1
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, turns) == (1, 160)


def test_wrong_arguments_are_refused_with_a_reason(client, urls):
    for wrong in (
        lambda: client.lock("", ttl=1),
        lambda: client.lock("x", ttl=0),
        lambda: client.lock("x", ttl=-1),
        lambda: Client(urls, node_timeout_ms=0),
    ):
        with pytest.raises(InvalidError):
            wrong()
    with pytest.raises(ConfigError):
        Client(["gopher://x"])
    with pytest.raises(TypeError):
        Client(urls, colour="red")
    with pytest.raises(ValueError):
        client.lock("x", ttl=1).acquire(blocking=False, timeout=1)
    for thing in (client._handle, client.lock("x", ttl=1)):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


def test_too_few_nodes_are_no_quorum_and_a_closed_client_says_so():
    client = Client(["redis://127.0.0.1:1"])
    with pytest.raises(NoQuorumError) as failed:
        client.lock("x", ttl=1).acquire(timeout=0)
    assert "refused" in failed.value.nodes[0].text
    client.close()
    with pytest.raises(ClosedError):
        client.lock("x", ttl=1).acquire(timeout=0)


def test_a_forked_child_has_connections_of_its_own_and_leaves_the_lock_alone(client, name):
    lock = client.lock(name, ttl=30)
    lock.acquire()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            try:
                lock.ensure_held()
            except ForkedError:
                # A new handle, made by its first use.
                code = 0 if not client.lock(name, ttl=5).acquire(blocking=False) else 2
            del lock
            gc.collect()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 if hasattr(os, "waitstatus_to_exitcode") else True
    assert client.inspect(name).held
    lock.release()


def test_the_loss_is_an_event(client, name):
    with client.lock(name, ttl=30, auto_extend=True) as lock:
        assert not lock.lost.is_set() and not lock.lost.wait(timeout=0.1)
        threading.Timer(0.2, client.unlock, (name, lock.token)).start()
        assert lock.lost.wait(timeout=20) and lock.lost.is_set()
        with pytest.raises(LockLostError):
            lock.release()
        assert lock.acquire(timeout=10)


def test_ctrl_c_ends_a_wait_and_leaves_nothing_behind(client, urls, name):
    # Whoever runs the tests in the background may have told its children to ignore it.
    code = f"""
import signal
from libredlock import Client
signal.signal(signal.SIGINT, signal.default_int_handler)
client = Client({urls!r})
print("ready", flush=True)
client.lock({name!r}, ttl=30).acquire()
"""
    with client.lock(name, ttl=60) as held:
        waiter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert waiter.stdout.readline() == b"ready\n"
        time.sleep(0.3)
        waiter.send_signal(signal.SIGINT)
        _, said = waiter.communicate(timeout=20)
        assert b"KeyboardInterrupt" in said
        assert client.inspect(name).token == held.token
    assert not client.inspect(name).held


def test_ten_thousand_leases_leave_nothing(client, name):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2_000):
        lock = client.lock(name, ttl=30)
        assert lock.acquire(timeout=10)
        lock.release()
    assert client.stats()["acquired"] >= 2_000
    assert len(os.listdir("/proc/self/fd")) == before
