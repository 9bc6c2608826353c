"""Other rate limiters, each set up as its own documentation says; a package that is not installed is left out.

limits and throttled-py have a way to a cluster of their own (``redis+cluster://``). pyrate-limiter documents none, so
it asks a single server of the same program. Limits are per second and never reached, or an hour's single one, used up.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

PACKAGES = {"limits": "limits", "throttled": "throttled-py", "pyrate_limiter": "pyrate-limiter"}


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to check.

    Attributes:
        title: of its row.
        check: asks once; true when allowed.
        single: it asks the single server, not the cluster.
    """

    title: str
    check: Callable[[], Any]
    single: bool = False


def missing() -> list[str]:
    """Packages that are not installed."""
    return [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]


def tell_missing() -> None:
    for name in missing():
        print(f"  {name} is not installed and left out: pip install 'sharedstate[bench]'")


def peers(nodes: str, single: str, many: int, *, refusing: bool = False) -> Iterator[Peer]:
    """Ways to check over Redis.

    Args:
        nodes: addresses of the cluster's nodes, ``host:port`` with commas between.
        single: URL of a server without cluster mode.
        many: so many a second are allowed.
        refusing: one an hour is allowed instead.
    """
    if importlib.util.find_spec("limits"):
        yield from _limits(f"redis+cluster://{nodes}", many, refusing)
    if importlib.util.find_spec("throttled"):
        from throttled import RedisStore

        yield from _throttled(RedisStore(server=f"redis+cluster://{nodes}"), many, refusing)
    if importlib.util.find_spec("pyrate_limiter"):
        import redis
        from pyrate_limiter import RedisBucket

        rates = _rates(many, refusing)
        bucket = RedisBucket.init(rates, redis.Redis.from_url(single), "refusing" if refusing else "allowing")
        yield _pyrate("RedisBucket", bucket, single=True)


def in_memory(many: int) -> Iterator[Peer]:
    """The same packages' limiters that share nothing: in the memory of one process."""
    if importlib.util.find_spec("limits"):
        yield from _limits("memory://", many, refusing=False, moving=False)
    if importlib.util.find_spec("throttled"):
        from throttled import MemoryStore

        yield from _throttled(MemoryStore(), many, refusing=False)
    if importlib.util.find_spec("pyrate_limiter"):
        from pyrate_limiter import InMemoryBucket

        yield _pyrate("InMemoryBucket", InMemoryBucket(_rates(many, refusing=False)))


def _limits(uri: str, many: int, refusing: bool, *, moving: bool = True) -> Iterator[Peer]:
    from limits import RateLimitItemPerHour, RateLimitItemPerSecond
    from limits.storage import storage_from_string
    from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

    item = RateLimitItemPerHour(1) if refusing else RateLimitItemPerSecond(many)
    storage: Any = storage_from_string(uri)
    for strategy in (FixedWindowRateLimiter, MovingWindowRateLimiter)[: 2 if moving else 1]:
        limiter = strategy(storage)
        name = "fixed window" if strategy is FixedWindowRateLimiter else "moving window"
        # Other identifiers for each: the two keep other kinds of values under the same key.
        yield Peer(f"limits {version('limits')}, {name}", _hit(limiter, item, name))


def _hit(limiter: Any, item: Any, name: str) -> Callable[[], Any]:
    return lambda: limiter.hit(item, "bench", name)


def _throttled(store: Any, many: int, refusing: bool) -> Iterator[Peer]:
    from throttled import Throttled, rate_limiter

    quota = rate_limiter.per_hour(1, burst=1) if refusing else rate_limiter.per_sec(many, burst=many)
    for using, name in (("token_bucket", "token bucket"), ("gcra", "GCRA")):
        key = f"{using}:{'refusing' if refusing else 'allowing'}"
        limiter = Throttled(key=key, using=using, quota=quota, store=store)
        yield Peer(f"throttled-py {version('throttled-py')}, {name}", _limit(limiter))


def _limit(limiter: Any) -> Callable[[], Any]:
    return lambda: not limiter.limit().limited


def _rates(many: int, refusing: bool) -> list[Any]:
    from pyrate_limiter import Duration, Rate

    return [Rate(1, Duration.HOUR) if refusing else Rate(many, Duration.SECOND)]


def _pyrate(name: str, bucket: Any, *, single: bool = False) -> Peer:
    from pyrate_limiter import Limiter

    limiter = Limiter(bucket)
    title = f"pyrate-limiter {version('pyrate-limiter')}, {name}"
    return Peer(title, lambda: limiter.try_acquire("bench", blocking=False), single)
