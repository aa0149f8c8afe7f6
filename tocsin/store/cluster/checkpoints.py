"""Checkpoints of sources, stored in a cluster's keyed state. Elasticsearch has no transaction for rows and checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.errors import StoreError
from tocsin.store.cluster.state import ElasticState

_KIND = "source"
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of streams: a number for each key."""

    state: ElasticState

    def get(self, stream: str, key: str) -> int | None:
        """The checkpoint for a key, or None."""
        entry = self.state.get(_KIND, f"{stream}/{key}")
        return None if entry is None else int(entry.value["number"])

    def of(self, stream: str) -> Mapping[str, int]:
        """All checkpoints of a stream, by key."""
        entries = self.state.entries(_KIND, f"{stream}/")
        return {entry.key.removeprefix(f"{stream}/"): int(entry.value["number"]) for entry in entries}

    def put(self, stream: str, key: str, number: int) -> None:
        """Write the checkpoint for a key.

        Raises:
            StoreError: other processes changed it during each of the attempts.
        """
        name = f"{stream}/{key}"
        for _ in range(_TRIES):
            entry = self.state.get(_KIND, name)
            if self.state.put(_KIND, name, {"number": number}, entry.version if entry else None) is not None:
                return
        raise StoreError(
            f"the checkpoint {name} cannot be written: other processes changed it during all {_TRIES} attempts; "
            "check that only one worker collects from this source"
        )
