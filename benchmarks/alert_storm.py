"""A storm of alerts: how long until the one critical alert is delivered, and what a tick costs.

Run `python -m benchmarks.alert_storm [--flood N] [--severity low] [--each]`. N subjects have a finding of this severity and
one subject, last by name, has a `critical` one. They reach one receiver. With `--each` every alert has its own group, else
they share one. The store is on this machine. Printed: seconds until the critical alert was delivered, seconds of the whole
tick, notifications, and the growth of memory.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from tests.alerting.conftest import Scene
from tocsin.contract.findings import Subject


def megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def storm(folder: Path, flood: int, severity: str, group_by: list[str]) -> tuple[float, float, int]:
    """Seconds to the critical notification, seconds of the tick, and how many notifications were delivered."""
    scene = Scene(folder, {"receiver": "oncall", "group_by": group_by, "group_wait": "0s"})
    for i in range(flood):
        scene.finding(0, severity, Subject("principal", f"made-up-{i:06}"), "registry_access")
    scene.finding(0, "critical", Subject("principal", "zz-intruder"), "registry_access")
    scene.flush()
    out: list[float] = []
    began = time.perf_counter()

    def sent() -> None:
        out.append(time.perf_counter() - began)

    scene.oncall.on_send = sent
    scene.alerting.tick(last=True)
    whole = time.perf_counter() - began
    at = next(
        when
        for when, told in zip(out, scene.oncall.sent, strict=True)
        if any(alert.severity.value == "critical" for alert in told.alerts)
    )
    scene.store.close()
    return at, whole, len(scene.oncall.sent)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flood", type=int, default=15_000, help="findings of the flood (default: 15000)")
    parser.add_argument("--severity", choices=("low", "medium", "high"), default="low")
    parser.add_argument("--each", action="store_true", help="one group an alert")
    given = parser.parse_args()
    before = megabytes()
    with tempfile.TemporaryDirectory() as folder:
        group_by = ["..."] if given.each else ["detector"]
        at, whole, count = storm(Path(folder), given.flood, given.severity, group_by)
    print(
        f"{given.flood + 1} alerts: critical delivered after {at:.1f} s, whole tick {whole:.1f} s, "
        f"{count} notifications, memory +{megabytes() - before} MB"
    )


if __name__ == "__main__":
    main()
