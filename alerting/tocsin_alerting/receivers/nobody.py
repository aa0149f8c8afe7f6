"""A receiver for routes that send no notifications."""

from __future__ import annotations

from tocsin.contract.alerts import Notification
from tocsin.contract.plugin import NoParams, Receiver, Stability


class Nobody(Receiver[NoParams]):
    """Discards notifications: for alerts that are stored and listed but send no notification to people.

    Delivery: at most once, and no person gets it: each notification is discarded. alert_history records that the
    notification was passed to this receiver.
    """

    id = "nobody"
    stability = Stability.STABLE

    def send(self, notification: Notification) -> None:
        """Do nothing."""
