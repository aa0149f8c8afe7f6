"""Names of datasets, from the paths of their files.

The name must not depend on what the writer of one file calls it. Dates, counters and short suffixes are therefore no part
of a name. Below a folder such as `dt=2026-11-26` (Hive partitions), the name is that of the first folder above that has no
`=`, whatever the file is called. Multi-part folders of Spark, Dask, DuckDB and Delta get the name of the folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath
from urllib.parse import unquote

#: The suffixes of dataset files.
SUFFIXES = re.compile(r"\.(csv|csv\.gz|parquet|pq)$")
_DATE = r"\d{4}[-_.]?\d\d[-_.]?\d\d(?:[-_.T ]?\d\d[-_.:hH]?\d\d(?:[-_.:]?\d\d)?Z?)?"
_PERIOD = r"\d{4}[-_.]?(?:[wWqQ]\d\d?|\d\d)"
_SHORT = r"[a-zA-Z]|[a-zA-Z]?\d+[a-zA-Z]?"
_WORDS = "copy|corrected|final|fix|fixed|new|old|rerun|retry|rev|tmp"
#: A date or period and what follows it, if that is short or a word for another version.
_DATED = re.compile(
    rf"(?:^|[-_. ])(?:{_DATE}|{_PERIOD})(?:[-_. ]*\(?(?:{_SHORT}|{_WORDS})\)?)*$", re.IGNORECASE
)
_LEADING = re.compile(rf"^(?:{_DATE}|{_PERIOD})[-_. ]+")
_COUNTER = re.compile(r"(?:^|[-_. ])(?:v?\d[\dwWqQtTzZ:.-]*|\(\d+\)|part[-_.]?\d.*)$")
_HEX = re.compile(r"(?:^|[-_.])[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}.*$", re.IGNORECASE)
_GENERIC = frozenset({"", "batch", "chunk", "data", "day", "file", "month", "part", "snapshot", "week"})
_PARTITION = re.compile(r"[^=]+=.*", re.DOTALL)
#: Folders with the bookkeeping of a table, in which no engine looks for rows.
BOOKKEEPING = frozenset({"_delta_log", "_spark_metadata", "_temporary"})


def dataset_name(path: PurePath) -> str:
    """The name of the dataset to which a file belongs. The path must be absolute.

    It is the file's name without extension, date, counter and short suffix; the folder's name if the rest is generic.
    """
    folder = path.parent
    if any(_PARTITION.fullmatch(part) for part in folder.parts):
        above = folder
        while any(_PARTITION.fullmatch(part) for part in above.parts):
            above = above.parent
        return above.name or path.name
    name = SUFFIXES.sub("", path.name)
    name = _LEADING.sub("", _HEX.sub("", name))
    while stripped := _DATED.search(name) or _COUNTER.search(name):
        name = name[: stripped.start()]
    return name if name.lower() not in _GENERIC else folder.name or path.name


def partitions(path: PurePath) -> Sequence[tuple[str, str]]:
    """The keys and values of the Hive folders in a path, outermost first. Values are text, and may be percent-encoded."""
    parts = (part.partition("=") for part in path.parent.parts if _PARTITION.fullmatch(part))
    return [(unquote(key), unquote(value)) for key, _, value in parts]
