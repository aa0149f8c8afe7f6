"""Who calls a model does not choose the schema by which its calls are recorded."""

from __future__ import annotations

import datetime as dt
import json
import math
import zlib
from collections import UserDict, UserString
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace
from typing import NamedTuple
from unittest.mock import MagicMock, Mock

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix, csr_array

from tocsin_recorder.calls import EventWriter
from tocsin_recorder.estimator import wrapped

RNG = np.random.default_rng(0)


class Kept:
    """A queue that keeps the calls, for a writer without a thread."""

    max_rows = 1000

    def __init__(self):
        self.calls, self.lost = [], 0
        self.clock = lambda: 0

    def put(self, called, principal=None, fields=None):
        self.calls.append(called)

    def lose(self, count):
        self.lost += count

    def events(self):
        """One event a row; None for a row that was lost."""
        writer = EventWriter("m", "")
        calls, self.calls = self.calls, []
        lines = [line for called in calls for line in writer.lines(called, 0)]
        return [None if line is None else json.loads(line) for line in lines]


def rows_in(rows):
    if hasattr(rows, "shape"):
        return rows.shape[0]
    return len(rows) if hasattr(rows, "__len__") else 1


class Accepts:
    """A model that accepts every call, unless `refuses` is set."""

    refuses = False

    def predict(self, X):  # noqa: N803 - scikit-learn's name
        if self.refuses:
            raise ValueError(X)
        return [0.5] * rows_in(X)


def code(text):
    return float(zlib.crc32(text.encode()))


def recorded(*inputs, names=(), model=None):
    """What is recorded of these inputs, one call each; a tuple `(input,)` is a call that the model refuses."""
    queue, model = Kept(), model or Accepts()
    wrapper = wrapped(queue, model, names)
    for given_ in inputs:
        refused = isinstance(given_, tuple) and len(given_) == 1
        model.refuses = refused
        try:
            wrapper.predict(given_[0] if refused else given_)
        except ValueError:
            assert refused
    assert queue.lost == 0
    return queue.events()


def features(events):
    return [(f.get("names"), f["values"]) for f in (e["tocsin"]["features"] for e in events)]


def labels(events):
    return [e.get("labels") for e in events]


# One odd value


@pytest.mark.parametrize(
    ("odd", "value"),
    [("unknown", None), ("30.5", 30.5), (" 7 ", 7.0), ("nan", None), ("1e999", None), (math.inf, None)]
    + [(b"raw", None), (object(), None), ({"a": 1}, None), ([1, 2], None), (1j, None)],
)
@pytest.mark.parametrize("refused", [True, False])
def test_an_odd_value_is_odd_alone(odd, value, refused):
    row = [[odd, 2500.0]]
    found = recorded([[30.0, 2500.0]], (row,) if refused else row, [[31.0, 2400.0]])
    assert features(found) == [
        ("x0,x1", [30.0, 2500.0]),
        ("x0,x1", [value, 2500.0]),
        ("x0,x1", [31.0, 2400.0]),
    ]
    assert labels(found) == [None, {"features.odd": "1"}, None]


@pytest.mark.parametrize("missing", [None, math.nan, np.float32("nan"), np.datetime64("NaT")])
def test_a_missing_value_is_not_odd(missing):
    found = recorded([[30.0, "a"]], [[missing, missing]])
    assert features(found)[1] == ("x0,x1:category", [None, None])
    assert labels(found) == [None, None]


def test_a_refused_call_first_teaches_nothing():
    found = recorded(([["a", "b"]],), [[1.0, "x"]], [[2.0, "y"]])
    assert features(found)[1:] == [("x0,x1:category", [1.0, code("x")]), ("x0,x1:category", [2.0, code("y")])]


def test_the_first_caller_decides_for_itself_only():
    """The model accepts a text, such as a number in quotes, before its ordinary calls."""
    found = recorded([["30.0", 1.0]], *([[n, 1.0]] for n in (1.0, 2.0, 3.0)), [["30.0", 1.0]])
    assert features(found)[1:4] == [("x0,x1", [n, 1.0]) for n in (1.0, 2.0, 3.0)]
    assert features(found)[4] == ("x0,x1", [30.0, 1.0])


