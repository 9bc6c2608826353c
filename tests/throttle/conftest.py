"""A server whose time the test makes up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sharedstate.link.sync import Link
from sharedstate.link.url import parse_url
from sharedstate.local import LocalServer

from ..support import need_server


@pytest.fixture(scope="module")
def link() -> Iterator[Link]:
    need_server()
    with LocalServer() as server:
        opened = Link.open(parse_url(server.url))
        yield opened
        opened.close()
