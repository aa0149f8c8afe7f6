"""The kinds of actions, by their names: what a rule is about, and what is serious.

Names of actions come from many systems and are read in snake case: `DeleteModelPackage` is `delete_model_package`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType

_THINGS = r"(_(object|model|version|dataset|artifact|repository|image))*$"
_RIGHTS = r"(policy|permission|permissions|acl)(_|$)"
_WATCH = r"(audit|log|logs|logging|trail|detector|monitoring)(_|$)"

#: Patterns of action names by kind. They are applied in snake case: `StopLogging` becomes `stop_logging`.
KINDS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "download": re.compile(r"(^|_)(download|pull|export|get_object|get_secret_value)(_|$)"),
        "delete": re.compile(r"^(delete|remove|purge)" + _THINGS),
        "create": re.compile(r"^(create|upload|register|put|import|restore|copy)" + _THINGS),
        "promote": re.compile(r"(^|_)(promote|transition)(_|$)"),
        "evaluate": re.compile(r"(^|_)(evaluate|validate|approve)(_|$)"),
        "grant": re.compile(
            r"^(grant(_|$)|(add|attach|put|set|create|update)_(.+_)?" + _RIGHTS + r"|add_.+_to_(group|role)$"
            r"|create_(access_key|login_profile)$)"
        ),
        "disable_audit": re.compile(
            r"^((disable|stop|delete|suspend)_(.+_)?" + _WATCH + r"|put_event_selectors$)"
        ),
    }
)

#: Serious actions by kind: what they destroy, whom they let in, what they put into production, what they hide.
SERIOUS = ("delete", "permission", "promotion", "audit")
_TAGS = re.compile(r"(^|_)(un)?tags?(_|$)|label(_|$)")
_DELETE = re.compile(
    r"(^|_)(delete|remove|purge|destroy|drop|deregister|unregister|terminate|erase|wipe|truncate|expire|shred)(_|$)"
)
_MOVE = re.compile(r"(^|_)(alias|aliases|stage|stages|promote|promotion|transition|rollback)(_|$)")
_PERMISSION = re.compile(
    r"(^|_)(grant|revoke|permission|permissions|policy|policies|acl|role|roles|admin|access_key|login_profile|credential"
    r"|credentials)(_|$)"
)
_CHANGE = re.compile(
    r"(^|_)(create|upload|register|put|import|restore|copy|update|set|add|attach|detach|write|publish|log|rename|modify"
    r"|change|edit|replace|post|patch|promote|transition|deploy|disable|enable|move|grant|revoke|tag|untag|push)(_|$)"
)
_READ = re.compile(
    r"^(get|list|describe|search|read|head|view|lookup|batch_get|check|download|simulate|test)(_|$)"
)
#: Types of resources that give rights.
_RIGHTS_TYPES = frozenset(
    {
        "permission",
        "user",
        "role",
        "policy",
        "group",
        "grant",
        "acl",
        "access_key",
        "token",
        "credential",
        "account",
    }
)
#: Types of which everybody deletes their own all day, and accounts, whose owners change their passwords.
_LIGHT = frozenset({"run", "trace", "metric", "span", "session"})
_ACCOUNTS = frozenset({"user", "account", "token", "credential", "access_key"})
_STAGE_TYPES = frozenset({"alias", "stage", "model_alias", "model_stage"})

_ACCOUNT = re.compile(r"user|account|token|access_key|login|credential|password")


def words(action: str) -> str:
    """A name in snake case."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", action).lower())


@functools.lru_cache(maxsize=65_536)
def kinds(action: str) -> frozenset[str]:
    """The kinds that an action belongs to."""
    text = words(action)
    return frozenset(kind for kind, pattern in KINDS.items() if pattern.search(text))


@functools.lru_cache(maxsize=65_536)
def serious(action: str, type_: str | None = None) -> str | None:
    """The kind of a serious action on a type of resource, one of `SERIOUS`; None if the action is not serious."""
    text, of = words(action), words(type_ or "")
    of = of.removesuffix("s") if of != "alias" else of
    if _READ.search(text) or of in _LIGHT or (text == "update" and of in _ACCOUNTS):
        return None
    if "disable_audit" in kinds(action):
        return "audit"
    deletes = _DELETE.search(text) is not None
    changes = deletes or _CHANGE.search(text) is not None
    if "grant" in kinds(action) or (changes and (_PERMISSION.search(text) or of in _RIGHTS_TYPES)):
        return "permission"
    if "promote" in kinds(action) or (changes and (_MOVE.search(text) or of in _STAGE_TYPES)):
        return "promotion"
    return "delete" if deletes and not _TAGS.search(text) else None


@functools.lru_cache(maxsize=65_536)
def changes(action: str, type_: str | None = None) -> bool:
    """Whether an action changes its resource as the one who works on it does: no reading, nothing serious."""
    text = words(action)
    return serious(action, type_) is None and not _READ.search(text) and _CHANGE.search(text) is not None


@functools.lru_cache(maxsize=65_536)
def creates(action: str) -> bool:
    """Whether an action names what it creates (`CreateRole`), other than an account or a credential."""
    text = words(action)
    return re.match(r"create_[a-z]", text) is not None and _ACCOUNT.search(text) is None
