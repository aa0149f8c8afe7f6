"""What recording costs the model's thread, in microseconds a call.

Run: `python -m benchmarks.recorder_speed`. The caller's own cost is the least mean of many short runs around
a model that does nothing; the bar of issue 3 is 20 µs. Beside it, the processor time of the calling thread
around a real model (one row), while the recorder's thread makes events of the calls: the median of
differences between runs taken in turns.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from tocsin_recorder.recorder import Recorder

BAR = 20.0
FEATURES = 16


class Idle:
    """An estimator that does nothing, so that only the wrapper is measured."""

    classes_ = np.array([0, 1])

    def predict_proba(self, _: object) -> object:
        return ANSWER


ANSWER = np.array([[0.3, 0.7]])


def mean(call: Callable[[], object], calls: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """The mean time of a call, in microseconds."""
    started = clock()
    for _ in range(calls):
        call()
    return (clock() - started) / calls * 1e6


def own(call: Callable[[], object], recorder: Recorder, runs: int = 300, calls: int = 50) -> float:
    """The least mean over short runs."""
    best = float("inf")
    for _ in range(runs):
        best = min(best, mean(call, calls))
        recorder.flush()
    return best


def busy(call: Callable[[], object], bare: Callable[[], object], runs: int = 7, calls: int = 2000) -> float:
    """The median difference in processor time of this thread over longer runs, taken in turns."""
    cost = (mean(call, calls, time.thread_time) - mean(bare, calls, time.thread_time) for _ in range(runs))
    return statistics.median(cost)


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, FEATURES))
    model = LogisticRegression().fit(x, x[:, 0] > 0)
    row, values = x[:1], tuple(x[0].tolist())
    names = tuple(f"f{i}" for i in range(FEATURES))
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder("bench", spool=Path(folder))
        wrapped = recorder.wrap(model)

        def bare() -> object:
            return model.predict_proba(row)

        def recorded() -> None:
            with recorder.call(principal="p") as call:
                call.features(values, names)
                call.output("1", 0.7)

        def recorded_model() -> None:
            with recorder.call(principal="p") as call:
                call.features(values, names)
                call.output("1", model.predict_proba(row)[0, 1])

        idle = recorder.wrap(Idle())
        single = own(recorded, recorder)
        together = own(lambda: idle.predict_proba(row), recorder)
        alone = min(mean(bare, 50) for _ in range(100))
        single_busy = busy(recorded_model, bare)
        together_busy = busy(lambda: wrapped.predict_proba(row), bare)
        recorder.close()
    print(f"a bare predict_proba of one row: {alone:.1f} µs; recorded: {recorder.recorded} calls")
    print(f"{'':24}own cost (bar {BAR:.0f})     around a real model")
    print(f"{'record()':24}{single:10.1f} µs {single_busy:18.1f} µs of {alone:.0f}")
    print(f"{'wrapped predict_proba':24}{together:10.1f} µs {together_busy:18.1f} µs of {alone:.0f}")
    print(f"dropped: {recorder.dropped}")
    if max(single, together) > BAR:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
