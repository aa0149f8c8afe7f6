"""Sends notifications by e-mail through an SMTP server."""

from __future__ import annotations

import smtplib
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape

from tocsin.config.secret import Secret
from tocsin.contract.alerts import Alert, Notification
from tocsin.contract.plugin import Receiver, Stability, param
from tocsin.errors import ConfigError, DeliveryError
from tocsin_alerting.addresses import resolve
from tocsin_alerting.connections import Deadline, connect
from tocsin_alerting.wording import facts, heading, more, title

_MOST = 50  # alerts described in one mail
_COLORS = {"critical": "#8b0000", "high": "#c62828", "medium": "#b26a00", "low": "#1a5fb4", "info": "#555"}


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of the email receiver."""

    host: str = param(doc="the SMTP server")
    sender: str = param(doc="sender address of the mail")
    to: list[str] = param(doc="addresses of the recipients")
    port: int = param(587, ge=1, le=65535, doc="the server's port")
    security: str = param(
        "starttls", choices=("starttls", "ssl", "none"), doc="how the connection is secured"
    )
    username: str = param("", doc="user name for the login; empty: no login")
    password: Secret | None = param(None, doc="password for the login, as {env: NAME} or {file: PATH}")
    timeout: float = param(
        10.0, ge=1, le=120, doc="maximum seconds of a delivery, from the name lookup to the answer"
    )

    def __post_init__(self) -> None:
        if not self.to:
            raise ConfigError("`to` is empty; list at least one address", key="to")
        if self.username and self.password is None:
            raise ConfigError("username is set without a password; set `password`", key="password")
        if self.username and self.security == "none":
            raise ConfigError(
                "a password is not sent over an unencrypted connection; set `security` to starttls or ssl",
                key="security",
            )


class Email(Receiver[Params]):
    """Sends one mail per notification, as text and HTML. The mails of a group form a thread.

    Delivery: at least once. The Message-ID is derived from the notification's key, so a mail that is sent again has the
    same Message-ID. If the server rejects some addresses permanently, the other recipients receive the mail.
    The notification is then recorded as failed, with a reason that names the rejected addresses. If the server
    rejects some addresses temporarily, the mail is sent to all addresses again.
    """

    id = "email"
    stability = Stability.BETA

    def send(self, notification: Notification) -> None:
        notification = notification.shortened(_MOST)
        message = compose(notification, self.params.sender, self.params.to)
        try:
            refused = self._deliver(message, Deadline(self.params.timeout))
        except smtplib.SMTPRecipientsRefused as error:
            refused = error.recipients
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            raise _failed(error.smtp_code, error.smtp_error) from error
        except (smtplib.SMTPException, OSError) as error:
            place = f"{self.params.host}:{self.params.port}"
            raise DeliveryError(f"{place}: {type(error).__name__}: {error}", retry=True) from error
        if refused:
            names = ", ".join(sorted(refused))
            worst, text = min((code, text) for code, text in refused.values())
            raise _failed(worst, text, f"refused for {names}: ")

    def _deliver(self, message: EmailMessage, deadline: Deadline) -> dict[str, tuple[int, bytes]]:
        p = self.params
        secured = p.host if p.security == "ssl" else None
        # the operator names the mail server, which is often in a private network
        addresses = resolve(p.host, p.port, allow_private=True, seconds=deadline.left())
        opened = connect(addresses, p.port, deadline, server_hostname=secured)
        server = None
        try:
            with deadline.over(opened):
                server = _Server(opened, p.host, deadline)
                if p.security == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if p.username and p.password is not None:
                    server.login(p.username, p.password.reveal())
                refused = server.send_message(message)
            with suppress(smtplib.SMTPException, OSError), deadline.over(server.sock or opened):
                server.quit()  # the server has already accepted the mail
        finally:
            (server or opened).close()
        return refused


class _Server(smtplib.SMTP):
    """An SMTP session on a connection that is open."""

    def __init__(self, opened: socket.socket, host: str, deadline: Deadline) -> None:
        self._opened = opened
        super().__init__(host, timeout=deadline.left())

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:  # noqa: ARG002
        return self._opened


def _failed(code: int, text: bytes | str, before: str = "") -> DeliveryError:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return DeliveryError(f"{before}{code} {words}", retry=400 <= code < 500)


def compose(notification: Notification, sender: str, to: list[str]) -> EmailMessage:
    """The mail for a notification."""
    domain = sender.rpartition("@")[2].strip("> ") or "tocsin.invalid"
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Subject"] = title(notification)
    message["Date"] = format_datetime(notification.sent)
    message["Message-ID"] = f"<{notification.key}@{domain}>"
    if notification.thread != notification.key:
        message["In-Reply-To"] = message["References"] = f"<{notification.thread}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_text(notification), cte="quoted-printable")
    message.add_alternative(_html(notification), subtype="html", cte="quoted-printable")
    return message


def _text(notification: Notification) -> str:
    parts = [f"{title(notification)} ({notification.reason})"]
    parts += [_paragraph(alert) for alert in notification.alerts]
    return "\n\n".join([*parts, *more(notification)]) + "\n"


def _paragraph(alert: Alert) -> str:
    return "\n".join([heading(alert), *(f"  {name}: {value}" for name, value in facts(alert))])


def _html(notification: Notification) -> str:
    parts = [f"<h2>{escape(title(notification))}</h2><p>{escape(notification.reason)}</p>"]
    for alert in notification.alerts:
        color = _COLORS[alert.severity.value] if alert.firing else "#2e7d32"
        rows = "".join(
            f'<tr><td style="color:#666;padding-right:1em;vertical-align:top">{escape(name)}</td>'
            f"<td>{escape(value)}</td></tr>"
            for name, value in facts(alert)
        )
        parts.append(f'<h3 style="color:{color}">{escape(heading(alert))}</h3><table>{rows}</table>')
    parts += [f"<p>{escape(line)}</p>" for line in more(notification)]
    return f'<html><body style="font-family:sans-serif">{"".join(parts)}</body></html>'
