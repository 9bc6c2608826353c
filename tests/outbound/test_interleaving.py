"""Takes and publishes in any order, with answers lost and messages late: no cap is exceeded, and all ends exact."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharedstate.objects import takes

from .interleaving import World


@pytest.fixture(params=[0.0, 1000.0], ids=["takes first", "publisher first"])
def handover(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who goes first when a publisher and takes want the same item; time stands still here."""
    monkeypatch.setattr(takes, "HANDOVER", request.param)


WORLDS = given(
    chance=st.randoms(use_true_random=False),
    each=st.integers(1, 3),
    total=st.integers(1, 6),
    losses=st.sampled_from([0.0, 0.1, 0.3]),
    nodes=st.integers(1, 3),
    shards=st.integers(1, 2),
    steps=st.integers(20, 250),
)


@pytest.mark.usefixtures("handover")
@settings(max_examples=150, deadline=None)
@WORLDS
def test_no_cap_is_exceeded_whatever_is_lost_or_late(
    chance: random.Random, each: int, total: int, losses: float, nodes: int, shards: int, steps: int
) -> None:
    """As long as the servers forget nothing and no live member is taken for dead."""
    world = World(chance, each, total, losses, nodes, shards)
    for _ in range(steps):
        node = chance.choice(world.live)
        what = chance.random()
        if what < 0.25:
            world.acquire(node)
        elif what < 0.35:
            world.release(node)
        elif what < 0.45:
            world.tick(node, chance.random() < 0.2)
        elif what < 0.65:
            world.deliver()
        elif what < 0.87:
            world.answer()
        elif what < 0.93:
            world.wake()
        elif what < 0.96:
            world.arrive_late()
        elif what < 0.98:
            world.give_up()
        elif what < 0.99:
            world.kill(node)
        else:
            world.join()
        world.check_caps()
    world.settle()
    world.check_caps()
    world.check_server()


@pytest.mark.usefixtures("handover")
@settings(max_examples=100, deadline=None)
@WORLDS
def test_all_ends_exact_whatever_servers_forget(
    chance: random.Random, each: int, total: int, losses: float, nodes: int, shards: int, steps: int
) -> None:
    """With failovers that lose acknowledged writes, emptied servers, and live members that are reaped."""
    world = World(chance, each, total, losses, nodes, shards)
    for _ in range(steps):
        node = chance.choice(world.live)
        what = chance.random()
        if what < 0.25:
            world.acquire(node)
        elif what < 0.35:
            world.release(node)
        elif what < 0.45:
            world.tick(node, chance.random() < 0.3)
        elif what < 0.65:
            world.deliver()
        elif what < 0.85:
            world.answer()
        elif what < 0.92:
            world.wake()
        elif what < 0.94:
            world.give_up()
        elif what < 0.96:
            world.server.keep()
        elif what < 0.98:
            # What was sent to the server that is gone does not arrive at its successor.
            world.late.clear()
            world.server.fail_over(chance)
        elif what < 0.99:
            world.server.flush(chance)
        else:
            world.fence(node)
    world.settle()
    world.check_server()
