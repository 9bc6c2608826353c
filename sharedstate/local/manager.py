"""Clusters that outlive the command that started them: up, status, down."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sharedstate.errors import LocalClusterError

from .binary import ServerBinary, find_server
from .cluster import check_counts, cluster_options
from .form import form
from .node import Node, wait_healthy
from .ports import BUS_OFFSET, check_block, free_block, is_free
from .process import Process, Watchdog
from .server import PortTakenError
from .state import ClusterState, NodeState, default_directory, locked
from .survey import ClusterStatus, survey

__all__ = ["LocalManager", "UpResult"]

_PRIMARIES = 3
_REPLICAS = 1
_NODE_TIMEOUT_MS = 2000
_READY_SECONDS = 60.0
_HEALTHY_SECONDS = 30.0
_TERM_SECONDS = 15.0
_LOCK_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class UpResult:
    """What ``up`` did.

    Attributes:
        action: ``created``, ``started`` (with the data of before), ``healed`` (some servers ran) or
            ``running`` (nothing had to be done).
        started: how many servers were started.
        status: the cluster now.
    """

    action: Literal["created", "started", "healed", "running"]
    started: int
    status: ClusterStatus


class LocalManager:
    """The long-lived cluster of one directory.

    Args:
        directory: where it keeps its state and data; default ``$XDG_STATE_HOME/sharedstate/local``.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        self.directory = default_directory().resolve() if directory is None else Path(directory).resolve()

    def up(
        self,
        primaries: int | None = None,
        replicas: int | None = None,
        *,
        port: int | None = None,
        server: str | os.PathLike[str] | None = None,
    ) -> UpResult:
        """Make sure that the cluster runs and is healthy, with the data it has.

        A new one is formed in about two seconds. One that was stopped, in whole or in part, by ``down``, a
        crash or a reboot, takes as long as its data takes to load, and at least two seconds.

        Args:
            primaries: of a new cluster, 3 by default; an existing one must have as many.
            replicas: of each primary of a new cluster, 1 by default; an existing one must have as many.
            port: first of consecutive ports; moves an existing cluster that does not run. Default: where it
                was, for a new one the first free ports from 17000 on.
            server: the server program, default the one it ran with last, else see :func:`find_server`.

        Raises:
            InvalidValueError: a count makes no sense.
            LocalClusterError: it could not be done; what this call started is stopped again.
        """
        check_counts(
            _PRIMARIES if primaries is None else primaries, _REPLICAS if replicas is None else replicas
        )
        made = self._make_directory()
        try:
            with locked(self.directory, _LOCK_SECONDS):
                state = ClusterState.load(self.directory)
                if state is not None and not state.formed:
                    self._discard(state)
                    state = None
                if state is None:
                    return self._create(
                        _PRIMARIES if primaries is None else primaries,
                        _REPLICAS if replicas is None else replicas,
                        port,
                        find_server(server),
                    )
                self._check_same(state, primaries, replicas)
                return self._revive(state, port, server)
        except OSError as error:
            raise LocalClusterError(f"the directory {self.directory} cannot be used: {error}.") from error
        finally:
            if made and ClusterState.load(self.directory) is None:
                shutil.rmtree(self.directory, ignore_errors=True)

    def down(self) -> int:
        """Stop the cluster's own servers, and only those, and keep the data; returns how many ran.

        A server gets 15 s to write its data, then it is killed.

        Raises:
            LocalClusterError: a server cannot be stopped, or the state cannot be read.
        """
        if ClusterState.load(self.directory) is None:
            return 0
        with locked(self.directory, _LOCK_SECONDS):
            state = ClusterState.load(self.directory)
            if state is None:
                return 0
            running = [node for node in self._nodes(state) if node.alive]
            _stop(running)
            for node in state.nodes:
                node.pid = node.birth = None
            state.save(self.directory)
            return len(running)

    def status(self) -> ClusterStatus:
        """Look at the cluster; changes nothing and waits for no lock.

        Raises:
            LocalClusterError: there is none in this directory.
        """
        state = ClusterState.load(self.directory)
        if state is None:
            raise LocalClusterError(
                f"there is no local cluster in {self.directory}: start one with `sharedstate-cli local up`, "
                "or name another --dir."
            )
        return survey(self.directory, self._nodes(state))

    def _make_directory(self) -> bool:
        """Make the directory; whether it had to be made."""
        made = not self.directory.exists()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            exists = self.directory.exists() and not self.directory.is_dir()
            reason = "it is not a directory" if exists else error.strerror
            raise LocalClusterError(
                f"the directory {self.directory} cannot be used ({reason}): "
                "choose one that you may write with --dir."
            ) from error
        return made

    def _create(self, primaries: int, replicas: int, port: int | None, binary: ServerBinary) -> UpResult:
        strangers = sorted(entry.name for entry in self.directory.iterdir() if entry.name != "lock")
        if strangers:
            raise LocalClusterError(
                f"the directory {self.directory} holds {strangers[0]!r} and no local cluster: "
                "choose an empty one with --dir."
            )
        count = primaries * (1 + replicas)
        for attempts_left in (4, 3, 2, 1, 0):
            ports = free_block(count) if port is None else check_block(port, count)
            state = ClusterState(primaries, replicas, str(binary.path))
            state.nodes = [
                NodeState(each, None if index < primaries else index % primaries)
                for index, each in enumerate(ports)
            ]
            state.save(self.directory)
            nodes = self._nodes(state, binary)
            watchdog = Watchdog()
            try:
                form(nodes, watchdog, detached=True)
                self._keep(state, nodes)
            except BaseException as error:
                for node in nodes:
                    node.kill(watchdog)
                self._discard(state)
                if isinstance(error, PortTakenError) and port is None and attempts_left:
                    continue
                raise
            finally:
                watchdog.release()
            return UpResult("created", count, survey(self.directory, nodes))
        raise AssertionError("the last attempt returns or raises")

    def _revive(
        self, state: ClusterState, port: int | None, server: str | os.PathLike[str] | None
    ) -> UpResult:
        """Start what does not run, and wait until all is well."""
        if port is not None and port != state.nodes[0].port:
            self._move(state, port)
        nodes = self._nodes(state, self._binary(state, server))
        for node in nodes:
            # A stopped server keeps its port and its place but answers nobody; this wakes it.
            node.resume()
        dead = [node for node in nodes if not node.alive]
        watchdog = Watchdog()
        try:
            for node in dead:
                self._check_startable(node)
                node.write_config()
            for node in dead:
                node.launch(watchdog, detached=True)
            for node in dead:
                node.wait_ready(time.monotonic() + _READY_SECONDS)
            wait_healthy(nodes, time.monotonic() + _HEALTHY_SECONDS)
            self._keep(state, nodes)
        except BaseException:
            _stop(dead)
            for node in dead:
                if node.process is not None:
                    watchdog.forget(node.process)
            raise
        finally:
            watchdog.release()
        action: Literal["started", "healed", "running"] = "running"
        if dead:
            action = "healed" if len(dead) < len(nodes) else "started"
        return UpResult(action, len(dead), survey(self.directory, nodes))

    def _check_same(self, state: ClusterState, primaries: int | None, replicas: int | None) -> None:
        for name, asked, has in (
            ("primaries", primaries, state.primaries),
            ("replicas of each primary", replicas, state.replicas),
        ):
            if asked is not None and asked != has:
                raise LocalClusterError(
                    f"the local cluster in {self.directory} has {has} {name}, not {asked}: "
                    f"leave the option out, or make another cluster with another --dir."
                )

    def _check_startable(self, node: Node) -> None:
        if not (node.directory / "nodes.conf").is_file():
            raise LocalClusterError(
                f"the server on port {node.port} has lost its place in the cluster, "
                f"{node.directory / 'nodes.conf'} is missing: put it back, or run "
                f"`sharedstate-cli local down`, remove {self.directory} and begin anew."
            )
        for port in (node.port, node.bus_port):
            if not is_free(port):
                raise PortTakenError(
                    f"port {port} on {node.host} is taken by another program: stop that, or move the cluster "
                    "with `sharedstate-cli local down` and `local up --port PORT`."
                )

    def _move(self, state: ClusterState, port: int) -> None:
        """Give a cluster that does not run other ports, in its nodes' own files too."""
        if any(node.alive for node in self._nodes(state)):
            raise LocalClusterError(
                f"the local cluster in {self.directory} runs on port {state.nodes[0].port} and following: "
                "stop it with `sharedstate-cli local down` before you move it to another --port."
            )
        ports = dict(
            zip((node.port for node in state.nodes), check_block(port, len(state.nodes)), strict=True)
        )

        def moved(match: re.Match[str]) -> str:
            new = ports.get(int(match[1]))
            return match[0] if new is None else f" 127.0.0.1:{new}@{new + BUS_OFFSET}"

        for index, node in enumerate(state.nodes):
            path = self.directory / f"node-{index}" / "nodes.conf"
            if path.is_file():
                path.write_text(re.sub(r" 127\.0\.0\.1:(\d+)@\d+", moved, path.read_text("utf-8")), "utf-8")
            node.port = ports[node.port]
        state.save(self.directory)

    def _binary(self, state: ClusterState, server: str | os.PathLike[str] | None) -> ServerBinary:
        """The program to start servers with: as asked, else the last one, unless it is gone."""
        if server is None and Path(state.server).is_file():
            server = state.server
        return find_server(server)

    def _keep(self, state: ClusterState, nodes: list[Node]) -> None:
        """Note which processes run, and that the cluster is whole."""
        state.formed = True
        state.server = str(nodes[0].binary.path)
        for entry, node in zip(state.nodes, nodes, strict=True):
            assert node.process is not None, "all nodes run"
            entry.pid, entry.birth = node.process.pid, node.process.birth
        state.save(self.directory)

    def _discard(self, state: ClusterState) -> None:
        """Remove a cluster that was never completed."""
        for node in self._nodes(state):
            # None runs, as a rule: the watchdog of the ``up`` that failed has seen to it.
            node.kill()
            shutil.rmtree(node.directory, ignore_errors=True)
        ClusterState.remove(self.directory)

    def _nodes(self, state: ClusterState, binary: ServerBinary | None = None) -> list[Node]:
        nodes: list[Node] = []
        for index, entry in enumerate(state.nodes):
            options = cluster_options(_NODE_TIMEOUT_MS, persistent=True) | {
                "cluster-port": entry.port + BUS_OFFSET
            }
            node = Node(
                binary or ServerBinary(Path(state.server), "", ()),
                self.directory / f"node-{index}",
                entry.port,
                options,
                index=index,
                follows=entry.follows,
            )
            if entry.pid is not None:
                node.process = Process(entry.pid, entry.birth)
            if not node.alive:
                node.adopt()
            nodes.append(node)
        return nodes


def _stop(nodes: list[Node]) -> None:
    """SIGTERM to all, so that they write their data; SIGKILL to those who take too long."""
    processes = [node.process for node in nodes if node.process is not None]
    for process in processes:
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGCONT)
    deadline = time.monotonic() + _TERM_SECONDS
    for process in processes:
        if not process.wait(max(0.0, deadline - time.monotonic())):
            process.kill()
        if process.alive():
            raise LocalClusterError(
                f"the server with process id {process.pid} does not end, not even by SIGKILL."
            )
