"""Computes and applies the changes of a push to Grafana's dashboards, and preserves the changes of analysts.

Tocsin saves each version of a dashboard with the message `tocsin <version> <digest>`. The message of the newest version
therefore shows who saved that version. If a user saved it, a push keeps the dashboard. If Tocsin saved it and the digest
is that of the built dashboard, the dashboard is current, even if Grafana has added default values since then. A push
reads no dashboards with other uids.
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

#: Uid of Tocsin's folder in Grafana. The title of the folder is configurable.
FOLDER_UID = "tocsin"
#: Tag of every built dashboard.
TAG = "tocsin"
_OURS = re.compile(r"tocsin \S+ ([0-9a-f]{12})")
Dashboard = Mapping[str, Any]


@dataclass
class Folder:
    """Tocsin's folder in Grafana. It is created before the first dashboard is saved in it, and never moved or renamed."""

    grafana: Grafana
    title: str = "Tocsin"
    uid: str = FOLDER_UID
    there: bool = False

    def ensure(self) -> str:
        """Create the folder if it does not exist.

        Returns:
            The uid of the folder.

        Raises:
            GrafanaError: another folder has the title, or the token may not create folders.
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
    """Compute the change that a push would make to each dashboard. Nothing is written.

    Args:
        grafana: the client of Grafana's API.
        dashboards: the built dashboards by uid.
        folder: the folder for new dashboards.
        overwrite: replace the dashboards that a user changed in Grafana.
        prune: delete the dashboards that Tocsin saved and that are no longer built.

    Raises:
        GrafanaError: a request to Grafana failed.
    """
    changes = [
        _compare(grafana, uid, built, folder, overwrite=overwrite)
        for uid, built in sorted(dashboards.items())
    ]
    return [*changes, *_no_longer_built(grafana, dashboards.keys(), prune)]


def pull(grafana: Grafana, uid: str, built: Dashboard) -> str:
    """A patch that changes the built dashboard to the dashboard in Grafana; empty if both are equal.

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
    """Compute the change of one dashboard. With `retry`, a save that conflicts with another save is tried once more."""
    change = partial(Change, "dashboard", uid, str(built.get("title", uid)))
    # The dashboard is read before its history: a save between the two reads is in the history, or Grafana refuses our save.
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
    # A user may have moved the dashboard to another folder. It stays there.
    place = dataclasses.replace(folder, uid=str(meta.get("folderUid") or ""), there=True)
    over = {**built, "version": have["version"]}
    return change("changed", why, diff, partial(_save, grafana, uid, over, place, retry))


def _save(grafana: Grafana, uid: str, dashboard: Dashboard, folder: Folder, retry: bool) -> Change:
    """Save a dashboard. If another save came first, compare again, and keep the changes of a user."""
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
        if (
            now.state == "unchanged"
        ):  # our save succeeded and its response was lost, or another push saved the same
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
    """Delete a dashboard, unless a user has changed it since the comparison."""
    newest = grafana.newest(change.uid)
    if newest and not _OURS.fullmatch(str(newest.get("message") or "")):
        return change.but(
            "kept", f"changed in Grafana by {newest.get('createdBy') or 'an unknown user'} just now"
        )
    grafana.delete(change.uid)
    return change.but("removed", "no longer built")
