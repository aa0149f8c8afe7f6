"""The lender's story holds: every attack is found at high or above and quiet weeks stay quiet, for each seed."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

SEEDS = (1, 2, 3)


def test_three_seeds(shared_data: Any, tmp_path: Path) -> None:
    data = tmp_path / "UCI_Credit_Card.csv"
    packed = shared_data("credit_default_uci") / "UCI_Credit_Card.csv.gz"
    data.write_bytes(gzip.decompress(packed.read_bytes()))

    def live(seed: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tocsin", "demo", "--dir", str(tmp_path / str(seed)), "--seed", str(seed)],
            env={**os.environ, "TOCSIN_DEMO_DATA": str(data)},
            capture_output=True,
            text=True,
            check=False,
        )

    with ThreadPoolExecutor(2) as pool:
        for seed, done in zip(SEEDS, pool.map(live, SEEDS), strict=True):
            assert done.returncode == 0, f"seed {seed}\n{done.stdout}\n{done.stderr}"
            assert "4 of 4 attacks found at high or above; quiet weeks stayed quiet." in done.stdout
            assert (tmp_path / str(seed) / "report.html").stat().st_size > 100_000
