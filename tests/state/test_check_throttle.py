"""One check by a program that ends afterwards: `check_throttle`, both faces."""

import pytest

import sharedstate
from sharedstate import aio
from sharedstate.errors import (
    InvalidThrottleError,
    InvalidValueError,
    LinkError,
    UnknownThrottleError,
    UnreachableError,
)
from sharedstate.keys import Keys
from sharedstate.objects.throttle import Taken
from sharedstate.throttle.decision import DecidedBy
from sharedstate.throttle.reading import check_flow
from sharedstate.throttle.spec import parse_spec


def test_takes_until_nothing_is_left(url):
    with sharedstate.observe(url, node="desk") as observer:
        decisions = [observer.check_throttle("t", "3/hr") for _ in range(4)]
        assert [decision.allowed for decision in decisions] == [True, True, True, False]
        assert [decision.remaining for decision in decisions] == [2, 1, 0, 0]
        assert {decision.decided_by for decision in decisions} == {DecidedBy.REDIS}
        assert decisions[-1].retry_after > 0
        (holder,) = observer.throttle_view("t").holders
        assert (holder.who, holder.taken) == ("desk#console", 3)
        assert observer.throttle_names() == ["t"]


def test_shares_the_bucket_with_members(url):
    with sharedstate.connect(url, node="relay-0-1") as state, sharedstate.observe(url) as observer:
        throttle = state.throttle("t", "3/hr")
        assert throttle.check()
        assert observer.check_throttle("t", cost=2)
        assert not throttle.check()
        assert not observer.check_throttle("t")


def test_a_look_takes_nothing_and_makes_nothing(url):
    with sharedstate.observe(url) as observer:
        assert observer.check_throttle("t", "3/hr", cost=3, peek=True).remaining == 3
        with pytest.raises(UnknownThrottleError):
            observer.check_throttle("t", peek=True)
        assert observer.throttle_names() == []
        observer.check_throttle("t", "3/hr", cost=2)
        assert observer.check_throttle("t", peek=True)
        assert not observer.check_throttle("t", cost=2, peek=True)
        assert observer.throttle_view("t").left == 1


@pytest.mark.parametrize("cost", [1, 2, 3])
@pytest.mark.parametrize("spent", [1, 2, 3])
def test_a_look_never_promises_too_early(url, cost, spent):
    """What it says is at most the time of one token too long."""
    with sharedstate.observe(url) as observer:
        observer.check_throttle("t", "3/hr", cost=spent)
        looked = observer.check_throttle("t", cost=cost, peek=True)
        if looked:
            assert looked.retry_after == 0
            return
        told = observer.check_throttle("t", cost=cost)
        assert not told
        assert told.retry_after <= looked.retry_after <= cost * 1200


def test_arguments_that_are_not_acceptable(url):
    with sharedstate.observe(url) as observer:
        with pytest.raises(InvalidThrottleError):
            observer.check_throttle("t", "often")
        for cost in (0, -1, 4, 1.5):
            with pytest.raises(InvalidValueError):
                observer.check_throttle("t", "3/hr", cost=cost)
        assert observer.throttle_names() == []
        observer.check_throttle("t", "3/hr")
        # The spec in force decides what can be asked for, not the one the question came with.
        with pytest.raises(InvalidValueError, match=r"\(3/hr\) never has 5 tokens"):
            observer.check_throttle("t", "9/hr", cost=5)
        assert observer.check_throttle("t", "9/hr").limit == 3
        assert observer.throttle_view("t").left == 1


def test_no_policy_decides_when_redis_is_away(cluster):
    with sharedstate.observe(cluster.url, timeout=0.5) as observer:
        assert observer.check_throttle("t", "3/hr")
        for node in cluster.nodes:
            cluster.pause(node)
        try:
            with pytest.raises(LinkError):
                observer.check_throttle("t", "3/hr")
        finally:
            for node in cluster.nodes:
                cluster.resume(node)


def test_a_decision_stands_without_its_note():
    """The list of names is in another slot, whose primary may be away."""
    spec = parse_spec("3/hr")
    flow = check_flow(Keys("c"), "desk", "t", spec, 1, False, 1_700_000_000)
    (take,) = next(flow)
    assert not take.resend
    (note,) = flow.send([Taken(1, 2, 0, 0, 1, b"1", spec.wire.encode())])
    assert note.slot != take.slot
    with pytest.raises(StopIteration) as end:
        flow.send([UnreachableError("nobody there.")])
    assert end.value.value.allowed
    # Later ones have nothing to note.
    flow = check_flow(Keys("c"), "desk", "t", spec, 1, False, 1_700_000_000)
    next(flow)
    with pytest.raises(StopIteration) as end:
        flow.send([Taken(1, 1, 0, 0, 2, b"1", spec.wire.encode())])
    assert end.value.value.remaining == 1


async def test_asyncio_has_the_same(url):
    async with await aio.observe(url, node="desk") as observer:
        assert await observer.check_throttle("t", "3/hr", cost=2)
        assert not await observer.check_throttle("t", cost=2)
        assert (await observer.check_throttle("t", peek=True)).remaining == 1
        with pytest.raises(UnknownThrottleError, match="known: t"):
            await observer.check_throttle("other")
        assert await observer.throttle_names() == ["t"]
