"""The stages that alerts pass, in order. Each is one function: routed alerts in, routed alerts out.

Nothing is remembered between stages but what they write to their records, and each may be run again
on the same alerts without doing anything twice: that is how a crash between two of them is survived.
"""

from __future__ import annotations

from tocsin_alerting.context import Stage
from tocsin_alerting.stages.deduplicate import deduplicate
from tocsin_alerting.stages.group import group
from tocsin_alerting.stages.notify import notify
from tocsin_alerting.stages.open_incident import open_incident
from tocsin_alerting.stages.route import route

STAGES: tuple[Stage, ...] = (deduplicate, route, open_incident, group, notify)
