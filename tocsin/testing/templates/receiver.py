"""`tocsin plugins new receiver NAME`: appends alerts to a file."""

from __future__ import annotations

_RECEIVER = '''\
"""Alerts as lines of a JSON file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tocsin import DeliveryError, Receiver, Stability, param
from tocsin.clock import format_time
from tocsin.contract.alerts import Notification


@dataclass(frozen=True, slots=True)
class Params:
    """Settings. They are set in tocsin.yaml under `alerting: {{receivers: {{NAME: {{type: {name}, path: …}}}}}}`."""

    path: str = param(doc="the file to append to; it is created if it does not exist")


class {cls}(Receiver[Params]):
    """Appends one JSON line for each alert of a notification.

    Delivery: at least once. After a crash the same notification may be sent again; its lines then have the
    same `key` and `fingerprint`, so a reader can drop them. A file that cannot be written is tried again.
    """

    id = "{name}"
    stability = Stability.EXPERIMENTAL

    def send(self, notification: Notification) -> None:
        lines = [
            json.dumps(
                {{
                    "key": notification.key,
                    "sent": format_time(notification.sent),
                    "fingerprint": alert.fingerprint,
                    "state": alert.state.value,
                    "severity": alert.severity.value,
                    "subject": f"{{alert.subject.type}} {{alert.subject.id}}",
                    "reason": alert.reason,
                }}
            )
            for alert in notification.alerts
        ]
        path = Path(self.params.path)
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write("\\n".join(lines) + "\\n")
        except OSError as error:
            raise DeliveryError(f"{{path}} cannot be written: {{error.strerror}}", retry=True) from error
'''

_TEST = '''\
"""The receiver with a made-up notification. Run with: pytest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tocsin import DeliveryError
from tocsin.testing import notification

from tocsin_{name} import {name}


def test_an_alert_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "alerts.ndjson"
    receiver = {name}.{cls}({name}.Params(path=str(path)))
    receiver.send(notification(subject_id="credit", severity="high"))
    receiver.send(notification(subject_id="credit", resolved=True))
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["state"], first["severity"], first["subject"]) == ("firing", "high", "model credit")
    assert second["state"] == "resolved"


def test_a_notification_that_is_sent_twice_has_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "alerts.ndjson"
    receiver = {name}.{cls}({name}.Params(path=str(path)))
    receiver.send(notification())
    receiver.send(notification())
    keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
    assert len(keys) == 2 and len(set(keys)) == 1


def test_a_file_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    receiver = {name}.{cls}({name}.Params(path=str(tmp_path / "absent" / "alerts.ndjson")))
    with pytest.raises(DeliveryError) as caught:
        receiver.send(notification())
    assert caught.value.retry
'''

FILES = {
    "tocsin_{name}/{name}.py": _RECEIVER,
    "tests/test_{name}.py": _TEST,
}