def test_an_odd_row_of_a_batch_is_odd_alone():
    found = recorded([["odd", 1.0], [2.0, 2.0], [3.0, 3.0]], [[4.0, "odd"]])
    assert features(found) == [("x0,x1", v) for v in ([None, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, None])]


def test_a_row_that_json_cannot_hold_is_lost_alone():
    found = recorded([[1.0], [10**400], [3.0]])
    assert [e and e["tocsin"]["features"]["values"] for e in found] == [[1.0], None, [3.0]]


def test_after_a_hundred_calls_nothing_changes_the_schema():
    ordinary = [[1.0, "a"]]
    found = recorded(*[ordinary] * 100, *[[["x", 5.0]]] * 500, ordinary)
    assert features(found)[-2:] == [("x0,x1:category", [None, 5.0]), ("x0,x1:category", [1.0, code("a")])]
    assert labels(found)[-2:] == [{"features.odd": "2"}, None]


def test_a_declared_schema_wins():
    found = recorded([["f", "a"]], [[2.0, 1.0]], names=["limit", "sex:category"])
    assert features(found) == [("limit,sex:category", [None, code("a")]), ("limit,sex:category", [2.0, 1.0])]
    assert labels(found) == [{"features.odd": "1"}, None]


# Values by name

FRAME = pl.DataFrame({"age": [30.0], "income": [2500.0], "job": ["a"]})
SHUFFLED = ["income", "job", "age"]


class Fitted(Accepts):
    feature_names_in_ = np.array(["age", "income", "job"], dtype=object)


@pytest.mark.parametrize("model", [Accepts, Fitted])
def test_columns_in_another_order_are_recorded_in_the_fitted_order(model):
    rows = FRAME.to_dicts()[0]
    shuffled = {name: rows[name] for name in SHUFFLED}
    found = recorded(FRAME, FRAME[SHUFFLED], [shuffled], UserDict(shuffled), model=model())
    assert features(found) == [("age,income,job:category", [30.0, 2500.0, code("a")])] * 4


def test_pandas_frames_are_recorded_by_column():
    pd = pytest.importorskip("pandas", reason="pandas is not installed here: Polars stands for it")
    frame = pd.DataFrame(FRAME.to_dict(as_series=False))
    dates = pd.DataFrame({"at": pd.to_datetime(["2026-01-01", None])})
    found = recorded(frame, frame[SHUFFLED], frame[["job", "age"]])
    assert features(found)[:2] == [("age,income,job:category", [30.0, 2500.0, code("a")])] * 2
    assert features(found)[2] == ("age,income,job:category", [30.0, None, code("a")])
    assert features(recorded(dates)) == [("at", [1767225600.0]), ("at", [None])]
    mixed = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [True, False], "c": ["x", None]})
    rows = recorded(mixed, mixed["c"], frame.set_axis([0, 1, 2], axis=1))
    assert features(rows[:2]) == [
        ("a,b,c:category", [1.0, 1.0, code("x")]),
        ("a,b,c:category", [None, 0.0, None]),
    ]
    assert labels(rows[2:4]) == [{"features.absent": "text"}, {"features.absent": "missing"}]


def test_fitted_names_find_the_places_of_given_names():
    found = recorded(FRAME[SHUFFLED], [[1, 2, "b"]], names=["a", "b", "c:category"], model=Fitted())
    assert features(found) == [
        ("a,b,c:category", [30.0, 2500.0, code("a")]),
        ("a,b,c:category", [1, 2, code("b")]),
    ]


def test_a_frame_of_foreign_names_counts_by_position_where_names_are_fixed():
    frame = FRAME.rename({"age": "0", "income": "1", "job": "2"})
    assert features(recorded(frame, model=Fitted()))[0][0] == "age,income,job:category"
    assert features(recorded(FRAME, FRAME, frame))[2:] == [("0,1,2:category", [30.0, 2500.0, code("a")])]


