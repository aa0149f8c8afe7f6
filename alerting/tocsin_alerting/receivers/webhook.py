"""Sends notifications as signed HTTP requests, with Alertmanager's webhook body and Standard Webhooks signatures."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from tocsin.clock import format_time
from tocsin.config.secret import Secret
from tocsin.contract.alerts import Alert, Notification
from tocsin.contract.plugin import Receiver, Stability, param
from tocsin.errors import ConfigError, DeliveryError
from tocsin_alerting.addresses import resolve
from tocsin_alerting.connections import Deadline, connect
from tocsin_alerting.wording import plain

_BUSY = (429, 503)  # responses with these codes may set Retry-After
_AGAIN = (408, 425, *_BUSY)  # request timeout, too early (RFC 8470), too many requests, unavailable
_TOO_LARGE = 413


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of the webhook receiver."""

    url: str | Secret = param(
        doc="URL to post to: https://… or http://…; {env: NAME} or {file: PATH} if the URL is a secret"
    )
    secret: Secret | None = param(
        None,
        doc="signing secret `whsec_<base64>`, as {env: NAME} or {file: PATH}; null: requests are not signed",
    )
    allow_private: bool = param(False, doc="allow hosts with a private, loopback or link-local address")
    timeout: float = param(
        10.0, ge=1, le=120, doc="maximum seconds of a delivery, from the name lookup to the response"
    )
    max_alerts: int = param(0, ge=0, doc="maximum number of alerts in one request; 0: no limit")

    def __post_init__(self) -> None:
        if isinstance(self.url, str):
            _checked(self.url, f"url is {self.url!r}")

    def target(self) -> SplitResult:
        """The URL to post to. A secret URL is read at each call.

        Raises:
            ConfigError: the secret cannot be read, or is not a URL.
        """
        if isinstance(self.url, str):
            return urlsplit(self.url)
        return _checked(self.url.reveal(), "the secret is not a URL")


class Webhook(Receiver[Params]):
    """Posts one request per notification and expects a 2xx response.

    Delivery: at least once. `webhook-id` is the notification's key, so that the recipient can drop duplicates. If a
    notification is too large for the recipient (413), the receiver divides its alerts into two requests, the worst alerts
    first, with the ids `KEY-1` and `KEY-2`. It divides a part again if the part is still too large. A single alert that
    is too large is sent without its evidence. The receiver retries failed connections, deliveries that exceed `timeout`,
    and the responses 5xx, 408, 425 and 429; after 429 and 503, it waits at least for the time in the header Retry-After.
    It does not retry after other 4xx responses. It does not follow redirects, and ignores proxy settings of the
    environment.
    """

    id = "webhook"
    stability = Stability.BETA

    def send(self, notification: Notification) -> None:
        try:
            target = self.params.target()
        except ConfigError as error:
            raise DeliveryError(str(error), retry=True) from None
        most = self.params.max_alerts or len(notification.alerts)
        self._send(target, notification.shortened(most), Deadline(self.params.timeout))

    def _send(self, target: SplitResult, notification: Notification, deadline: Deadline) -> None:
        content = msgspec.json.encode(body(notification))
        headers = {"Content-Type": "application/json", "User-Agent": "tocsin", "Connection": "close"}
        if self.params.secret is not None:
            headers |= sign(self.params.secret.reveal(), notification.key, notification.sent, content)
        status, retry_after = self._post(target, content, headers, deadline)
        if 200 <= status < 300:
            return
        if status == _TOO_LARGE and (parts := _smaller(notification)):
            for part in parts:
                self._send(target, part, deadline)
            return
        reason = f"{_place(target)} answered {status} {http.client.responses.get(status, '')}".strip()
        if 300 <= status < 400:
            raise DeliveryError(f"{reason}; redirects are not followed; configure the final URL", retry=False)
        after = _wait(retry_after, notification.sent) if status in _BUSY else None
        raise DeliveryError(reason, retry=status >= 500 or status in _AGAIN, after=after)

    def _post(
        self, url: SplitResult, content: bytes, headers: Mapping[str, str], deadline: Deadline
    ) -> tuple[int, str | None]:
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection = _connect(url, deadline, allow_private=self.params.allow_private)
        try:
            with deadline.over(connection.sock):
                connection.request("POST", target, content, dict(headers))
                with connection.getresponse() as answer:
                    return answer.status, answer.getheader("Retry-After")
        except (OSError, http.client.HTTPException) as error:
            place = _place(url)
            raise DeliveryError(f"{place}: {type(error).__name__}: {error}", retry=True) from error
        finally:
            connection.close()


