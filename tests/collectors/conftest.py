"""What the collectors' tests share: collectors from plain settings, commits as the pipeline makes them."""

from __future__ import annotations

import pytest

from tocsin.config.params import build


class Committed:
    """Checkpoints, committed with the rows of each batch, as `tocsin.pipeline` does it."""

    def __init__(self):
        self.numbers = {}
        self.events, self.lines, self.rejected, self.batches = [], [], [], []

    def __call__(self, stream, key):
        return self.numbers.get((stream, key))

    def take(self, collector, limit=None):
        """Take up to `limit` batches; the rest is as if the process had been killed."""
        for count, batch in enumerate(collector.collect(self), 1):
            self.batches.append(batch)
            self.events += batch.events
            self.lines += [line for line in batch.lines.split(b"\n") if line.strip()]
            self.rejected += batch.rejected
            self.numbers |= {(batch.stream, key): number for key, number in batch.checkpoint.items()}
            if count == limit:
                break
        return self


@pytest.fixture
def committed():
    return Committed()


@pytest.fixture
def make():
    def make(kind, *paths, **settings):
        return kind(build(kind.params_type(), {"paths": [str(p) for p in paths], **settings}))

    return make
