"""Installs the wheels of a folder in a bare environment and uses them: `python deploy/check_wheels.py dist`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: The recorder without the platform; then the platform: its plug-ins, its data files, and a command on a new store.
RECORDER = "import sys, tocsin_recorder; assert 'tocsin' not in sys.modules; tocsin_recorder.Recorder"
PLATFORM = (
    "import tocsin, tocsin_recorder; assert tocsin.Recorder is tocsin_recorder.Recorder; "
    "from tocsin.config.discovery import discover; found = discover(); assert not found.failures; "
    "print(len(found.plugins), 'plug-ins')"
)


def main() -> int:
    """Check the wheels; the first command that fails ends it."""
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} FOLDER", file=sys.stderr)
        return 2
    wheels = sorted(Path(sys.argv[1]).resolve().glob("*.whl"))
    recorder = [str(path) for path in wheels if path.name.startswith("tocsin_recorder-")]
    if len(recorder) != 1 or len(wheels) != 2:
        print(f"{sys.argv[1]}: expected one wheel of tocsin and one of tocsin-recorder", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="tocsin-wheels-") as folder:
        venv.create(folder, with_pip=True)
        programs = Path(folder) / "bin"

        def run(program: str, *arguments: str) -> None:
            subprocess.run([programs / program, *arguments], cwd=folder, check=True)

        quiet = ("install", "--quiet", "--disable-pip-version-check")
        run("pip", *quiet, "--no-index", *recorder)
        run("python", "-c", RECORDER)
        run("pip", *quiet, "--constraint", str(ROOT / "constraints.txt"), *map(str, wheels))
        run("pip", "check")
        run("python", "-c", PLATFORM)
        run("tocsin", "init")
        run("tocsin", "check")
        run("tocsin", "findings")
    print(f"checked: {', '.join(path.name for path in wheels)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