def _connect(url: SplitResult, deadline: Deadline, *, allow_private: bool) -> http.client.HTTPConnection:
    """Connect to an address that was checked. TLS verifies the certificate against the host name."""
    host, secure = url.hostname or "", url.scheme == "https"
    port = url.port or (443 if secure else 80)
    try:
        addresses = resolve(host, port, allow_private=allow_private, seconds=deadline.left())
        opened = connect(addresses, port, deadline, server_hostname=host if secure else None)
    except OSError as error:
        raise DeliveryError(f"cannot connect to {host}:{port}: {error}", retry=True) from error
    connection = http.client.HTTPConnection(host, port)
    connection.response_class = _FinalResponse
    connection.sock, connection.auto_open = opened, 0
    return connection


class _FinalResponse(http.client.HTTPResponse):
    """The response after all interim ones, such as 103 Early Hints (RFC 9110 §15.2)."""

    def begin(self) -> None:
        super().begin()
        while 100 <= self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()


def _smaller(notification: Notification) -> tuple[Notification, ...]:
    """The two halves of a notification, or its single alert without evidence; empty if it has neither."""
    key, alerts = notification.key, notification.alerts
    if len(alerts) > 1:
        half = (len(alerts) + 1) // 2
        first = replace(notification, key=f"{key}-1", alerts=alerts[:half], more=())
        return first, replace(notification, key=f"{key}-2", alerts=alerts[half:])
    if not alerts[0].evidence:
        return ()
    return (replace(notification, key=f"{key}-0", alerts=(replace(alerts[0], evidence={}),)),)


def sign(secret: str, id: str, sent: datetime, content: bytes) -> dict[str, str]:
    """The three headers of Standard Webhooks 1.0, with which the recipient verifies the sender and the time.

    Raises:
        DeliveryError: the secret is not `whsec_` followed by base64.
    """
    try:
        key = base64.b64decode(secret.strip().removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise DeliveryError(
            "the webhook's secret is not `whsec_` followed by base64; correct it where it is stored",
            retry=True,
        )
    timestamp = str(int(sent.timestamp()))
    mac = hmac.new(key, f"{id}.{timestamp}.".encode() + content, hashlib.sha256).digest()
    return {
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def body(notification: Notification) -> dict[str, Any]:
    """Alertmanager's webhook body, version 4, with Tocsin's own fields under `tocsin`."""
    alerts = [_alert(alert) for alert in notification.alerts]
    return {
        "version": "4",
        "groupKey": notification.group_key,
        "truncatedAlerts": sum(item.count for item in notification.more),
        "status": notification.state.value,
        "receiver": notification.receiver,
        "groupLabels": dict(notification.labels),
        "commonLabels": _common([alert["labels"] for alert in alerts]),
        "commonAnnotations": _common([alert["annotations"] for alert in alerts]),
        "externalURL": "",
        "notification_reason": notification.reason,
        "alerts": alerts,
        "tocsin": {
            "key": notification.key,
            "severity": notification.severity.value,
            "more": [str(item) for item in notification.more],
        },
    }


def _alert(alert: Alert) -> dict[str, Any]:
    over = alert.resolved
    return {
        "status": alert.state.value,
        "labels": {"alertname": alert.detector, **alert.labels},
        "annotations": {
            "summary": plain(alert.reason),
            "playbook": alert.playbook,
            "incident": alert.incident,
        },
        "startsAt": format_time(alert.started),
        "endsAt": "0001-01-01T00:00:00Z" if over is None else format_time(over),
        "generatorURL": "",
        "fingerprint": alert.fingerprint,
        "tocsin": alert.to_dict(),
    }


def _common(of: list[dict[str, str]]) -> dict[str, str]:
    first, *others = of
    return {name: value for name, value in first.items() if all(o.get(name) == value for o in others)}


def _wait(retry_after: str | None, now: datetime) -> float | None:
    """Seconds to wait, from either form of Retry-After (RFC 9110 §10.2.3)."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max((parsedate_to_datetime(retry_after) - now).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def _place(url: SplitResult) -> str:
    return f"{url.scheme}://{url.netloc}"  # the path may be a secret


def _checked(text: str, wrong: str) -> SplitResult:
    try:
        url = urlsplit(text)
        good = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"{wrong}; it must be like https://host/path", key="url")
    if "@" in url.netloc:
        raise ConfigError("url contains a user name or password; remove them", key="url")
    return url
