"""Dashboards in Grafana: what a push would do, and doing it without losing what an analyst has changed.

Every save carries the message `tocsin <version> <digest>`. So the newest version's message says whether Tocsin saved it,
and then what: one that somebody else saved is theirs and is kept; one of ours with the digest of what is built is
current, whatever defaults Grafana has filled in since. Dashboards with other uids are never looked into.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

from tocsin_dashboards.changes import Change, difference, digest, patch, text
from tocsin_dashboards.grafana import Conflict, Grafana, GrafanaError

#: The folder in Grafana, by its uid; its title may be another.
FOLDER_UID = "tocsin"
#: Every built dashboard has it.
TAG = "tocsin"
_OURS = re.compile(r"tocsin \S+ ([0-9a-f]{12})")
Dashboard = Mapping[str, Any]


@dataclass
class Folder:
    """Tocsin's folder; made with the first dashboard that is saved in it, and left alone where it is."""

    grafana: Grafana
    title: str = "Tocsin"
    uid: str = FOLDER_UID
    there: bool = False

    def ensure(self) -> str:
        """Its uid; afterwards it is there.

        Raises:
            GrafanaError: another folder has its title, or it may not be made.
        """
        if not self.there and not self.grafana.has_folder(self.uid):
            try:
                self.grafana.create_folder(self.uid, self.title)
            except Conflict:
                if not self.grafana.has_folder(self.uid):  # another push may have created it since the search
                    raise GrafanaError(
                        f"Grafana has a folder {self.title!r} that is not Tocsin's (its uid is not {self.uid!r}), or that "
                        "the token may not read; rename the folder, set grafana.folder to "
                        "another title, or grant folders:read"
                    ) from None
        self.there = True
        return self.uid


def plan(
    grafana: Grafana,
    dashboards: Mapping[str, Dashboard],
    folder: Folder,
    *,
    overwrite: bool = False,
    prune: bool = False,
) -> list[Change]:
    """What a push would do to each dashboard; nothing is written.

    With `overwrite` what somebody changed in Grafana is replaced, with `prune` what is no longer built is deleted.

    Raises:
        GrafanaError: Grafana cannot be asked.
    """
    changes = [
        _compare(grafana, uid, built, folder, overwrite=overwrite)
        for uid, built in sorted(dashboards.items())
    ]
    return [*changes, *_no_longer_built(grafana, dashboards.keys(), prune)]


def pull(grafana: Grafana, uid: str, built: Dashboard) -> str:
    """A patch from what is built to what Grafana has; empty where they are equal.

    Raises:
        GrafanaError: Grafana has no such dashboard.
    """
    found = grafana.dashboard(uid)
    if found is None:
        raise GrafanaError(
            f"Grafana at {grafana.url} has no dashboard {uid}; `tocsin dashboards push` makes it"
        )
    return patch(uid, built, found["dashboard"])


def _compare(
    grafana: Grafana, uid: str, built: Dashboard, folder: Folder, *, overwrite: bool, retry: bool = True
) -> Change:
    """What a push would do; with `retry`, a save that conflicts with another save compares and saves once more."""
    change = partial(Change, "dashboard", uid, str(built.get("title", uid)))
    # In this order: what is saved after the first answer shows in the second, or is refused by its version.
    found = grafana.dashboard(uid)
    if found is None:
        return change(
            "added",
            f"{len(built.get('panels', ()))} panels",
            "",
            partial(_save, grafana, uid, built, folder, retry),
        )
    newest = grafana.newest(uid)
    ours = _OURS.fullmatch(str(newest.get("message") or ""))
    have, meta = found["dashboard"], found.get("meta", {})
    diff = difference(uid, text(have), text(built))
    if not diff or (ours and ours[1] == digest(built)):
        return change("unchanged")
    if meta.get("provisioned"):
        return change("kept", "Grafana has it from a file: change that (`tocsin dashboards build`)", diff)
    who = f"{newest.get('createdBy') or 'an unknown user'} at {newest.get('created') or 'an unknown time'}"
    if not ours and not overwrite:
        return change("kept", f"changed in Grafana by {who}", diff)
    why = "" if ours else f"replaces what {who} saved; Grafana's history keeps that"
    # One that was moved stays where it was moved to.
    place = dataclasses.replace(folder, uid=str(meta.get("folderUid") or ""), there=True)
    over = {**built, "version": have["version"]}
    return change("changed", why, diff, partial(_save, grafana, uid, over, place, retry))


def _save(grafana: Grafana, uid: str, dashboard: Dashboard, folder: Folder, retry: bool) -> Change:
    """Save. If another save came first, compare once more, and keep the changes of an analyst."""
    done = Change(
        "dashboard", uid, str(dashboard.get("title", uid)), "changed" if "version" in dashboard else "added"
    )
    message = f"tocsin {version('tocsin')} {digest(dashboard)}"
    try:
        grafana.save({**dashboard, "uid": uid, "id": None}, folder.ensure(), message)
    except Conflict as error:
        if error.reason == "name-exists":
            raise GrafanaError(f"{error}; rename the other dashboard of this title") from None
        built = {key: value for key, value in dashboard.items() if key != "version"}
        now = _compare(grafana, uid, built, folder, overwrite=False, retry=False)
        if now.state == "unchanged":  # it was this save, and its answer was lost; or another push of the same
            return done
        if now.apply is not None:
            return now.apply() if retry else now.but("kept", "other users keep saving it: push again later")
        return now
    return done


def _no_longer_built(grafana: Grafana, built: Collection[str], prune: bool) -> Iterator[Change]:
    for hit in sorted(grafana.tagged(TAG), key=lambda hit: str(hit["uid"])):
        uid = hit["uid"]
        if uid in built or not _OURS.fullmatch(str(grafana.newest(uid).get("message") or "")):
            continue
        change = Change("dashboard", uid, hit["title"], "removed", "no longer built; --prune deletes it")
        yield (
            dataclasses.replace(change, reason="no longer built", apply=partial(_delete, grafana, change))
            if prune
            else change
        )


def _delete(grafana: Grafana, change: Change) -> Change:
    """Delete, unless somebody has changed it since it was looked at."""
    newest = grafana.newest(change.uid)
    if newest and not _OURS.fullmatch(str(newest.get("message") or "")):
        return change.but(
            "kept", f"changed in Grafana by {newest.get('createdBy') or 'an unknown user'} just now"
        )
    grafana.delete(change.uid)
    return change.but("removed", "no longer built")
