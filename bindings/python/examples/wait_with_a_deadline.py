"""Waits for a lock for half a second, and does something else where it was not free by then."""

import os

from libredlock import Client, NoQuorumError


def ship_order(number: int) -> str:
    return f"order {number} shipped"


def ship_once(client: Client, number: int) -> str:
    lock = client.lock(f"examples/orders/{number}", ttl=10)
    try:
        if not lock.acquire(timeout=0.5):
            return f"order {number} is being shipped by somebody else"
    except NoQuorumError as error:
        # Not the same as a lock that is taken: the nodes could not be asked.
        return "try again later: " + ", ".join(f"{node.url}: {node.text}" for node in error.nodes)
    try:
        return ship_order(number)
    finally:
        lock.release()


with Client(os.environ["REDLOCK_NODES"].split(",")) as client:
    print(ship_once(client, 42))
    with client.lock("examples/orders/42", ttl=10):
        print(ship_once(client, 42))
