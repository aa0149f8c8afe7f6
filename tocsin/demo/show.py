"""The output of `tocsin demo`: progress, the table of attacks, an incident, the result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tocsin.clock import format_time
from tocsin.contract.incidents import StepState
from tocsin.demo import report
from tocsin.demo.outcome import TIMES, Story
from tocsin.demo.story import simulate
from tocsin.report.words import delay
from tocsin.words import count


def run_demo(folder: Path, seed: int, cluster: str = "") -> bool:
    """Run the demo and print the result; true if every attack was found and the quiet weeks had no false alarm."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    began = time.monotonic()
    if console.is_terminal:
        with Console(stderr=True, highlight=False).status("starting") as status:
            app, story = simulate(folder, seed, status.update, cluster)
            status.update("writing the report")
            report.write(app, story, folder / "report.html")
    else:
        app, story = simulate(folder, seed, _progress_lines(), cluster)
        report.write(app, story, folder / "report.html")
    console.print()
    console.print(_found(story))
    console.print()
    console.print(_times(story))
    _print_facts(console, story)
    _print_incident(folder, story)
    _print_verdict(console, story)
    click.echo(f"\nReport: {folder / 'report.html'}   ({time.monotonic() - began:.0f} s)")
    click.echo(f"List the findings: tocsin -c {folder / 'tocsin.yaml'} findings")
    app.close()
    return story.good


def _progress_lines() -> Callable[[str], None]:
    """Progress if the output is not a terminal: one line per week, not one per day."""
    last = ""

    def print_week(line: str) -> None:
        nonlocal last
        week = line.partition(", day")[0]
        if week != last:
            last = week
            print(line.replace(", day 1", ""), file=sys.stderr, flush=True)  # noqa: T201

    return print_week


def _found(story: Story) -> Table:
    """What found each attack."""
    title = f"{story.calls:,} calls by {story.principals} principals, seed {story.seed}"
    table = _table(title, "attack", "technique", "started", "found by", "severity", "finding")
    for detection in story.detections:
        attack = detection.attack
        table.add_row(
            attack.name,
            attack.technique,
            format_time(attack.started),
            detection.detector or "nothing",
            detection.severity.value if detection.severity else "missed",
            detection.reason,
        )
    return table


def _times(story: Story) -> Table:
    """How fast each attack was paged, and what the page saved."""
    columns = ("attack", "first act", "decisive event", "page", *TIMES, "saved by the page")
    table = _table("a page is a notification of high or above", *columns)
    for detection in story.detections:
        decisive = detection.decisive.at if detection.decisive else None
        times = detection.attack.started, decisive, detection.page
        table.add_row(
            detection.attack.name,
            *(f"{time:%m-%d %H:%M:%S}" if time else "–" for time in times),
            delay(detection.reaction),
            delay(detection.delay),
            detection.saved or "–",
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=None)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print_facts(console: Console, story: Story) -> None:
    console.print()
    for detection in story.detections:
        if detection.attack.facts:
            facts = ", ".join(f"{name} {value}" for name, value in detection.attack.facts.items())
            console.print(f"{detection.attack.name}: {facts}")


def _print_incident(folder: Path, story: Story) -> None:
    """The incident of the poisoned feed: its state, its owner, and the steps of its playbook."""
    for incident in [i for i in story.incidents if i.subject.type == "dataset"][:1]:
        click.echo(
            f"\nIncident {incident.id}: {incident.severity}, {incident.subject.type} {incident.subject.id}, "
            f"{incident.state}{f', owner {incident.owner}' if incident.owner else ''}, playbook {incident.playbook}"
        )
        for number, step in enumerate(incident.steps, 1):
            mark = "x" if step.state is StepState.DONE else " "
            click.echo(f"  {number:2}. [{mark}] {step.name} ({step.who})")
        click.echo(
            f"  Instructions for each step: tocsin -c {folder / 'tocsin.yaml'} incidents {incident.id}"
        )


def _print_verdict(console: Console, story: Story) -> None:
    caught = sum(d.caught for d in story.detections)
    console.print(f"\n{caught} of {len(story.detections)} attacks found at high or above", end="; ")
    if not story.false_alarms:
        console.print("no false alarm in the quiet weeks.")
        return
    console.print(f"{count(len(story.false_alarms), 'finding')} above low in the quiet weeks:")
    for row in story.false_alarms:
        console.print(
            f"  {row['tocsin.window.start']:%Y-%m-%d} {row['tocsin.detector.id']} {row['tocsin.subject.id']} "
            f"{row['tocsin.severity']}: {row['event.reason']}",
            markup=False,
        )
