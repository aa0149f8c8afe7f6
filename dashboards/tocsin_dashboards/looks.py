"""Colors that readers with any kind of color vision tell apart (Okabe and Ito, 2008), and how severities look."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

BLUE, SKY, GREEN, ORANGE, YELLOW, RED, GREY = (
    "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#f0e442", "#d55e00", "#999999",
)  # fmt: skip
SEVERITIES = {"critical": RED, "high": ORANGE, "medium": YELLOW, "low": SKY, "info": GREY}
STATES = {
    "open": RED, "acknowledged": SKY, "resolved": GREY, "closed": GREY,
    "evaluated": GREEN, "late": SKY, "filled": SKY, "skipped": GREY, "failed": ORANGE, "gap": RED,
    "success": GREEN, "failure": ORANGE, "unknown": GREY,
}  # fmt: skip
NAMED = SEVERITIES | STATES
#: States with the number that sorts them in a table.
SORTED = ("1 open", "2 acknowledged", "3 resolved", "3 closed")


def one_hue() -> build.FieldColor:
    """Shades of one color: for series whose names nobody knows beforehand."""
    return build.FieldColor().mode(model.FieldColorModeId.SHADES).fixed_color(BLUE)


def by_threshold() -> build.FieldColor:
    """The color of the threshold that a value is above."""
    return build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS)


def thresholds(*steps: tuple[float | None, str]) -> build.ThresholdsConfig:
    """From which value on which color; the first has no value."""
    return (
        build.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value=value, color=color) for value, color in steps])
    )


def words() -> list[model.ValueMapping]:
    """Severities and states in their colors, wherever a cell says one; the number that a state is sorted by is not shown."""
    named = {word: (word, color) for word, color in NAMED.items()}
    named |= {word: (word[2:], NAMED[word[2:]]) for word in SORTED}
    options = {
        word: model.ValueMappingResult(text=text, color=color, index=n)
        for n, (word, (text, color)) in enumerate(named.items())
    }
    return [model.ValueMap(options=options)]


def fixed(color: str) -> list[model.DynamicConfigValue]:
    """An override that gives a series its color."""
    return [model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})]
