"""A client of Grafana's HTTP API, with retries and errors that say what to do. The only user of grafana-client.

It uses the `/api` paths of Grafana 9 and newer, which Grafana 13 still serves beside `/apis`.
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
#: Seconds for which requests are retried while Grafana is unavailable.
PATIENCE = 30.0
#: HTTP statuses after which a request is retried.
BUSY = frozenset({429, 502, 503, 504})
_FIRST, _LONGEST = 0.5, 8.0  # seconds between two attempts: the first wait, and the limit of its doubling
_MOST = 5000  # Grafana's limit of hits in one page of a search

INSTALL = "this command requires more packages; install them with: pip install 'tocsin[grafana]'"


class GrafanaError(TocsinError):
    """Grafana does not answer, or refuses a request."""


class Conflict(GrafanaError):  # noqa: N818 — named after the HTTP status
    """The request conflicts with what Grafana has stored; `reason` is the `status` field of Grafana's answer."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Away(Exception):  # noqa: N818 — a temporary state
    """Grafana does not answer at the moment, or is too busy."""


class Grafana:
    """A Grafana server, used as the service account that the token belongs to.

    Delivery is at least once: a request whose answer was lost is sent again. A save names the version that it replaces,
    so Grafana refuses a repeated save and no dashboard is duplicated.
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

    def has_folder(self, uid: str) -> bool:
        """Whether there is a folder of that uid that the service account may see.

        A search, because Grafana answers an Editor who reads a missing folder by its uid with 403, not 404.
        """
        return any(
            hit["uid"] == uid
            for hit in self._search("search for folders", "folders:read", "type=dash-folder")
        )

    def create_folder(self, uid: str, title: str) -> None:
        """Create a folder.

        Raises:
            Conflict: a folder has that uid or title.
        """
        self._ask(
            f"create the folder {title!r}",
            "folders:create",
            lambda: self._api.folder.create_folder(title, uid),
        )

    def dashboard(self, uid: str) -> dict[str, Any] | None:
        """A dashboard as `{dashboard, meta}`, or None if Grafana has no dashboard of that uid."""
        ask = self._api.dashboard.get_dashboard
        return self._find("read dashboards", "dashboards:read", lambda: ask(_name(uid)))

    def newest(self, uid: str) -> dict[str, Any]:
        """Who saved a dashboard last, when and with what message; empty if Grafana has no history of the dashboard."""
        # grafana-client's own call sends `limit` in a body, which Grafana ignores.
        path = f"/dashboards/uid/{_name(uid)}/versions?limit=1"
        found = self._ask(
            "read a dashboard's history",
            "dashboards:write",
            lambda: self._api.client.GET(path),
            absent=True,
        )
        # Grafana 9 and 10 return a list; newer versions return an object with a token for the next page.
        versions = found.get("versions", []) if isinstance(found, Mapping) else found or []
        return max(versions, key=lambda version: version["version"], default={})

    def tagged(self, tag: str) -> list[dict[str, Any]]:
        """Every dashboard with a tag, in any folder: `{uid, title, folderUid, …}`."""
        return self._search("search for dashboards", "dashboards:read", f"tag={_name(tag)}&type=dash-db")

    def _search(self, what: str, permission: str, query: str) -> list[dict[str, Any]]:
        """Every hit of a search, page by page; grafana-client's own call has no pages."""
        found = list[dict[str, Any]]()
        for page in itertools.count(1):
            ask = partial(self._api.client.GET, f"/search?{query}&limit={_MOST}&page={page}")
            found += (hits := self._ask(what, permission, ask))
            if len(hits) < _MOST:
                break
        return found

    def save(self, dashboard: Mapping[str, Any], folder: str, message: str) -> None:
        """Save a dashboard: replace its `version`, or create it if the dashboard names no version.

        Raises:
            Conflict: Grafana has another version, or another dashboard has the title.
        """
        body = {"dashboard": dict(dashboard), "folderUid": folder, "message": message, "overwrite": False}
        permission = "dashboards:write" if dashboard.get("version") else "dashboards:create"
        self._ask(
            f"save the dashboard {dashboard['uid']}",
            permission,
            lambda: self._api.dashboard.update_dashboard(body),
        )

    def delete(self, uid: str) -> None:
        """Delete a dashboard; no error if Grafana has no such dashboard."""
        ask = self._api.dashboard.delete_dashboard
        self._find(f"delete the dashboard {uid}", "dashboards:delete", lambda: ask(_name(uid)))

    # Data sources

    def data_source(self, uid: str) -> dict[str, Any] | None:
        """A data source without its secrets, or None if Grafana has no data source of that uid."""
        ask = self._api.datasource.get_datasource_by_uid
        return self._find("read data sources", "datasources:read", lambda: ask(_name(uid)))

    def create_data_source(self, body: Mapping[str, Any]) -> None:
        """Create a data source.

        Raises:
            Conflict: a data source has that uid or name.
        """
        self._ask(
            f"create the data source {body['name']!r}",
            "datasources:create",
            lambda: self._api.datasource.create_datasource(dict(body)),
        )

    # Alerting

    def rule_group(self, folder: str, group: str) -> dict[str, Any] | None:
        """A group of alert rules, or None if Grafana has no such group."""
        ask = self._api.alertingprovisioning.get_rule_group
        return self._find(
            "read alert rules", "alert.provisioning:read", lambda: ask(_name(folder), _name(group))
        )

    def put_rule_group(self, folder: str, group: str, body: Mapping[str, Any]) -> None:
        """Create or replace a group of alert rules."""
        ask = self._api.alertingprovisioning.update_rule_group
        self._ask(
            f"replace the alert rules {group!r}",
            "alert.provisioning:write",
            lambda: ask(_name(folder), _name(group), dict(body)),
        )

    def contact_points(self) -> Sequence[dict[str, Any]]:
        """Every contact point, with redacted secrets."""
        ask = self._api.alertingprovisioning.get_contactpoints
        found: Sequence[dict[str, Any]] = self._ask("read contact points", "alert.provisioning:read", ask)
        return found

    def create_contact_point(self, body: Mapping[str, Any]) -> None:
        """Create a contact point."""
        ask = self._api.alertingprovisioning.create_contactpoint
        self._ask(
            f"create the contact point {body['name']!r}", "alert.provisioning:write", lambda: ask(dict(body))
        )

    # Requests

    def _find(self, what: str, permission: str, ask: Callable[[], Any]) -> dict[str, Any] | None:
        """The answer to a request; None if Grafana answers that the object does not exist."""
        found: dict[str, Any] | None = self._ask(what, permission, ask, absent=True)
        return found

    def _ask(self, what: str, permission: str, ask: Callable[[], Any], *, absent: bool = False) -> Any:
        """The answer to a request, which is retried while Grafana is unavailable.

        Raises:
            Conflict: the request conflicts with what Grafana has stored.
            GrafanaError: Grafana refuses the request, or was unavailable for too long.
        """
        end, wait = self._clock.monotonic() + self._patience, _FIRST
        while True:
            try:
                return self._once(what, permission, ask, absent=absent)
            except _Away as away:
                if self._clock.monotonic() + wait > end:
                    raise GrafanaError(
                        f"Grafana at {self.url} cannot {what}: it has been unavailable for {self._patience:.0f} s ({away}); "
                        "check grafana.url and that Grafana runs, then run the command again"
                    ) from None
            self._sleep(wait)
            wait = min(2 * wait, _LONGEST)

    def _once(self, what: str, permission: str, ask: Callable[[], Any], *, absent: bool) -> Any:
        from grafana_client.client import GrafanaException
        from requests.exceptions import SSLError

        try:
            return self._checked(what, ask())
        except GrafanaException as error:
            if error.status_code in BUSY:
                raise _Away(f"HTTP status {error.status_code}") from None
            if error.status_code == 404 and absent and isinstance(error.response, Mapping):
                return None
            raise self._refused(what, permission, error) from None
        except SSLError as error:
            raise GrafanaError(
                f"Grafana at {self.url} has a certificate that cannot be verified: {error}; "
                "set grafana.ca_certs to the certificate file of its authority"
            ) from None
        except ValueError:  # the answer is neither JSON nor text
            return self._checked(what, "")
        except OSError as error:  # every error of requests is an OSError
            raise _Away(str(error)) from None

    def _checked(self, what: str, answer: Any) -> Any:
        if isinstance(answer, str):  # grafana-client returns an HTML page as text
            raise self._page(what)
        return answer

    def _page(self, what: str) -> GrafanaError:
        return GrafanaError(
            f"Grafana at {self.url} cannot {what}: the answer is a page, not JSON; check that grafana.url is the URL of "
            "Grafana itself and that no proxy asks for a login"
        )

    def _refused(self, what: str, permission: str, error: GrafanaException) -> GrafanaError:
        body, status = error.response, error.status_code
        message = body.get("message") or "" if isinstance(body, Mapping) else ""
        if status == 404 and not isinstance(body, Mapping):  # the answer of another server
            return self._page(what)
        line = f"Grafana at {self.url} cannot {what}: {message or 'no reason given'} (HTTP status {status})"
        if status == 401:
            return GrafanaError(f"{line}; check that grafana.token names a valid token of a service account")
        if status == 403:
            return GrafanaError(
                f"{line}; the token lacks the permission {permission}: grant the service account the permission, or "
                f"the role {'Editor' if permission.startswith(('dashboards', 'folders')) else 'Admin'}"
            )
        if status in {409, 412}:
            return Conflict(line, str(body.get("status") or "") if isinstance(body, Mapping) else "")
        return GrafanaError(line)


def _name(text: str) -> str:
    return quote(text, safe="")
