"""Blocks: the fields that add up to one, and where they live."""

from __future__ import annotations

import ipaddress
from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sharedstate import cidr
from sharedstate.names import address_field, parse_block

V4 = st.integers(0, (1 << 32) - 1).map(ipaddress.IPv4Address)
V6 = st.integers(0, (1 << 128) - 1).map(ipaddress.IPv6Address)
ADDRESS = st.one_of(V4, V6)


def neighbours(address: ipaddress.IPv4Address | ipaddress.IPv6Address, flips: list[int]) -> list[str]:
    """Addresses that differ from one in a bit each."""
    kind, width = type(address), address.max_prefixlen
    found = {kind(int(address) ^ (1 << flip % width)) for flip in flips} | {address}
    # 0:0:0:0:0:ffff::/96 is IPv4 written in IPv6, and counted as IPv4.
    return [str(each) for each in found if not (each.version == 6 and int(each) >> 32 == 0xFFFF)]


@settings(max_examples=400, deadline=None)
@given(address=ADDRESS, flips=st.lists(st.integers(0, 127), max_size=12), length=st.integers(0, 128))
@example(ipaddress.ip_address("2001:db8::1"), list(range(128)), 65)
@example(ipaddress.ip_address("2001:db8::1"), list(range(128)), 64)
@example(ipaddress.ip_address("10.0.0.1"), list(range(32)), 17)
def test_the_fields_of_a_block_add_up_to_what_is_in_it(address, flips, length) -> None:
    length %= address.max_prefixlen + 1
    addresses = neighbours(address, flips)
    if not addresses:
        return
    fields: Counter[bytes] = Counter()
    for each in addresses:
        field = address_field(each)
        fields.update([*cidr.levels(field), field])
    network = ipaddress.ip_network(f"{addresses[0]}/{length}", strict=False)
    found = cidr.block_fields(parse_block(f"{addresses[0]}/{length}"))
    assert sum(fields[field] for field in found) == sum(
        ipaddress.ip_address(each) in network for each in addresses
    )
    assert len(found) == len(set(found)) <= (128 if length <= 64 else 1 << 15)
    homes = {cidr.shard_of(field, 16) for field in found}
    if length >= (32 if network.version == 6 else 16):
        assert homes == {cidr.shard_of(address_field(addresses[0]), 16)}, "a long block lives in one shard"


def test_lengths_that_people_ask_for_are_one_field() -> None:
    for length in (0, 8, 16, 24, 32):
        assert len(cidr.block_fields(parse_block(f"192.0.2.1/{length}"))) == 1
    for length in (0, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128):
        assert len(cidr.block_fields(parse_block(f"2001:db8::1/{length}"))) == 1
