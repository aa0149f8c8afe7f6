"""The form of a CSV file: encoding, separator, decimal mark and markers of missing values. Declared, or found out.

What is found out depends on the bytes alone, so that two reads of one file agree. Encodings: a byte-order mark decides;
without one, zero bytes mean UTF-16, valid UTF-8 is UTF-8, and other bytes are cp1252 (Latin-1 with the quotes of Windows).
Separators: the one of `,` `;` tab `|` with which the first lines have the same number of fields, at least two.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from typing import NamedTuple

import msgspec

from tocsin.errors import SnapshotError

SEPARATORS = (",", ";", "\t", "|")
#: Texts that mean a missing value in every column of a CSV file, as pandas, R, SQL and Hive write them; an empty field too.
MISSING = (
    *("NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "Null", "null", "NaN", "NAN", "nan", "-nan", "-NaN"),
    *("None", "none", "\\N", "NaT"),
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, ""),
    (codecs.BOM_UTF32_BE, ""),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 256 * 1024  # characters that decide about the separator and the decimal mark
_LINES = 100
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_MARK_WITHIN = re.compile(
    "ÿþ|þÿ"
)  # byte-order marks of UTF-16 within a text, which cp1252 would take as letters
_COMMA_DECIMAL = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:[. '’\u00a0\u202f]\d{3})+),(?:\d{1,2}|\d{4,})")
_POINT_DECIMAL = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:[, '’\u00a0\u202f]\d{3})+)\.(?:\d{1,2}|\d{4,})")


class Form(msgspec.Struct, frozen=True, omit_defaults=True):
    """The form of a CSV file. Empty values are found out.

    It is stored in events of the stream `dataset`.

    Attributes:
        separator: one character between two fields.
        encoding: a name that Python knows, such as `cp1252`.
        decimal: `.` or `,`.
        missing: markers of missing values beside `MISSING`.
        plain: read as version 0.2 did: comma, UTF-8, no markers. For the digests that it computed.
    """

    separator: str = ""
    encoding: str = ""
    decimal: str = ""
    missing: tuple[str, ...] = ()
    plain: bool = False

    @property
    def markers(self) -> list[str]:
        """All markers of missing values."""
        return [*MISSING, *self.missing]


PLAIN = Form(",", "utf-8", ".", plain=True)


def form_of(text: str | None) -> Form | None:
    """The form in the column `tocsin.dataset.form` of an event; None if the event has none that can be used."""
    try:
        return msgspec.json.decode(text, type=Form) if text else None
    except msgspec.DecodeError:
        return None


class Text(NamedTuple):
    """The text of a CSV file in UTF-8 with line feeds, and its form with everything found out."""

    data: bytes
    form: Form


def read_text(data: bytes, declared: Form) -> Text:
    """Decode a file and find out what is not declared.

    Raises:
        SnapshotError: the bytes are no text in any known encoding, or not in the declared one.
    """
    encoding = declared.encoding or encoding_of(data)
    try:
        text = data if _is_utf8(encoding) else data.decode(encoding).encode()
        text.decode() if text is data else None
    except (UnicodeDecodeError, LookupError) as error:
        raise SnapshotError(f"the text is not {encoding}: {error}; declare its encoding") from None
    text = text.removeprefix(codecs.BOM_UTF8)
    if b"\n" not in text and b"\r" in text:  # line ends of old Macintosh programs
        text = text.replace(b"\r", b"\n")
    return Text(text, with_marks(text[:_SAMPLE].decode(errors="ignore"), declared, encoding))


def with_marks(sample: str, declared: Form, encoding: str) -> Form:
    """The declared form, with separator and decimal mark found out from the first characters of the text."""
    separator = declared.separator or _separator(sample)
    decimal = declared.decimal or _decimal(sample, separator)
    return Form(separator, encoding, decimal, declared.missing, declared.plain)


def encoding_of(data: bytes) -> str:
    """The encoding of a text.

    Raises:
        SnapshotError: the bytes are no text, or UTF-32.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            if not encoding:
                raise SnapshotError("the text is UTF-32; write it as UTF-8")
            return encoding
    if len(data) % 2 == 0 and data[:2].count(0) == 1:  # a first character of ASCII in UTF-16
        return "utf-16-le" if data[1] == 0 else "utf-16-be"
    try:
        data.decode()
    except UnicodeDecodeError:
        return _legacy(data)
    return "utf-8"


def _legacy(data: bytes) -> str:
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text, encoding = data.decode("latin-1"), "latin-1"
    else:
        encoding = "cp1252"
    if _CONTROLS.search(text) or _MARK_WITHIN.search(text):
        raise SnapshotError("the file is neither UTF-8 nor UTF-16 nor Latin-1 text; declare its encoding")
    return encoding


def _is_utf8(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")
    except LookupError:
        return False


def _separator(sample: str) -> str:
    """The separator with which the first lines agree on their number of fields; the comma if none is."""
    best: tuple[float, int, str] = (0.0, 1, ",")
    lines = sample.splitlines(keepends=True)
    if len(sample) == _SAMPLE and len(lines) > 1:
        lines.pop()  # cut off
    for separator in SEPARATORS:
        try:
            rows = [row for row in csv.reader(lines[:_LINES], delimiter=separator) if row]
        except csv.Error:
            continue
        if not rows or len(rows[0]) < 2:
            continue
        fields, often = Counter(map(len, rows)).most_common(1)[0]
        agree = often / len(rows) if len(rows[0]) == fields else 0.0
        if (agree, fields) > best[:2]:
            best = (agree, fields, separator)
    return best[2]


def _decimal(sample: str, separator: str) -> str:
    """`,` if some field is a number with a decimal comma beyond doubt, and none is one with a decimal point."""
    try:
        rows = list(csv.reader(sample.splitlines(keepends=True)[1:_LINES], delimiter=separator))
    except csv.Error:
        return ""
    fields = {field.strip() for row in rows for field in row}
    comma = any(map(_COMMA_DECIMAL.fullmatch, fields))
    point = any(map(_POINT_DECIMAL.fullmatch, fields))
    return "," if comma and not point else "." if point and not comma else ""
