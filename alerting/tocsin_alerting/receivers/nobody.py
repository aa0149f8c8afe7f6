"""For routes that tell nobody."""

from __future__ import annotations

from tocsin.contract.alerts import Notification
from tocsin.contract.plugin import NoParams, Receiver, Stability


class Nobody(Receiver[NoParams]):
    """Delivers to nobody: for alerts that are to be kept and listed, but page no one.

    Delivery: exactly once, since there is none; alert_history says that the route was taken.
    """

    id = "nobody"
    stability = Stability.STABLE

    def send(self, notification: Notification) -> None:
        """Do nothing."""
