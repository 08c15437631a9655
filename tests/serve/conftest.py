"""Servers of small bundles."""

import numpy as np
import pytest
from exported_bundles import digits_bundle, exported, table_bundle, text_bundle  # noqa: F401 fixtures
from serving import Server

from moist.runtime import RoutedSession
from moist.serve import ServeSettings


@pytest.fixture
def start():
    """Start a server of a folder; every setting may be given."""
    servers = []

    def call(path, open_session=RoutedSession, **settings):
        settings = {"watch_seconds": 0, **settings}
        servers.append(Server(path, open_session, ServeSettings(**settings)))
        return servers[-1]

    yield call
    for server in servers:
        server.stop()


@pytest.fixture
def digits(start, digits_bundle):  # noqa: F811
    return start(digits_bundle)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
