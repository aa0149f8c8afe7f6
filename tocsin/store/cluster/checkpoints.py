"""Checkpoints of sources in a cluster's keyed state, which has no transaction to carry them with the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.errors import StoreError
from tocsin.store.cluster.state import ElasticState

_KIND = "source"
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Marks:
    """A number for each key of a stream."""

    state: ElasticState

    def get(self, stream: str, key: str) -> int | None:
        """The number that was written last, or None."""
        entry = self.state.get(_KIND, f"{stream}/{key}")
        return None if entry is None else int(entry.value["number"])

    def of(self, stream: str) -> Mapping[str, int]:
        """All of a stream, by key."""
        marks = self.state.entries(_KIND, f"{stream}/")
        return {mark.key.removeprefix(f"{stream}/"): int(mark.value["number"]) for mark in marks}

    def put(self, stream: str, key: str, number: int) -> None:
        """Write one.

        Raises:
            StoreError: other processes write it all the time.
        """
        name = f"{stream}/{key}"
        for _ in range(_TRIES):
            entry = self.state.get(_KIND, name)
            if self.state.put(_KIND, name, {"number": number}, entry.version if entry else None) is not None:
                return
        raise StoreError(f"other processes keep writing the checkpoint {name}")
