"""CPU seconds of NannyML's univariate drift of two tables, by its default method and chunks: FOLDER NUMBERS."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nannyml
import numpy as np
import pandas as pd


def main() -> None:
    """Print the seconds."""
    folder, numbers = Path(sys.argv[1]), int(sys.argv[2])
    before, now = (pd.DataFrame(np.load(folder / f"{name}.npy")) for name in ("reference", "current"))
    names = [f"c{place}" for place in range(len(before.columns))]
    before.columns = now.columns = names
    categories = names[numbers:]
    before[categories], now[categories] = before[categories].astype(int), now[categories].astype(int)
    began = time.process_time()
    made = nannyml.UnivariateDriftCalculator(column_names=names, treat_as_categorical=categories)
    made.fit(before).calculate(now)
    print(time.process_time() - began)


main()
