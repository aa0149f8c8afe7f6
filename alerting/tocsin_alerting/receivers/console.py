"""Writes notifications to standard output, for a terminal, a container's log or the journal."""

from __future__ import annotations

import sys

from tocsin.clock import format_time
from tocsin.contract.alerts import Notification
from tocsin.contract.plugin import NoParams, Receiver, Stability
from tocsin.errors import DeliveryError
from tocsin_alerting.wording import facts, heading, more, title


class Console(Receiver[NoParams]):
    """Writes a few lines of plain text per notification. Delivery: at least once; a failed write is retried."""

    id = "console"
    stability = Stability.BETA

    def send(self, notification: Notification) -> None:
        lines = [f"{format_time(notification.sent)} {title(notification)}"]
        for alert in notification.alerts:
            lines.append(f"  {heading(alert)}")
            lines += [f"    {name}: {value}" for name, value in facts(alert)]
        lines += [f"  {line}" for line in more(notification)]
        try:
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            raise DeliveryError(f"cannot write to standard output: {error}", retry=True) from error
