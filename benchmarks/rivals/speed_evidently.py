"""CPU seconds of Evidently's drift preset of two tables, with one method: FOLDER NUMBERS ks|psi."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def main() -> None:
    """Print the seconds."""
    folder, numbers, method = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    before, now = (pd.DataFrame(np.load(folder / f"{name}.npy")) for name in ("reference", "current"))
    names = [f"c{place}" for place in range(len(before.columns))]
    before.columns = now.columns = names
    numeric, nominal = names[:numbers], names[numbers:]
    before[nominal], now[nominal] = before[nominal].astype(int), now[nominal].astype(int)
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=nominal)
    began = time.process_time()
    tables = [Dataset.from_pandas(table, data_definition=definition) for table in (now, before)]
    preset = DataDriftPreset(num_method=method, cat_method="chisquare" if method == "ks" else method)
    Report([preset]).run(*tables).dict()
    print(time.process_time() - began)


main()
