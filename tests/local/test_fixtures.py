"""The fixtures that all other tests stand on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support import poll

if TYPE_CHECKING:
    from sharedstate.local import LocalCluster, LocalServer


def test_cluster_is_empty_and_healthy(cluster: LocalCluster, url: str) -> None:
    assert url == cluster.url
    assert cluster.healthy()
    assert [node.call("DBSIZE") for node in cluster.nodes] == [0, 0, 0]


def test_cluster_hurt_by_a_test_is(cluster: LocalCluster) -> None:
    cluster.kill(cluster.nodes[1])
    cluster.pause(cluster.nodes[2])
    assert not cluster.nodes[1].alive


def test_put_back_in_order_for_the_next(cluster: LocalCluster) -> None:
    assert cluster.healthy()
    assert all(node.alive for node in cluster.nodes)


def test_replica_takes_over(replicated_cluster: LocalCluster) -> None:
    primary = replicated_cluster.primary_of(0)
    replica = replicated_cluster.replica_of(primary)
    replicated_cluster.kill(primary)
    poll(lambda: replica.role == "primary", what="the replica takes over")
    replicated_cluster.wait_healthy()
    assert replicated_cluster.primary_of(0) is replica


def test_standalone(standalone: LocalServer) -> None:
    assert standalone.node.call("PING") == "PONG"
    assert "cluster_enabled:0" in str(standalone.node.call("INFO", "cluster"))
