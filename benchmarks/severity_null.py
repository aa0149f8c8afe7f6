"""How often quiet windows reach each severity: `python -m benchmarks.severity_null [--parts N] [DETECTOR …]`.

The telemetry is that of `benchmarks.early_null`. Each part has a baseline of its own, and its windows are judged finally. A
part that `--folder` contains is not measured again. A window counts with the score of one subject, in thresholds. The
bars are the rates that a calibrated severity states: one in 10³, 10⁵ and 10⁷ (`tocsin.contract.severities`).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.early_null import DAY, Share, prepared
from tocsin.contract.evaluation import judge
from tocsin.contract.windows import FrameSource, Window

#: Parts of each detector: about 100,000 windows, or as many as half an hour of CPU allows.
PARTS = {
    "registry_access": 500,
    "prediction_drift": 400,
    "feature_drift": 400,
    "model_extraction": 100,
    "evasion": 100,
    "label_poisoning": 20,
}
MULTIPLES = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)


def measure(detector: str, part: int) -> NDArray[np.float64]:
    """The scores of a part's windows and subjects, in thresholds."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        this = prepared(detector, 1000 + part)
        stream, ratios = this.detector.requires.streams[0], []
        for start, day in this.days:
            source = FrameSource.of({stream: day}, this.quiet.snapshots)
            window = Window(start, start + DAY, source, this.baseline, this.past)
            judged = judge(this.detector, window)
            ratios += [j.score.value / j.threshold for j in judged if not j.score.aspect]
        return np.array(ratios)


def _saved(detector: str, part: int, folder: Path) -> NDArray[np.float64]:
    path = folder / f"{detector}-{part}.npy"
    if not path.exists():
        began = time.process_time()
        found = measure(detector, part)
        with path.with_suffix(".part").open("wb") as file:
            np.save(file, found)
        path.with_suffix(".part").replace(path)
        print(f"{path.name}: {len(found)} in {time.process_time() - began:.0f} s", file=sys.stderr)
    ratios: NDArray[np.float64] = np.load(path)
    return ratios


def main(arguments: Sequence[str]) -> int:
    """Measure what is missing and print a line for each detector and multiple of the threshold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=Path("/tmp/severity_null"), help="of the measured parts"
    )
    parser.add_argument("--parts", type=int, help="parts of each detector")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("detectors", nargs="*", metavar="DETECTOR", help="all if left out")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    names = given.detectors or list(PARTS)
    asked = [(n, part, given.folder) for n in names for part in range(given.parts or PARTS[n])]
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        answers = pool.starmap(_saved, asked, chunksize=1)
    for name in names:
        found = np.concatenate([a for (n, *_), a in zip(asked, answers, strict=True) if n == name])
        for multiple in MULTIPLES:
            share = Share(int((found >= multiple).sum()), len(found))
            print(f"{name:17} {len(found):8} windows  {multiple:5.2f} thresholds  {share}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
