"""A cluster of real Elasticsearch nodes on loopback, whose nodes can be killed and brought back."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.nodes.node import Node, free_port, with_pause

_SMALL = ("-Xmx512m", "-XX:TieredStopAtLevel=1")  # heaps, and compiling for a short life


class Cluster:
    """Some nodes, each with a folder of its own; all of them may become master."""

    def __init__(self, folder: Path, size: int) -> None:
        ports = [(free_port(), free_port()) for _ in range(size)]
        settings = (
            "discovery.seed_hosts=" + ",".join(f"127.0.0.1:{transport}" for _, transport in ports),
            "cluster.initial_master_nodes=" + ",".join(f"node-{port}" for port, _ in ports),
        )
        self.nodes = [
            Node(folder / f"node-{port}", port, transport, settings, options=_SMALL)
            for port, transport in ports
        ]

    @property
    def urls(self) -> list[str]:
        """Where the nodes serve, also those that are dead."""
        return [node.url for node in self.nodes]

    def start_all(self) -> None:
        """Start every node at once and wait until they are one cluster.

        Raises:
            Missing: a part of a node is not on this machine.
            RuntimeError: they did not come up.
        """
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.await_up()
        self.await_status()

    def kill(self, number: int) -> None:
        """Kill -9 of one node."""
        self.nodes[number].kill()

    def kill_all(self) -> None:
        """Kill -9 of every node."""
        for node in self.nodes:
            node.kill()

    def start(self, number: int) -> None:
        """Bring a killed node back with its data, while the others go on; `await_status` waits for it."""
        self.nodes[number].launch()

    def await_status(self, status: str = "green", seconds: int = 60) -> None:
        """Wait until all living nodes are members and every index has at least this status.

        Raises:
            RuntimeError: it did not come to that in time.
        """
        living = sum(node.process is not None for node in self.nodes)
        wanted = f"wait_for_status={status}&wait_for_nodes={living}&wait_for_no_initializing_shards=true"
        for _ in range(seconds):
            try:
                if not self.ask(f"_cluster/health?{wanted}&timeout=1s")["timed_out"]:
                    return
            except OSError:  # also the answer 408 of a health that is waited for in vain
                with_pause(0.2)
        raise RuntimeError(f"the cluster of {living} living nodes did not become {status}")

    def master(self) -> int:
        """The number of the node that is master now."""
        return self._number(self.ask("_cat/master?format=json")[0]["node"])

    def primary(self, target: str) -> int:
        """The number of the node that holds the primary of a data stream's newest index, or of an index."""
        shards = self.ask(f"_cat/shards/{target}?format=json&h=index,prirep,node&s=index")
        return self._number([shard["node"] for shard in shards if shard["prirep"] == "p"][-1])

    def ask(self, path: str) -> Any:
        """What a living node answers to a GET.

        Raises:
            OSError: it did not answer, or with an error.
        """
        url = next(node.url for node in self.nodes if node.process is not None)
        with urllib.request.urlopen(f"{url}/{path}", timeout=10) as answer:
            return json.load(answer)

    def _number(self, name: str) -> int:
        return next(i for i, node in enumerate(self.nodes) if name == f"node-{node.port}")


@contextmanager
def cluster(folder: Path, size: int = 3) -> Iterator[Cluster]:
    """A cluster in a folder, killed in the end.

    Raises:
        Missing: a part of a node is not on this machine.
        RuntimeError: it did not come up.
    """
    found = Cluster(folder, size)
    try:
        found.start_all()
        yield found
    finally:
        found.kill_all()
