"""Rules for sensitive fields, and the fields that a rule applies to, however an event spells and nests their names.

A field that the stream defines is covered by its exact name. In the parts of an event that its source defines (`labels` and
unknown fields), a rule for `user.id` also covers `User.ID`, `userId`, `user_ids`, `audit.user.id`, and a plain value in the
place of the object: `{"user": "ana"}`. There, it is better to protect too much than too little.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Action = Literal["pseudonymize", "mask", "drop"]
Words = tuple[str, ...]
#: The parts of an event that its source defines, in which names have no fixed spelling.
OPEN = ("labels", "tocsin.unmapped")
#: Fields of CloudTrail that name who it was, in words. A rule for `user` or a field below it covers them.
_IDENTITIES: tuple[Words, ...] = tuple(
    tuple(name.split())
    for name in (
        "user identity", "assumed role user", "federated user", "role session name", "session issuer", "source identity",
        "principal id", "on behalf of",
    )
)  # fmt: skip
#: The keys that AWS uses below these fields, and those of them whose values name nobody.
_AWS_KEYS = frozenset({
    "accessKeyId", "arn", "assumedRoleId", "attributes", "credentialId", "federatedProvider", "federatedUserId",
    "identityProvider", "identityStoreArn", "onBehalfOf", "principalId", "sessionContext", "sessionIssuer", "sourceIdentity",
    "userId", "userName", "webIdFederationData",
})  # fmt: skip
_NAMELESS = frozenset({
    "accountId", "creationDate", "ec2RoleDelivery", "inScopeOf", "invokedBy", "mfaAuthenticated", "type",
})  # fmt: skip
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W_]+")
_LONGEST = 512  # characters of a name whose words are remembered


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do with a field and everything below it. No `streams` means all of them."""

    field: str
    action: Action
    streams: tuple[str, ...] = ()

    def is_for(self, stream: str) -> bool:
        """Whether the rule applies to this stream."""
        return not self.streams or stream in self.streams

    def covers(self, stream: str, name: str) -> bool:
        """Whether the rule applies to this field of this stream."""
        return self.is_for(stream) and (name == self.field or name.startswith(f"{self.field}."))

    def reaches_into(self, stream: str, name: str) -> bool:
        """Whether the rule applies to a field below this one."""
        return self.is_for(stream) and self.field.startswith(f"{name}.")


class Match(NamedTuple):
    """The rule that applies to a field. An `identity` is a field of CloudTrail: its keys are known."""

    rule: Rule
    identity: bool = False

    def keeps_key(self, key: str) -> bool:
        """Whether a key below the field is no data."""
        return self.identity and (key in _AWS_KEYS or key in _NAMELESS)

    def keeps_value(self, path: str, value: object) -> bool:
        """Whether the value at a path names nobody."""
        return self.identity and isinstance(value, str | bool) and path.rpartition(".")[2] in _NAMELESS


class Fields:
    """Finds the rule for a field."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple((rule, _patterns(rule.field), _parents(rule.field)) for rule in rules)
        #: The most parts of a name that a rule looks at.
        self.reach = max((len(p) for _, patterns, _ in self._rules for p in patterns), default=1) + 2
        people = [rule for rule in rules if rule.field.partition(".")[0] == "user"]
        self._people = sorted(people, key=lambda rule: rule.field not in ("user", "user.id"))
        self.anywhere = functools.lru_cache(maxsize=20_000)(self._anywhere)
        self.parent = functools.lru_cache(maxsize=20_000)(self._parent)

    def known(self, stream: str, name: str) -> Match | None:
        """The rule for a field by its exact name."""
        return next((Match(rule) for rule, *_ in self._rules if rule.covers(stream, name)), None)

    def reach_into(self, stream: str, name: str) -> bool:
        """Whether a rule applies to a field below this one, by its exact name."""
        return any(rule.reaches_into(stream, name) for rule, *_ in self._rules)

    def hints(self, stream: str) -> list[str]:
        """Texts in lower case, one of which occurs in every ASCII name that `anywhere` or `parent` finds a rule for."""
        rules = [(rule, parents) for rule, _, parents in self._rules if rule.is_for(stream)]
        found = {max(words_of(rule.field)[0], key=len) for rule, _ in rules}
        found |= {parent[-1] for _, parents in rules for parent in parents}
        return sorted(found | ({max(words, key=len) for words in _IDENTITIES} if self._people else set()))

    def _anywhere(self, stream: str, path: str) -> Match | None:
        """The rule for a field whose path, or a part of it, means the field of the rule."""
        readings = words_of(path)
        people = next((rule for rule in self._people if rule.is_for(stream)), None)
        if people and any(_contains(r, p) for r in readings for p in _IDENTITIES):
            return Match(people, identity=True)
        for rule, patterns, _ in self._rules:
            if rule.is_for(stream) and any(_contains(r, p) for r in readings for p in patterns):
                return Match(rule)
        return None

    def _parent(self, stream: str, path: str) -> Match | None:
        """The rule for a field below this path, which applies to a plain value at this path."""
        segments = tuple("".join(words_of(part)[1]) for part in path.split("."))
        for rule, _, parents in self._rules:
            if rule.is_for(stream) and any(segments[-len(p) :] == p for p in parents):
                return Match(rule)
        return None


def words_of(name: str) -> tuple[Words, Words]:
    """The words of a name, in singular: read with a capital as the begin of a word, and read without."""
    return _words(name) if len(name) <= _LONGEST else _words.__wrapped__(name)


@functools.lru_cache(maxsize=20_000)
def _words(name: str) -> tuple[Words, Words]:
    text = unicodedata.normalize("NFKC", name)
    if not text.isascii():
        text = "".join(c for c in text if unicodedata.category(c) != "Cf")  # invisible characters
    return _split(_CAMEL.sub(" ", text)), _split(text)


def _split(text: str) -> Words:
    return tuple(w.removesuffix("s") if len(w) > 2 else w for w in _WORD.findall(text.casefold()))


def _patterns(field: str) -> frozenset[Words]:
    camel, plain = words_of(field)
    return frozenset({camel, plain, ("".join(plain),)})


def _parents(field: str) -> tuple[Words, ...]:
    parts = tuple("".join(words_of(part)[1]) for part in field.split("."))
    return tuple(parts[:n] for n in range(1, len(parts)))


def _contains(words: Words, part: Words) -> bool:
    length = len(part)
    return any(words[i : i + length] == part for i in range(len(words) - length + 1))
