"""The environments of the rivals, below `.cache/rivals`: made once, with the versions of `<rival>.txt`."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HERE = Path(__file__).parent
FOLDER = HERE.parent.parent / ".cache" / "rivals"
TIME_LIMIT = 3600  # seconds, of an installation and of an answer

#: The licence of each rival, read from its package.
LICENCES = {
    "evidently": "Apache-2.0",
    "nannyml": "Apache-2.0",
    "pyod": "BSD-2-Clause",
    "cleanlab": "Apache-2.0",
}


class Skipped(Exception):  # noqa: N818  (a rival that cannot run is no error of the scorecard)
    """A rival cannot be installed or does not answer. The message says why."""


@dataclass(frozen=True)
class Windows:
    """Rows before, and windows to judge. A column named `label`, `score` or `answer` is no feature."""

    names: list[str]
    reference: Floats
    windows: list[Floats]


@dataclass(frozen=True)
class Answers:
    """A score for each window, and whether the rival calls it an alarm by its own default; None without one."""

    scores: Floats
    verdicts: NDArray[np.bool_] | None


def python(rival: str, folder: Path = FOLDER) -> Path:
    """The interpreter of a rival's environment, which is made if it is not there.

    Raises:
        Skipped: pip could not install it.
    """
    pins = HERE / f"{rival}.txt"
    place = folder / f"{rival}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    interpreter, ready = place / "bin" / "python", place / "ready"
    if not ready.exists():
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]
        _run([sys.executable, "-m", "venv", "--clear", str(place)], f"{rival}: no environment")
        _run([*pip, str(pins)], f"{rival}: pip could not install it")
        ready.touch()
    return interpreter


def ask(rival: str, asked: Windows, method: str = "") -> Answers:
    """A rival's answer on each window, by one of its methods.

    Raises:
        Skipped: it cannot be installed, or its script fails.
    """
    interpreter = python(rival)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        of_rows = np.repeat(np.arange(len(asked.windows)), [len(rows) for rows in asked.windows])
        np.savez(folder / "reference.npz", names=asked.names, rows=asked.reference)
        np.savez(
            folder / "windows.npz", names=asked.names, rows=np.concatenate(asked.windows), window=of_rows
        )
        script = HERE / f"answer_{rival}.py"
        _run([str(interpreter), "-W", "ignore", str(script), name, method], f"{rival}: no answer")
        answers = json.loads((folder / "answers.json").read_text())
    verdicts = [verdict for _, verdict in answers]
    own = None if None in verdicts else np.asarray(verdicts, dtype=bool)
    return Answers(np.asarray([score for score, _ in answers], dtype=np.float64), own)


def hop_skip_jump(
    rows: Floats, answers: NDArray[np.int64], windows: int, queries: int, seed: int
) -> list[Floats]:
    """Windows of the queries of HopSkipJump (Chen et al. 2020), by the Adversarial Robustness Toolbox (MIT).

    The attack asks a copy of the model, trained on rows and the model's answers to them.

    Raises:
        Skipped: the toolbox cannot be installed, or its script fails.
    """
    interpreter = python("art")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "model.npz", rows=rows, answers=answers)
        numbers = [str(number) for number in (windows, queries, seed)]
        script = str(HERE / "attack_art.py")
        _run([str(interpreter), "-W", "ignore", script, name, *numbers], "HopSkipJump: no queries")
        return list(np.load(folder / "queries.npz")["rows"])


def quiet() -> dict[str, str]:
    """The environment variables of a rival: Evidently and NannyML report their use to their makers unless told not to."""
    return {**os.environ, "DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}


def _run(command: list[str], failure: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIME_LIMIT, env=quiet()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Skipped(f"{failure}: {error}") from error
    if done.returncode:
        raise Skipped(f"{failure}: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
