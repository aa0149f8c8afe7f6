"""A receiver for routes that send no notifications."""

from __future__ import annotations

from tocsin.contract.alerts import Notification
from tocsin.contract.plugin import NoParams, Receiver, Stability


class Nobody(Receiver[NoParams]):
    """Discards notifications. Use it for alerts that are stored and listed without a notification to a person.

    Delivery: at most once. The receiver sends nothing to anyone. alert_history records that Tocsin passed the notification
    to this receiver.
    """

    id = "nobody"
    stability = Stability.STABLE

    def send(self, notification: Notification) -> None:
        """Do nothing."""
