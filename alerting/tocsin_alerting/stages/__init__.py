"""The stages that alerts pass, in order. Each stage is one function from routed alerts to routed alerts.

Stages share no state except the records that they write. Each stage is idempotent, so after a crash between two stages
the tick can be run again.
"""

from __future__ import annotations

from tocsin_alerting.context import Stage
from tocsin_alerting.stages.deduplicate import deduplicate
from tocsin_alerting.stages.group import group
from tocsin_alerting.stages.notify import notify
from tocsin_alerting.stages.open_incident import open_incident
from tocsin_alerting.stages.route import route

STAGES: tuple[Stage, ...] = (deduplicate, route, open_incident, group, notify)
