"""One builder a dashboard."""

from __future__ import annotations

from tocsin_dashboards.boards import (
    access,
    alert,
    data_integrity,
    health,
    incidents,
    model,
    model_behavior,
    overview,
    principal,
    usage,
)

ALL = (overview, data_integrity, model_behavior, usage, access, model, principal, alert, incidents, health)
