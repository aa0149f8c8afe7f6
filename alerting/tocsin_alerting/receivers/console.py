"""Notifications on standard output, for a terminal, a container's log or the journal."""

from __future__ import annotations

import sys

from tocsin.clock import format_time
from tocsin.contract.alerts import Notification
from tocsin.contract.plugin import NoParams, Receiver, Stability
from tocsin.errors import DeliveryError
from tocsin_alerting.wording import facts, heading, title


class Console(Receiver[NoParams]):
    """Writes a few plain lines a notification. At-least-once; a closed output is tried again."""

    id = "console"
    stability = Stability.BETA

    def send(self, notification: Notification) -> None:
        lines = [f"{format_time(notification.sent)} {title(notification)}"]
        for alert in notification.alerts:
            lines.append(f"  {heading(alert)}")
            lines += [f"    {name}: {value}" for name, value in facts(alert)]
        try:
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            raise DeliveryError(f"standard output takes nothing: {error}", retry=True) from error
