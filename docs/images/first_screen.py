"""Takes the first screen of a report as PNG files: `first_screen.py report.html`.

Writes `report-390.png` (a phone) and `report-1440.png` (a desktop) beside this script. Needs Playwright and a
Chromium, by default /usr/bin/chromium. With `--check FOLDER` it writes both themes and all widths there instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

SIZES = {390: 844, 1440: 900}
CHECKED = {360: 800, **SIZES}
THEMES = ("light", "dark")
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def shoot(
    browser: Browser, report: Path, width: int, height: int, theme: str, file: Path, *, whole: bool
) -> None:
    """The first screen of a report at one size, or the whole page."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
    page.goto(report.resolve().as_uri())
    page.screenshot(path=file, full_page=whole)
    page.close()


def main() -> None:
    """Read the command line and take the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser's executable")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="every width, theme and the whole page")
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.chromium, args=list(ARGUMENTS))
        if given.check is None:
            for width, height in SIZES.items():
                file = Path(__file__).with_name(f"report-{width}.png")
                shoot(browser, given.report, width, height, "light", file, whole=False)
        else:
            given.check.mkdir(parents=True, exist_ok=True)
            for width, height in CHECKED.items():
                for theme in THEMES:
                    for whole, name in ((False, "first"), (True, "whole")):
                        file = given.check / f"{name}-{width}-{theme}.png"
                        shoot(browser, given.report, width, height, theme, file, whole=whole)
        browser.close()


if __name__ == "__main__":
    main()
