"""Locks for asyncio, on real servers."""

import asyncio
import time

import pytest

from libredlock import AsyncClient, Client, ClosedError, LockLostError


def run(urls, body):
    async def main():
        async with AsyncClient(urls, node_timeout_ms=2000) as client:
            return await body(client)

    return asyncio.run(main())


def test_a_block_holds_the_lock_and_releases_it(urls, name):
    async def body(client):
        async with client.lock(name, ttl=30) as lock:
            assert lock.locked() and lock.remaining > 25
            assert not await client.lock(name, ttl=30).acquire(wait=0)
            await lock.extend(60)
            assert lock.remaining > 30
        assert await client.lock(name, ttl=30).acquire(wait=0)

    run(urls, body)


def test_a_cancelled_wait_leaves_no_key_and_no_operation(urls, name):
    async def body(client):
        async with client.lock(name, ttl=30) as held:
            waiting = [asyncio.create_task(client.lock(name, ttl=30).acquire()) for _ in range(20)]
            await asyncio.sleep(0.1)
            for task in waiting:
                task.cancel()
            assert all(isinstance(r, asyncio.CancelledError) for r in await asyncio.gather(*waiting, return_exceptions=True))
            await asyncio.sleep(0.1)
            assert not client._pending
            with Client(urls) as other:
                assert other.inspect(name).token == held.token
        with Client(urls) as other:
            assert not other.inspect(name).held

    run(urls, body)


def test_loss_cancels_the_body_with_a_reason(urls, name):
    async def body(client):
        begun = time.monotonic()
        with pytest.raises(LockLostError):
            async with client.lock(name, ttl=30, auto_extend=True) as lock:
                with Client(urls) as other:
                    other.unlock(name, lock.token)
                await asyncio.sleep(25)
        assert time.monotonic() - begun < 15
        # The cancellation is used up.
        await asyncio.sleep(0)

    run(urls, body)


def test_a_thousand_tasks_take_turns_on_one_loop(urls, name):
    async def body(client):
        inside, turns = 0, 0

        async def work(number):
            nonlocal inside, turns
            async with client.lock(f"{name}-{number % 100}", ttl=30):
                turns += 1

        await asyncio.gather(*(work(number) for number in range(1_000)))
        assert turns == 1_000

    run(urls, body)


def test_closing_ends_what_waits(urls, name):
    async def main():
        client = AsyncClient(urls, node_timeout_ms=2000)
        lock = client.lock(name, ttl=5)
        assert await lock.acquire()
        waiting = asyncio.create_task(client.lock(name, ttl=5).acquire())
        await asyncio.sleep(0.05)
        await client.close()
        with pytest.raises(ClosedError):
            await waiting

    asyncio.run(main())
