"""Colors that readers with any kind of color vision tell apart (Okabe and Ito, 2008), and how severities look."""

from __future__ import annotations

import string
from collections.abc import Iterator

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

BLUE, SKY, GREEN, ORANGE, YELLOW, RED, PURPLE, BLACK, GREY = (
    "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#f0e442", "#d55e00", "#cc79a7", "#000000", "#999999",
)  # fmt: skip
SEVERITIES = {"critical": RED, "high": ORANGE, "medium": YELLOW, "low": SKY, "info": GREY}
STATES = {
    "open": RED, "acknowledged": SKY, "resolved": GREY, "closed": GREY,
    "evaluated": GREEN, "late": SKY, "filled": SKY, "skipped": GREY, "failed": ORANGE, "gap": RED,
    "success": GREEN, "failure": ORANGE, "unknown": GREY,
}  # fmt: skip
NAMED = SEVERITIES | STATES
#: Colors of series by the field or Prometheus label that names them. `by_name` colors series with other names.
DETECTORS = {
    "registry_access": BLUE, "model_extraction": ORANGE, "query_budget": SKY, "prediction_drift": GREEN,
    "feature_drift": YELLOW, "label_poisoning": PURPLE, "dataset_profile": GREY,
}  # fmt: skip
STREAMS = {
    "inference": BLUE, "access": ORANGE, "dataset": GREEN, "pipeline": PURPLE, "score": SKY, "finding": YELLOW,
    "dead_letter": RED,
}  # fmt: skip
ACTIONS = {
    "read": BLUE, "search": SKY, "download": ORANGE, "create": GREEN, "upload": GREEN, "promote": PURPLE,
    "delete": YELLOW, "update": GREY, "write": GREY,
}  # fmt: skip
INCIDENTS = {"incident_opened": ORANGE, "incident_closed": BLUE}
PERCENTILES = {"5 % quantile": SKY, "25 % quantile": ORANGE, "median": BLUE, "75 % quantile": PURPLE,
               "95 % quantile": GREEN, "99 % quantile": YELLOW}  # fmt: skip
SERIES = {
    "tocsin.detector.id": DETECTORS, "detector": DETECTORS, "stream": STREAMS, "tocsin.severity": SEVERITIES,
    "event.action": STATES | INCIDENTS | ACTIONS, "event.outcome": STATES,
}  # fmt: skip
#: The colors that `by_name` chooses from. Red is the threshold's; black cannot be seen on a dark background.
_CHOSEN = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW, GREY)
_ALPHABET, _DIGITS = string.ascii_lowercase, string.digits
#: States with the number that sorts them in a table.
SORTED = ("1 open", "2 acknowledged", "3 resolved", "3 closed")


def one_hue() -> build.FieldColor:
    """Shades of one color: for panels with one series."""
    return build.FieldColor().mode(model.FieldColorModeId.SHADES).fixed_color(BLUE)


def plain(color: str) -> build.FieldColor:
    """One color for every series that no override colors."""
    return build.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color(color)


def by_name(*, dotted: bool) -> Iterator[tuple[str, list[model.DynamicConfigValue]]]:
    """Overrides, as regular expressions and properties, for series whose names come from the data.

    Grafana's palettes of many colors are not safe for color-blind readers. A series gets one of seven safe colors, by
    the digit that ends its name, or else by the first character of its name, and so has that color on every board.
    With `dotted`, the character before the last digit, or else the last letter, makes half of the lines dotted.
    """
    for place, color in enumerate(_CHOSEN):
        first, digits = _ALPHABET[place :: len(_CHOSEN)], _DIGITS[place :: len(_CHOSEN)]
        yield rf"/[{digits}]$|^[{first}{digits}](.*\D)?$/i", fixed(color)
    if dotted:
        line = model.DynamicConfigValue("custom.lineStyle", {"fill": "dot", "dash": [0, 10]})
        odd = _ALPHABET[1::2] + _DIGITS[1::2]
        yield rf"/[{odd}]\d$|[{_ALPHABET[1::2]}]$/i", [line]


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


def standing_out(color: str) -> list[model.DynamicConfigValue]:
    """An override for the one series that the panel is about: its color, and a thicker line."""
    return [*fixed(color), model.DynamicConfigValue("custom.lineWidth", 3)]


def dashed(color: str) -> list[model.DynamicConfigValue]:
    """An override that draws a series as a dashed line in a color."""
    line = {"fill": "dash", "dash": [10, 10]}
    return [*fixed(color), model.DynamicConfigValue("custom.lineStyle", line)]
