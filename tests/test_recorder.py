"""The recorder: complete events, and a model that never notices."""

from __future__ import annotations

import json
import math
import os
import pickle
import resource
import signal
import subprocess
import sys
import textwrap
import zlib

import msgspec
import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tocsin
from tests.collectors.conftest import Committed
from tocsin.config.params import build
from tocsin.pipeline.ingesting.decode import fast, lenient
from tocsin_collectors.ndjson import Ndjson
from tocsin_recorder.recorder import Recorder
from tocsin_recorder.spool import Spool


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def recorder(spool):
    recorder = Recorder("credit", version="8", spool=spool)
    yield recorder
    recorder.close()


def events(spool):
    return [json.loads(line) for path in sorted(spool.iterdir()) for line in path.read_bytes().splitlines()]


def python(script, *arguments, check=True):
    """Run a script in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=60)


def test_a_call_becomes_an_inference_event(spool):
    recorder = Recorder(
        "credit",
        version="8",
        spool=spool,
        fields={"source.ip": "192.0.2.4"},
        clock=lambda: 1772443904120482333,
    )
    with recorder.call(principal="broker-07", fields={"trace.id": "t1"}) as call:
        call.features({"limit": 20000, "age": 24.0, "sex": "f"})
        call.output(label=1, score=0.71, confidence=0.71)
    recorder.close()
    (event,) = events(spool)
    assert event.pop("event")["outcome"] == "success"
    assert event == {
        "@timestamp": "2026-03-02T09:31:44.120482Z",
        "user": {"id": "broker-07"},
        "source": {"ip": "192.0.2.4"},
        "trace": {"id": "t1"},
        "tocsin": {
            "model": {"name": "credit", "version": "8"},
            "features": {
                "names": "limit,age,sex:category",
                "values": [20000.0, 24.0, float(zlib.crc32(b"f"))],
            },
            "output": {"label": "1", "score": 0.71, "confidence": 0.71},
        },
    }
    (path,) = spool.iterdir()
    assert fast("inference", path.read_bytes()) is not None  # nothing that slows ingest down
    assert path.name.startswith("inference-credit-")


def test_record_makes_one_recorder_a_model_and_process(spool):
    for number in range(3):
        with tocsin.record("credit", version="8", spool=spool, principal="p", features=[number]) as call:
            call.output(score=number)
    from tocsin_recorder.recorder import _recorder

    recorder = _recorder("credit", "8", str(spool))
    recorder.close()
    assert (recorder.recorded, recorder.dropped) == (3, 0)
    found = events(spool)
    ids = [e["event"]["id"] for e in found]
    assert [i[-7:] for i in ids] == ["-000001", "-000002", "-000003"]
    assert [e["tocsin"]["features"]["values"] for e in found] == [[0.0], [1.0], [2.0]]


def test_an_error_of_the_model_is_recorded_and_goes_on(recorder, spool):
    with pytest.raises(ZeroDivisionError), recorder.call(features=[1]) as call:
        call.output(score=1 / 0)
    recorder.flush()
    (event,) = events(spool)
    assert event["event"]["outcome"] == "failure"
    assert event["error"] == {"type": "ZeroDivisionError"}
    lenient("inference", msgspec.json.encode(event))


def test_values_of_all_sorts(recorder, spool):
    values = [True, None, float("nan"), math.inf, np.float32(0.5), np.int64(7), object(), "x,y:z", b"raw"]
    with recorder.call(features=dict(zip("abcdefgh,", values, strict=True))):
        pass
    with recorder.call(features=[1.0]) as call:
        call.features([2.0], names=["sex:category"])
    recorder.flush()
    first, second = events(spool)
    code = float(zlib.crc32(b"x,y:z"))
    assert first["tocsin"]["features"] == {
        "names": "a,b,c,d,e,f,g,h:category,;",
        "values": [1.0, None, None, None, 0.5, 7.0, None, code, None],
    }
    assert second["tocsin"]["features"] == {"names": "sex:category", "values": [2.0]}
    assert recorder.dropped == 0


def test_vectors_without_names(recorder, spool):
    for row in ([1.0, "a"], [2.0, "b"], ["x", "c"], [3.0]):
        with recorder.call(features=row):
            pass
    with recorder.call(features="card 4111"):
        pass
    recorder.flush()
    found = events(spool)
    names = "feature_0,feature_1:category"
    assert [e["tocsin"]["features"].get("names") for e in found[:4]] == [names, names, names, None]
    assert [e["tocsin"]["features"]["values"][0] for e in found[:4]] == [1.0, 2.0, None, 3.0]
    assert [e.get("labels") for e in found[2:]] == [{"features.odd": "1"}, None, {"features.absent": "text"}]
    assert "features" not in found[4]["tocsin"]


def test_named_values_keep_their_order_and_kind(recorder, spool):
    given = [
        {"age": 1.0, "sex:category": 2.0},
        {"sex:category": 1.0, "age": 2.0},
        {"age": "x", "sex:category": "f"},
    ]
    for row in given:
        with recorder.call(features=row):
            pass
    recorder.flush()
    found = events(spool)
    assert {e["tocsin"]["features"]["names"] for e in found} == {"age,sex:category"}
    values = [e["tocsin"]["features"]["values"] for e in found]
    assert values == [[1.0, 2.0], [2.0, 1.0], [None, float(zlib.crc32(b"f"))]]


def test_labels_are_added_to_those_of_the_caller(spool):
    recorder = Recorder("credit", spool=spool, fields={"labels.team": "a"})
    recorder.lose(2)
    for row in ([1.0], ["x"]):
        with recorder.call(features=row):
            pass
    recorder.close()
    labels = [e["labels"] for e in events(spool)]
    assert labels == [{"team": "a", "recorder.dropped": "2"}, {"team": "a", "features.odd": "1"}]
    for event in events(spool):
        lenient("inference", msgspec.json.encode(event))


def test_a_lost_row_is_reported_by_the_next(recorder, spool):
    class Careless:
        def predict(self, rows):
            return [0.0] * len(rows)

    recorder.wrap(Careless()).predict([[1.0], [10**400], [3.0]])
    with recorder.call():
        pass
    recorder.flush()
    assert (recorder.recorded, recorder.dropped) == (3, 1)
    assert [e.get("labels") for e in events(spool)] == [None, None, {"recorder.dropped": "1"}]


class Broken:
    def __str__(self):
        raise RuntimeError

    __float__ = __iter__ = __str__


def test_nothing_is_raised_into_the_model_s_code(spool, caplog):
    def fails():
        raise LookupError

    recorder = Recorder("credit", spool=spool, principal=fails)
    with recorder.call(features=[1]):
        pass
    recorder = Recorder("credit", spool=spool)
    with recorder.call(principal=Broken(), features=Broken()) as call:  # type: ignore[arg-type]
        call.output(Broken(), Broken(), Broken())
    with recorder.call(fields={"user": "x", "user.id": "y"}):
        pass
    with recorder.call(features=[10**400]):
        pass
    recorder.close()
    assert (recorder.recorded, recorder.dropped) == (0, 3)
    assert "3 rows were not recorded so far" in caplog.text


def test_a_full_queue_drops_counts_and_tells(recorder, spool):
    recorder._limit = 5
    with recorder._writing:  # the recorder's thread has to wait
        for number in range(12):
            with recorder.call(features=[number]):
                pass
        lost = recorder.dropped
        assert 2 <= lost <= 7
    recorder.flush()
    recorder.flush()
    with recorder.call():
        pass
    recorder.flush()
    assert recorder.recorded == 13 - lost
    counts = [int(e["labels"]["recorder.dropped"]) for e in events(spool) if "labels" in e]
    assert sum(counts) == lost


def test_a_full_spool_drops_until_there_is_room(spool, caplog):
    recorder = Recorder("credit", spool=spool, max_bytes=1000)
    for _ in range(20):
        with recorder.call(features=range(10)):
            pass
        recorder.flush()
    assert recorder.recorded + recorder.dropped == 20
    assert 0 < recorder.recorded < 10
    assert sum(p.stat().st_size for p in spool.iterdir()) <= 1000
    for path in spool.iterdir():
        path.unlink()
    recorder._spool._scanned = -math.inf  # a second has passed
    before = recorder.recorded
    with recorder.call():
        pass
    recorder.close()
    assert recorder.recorded == before + 1
    assert caplog.text.count("check that the spool") == 1  # at most once a minute


def test_a_spool_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    recorder = Recorder("credit", spool=tmp_path / "file")
    with recorder.call():
        pass
    recorder.close()
    assert (recorder.recorded, recorder.dropped) == (0, 1)
    with recorder.call():  # closed
        pass
    assert recorder.dropped == 2


def test_segments_end_by_size_and_age_and_never_hold_half_a_line(spool):
    segments = Spool(spool, "inference-x", max_bytes=10**6, segment_bytes=100)
    for _ in range(5):
        assert segments.write(b"x" * 59 + b"\n")
    assert [p.stat().st_size for p in sorted(spool.iterdir())] == [60] * 5
    segments._opened -= 61
    segments.write(b"y\n")
    assert len(list(spool.iterdir())) == 6
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            segments.write(b"z" * 60 + b"\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert max(spool.iterdir()).read_bytes() == b"y\n"
    segments.write(b"w\n")
    segments.close()
    assert max(spool.iterdir()).read_bytes() == b"w\n"


def test_the_collector_takes_what_was_recorded(recorder, spool):
    for number in range(100):
        with recorder.call(features=[number]) as call:
            call.output(score=number)
    recorder.flush()
    committed = Committed().take(Ndjson(build(Ndjson.params_type(), {"paths": [str(spool)]})))
    assert len(committed.lines) == 100
    assert {b.stream for b in committed.batches} == {"inference"}


# The wrapper

X = np.random.default_rng(0).normal(size=(200, 3))
Y = (X[:, 0] > 0).astype(int)


def answers(spool):
    return [e["tocsin"]["output"] for e in events(spool)]


def test_a_wrapped_classifier_answers_the_same_and_records_each_row(recorder, spool):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    wrapped = recorder.wrap(model, names=["a", "b", "c:category"])
    labels = wrapped.predict(X[:5])
    probabilities = wrapped.predict_proba(X[:5])
    assert np.array_equal(labels, model.predict(X[:5]))
    assert np.array_equal(probabilities, model.predict_proba(X[:5]))
    assert wrapped.score(X, Y) == model.score(X, Y)
    recorder.flush()
    found = events(spool)
    assert [e["tocsin"]["features"] for e in found] == [
        {"names": "a,b,c:category", "values": row} for row in X[:5].tolist() * 2
    ]
    assert answers(spool)[:5] == [{"label": str(v)} for v in labels]
    for output, row in zip(answers(spool)[5:], probabilities, strict=True):
        assert output == {"label": str(int(row[1] > 0.5)), "score": row[1], "confidence": row.max()}
    assert len({e["event"]["id"] for e in found}) == 10


def test_a_wrapped_regressor_takes_lists_frames_and_sparse_rows(recorder, spool):
    model = LinearRegression().fit(X, X @ [1.0, 2.0, 3.0])
    wrapped = recorder.wrap(model)
    wrapped.predict(X[:2].tolist())
    wrapped.predict(csr_matrix(X[2:4]))
    with pytest.warns(UserWarning, match="fitted without feature names"):
        wrapped.predict(pl.DataFrame(X[4:6], schema=["x0", "x1", "x2"]))
    recorder.flush()
    rows = [e["tocsin"]["features"]["values"] for e in events(spool)]
    assert rows == X[:6].tolist()
    assert [o["score"] for o in answers(spool)] == pytest.approx(model.predict(X[:6]).tolist())
    assert {e["tocsin"]["features"]["names"] for e in events(spool)} == {"x0,x1,x2"}


def test_names_come_from_the_frame_that_the_estimator_was_fitted_with(recorder, spool):
    frame = pl.DataFrame(X, schema=["limit", "age", "bill"])
    wrapped = recorder.wrap(LogisticRegression().fit(frame, Y))
    wrapped.predict(frame[:1])
    recorder.flush()
    assert events(spool)[0]["tocsin"]["features"]["names"] == "limit,age,bill"


def test_a_wrapper_stands_for_its_estimator(recorder):
    model = LogisticRegression().fit(X, Y)
    wrapped = recorder.wrap(model)
    wrapped.C = 0.5
    assert model.C == 0.5
    assert wrapped.coef_ is model.coef_
    assert isinstance(pickle.loads(pickle.dumps(wrapped)), LogisticRegression)
    assert isinstance(clone(wrapped), LogisticRegression)
    assert repr(wrapped) == "RecordedEstimator(LogisticRegression(C=0.5))"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = wrapped.nothing


def test_what_a_wrapped_estimator_does_not_understand(recorder, spool):
    model = LogisticRegression().fit(X, Y)
    wrapped = recorder.wrap(model)
    for rows in (None, 5, "text", [], np.empty((0, 3)), X[:, :1], object()):
        with pytest.raises(Exception) as wrong:
            model.predict(rows)
        with pytest.raises(wrong.type):
            wrapped.predict(rows)
    recorder.flush()
    assert {e["event"]["outcome"] for e in events(spool)} == {"failure"}


def test_rows_beyond_the_limit_count_as_dropped(spool):
    recorder = Recorder("credit", spool=spool, max_rows=10)
    recorder.wrap(LogisticRegression().fit(X, Y)).predict(X)
    recorder.close()
    assert (recorder.recorded, recorder.dropped) == (10, 190)


def test_rows_are_recorded_as_they_were_before_the_call(recorder, spool):
    class Careless:
        def predict(self, rows):
            rows[:] = 0
            return rows[:, 0]

    rows = X[:3].copy()
    out = recorder.wrap(Careless()).predict(rows)
    out[:] = 9
    recorder.flush()
    assert [e["tocsin"]["features"]["values"] for e in events(spool)] == X[:3].tolist()
    assert answers(spool) == [{"score": 0.0}] * 3


# Processes


def test_it_imports_nothing_heavy():
    script = """
        import sys, tocsin
        tocsin.Recorder("m", spool=sys.argv[1]).wrap(object())
        heavy = {"polars", "deltalake", "numpy", "sklearn", "scipy", "yaml", "click"} & set(sys.modules)
        assert not heavy, heavy
    """
    python(script, "spool")


def test_what_is_queued_at_exit_is_written(spool):
    script = """
        import sys, tocsin
        for number in range(1000):
            with tocsin.record("m", spool=sys.argv[1], features=[number]): pass
    """
    python(script, spool)
    assert [e["tocsin"]["features"]["values"] for e in events(spool)] == [[float(i)] for i in range(1000)]


@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_a_forked_child_writes_its_own_segment(spool, how):
    script = """
        import multiprocessing, os, sys, tocsin
        recorder = tocsin.Recorder("m", spool=sys.argv[1])
        def work(principal):
            for _ in range(50):
                with recorder.call(principal=principal): pass
        work("parent")
        if sys.argv[2] == "os.fork":
            child = os.fork()
            if not child:
                work("child")
                sys.exit()
            os.waitpid(child, 0)
        else:
            process = multiprocessing.get_context("fork").Process(target=work, args=("child",))
            process.start(); process.join()
        work("parent")
    """
    python(script, spool, how)
    found = events(spool)
    assert sorted(e["user"]["id"] for e in found) == ["child"] * 50 + ["parent"] * 100
    assert len({e["event"]["id"] for e in found}) == 150
    assert len(list(spool.iterdir())) == 2


def test_kill_9_leaves_whole_lines_and_two_processes_share_a_folder(spool):
    script = """
        import os, signal, sys, tocsin
        recorder = tocsin.Recorder("m", spool=sys.argv[1])
        for number in range(300):
            with recorder.call(features=[number]): pass
        recorder.flush()
        for number in range(300):
            with recorder.call(features=[number]): pass
        os.kill(os.getpid(), signal.SIGKILL)
    """
    for _ in range(2):
        assert python(script, spool, check=False).returncode == -signal.SIGKILL
    assert 600 <= len(events(spool)) <= 1200
    assert len(list(spool.iterdir())) == 2
    assert all(p.read_bytes().endswith(b"\n") for p in spool.iterdir())
    assert {p.stat().st_mode & 0o777 for p in spool.iterdir()} == {0o640 & ~_umask()}


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
