"""Talking to Grafana's HTTP API: the one user of grafana-client, with retries and errors that say what to do.

It speaks the `/api` of every Grafana since 9, which Grafana 13 still serves beside `/apis`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from tocsin.clock import Clock
from tocsin.errors import TocsinError

if TYPE_CHECKING:
    from grafana_client.client import GrafanaException

#: Seconds that one request may take.
TIMEOUT = 10.0
#: Seconds for which a Grafana that is away is asked again.
PATIENCE = 30.0
#: Statuses after which the same may be asked again; 0: no answer in time.
BUSY = frozenset({0, 429, 502, 503, 504})
_FIRST, _LONGEST = 0.5, 8.0  # seconds between two attempts: doubled each time, up to
_MOST = 5000  # the most hits that Grafana's search gives in one page

INSTALL = (
    "this needs more packages: pip install 'tocsin[grafana]'. On a machine whose Tocsin uses Elasticsearch install them so "
    "that they leave urllib3 alone: URLLIB3_NO_OVERRIDE=1 pip install --no-binary urllib3-future 'tocsin[grafana]'"
)


class GrafanaError(TocsinError):
    """Grafana does not answer, or does not do what it was asked for."""


class Conflict(GrafanaError):  # noqa: N818 — what happened
    """What is in Grafana is not what the request took for granted; `reason` is Grafana's own word for it."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Away(Exception):  # noqa: N818 — a state that passes
    """Grafana does not answer now, or is too busy."""


