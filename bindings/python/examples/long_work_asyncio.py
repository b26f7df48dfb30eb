"""The same with asyncio: the body is cancelled when the lock is lost, and LockLostError is raised in its place."""

import asyncio
import os

from libredlock import AsyncClient, LockLostError


async def main() -> None:
    async with AsyncClient(os.environ["REDLOCK_NODES"].split(",")) as client:
        async with client.lock("examples/migration-2", ttl=30, wait=5) as lock:
            print("held for", round(lock.remaining), "s")
        try:
            async with client.lock("examples/migration-2", ttl=30, auto_extend=True) as lock:
                await client.unlock("examples/migration-2", lock.token)
                await asyncio.sleep(60)
                print("never printed")
        except LockLostError as error:
            print("stopped:", error)


asyncio.run(main())
