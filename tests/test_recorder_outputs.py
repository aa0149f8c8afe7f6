"""A wrapper behaves as its estimator; answers of every shape are recorded, one a row."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from sklearn.ensemble import RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from tests.test_recorder_schema import Kept
from tocsin_recorder.estimator import wrapped

X = np.random.default_rng(0).normal(size=(40, 2))
Y = (X[:, 0] > 0).astype(int)
BOTH = np.column_stack([Y, np.where(X[:, 1] > 0, 2, 1)])


def outputs(model, method, *args, **kwargs):
    queue = Kept()
    result = getattr(wrapped(queue, model, ()), method)(*args, **kwargs)
    assert queue.lost == 0
    return result, [e["tocsin"].get("output") for e in queue.events()]


@pytest.mark.parametrize("model", [RandomForestClassifier(5), MultiOutputClassifier(LogisticRegression())])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_probabilities_of_several_outputs(model, rows):
    model.fit(X, BOTH)
    result, found = outputs(model, "predict_proba", X[:rows])
    predicted, labels = outputs(model, "predict", X[:rows])
    assert [o["label"] for o in found] == [o["label"] for o in labels] == [str(v) for v in predicted.tolist()]
    least = np.minimum(result[0].max(axis=1), result[1].max(axis=1))
    assert [o["confidence"] for o in found] == pytest.approx(least.tolist())
    assert all("score" not in o for o in found)


def test_several_numbers_a_row():
    predicted, found = outputs(LinearRegression().fit(X, X @ [[1, 2], [3, 4]]), "predict", X[:2])
    assert found == [{"label": str(v)} for v in predicted.tolist()]


def test_an_answer_with_its_deviation():
    model = GaussianProcessRegressor().fit(X, X[:, 0])
    (means, _), found = outputs(model, "predict", X[:2], return_std=True)
    assert [o["score"] for o in found] == means.tolist()


@pytest.mark.parametrize(
    "kind", [tuple, list, pl.Series, np.array, lambda v: csr_matrix(np.array(v)[:, None])]
)
def test_answers_of_every_kind(kind):
    model = SimpleNamespace(predict=lambda rows: kind([0.25, 0.75]))
    _, found = outputs(model, "predict", [[1.0], [2.0]])
    assert [str(o.get("score", o.get("label"))).strip("[]") for o in found] == ["0.25", "0.75"]


@pytest.mark.parametrize("answer", [None, 5, object(), iter([1.0])])
def test_an_answer_of_no_shape_is_given_on_and_never_raises(answer):
    result, _ = outputs_or_lost(answer)
    assert result is answer


def outputs_or_lost(answer):
    queue = Kept()
    result = wrapped(queue, SimpleNamespace(predict=lambda rows: answer), ()).predict([[1.0]])
    return result, queue.events()


PIPELINE = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
FOREST = RandomForestClassifier(3, random_state=0).fit(X, Y)


def test_a_pipeline_is_indexed_counted_and_iterated():
    model = wrapped(Kept(), PIPELINE, ())
    assert model[0] is PIPELINE[0]
    assert model["standardscaler"] is PIPELINE["standardscaler"]
    assert len(model) == 2
    assert list(model) == list(PIPELINE)
    assert PIPELINE[1] in model
    assert len(model[:1]) == 1
    assert model
    with pytest.raises(IndexError):
        _ = model[2]


def test_an_ensemble_is_indexed_counted_and_iterated():
    model = wrapped(Kept(), FOREST, ())
    assert (len(model), model[1], list(model)) == (3, FOREST[1], list(FOREST))


def test_an_estimator_without_a_length_has_none_when_wrapped():
    model = wrapped(Kept(), LogisticRegression(), ())
    assert model
    assert not hasattr(model, "__len__")
    assert not callable(model)
    for action in (len, iter, lambda m: m[0], lambda m: 1 in m, lambda m: m([[1.0]])):
        with pytest.raises(TypeError):
            action(model)
    assert np.array([model], dtype=object).shape == (1,)


def test_what_the_estimator_lacks_the_wrapper_lacks():
    model = wrapped(Kept(), LinearSVC(), ())
    assert hasattr(model, "predict")
    assert not hasattr(model, "predict_proba")
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        model.predict()


def test_rows_may_be_given_by_name():
    result, found = outputs(PIPELINE, "predict", X=X[:2])
    assert [o["label"] for o in found] == [str(v) for v in result]


def test_fit_returns_the_wrapper():
    queue = Kept()
    model = wrapped(queue, LogisticRegression(), ())
    with pytest.raises(ValueError, match="not fitted"):
        model.predict(X[:1])
    assert model.fit(X, Y) is model
    assert model.set_params(C=0.5) is model
    model.fit(X, Y).predict(X[:1])
    assert [e["event"]["outcome"] for e in queue.events()] == ["failure", "success"]
    assert isinstance(copy.deepcopy(model), LogisticRegression)
    assert isinstance(pickle.loads(pickle.dumps(model)), LogisticRegression)
    model.note = 1
    del model.note
    assert not hasattr(model, "note")
