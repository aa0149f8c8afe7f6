"""Copies a whole store: first the streams, then the state that refers to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tocsin.contract.streams import STREAMS
from tocsin.errors import StoreError
from tocsin.pipeline.copying.progress import identity
from tocsin.pipeline.copying.state import Moved, StateCopy, newest_version
from tocsin.pipeline.copying.streams import LIMIT, Copied, StreamCopy
from tocsin.store.protocol import Store


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a copy. `state` is None if only streams were copied."""

    streams: Sequence[Copied]
    state: Moved | None

    @property
    def refused(self) -> int:
        """How many rows the target rejected."""
        return sum(sum(copied.refused.values()) for copied in self.streams)

    @property
    def late(self) -> int:
        """How many rows were appended to the source during the copy."""
        return sum(copied.late for copied in self.streams)


def copy(
    source: Store,
    target: Store,
    streams: Sequence[str] = (),
    *,
    streams_only: bool = False,
    report: Callable[[Copied, int], None] = lambda *_: None,
    limit: int = LIMIT,
) -> Report:
    """Copy what is not in the target yet. After an interruption, another call continues without duplicating rows.

    Args:
        source: the store to read. It should not be written to during the copy.
        target: the store to write.
        streams: copy only these streams and no state; if empty, copy all streams.
        streams_only: do not copy state.
        report: called after each slice with the counts so far and the number of rows of the stream to read.
        limit: the most rows that are held in memory at once.

    Raises:
        StoreError: both stores are the same, the source is empty, the target has its own state, or a store cannot be
            read or written.
    """
    if identity(source) == identity(target):
        raise StoreError(f"both configurations name the same store: {identity(source)}")
    state = None if streams or streams_only else StateCopy(source, target)
    if state is not None:
        state.check()
    # Versions are fencing tokens: rows written to the target from now on must have higher ones than copied rows.
    target.raise_versions(newest_version(source))
    cuts = StateCopy(source, target).cuts()
    copies = {name: StreamCopy(source, target, name, limit) for name in streams or STREAMS}
    copied = [one.run(cuts.get(name, ()), report) for name, one in copies.items()]
    if not source.kinds() and not any(one.progress.marks for one in copies.values()):
        raise StoreError(f"nothing to copy: the store {identity(source)} is empty")
    moved = None if state is None else state.run({name: one.progress for name, one in copies.items()})
    for one in copies.values():
        one.done.late = one.late()
    return Report(copied, moved)
