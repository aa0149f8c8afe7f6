"""Takes a picture out of a report into an SVG file: `picture.py report.html timeline`."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def take(report: str, name: str) -> str:
    """The picture called `name`, with the report's colors and a ground of its own."""
    drawn = next(svg for svg in re.findall(r"<svg .*?</svg>", report, re.DOTALL) if f'"{name}-' in svg)
    root = r":root \{[^}]*\}"
    colors = re.findall(rf"{root}|@media \(prefers-color-scheme: dark\) \{{\s*{root}\s*\}}", report)[:2]
    ground = '<rect width="100%" height="100%" style="fill: var(--paper)"/>'
    start = drawn.index(">") + 1
    return f"{drawn[:start]}<style>{''.join(colors)}</style>{ground}{drawn[start:]}\n"


if __name__ == "__main__":
    source, wanted = sys.argv[1:]
    text = take(Path(source).read_text("utf-8"), wanted)
    Path(__file__).with_name(f"{wanted}.svg").write_text(text, "utf-8")
