"""A given cluster, from compose.yaml or by URL, does what the tests expect of their own."""

from __future__ import annotations

from sharedstate.local.admin import Admin


def test_all_slots_are_served_and_empty(url: str) -> None:
    addresses = url.partition("://")[2].split(",")
    sizes = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        with Admin(host, int(port)) as admin:
            assert "cluster_state:ok" in admin.call("CLUSTER", "INFO")
            sizes.append(admin.call("DBSIZE"))
    assert set(sizes) == {0}
