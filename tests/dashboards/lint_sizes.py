"""What fits into a panel on a screen that is 1600 pixels wide."""

from __future__ import annotations

from tests.dashboards.lint import WIDTH, Board, Check, Found, Json, name

#: The pixels of all columns of the grid together, on a screen of 1600 pixels.
SCREEN = 1552
#: What the icons of the header take of a panel's width, and what a letter of the title takes.
_ICONS, _LETTER = 150, 8


def pixels(panel: Json) -> int:
    """How wide a panel is."""
    return int(panel["gridPos"].get("w", WIDTH) * SCREEN / WIDTH)


def check_titles_fit(board: Board) -> Found:
    for panel in board.asking:
        room = (pixels(panel) - _ICONS) // _LETTER
        title = str(panel.get("title") or "")
        if len(title) > room:
            yield name(panel), f"its title has {len(title)} characters, and {room} fit its width"


CHECKS: tuple[Check, ...] = (check_titles_fit,)
