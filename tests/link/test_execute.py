"""Ordinary work: routing, pipelining, scripts, answers and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sharedstate.call import Call, command, key_slot, only, run_script
from sharedstate.errors import (
    ClosedError,
    InvalidValueError,
    LinkError,
    ServerRefusedError,
    UnreachableError,
)
from sharedstate.local import LocalCluster, LocalServer

from .calls import count, get, lua, script, spread

if TYPE_CHECKING:
    from .faces import Face


def test_a_cluster_is_detected(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    assert link.topology.mode == "cluster"
    assert sorted(link.topology.primaries) == sorted(node.address for node in cluster.nodes)
    assert link.topology.server.split()[0] in ("valkey", "redis")


def test_one_node_of_a_cluster_is_enough_to_find_all(face: Face, cluster: LocalCluster) -> None:
    link = face.open(f"redis://{cluster.nodes[1].address}")
    assert len(link.topology.primaries) == 3


def test_a_single_server_is_detected(face: Face, standalone: LocalServer) -> None:
    link = face.open(standalone.url)
    assert link.topology.mode == "standalone"
    assert link.topology.primaries == (standalone.node.address,)
    assert link.one(count()) == 1


def test_a_unix_socket(face: Face, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "redis.sock"
    with LocalServer(options={"unixsocket": str(path)}):
        link = face.open(f"unix://{path}")
        assert link.topology.primaries == (str(path),)
        assert link.one(count()) == 1


def test_a_host_name(face: Face, standalone: LocalServer) -> None:
    """The server listens on 127.0.0.1 only, so a name that also stands for ::1 takes two attempts."""
    link = face.open(f"redis://localhost:{standalone.node.port}")
    assert link.one(count()) == 1


def test_calls_to_all_nodes_come_back_in_order(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    keys = spread(300)
    assert link.execute([count(key) for key in keys]) == [1] * 300
    calls: list[Call[int]] = [count(key) if index % 2 else get(key) for index, key in enumerate(keys)]
    assert link.execute(calls) == [2 if index % 2 else 1 for index in range(300)]


def test_a_big_pipeline_does_not_block(face: Face, cluster: LocalCluster) -> None:
    """Neither side can hold all of it in its buffers."""
    link = face.open(cluster.url)
    text = "x" * 100_000
    calls = [lua("return ARGV[1] .. ARGV[1]", key, text, resend=True) for key in spread(200)]
    outcomes = link.execute(calls, 30.0)
    assert all(len(outcome) == 200_000 for outcome in outcomes)


def test_a_call_without_a_slot_goes_to_any_primary(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    ask = command("INFO", "server", decode=lambda reply: reply.split(b"tcp_port:")[1][:5], resend=True)
    assert len({link.run(only(ask)) for _ in range(9)}) == 3


def test_no_calls_no_outcomes(face: Face, cluster: LocalCluster) -> None:
    assert face.open(cluster.url).execute([]) == []


def test_flushed_scripts_are_loaded_again(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    assert link.one(count()) == 1
    cluster.flush_scripts()
    assert link.one(count()) == 2
    cluster.flush_scripts()
    assert link.execute([count() for _ in range(50)]) == list(range(3, 53))
    assert link.execute([count(key) for key in spread(20)]) == [1] * 20


def test_a_script_is_sent_as_text_once_per_node(face: Face, standalone: LocalServer) -> None:
    link = face.open(standalone.url)
    link.execute([count() for _ in range(50)])
    shown = standalone.node.call("INFO", "commandstats")
    assert isinstance(shown, str)
    evals = next(line for line in shown.splitlines() if line.startswith("cmdstat_eval:"))
    assert evals.startswith("cmdstat_eval:calls=1,")


def test_our_own_errors_keep_code_and_sentence(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    error = link.one(lua("return redis.error_reply('SSGAP expected sequence 7, got 9.')"))
    assert isinstance(error, ServerRefusedError)
    assert error.code == "SSGAP"
    assert str(error) == "expected sequence 7, got 9."


def test_errors_raised_inside_a_script_lose_their_decoration(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    raised = link.one(lua("error({err='SSRANGE count is 0'})"))
    assert isinstance(raised, ServerRefusedError)
    assert (raised.code, str(raised)) == ("SSRANGE", "count is 0.")
    wrong = link.execute(
        [lua("redis.call('SET', KEYS[1], 'x')"), lua("return redis.call('HGET', KEYS[1], 'f')")]
    )
    assert isinstance(wrong[1], ServerRefusedError)
    assert wrong[1].code == "WRONGTYPE"
    assert "script probe" in str(wrong[1])
    broken = link.one(lua("return nil .. 1"))
    assert isinstance(broken, ServerRefusedError)
    assert broken.code == "ERR"
    assert "user_script:1: attempt to concatenate" in str(broken)
    assert "on @user_script" not in str(broken)


def test_one_refusal_leaves_the_other_calls_alone(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    outcomes = link.execute([count(), lua("return redis.error_reply('SSNO no.')"), count()])
    assert outcomes[0] == 1
    assert isinstance(outcomes[1], ServerRefusedError)
    assert outcomes[2] == 2


def test_out_of_memory_names_place_and_remedy(face: Face, standalone: LocalServer) -> None:
    link = face.open(standalone.url)
    standalone.node.call("CONFIG", "SET", "maxmemory", "1")
    error = link.one(count())
    assert isinstance(error, ServerRefusedError)
    assert error.code == "OOM"
    assert (
        str(error)
        == f"{standalone.node.address} is out of memory (maxmemory) and takes no writes: raise its maxmemory."
    )


def test_an_answer_that_does_not_decode_is_an_outcome(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    odd = run_script(script("return {1}"), ["ss:{t}:n"], [], decode=int, resend=False)
    error = link.one(odd)
    assert isinstance(error, ServerRefusedError)
    assert "script probe" in str(error)
    assert "unexpected" in str(error)

    def refuse(_: object) -> int:
        raise InvalidValueError("not that one.")

    deliberate = run_script(script("return 1"), ["ss:{t}:n"], [], decode=refuse, resend=False)
    assert isinstance(link.one(deliberate), InvalidValueError)


def test_a_flow_goes_step_by_step(face: Face, cluster: LocalCluster) -> None:
    def flow():  # type: ignore[no-untyped-def]
        first = yield [count("ss:{a}:n"), count("ss:{b}:n")]
        second = yield [count("ss:{a}:n") for _ in range(sum(first))]
        return first, second

    assert face.open(cluster.url).run(flow(), 5.0) == ([1, 1], [2, 3])


def test_an_error_leaves_the_flow(face: Face, cluster: LocalCluster) -> None:
    with pytest.raises(ServerRefusedError, match=r"no\."):
        face.open(cluster.url).run(only(lua("return redis.error_reply('SSNO no.')")))


def test_no_time_left_means_not_sent(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    for timeout in (0.0, -1.0):
        error = link.one(count(), timeout)
        assert isinstance(error, UnreachableError)
        assert "script count was not carried out within 0 s" in str(error)
    assert link.one(get()) == 0


def test_closed_means_closed(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    link.close()
    with pytest.raises(ClosedError):
        link.one(count())


def test_a_short_wait_is_ambiguous_and_long_work_is_not_repeated(face: Face, cluster: LocalCluster) -> None:
    """The script outlasts its timeout; redis-py would have run it six times."""
    slow = (
        "local n = redis.call('INCR', KEYS[1]) "
        "for i = 1, tonumber(ARGV[1]) do redis.sha1hex('x') end return n"
    )
    link = face.open(cluster.url)
    error = link.one(lua(slow, "ss:{t}:n", 2_000_000), 0.05)
    assert isinstance(error, LinkError)
    assert "may or may not have been carried out" in str(error)
    assert link.one(get(), 30.0) == 1


def test_slots_agree_with_the_server(cluster: LocalCluster) -> None:
    for key in ("foo", "ss:C:{inbound_cidr:3}:sum", "a{}b", "{x}y", "{{a}}"):
        assert key_slot(key) == cluster.nodes[0].call("CLUSTER", "KEYSLOT", key)
