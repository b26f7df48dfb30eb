"""The same behaviour on every event loop: asyncio, uvloop and trio, by anyio and without it."""

import asyncio
import time

import anyio
import pytest

from libredlock import AsyncClient, Client, LockLostError

LOOPS = [
    pytest.param(("asyncio", {}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    pytest.param(("trio", {}), id="trio"),
]


@pytest.fixture(params=LOOPS)
def run(request, urls):
    backend, options = request.param

    def run(body):
        async def main():
            async with AsyncClient(urls, node_timeout_ms=2000) as client:
                if options:
                    assert "uvloop" in type(asyncio.get_running_loop()).__module__
                with anyio.fail_after(60):
                    return await body(client)

        return anyio.run(main, backend=backend, backend_options=options)

    return run


def test_a_block_holds_the_lock_and_a_waiter_gets_it_afterwards(run, name):
    order = []

    async def body(client):
        async def second():
            async with client.lock(name, ttl=30) as lock:
                order.append(("second", lock.locked()))

        async with anyio.create_task_group() as group:
            async with client.lock(name, ttl=30, fence=True) as lock:
                group.start_soon(second)
                await anyio.sleep(0.1)
                await lock.extend(60)
                assert lock.remaining > 30 and lock.fence
                order.append(("first", lock.locked()))

    run(body)
    assert order == [("first", True), ("second", True)]


def test_a_cancelled_wait_leaves_no_key_and_no_operation(run, name, client):
    async def body(mine):
        async with mine.lock(name, ttl=30) as held:
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(mine.lock(name, ttl=30).acquire)
                await anyio.sleep(0.1)
                assert len(mine._pending) == 20
                group.cancel_scope.cancel()
            assert not mine._pending
            assert client.inspect(name).token == held.token
        # Nobody is left who would take it now.
        await anyio.sleep(0.3)
        assert not client.inspect(name).held

    run(body)


def test_loss_ends_the_body_and_its_cancellation_is_used_up(run, name, client):
    async def body(mine):
        lock = mine.lock(name, ttl=30, auto_extend=True)
        told = []

        async def watch():
            told.append(await lock.lost.wait())

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            with pytest.raises(LockLostError):
                async with lock:
                    client.unlock(name, lock.token)
                    await anyio.sleep(50)
                    pytest.fail("the body went on")
            await anyio.sleep(0.01)
        assert told == [True] and not lock.locked()
        # It can be taken again.
        async with lock:
            assert lock.locked() and not lock.lost.is_set()

    run(body)


def test_a_body_that_is_cancelled_from_outside_releases_its_lock(run, name, client):
    async def body(mine):
        with anyio.move_on_after(0.2) as scope:
            async with mine.lock(name, ttl=30):
                await anyio.sleep(50)
        assert scope.cancelled_caught
        await anyio.sleep(0.2)
        assert not client.inspect(name).held

    run(body)


def test_a_thousand_tasks_share_one_client(run, name):
    most, inside, turns = 0, [0] * 50, 0

    async def body(client):
        async def work(number):
            nonlocal most, turns
            place = number % len(inside)
            async with client.lock(f"{name}-{place}", ttl=60):
                inside[place] += 1
                most = max(most, inside[place])
                await anyio.sleep(0)
                inside[place] -= 1
                turns += 1

        async with anyio.create_task_group() as group:
            for number in range(1_000):
                group.start_soon(work, number)

    run(body)
    assert (most, turns) == (1, 1_000)


def test_a_turn_that_comes_after_closing_does_nothing(run, name):
    async def body(client):
        assert await client.lock(name, ttl=1).acquire()
        await client.close()
        client._turn()

    run(body)


def test_a_client_stays_in_its_loop(urls, name):
    client = AsyncClient(urls)

    async def take():
        return await client.lock(name, ttl=1).acquire()

    assert asyncio.run(take())
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(take())


def test_a_cancellation_from_outside_at_the_time_of_a_loss_is_not_swallowed(urls, name):
    if not hasattr(asyncio.Task, "uncancel"):
        # Before Python 3.11 the two cannot be told apart.
        return

    async def main():
        async with AsyncClient(urls) as client:

            lock, inside = client.lock(name, ttl=30), asyncio.Event()

            async def work():
                async with lock:
                    inside.set()
                    await asyncio.sleep(50)

            task = asyncio.create_task(work())
            await inside.wait()
            lock._on_lost()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_a_dead_loop_does_not_keep_a_process(urls, name):
    begun = time.monotonic()

    async def main():
        await AsyncClient(urls).lock(name, ttl=1).acquire()

    asyncio.run(main())
    with Client(urls) as client:
        client.wait_ready(20)
    assert time.monotonic() - begun < 30
