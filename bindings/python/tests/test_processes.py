"""multiprocessing: every way of starting a child."""

import multiprocessing
import os
import subprocess
import sys

import pytest

from libredlock import AsyncClient, Client, ForkedError

_inherited = []


def count(urls, name, path):
    """Reads, adds and writes, which loses counts unless the lock excludes."""
    with Client(urls, node_timeout_ms=2000) as client:
        for _ in range(20):
            with client.lock(name, ttl=30):
                with open(path) as file:
                    value = int(file.read())
                with open(path, "w") as file:
                    file.write(str(value + 1))


def use_what_is_inherited(queue):
    client, lock = _inherited
    try:
        lock.release()
    except ForkedError:
        queue.put(client.lock(lock.name, ttl=30).acquire(blocking=False))


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes_exclude_each_other(urls, name, tmp_path, method):
    path = tmp_path / "count"
    path.write_text("0")
    context = multiprocessing.get_context(method)
    children = [context.Process(target=count, args=(urls, name, str(path))) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert path.read_text() == "60"


def test_a_forked_child_cannot_release_its_parents_lock(client, name):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with client.lock(name, ttl=30) as lock:
        _inherited[:] = [client, lock]
        child = context.Process(target=use_what_is_inherited, args=(queue,))
        child.start()
        assert queue.get(timeout=30) is False
        child.join(30)
        assert child.exitcode == 0 and client.inspect(name).held
    _inherited.clear()


def test_clients_and_locks_are_not_sent_to_other_processes(urls, client, name):
    import pickle

    for thing in (client, client.lock(name, ttl=1), client.rlock(name, ttl=1), AsyncClient(urls)):
        with pytest.raises(TypeError, match="process"):
            pickle.dumps(thing)


@pytest.mark.parametrize("order", ["client, lock", "lock, client"])
def test_a_program_may_end_with_locks_held_and_in_any_order(urls, name, order):
    program = f"""
from libredlock import Client
client = Client({urls!r}, node_timeout_ms=2000)
lock = client.lock({name!r}, ttl=1, auto_extend=True)
lock.acquire()
del {order}
import gc; gc.collect()
kept = Client({urls!r}, node_timeout_ms=2000)
held = kept.lock({name!r} + "b", ttl=1)
held.acquire()
print("end", flush=True)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert (run.returncode, run.stdout, run.stderr) == (0, "end\n", "")
