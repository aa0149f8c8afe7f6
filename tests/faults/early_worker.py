"""A worker that waits in the middle of an early evaluation, to be killed: run by tests.faults.test_early."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from tests.pipeline.test_early import Growing
from tocsin.clock import ScriptedClock
from tocsin.contract.findings import Score
from tocsin.contract.plugin import NoParams
from tocsin.contract.windows import Window
from tocsin.pipeline.detecting.detect import Detect
from tocsin.pipeline.detecting.settings import Setting
from tocsin.store.embedded.delta import DeltaStore


class Waits(Growing):
    """Says that it has begun, and goes on for a minute."""

    def score(self, window: Window) -> Iterator[Score]:
        yield from super().score(window)
        Path(sys.argv[3]).touch()
        time.sleep(60)


if __name__ == "__main__":
    clock = ScriptedClock(datetime.fromisoformat(sys.argv[2]))
    Detect(DeltaStore.open(Path(sys.argv[1]), clock=clock), clock).run([Setting(Waits(NoParams()))])