class Grafana:
    """A Grafana, asked as the service account whose token it is.

    At least once: a request whose answer was lost is sent again. Saves carry the version that they replace, so a
    second one is refused, not doubled.
    """

    def __init__(
        self,
        url: str,
        token: str,
        clock: Clock,
        *,
        ca_certs: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = PATIENCE,
    ) -> None:
        try:
            from grafana_client.api import GrafanaApi
        except ImportError:
            raise GrafanaError(INSTALL) from None
        parts = urlsplit(url)
        prefix = f"{parts.path.strip('/')}/" if parts.path.strip("/") else ""
        self.url, self._clock, self._sleep, self._patience = url, clock, sleep, patience
        self._api: Any = GrafanaApi(  # its calls have no types
            token,
            protocol=parts.scheme,
            host=f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname,
            port=parts.port,
            url_path_prefix=prefix,
            verify=ca_certs or True,
            timeout=TIMEOUT,
        )

    def close(self) -> None:
        """Close its connections."""
        self._api.client.s.close()

    # Folders and dashboards

    def folder(self, uid: str) -> dict[str, Any] | None:
        """A folder, or None where there is none."""
        return self._find("look at folders", "folders:read", lambda: self._api.folder.get_folder(_name(uid)))

    def create_folder(self, uid: str, title: str) -> None:
        """Make a folder.

        Raises:
            Conflict: there is one of that uid or title.
        """
        self._ask(
            f"make the folder {title!r}", "folders:create", lambda: self._api.folder.create_folder(title, uid)
        )

    def dashboard(self, uid: str) -> dict[str, Any] | None:
        """A dashboard as `{dashboard, meta}`, or None where there is none."""
        ask = self._api.dashboard.get_dashboard
        return self._find("look at dashboards", "dashboards:read", lambda: ask(_name(uid)))

    def newest(self, uid: str) -> dict[str, Any]:
        """Who saved a dashboard last, when and with what message; empty where Grafana keeps no history of it."""
        # grafana-client's own call sends `limit` in a body, where Grafana does not look.
        path = f"/dashboards/uid/{_name(uid)}/versions"
        found = self._ask(
            "look at a dashboard's history",
            "dashboards:write",
            lambda: self._api.client.GET(path, params={"limit": 1}),
            absent=True,
        )
        # A list until Grafana 10; since then with a token for what follows.
        versions = found.get("versions", []) if isinstance(found, Mapping) else found or []
        return max(versions, key=lambda version: version["version"], default={})

    def tagged(self, tag: str) -> list[dict[str, Any]]:
        """Every dashboard with a tag, in whatever folder: `{uid, title, folderUid, …}`."""
        search, found = self._api.search.search_dashboards, list[dict[str, Any]]()
        for page in itertools.count(1):
            ask = partial(search, tag=tag, type_="dash-db", limit=_MOST, page=page)
            found += (hits := self._ask("search for dashboards", "dashboards:read", ask))
            if len(hits) < _MOST:
                break
        return found

    def save(self, dashboard: Mapping[str, Any], folder: str, message: str) -> None:
        """Save a dashboard, over the `version` that it has, or as a new one without.

        Raises:
            Conflict: another version is there, or another dashboard has its title.
        """
        body = {"dashboard": dict(dashboard), "folderUid": folder, "message": message, "overwrite": False}
        permission = "dashboards:write" if dashboard.get("version") else "dashboards:create"
        self._ask(
            f"save the dashboard {dashboard['uid']}",
            permission,
            lambda: self._api.dashboard.update_dashboard(body),
        )

    def delete(self, uid: str) -> None:
        """Delete a dashboard; one that is gone already is no error."""
        ask = self._api.dashboard.delete_dashboard
        self._find(f"delete the dashboard {uid}", "dashboards:delete", lambda: ask(_name(uid)))

    # Data sources

    def data_source(self, uid: str) -> dict[str, Any] | None:
        """A data source without its secrets, or None where there is none."""
        ask = self._api.datasource.get_datasource_by_uid
        return self._find("look at data sources", "datasources:read", lambda: ask(_name(uid)))

    def create_data_source(self, body: Mapping[str, Any]) -> None:
        """Make a data source.

        Raises:
            Conflict: there is one of that uid or name.
        """
        self._ask(
            f"make the data source {body['name']!r}",
            "datasources:create",
            lambda: self._api.datasource.create_datasource(dict(body)),
        )

    # Alerting

    def rule_group(self, folder: str, group: str) -> dict[str, Any] | None:
        """A group of alert rules, or None where there is none."""
        ask = self._api.alertingprovisioning.get_rule_group
        return self._find(
            "look at alert rules", "alert.provisioning:read", lambda: ask(_name(folder), _name(group))
        )

    def put_rule_group(self, folder: str, group: str, body: Mapping[str, Any]) -> None:
        """Put a group of alert rules in place of the one of that name."""
        ask = self._api.alertingprovisioning.update_rule_group
        self._ask(
            f"put the alert rules {group!r}",
            "alert.provisioning:write",
            lambda: ask(_name(folder), _name(group), dict(body)),
        )

    def contact_points(self) -> Sequence[dict[str, Any]]:
        """Every contact point, secrets blacked out."""
        ask = self._api.alertingprovisioning.get_contactpoints
        found: Sequence[dict[str, Any]] = self._ask("look at contact points", "alert.provisioning:read", ask)
        return found

    def create_contact_point(self, body: Mapping[str, Any]) -> None:
        """Make a contact point."""
        ask = self._api.alertingprovisioning.create_contactpoint
        self._ask(
            f"make the contact point {body['name']!r}", "alert.provisioning:write", lambda: ask(dict(body))
        )

    # Asking

    def _find(self, what: str, permission: str, ask: Callable[[], Any]) -> dict[str, Any] | None:
        """What `ask` gives; None where Grafana says that there is no such thing."""
        found: dict[str, Any] | None = self._ask(what, permission, ask, absent=True)
        return found

    def _ask(self, what: str, permission: str, ask: Callable[[], Any], *, absent: bool = False) -> Any:
        """What `ask` gives, asked again while Grafana is away.

        Raises:
            Conflict: what is there stands against it.
            GrafanaError: Grafana does not do it, or was away for too long.
        """
        end, wait = self._clock.monotonic() + self._patience, _FIRST
        while True:
            try:
                return self._once(what, permission, ask, absent=absent)
            except _Away as away:
                if self._clock.monotonic() + wait > end:
                    raise GrafanaError(
                        f"Grafana at {self.url} cannot {what}: it has been away for {self._patience:.0f} s ({away}); "
                        "check grafana.url and that Grafana runs, then do the same again"
                    ) from None
            self._sleep(wait)
            wait = min(2 * wait, _LONGEST)

    def _once(self, what: str, permission: str, ask: Callable[[], Any], *, absent: bool) -> Any:
        from grafana_client.client import GrafanaException
        from niquests.exceptions import SSLError

        try:
            return self._told(what, ask())
        except GrafanaException as error:
            if error.status_code in BUSY:
                why = f"HTTP status {error.status_code}" if error.status_code else "no answer in time"
                raise _Away(why) from None
            if error.status_code == 404 and absent and isinstance(error.response, Mapping):
                return None
            raise self._refused(what, permission, error) from None
        except SSLError as error:
            raise GrafanaError(
                f"Grafana at {self.url} cannot be trusted: {error}; set grafana.ca_certs to the file of its authority"
            ) from None
        except ValueError:  # neither JSON nor a page
            return self._told(what, "")
        except OSError as error:  # all of niquests' own are of this kind
            raise _Away(str(error)) from None

    def _told(self, what: str, answer: Any) -> Any:
        if isinstance(answer, str):  # grafana-client gives a page as its text
            raise self._page(what)
        return answer

    def _page(self, what: str) -> GrafanaError:
        return GrafanaError(
            f"Grafana at {self.url} cannot {what}: the answer is a page, not JSON; check that grafana.url is Grafana's "
            "own and that nothing between asks for a login"
        )

    def _refused(self, what: str, permission: str, error: GrafanaException) -> GrafanaError:
        body, status = error.response, error.status_code
        said = body.get("message") or "" if isinstance(body, Mapping) else ""
        if status == 404 and not isinstance(body, Mapping):  # another server's
            return self._page(what)
        line = f"Grafana at {self.url} cannot {what}: {said or 'no reason given'} (HTTP status {status})"
        if status == 401:
            return GrafanaError(f"{line}; check that grafana.token names a valid token of a service account")
        if status == 403:
            return GrafanaError(
                f"{line}; the token lacks the permission {permission}: give it to the service account, or the role "
                f"{'Editor' if permission.startswith(('dashboards', 'folders')) else 'Admin'}"
            )
        if status in {409, 412}:
            return Conflict(line, str(body.get("status") or "") if isinstance(body, Mapping) else "")
        return GrafanaError(line)


def _name(text: str) -> str:
    return quote(text, safe="")
