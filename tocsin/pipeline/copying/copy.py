"""A whole copy: first the streams, then what refers to them."""

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
    """What a copy did. `state` is None where only streams were asked for."""

    streams: Sequence[Copied]
    state: Moved | None

    @property
    def refused(self) -> int:
        """How many rows the target did not take."""
        return sum(sum(copied.refused.values()) for copied in self.streams)

    @property
    def late(self) -> int:
        """How many rows came into the source during the copy."""
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
    """Copy what is not in the target yet. Cut off anywhere and called again, it goes on and doubles nothing.

    Args:
        source: nobody should write to it meanwhile.
        target: where to.
        streams: only these, and no state; all if there are none.
        streams_only: no state.
        say: hears of each slice, with the number of rows of the stream that there are to read.
        limit: rows that are held in memory at once.

    Raises:
        StoreError: both are the same, the source holds nothing, the target has a state of its own, or a store cannot
            be read or written.
    """
    if identity(source) == identity(target):
        raise StoreError(f"both configurations name the same store: {identity(source)}")
    state = None if streams or streams_only else StateCopy(source, target)
    if state is not None:
        state.check()
    # Claims of workers carry versions: what is written here from now on must count as newer than what was copied.
    target.raise_versions(newest_version(source))
    cuts = StateCopy(source, target).cuts()
    copies = {name: StreamCopy(source, target, name, limit) for name in streams or STREAMS}
    copied = [one.run(cuts.get(name, ()), report) for name, one in copies.items()]
    if not source.kinds() and not any(one.progress.marks for one in copies.values()):
        raise StoreError(f"there is nothing to copy: the store {identity(source)} is empty")
    moved = None if state is None else state.run({name: one.progress for name, one in copies.items()})
    for one in copies.values():
        one.done.late = one.late()
    return Report(copied, moved)