def test_rows_of_another_width_have_a_shape_of_their_own():
    found = recorded([[1.0, 2.0, "a"]], ([[1.0, 2.0]],), ([[1.0, 2.0, 3.0, "x"]],), model=Fitted())
    assert features(found)[1:] == [
        ("x0,x1", [1.0, 2.0]),
        ("x0,x1,x2,x3:category", [1.0, 2.0, 3.0, code("x")]),
    ]


def test_another_fit_is_another_schema():
    queue, model = Kept(), Fitted()
    wrapper = wrapped(queue, model, ())
    wrapper.predict([[1.0, 2.0, 3.0]])
    model.feature_names_in_ = np.array(["a", "b"])
    wrapper.predict([["x", 2.0]])
    assert features(queue.events()) == [
        ("age,income,job", [1.0, 2.0, 3.0]),
        ("a:category,b", [code("x"), 2.0]),
    ]


# Rows as mappings


def test_mappings_are_recorded_by_key():
    found = recorded([{"a": 1.0, "b": "x"}, {"b": "y", "c": 3.0}], [{"z": 9, "a": 2.0, "d": "new"}], [{}])
    known = "a,b:category,c"
    assert features(found) == [
        (known, [1.0, code("x"), None]),
        (known, [None, code("y"), 3.0]),
        (known + ",d:category,z", [2.0, None, None, code("new"), 9.0]),
        (known, [None, None, None]),
    ]


def test_a_thousand_queries_are_a_thousand_vectors():
    queries = [{"age": a, "income": i} for a, i in RNG.uniform(-5, 5, size=(1000, 2)).tolist()]
    found = recorded(*([query] for query in queries))
    assert {tuple(v) for _, v in features(found)} == {tuple(q.values()) for q in queries}
    columns = {name: [q[name] for q in queries] for name in ("income", "age")}
    assert [v for _, v in features(recorded(columns))] == [[q["income"], q["age"]] for q in queries]
    nested = recorded(*([{"items": [query]}] for query in queries))
    assert len({tuple(v) for _, v in features(nested)}) == 1000


def test_a_key_cannot_mark_another_as_a_category_nor_split_a_name():
    found = recorded([{"age": 1.0}], [{"age": 2.0, "age:category": 3.0, "a,b": 4.0, 7: 5.0}])
    assert features(found)[1] == ("age,7,a;b,age;category", [2.0, 5.0, 4.0, 3.0])


def test_a_dict_vectorizer_knows_its_keys_and_their_kinds():
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows = [{"job": "a", "age": 1.0}, {"job": "b", "age": 2.0}]
    model = make_pipeline(DictVectorizer(), LogisticRegression()).fit(rows, [0, 1])
    queue = Kept()
    wrapper = wrapped(queue, model, ())
    wrapper.predict([{"age": "old", "x": 1}])
    wrapper.predict({"job": "a"})
    assert features(queue.events()) == [
        ("age,job:category,x", [None, None, 1.0]),
        ("age,job:category", [None, code("a")]),
    ]


# Texts and other inputs

TEXTS = ["card 4111", "hi"]


class Code(str):  # noqa: SLOT000 - that is the point
    """A text with attributes."""


@pytest.mark.parametrize(
    "texts",
    [TEXTS, tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, dtype=object), pl.Series(TEXTS)]
    + [[t.encode() for t in TEXTS], np.array(TEXTS, dtype="S9"), [np.str_(t) for t in TEXTS]]
    + [[UserString(t) for t in TEXTS], [Code(t) for t in TEXTS]],
    ids=[
        "list",
        "tuple",
        "array",
        "objects",
        "series",
        "bytes",
        "bytes array",
        "str_",
        "user strings",
        "subclass",
    ],
)
def test_texts_are_counted_and_reported_but_are_no_vectors(texts):
    found = recorded(texts)
    assert labels(found) == [{"features.absent": "text"}] * 2
    assert ["features" in e["tocsin"] for e in found] == [False, False]
    assert [e["tocsin"]["output"] for e in found] == [{"score": 0.5}] * 2


@dataclass
class Application:
    age: float
    job: str
    _private: int = 0


class Point(NamedTuple):
    age: float
    job: str


