"""Real servers: those of `tools/servers run 5`."""

import itertools
import os

import pytest

from libredlock import Client

_count = itertools.count()


@pytest.fixture(scope="session")
def urls():
    return os.environ["REDLOCK_NODES"].split(",")


@pytest.fixture
def client(urls):
    with Client(urls, node_timeout_ms=2000) as made:
        yield made


@pytest.fixture
def name():
    return f"python-{os.getpid()}-{next(_count)}"