def test_objects_and_named_tuples_are_recorded_by_attribute():
    found = recorded([Application(1.0, "a"), Point(2.0, "b"), object()])
    known = "age,job:category"
    assert features(found[:2]) == [(known, [1.0, code("a")]), (known, [2.0, code("b")])]
    assert labels(found) == [None, None, {"features.absent": "object"}]


@pytest.mark.parametrize("rows", [iter([[1.0]]), {1}, object(), 5, None, "text", b"text"])
def test_what_cannot_be_read_is_one_event_without_features(rows):
    (event,) = recorded((rows,))
    why = "text" if isinstance(rows, (str, bytes)) else type(rows).__name__
    assert event["labels"] == {"features.absent": why}
    assert event["event"]["outcome"] == "failure"


def test_a_generator_is_left_to_the_model():
    class Sums:
        def predict(self, X):  # noqa: N803 - scikit-learn's name
            return [sum(row) for row in X]

    (first, second) = recorded(([n] for n in (1.0, 2.0)), model=Sums())
    assert [first["tocsin"]["output"], second["tocsin"]["output"]] == [{"score": 1.0}, {"score": 2.0}]


def test_a_call_without_rows():
    assert recorded([], np.empty((0, 3)), FRAME[:0]) == []
    assert labels(recorded(([],), (np.empty((0, 3)),))) == [{"features.absent": "no rows"}] * 2


@pytest.mark.parametrize(
    "kind", [np.asarray, coo_matrix, csr_array, pl.DataFrame, lambda x: x.astype(object)]
)
def test_arrays_of_every_kind(kind):
    x = RNG.normal(size=(4, 3))
    assert [v for _, v in features(recorded(kind(x)))] == x.tolist()


def test_times_and_truths_are_numbers():
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    row = [
        moment,
        moment.replace(tzinfo=None),
        moment.date(),
        np.datetime64("2026-01-01", "ns"),
        dt.timedelta(1),
    ]
    row += [True, np.True_, Decimal("0.5"), np.timedelta64(2, "s")]
    seconds = moment.timestamp()
    ((names, values),) = features(recorded([row]))
    assert values == [seconds] * 4 + [86400.0, 1.0, 1.0, 0.5, 2.0]
    assert ":category" not in names
    array = np.array([["2026-01-01", "NaT"]], dtype="datetime64[ns]")
    assert features(recorded(array)) == [("x0,x1", [seconds, None])]
    assert features(recorded(pl.DataFrame({"at": [moment.date()]}))) == [("at", [seconds])]


def test_arrays_of_more_dimensions_are_flat_vectors():
    x = RNG.normal(size=(3, 2, 2))
    assert [v for _, v in features(recorded(x))] == x.reshape(3, 4).tolist()
    assert [v for _, v in features(recorded(x.tolist()))] == x.reshape(3, 4).tolist()


def test_a_structured_array_has_names():
    array = np.array([(1.0, "x")], dtype=[("b", float), ("a", "U3")])
    assert features(recorded(array)) == [("b,a:category", [1.0, code("x")])]


class Endless:
    """An array that never ends, whatever is asked of it."""

    shape = (3, 2)

    def __getitem__(self, place):
        return self

    def __len__(self):
        return 3

    copy = tolist = lambda self: self


class Hostile:
    def __getattr__(self, name):
        raise RuntimeError(name)


ITSELF: list[object] = []
ITSELF.append(ITSELF)
HOSTILE = [
    Endless(),
    Hostile(),
    ITSELF,
    [ITSELF],
    [Hostile()],
    [[Hostile()]],
    Mock(),
    MagicMock(),
    [[]],
    {},
    [{}],
]
HOSTILE += [
    np.array(5),
    np.zeros((2, 0)),
    [["\ud800"]],
    [{"\ud800": "\ud800", None: None}],
    [[10**5000]],
    range(2),
]


@pytest.mark.parametrize("rows", HOSTILE, ids=lambda rows: type(rows).__name__)
@pytest.mark.parametrize("output", [None, [1], *HOSTILE[:8]], ids=lambda rows: type(rows).__name__)
def test_nothing_hangs_nor_raises_and_every_row_is_an_event_or_lost(rows, output):
    queue = Kept()
    assert wrapped(queue, SimpleNamespace(predict=lambda _: output), ()).predict(rows) is output
    assert len(queue.events()) + queue.lost <= 3


# The stated invariant: events of well-formed calls are the same with and without odd ones.

values = st.one_of(
    st.floats(), st.text(max_size=5), st.none(), st.booleans(), st.integers(), st.binary(max_size=3),
    st.just(10**400), st.just("12.5"), st.lists(st.floats(), max_size=2), st.just(object()),
)  # fmt: skip
keys = st.one_of(st.sampled_from(["a", "b", "c", "a:category", "c:category", ""]), st.text(max_size=3))
odd_inputs = st.one_of(
    st.lists(values, max_size=4),
    st.lists(st.lists(values, max_size=4), max_size=3),
    st.lists(st.dictionaries(keys, values, max_size=4), max_size=2),
    st.dictionaries(keys, values, max_size=4),
    st.text(max_size=6),
    st.lists(values, min_size=1, max_size=3).map(lambda v: np.array([*v, None], dtype=object)),
    st.just(np.zeros((2, 3, 2))), st.just(iter(())), st.just(pl.DataFrame({"c": ["x"], "a": ["y"]})),
)  # fmt: skip
numbers = st.floats(allow_nan=False, allow_infinity=False)
honest_rows = st.tuples(numbers, numbers, st.text(min_size=1, max_size=5))
FORMS = {
    "list": lambda row: [list(row)],
    "dict": lambda row: [dict(zip("abc", row, strict=True))],
    "shuffled": lambda row: [dict(zip("cab", (row[2], *row[:2]), strict=True))],
    "frame": lambda row: pl.DataFrame(dict(zip("bca", (row[1], row[2], row[0]), strict=True))),
    "array": lambda row: np.array([row], dtype=object),
}


class Marked(Accepts):
    """Refuses what says so; marks the answers to ordinary calls."""

    ordinary = False

    def predict(self, X):  # noqa: N803 - scikit-learn's name
        super().predict(X)
        return [1.0 if self.ordinary else 0.0] * rows_in(X)


def of_ordinary(names, calls):
    """Features and labels of the ordinary calls among all calls: (input, is it ordinary, is it refused)."""
    queue, model = Kept(), Marked()
    wrapper = wrapped(queue, model, names)
    for rows, model.ordinary, model.refuses in calls:
        try:
            wrapper.predict(rows)
        except ValueError:
            assert model.refuses
    found = [e for e in queue.events() if e and e["tocsin"].get("output") == {"score": 1.0}]
    return [(e["tocsin"]["features"], e.get("labels")) for e in found]


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(honest_rows, st.sampled_from(sorted(FORMS))), min_size=1, max_size=6),
    odd=st.lists(st.tuples(odd_inputs, st.booleans(), st.integers(0, 6)), max_size=12),
)
def test_odd_calls_leave_declared_schemas_alone(rows, odd):
    calls = [(FORMS[form](row), True, False) for row, form in rows]
    mixed = list(calls)
    for rows_, refused, place in odd:
        mixed.insert(place, (rows_, False, refused))
    expected = of_ordinary(("a", "b", "c:category"), calls)
    assert len(expected) == len(calls)
    assert of_ordinary(("a", "b", "c:category"), mixed) == expected


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(honest_rows, min_size=1, max_size=8),
    form=st.sampled_from(["list", "dict", "frame"]),
    refused=st.lists(st.tuples(odd_inputs, st.integers(0, 8)), max_size=12),
    accepted=st.lists(odd_inputs, max_size=7),
)
def test_odd_calls_leave_learned_schemas_alone(rows, form, refused, accepted):
    """Refused calls come anywhere; of those that the model accepts, the ordinary ones are the majority."""
    calls = [(FORMS[form](row), True, False) for row in rows]
    mixed = [call for pair in zip(calls, [None, *accepted], strict=False) for call in (*pair[1:], pair[0])]
    mixed = [call if isinstance(call, tuple) else (call, False, False) for call in mixed][1:]
    mixed += calls[len(accepted) + 1 :]
    for rows_, place in refused:
        mixed.insert(place, (rows_, False, True))
    assert of_ordinary((), mixed) == of_ordinary((), calls)
