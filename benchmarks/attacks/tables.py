"""The tables of the trials: features as numbers, and a label of 0 and 1."""

from __future__ import annotations

import gzip

import polars as pl

from benchmarks.card import SHARED, credit


def houses() -> pl.DataFrame:
    """California houses (NannyML's copy): eight features, most of them continuous, and a class."""
    folder = SHARED / "california_housing_nannyml"
    table = pl.read_csv(gzip.decompress((folder / "california_housing_reference.csv.gz").read_bytes()))
    return (
        table.drop("id", "timestamp", "y_pred_proba", "y_pred").drop_nulls().rename({"clf_target": "label"})
    )


def german() -> pl.DataFrame:
    """Credit applications: 1,000 rows, most of the 20 features nominal."""
    return _coded(pl.read_csv(SHARED / "german_credit" / "germancredit.csv")).rename(
        {"creditability": "label"}
    )


def census() -> pl.DataFrame:
    """US employment survey: 16 features, most of them nominal."""
    table = pl.read_parquet(SHARED / "acs_employment_nannyml" / "employment_MA_reference.pq")
    table = table.drop("id", "year", "prediction", "predicted_probability")
    return _coded(table.sample(20_000, seed=0)).rename({"employed": "label"})


def loans() -> pl.DataFrame:
    """Synthetic car loans: seven features, three of them nominal."""
    path = SHARED / "synth_car_loan_nannyml" / "synthetic_car_loan_reference.csv.gz"
    table = pl.read_csv(gzip.decompress(path.read_bytes())).drop("id", "timestamp", "y_pred_proba", "y_pred")
    return _coded(table.sample(20_000, seed=0)).rename({"repaid": "label"})


def cards() -> pl.DataFrame:
    """Credit-card clients: 32 features, most of them numeric."""
    return credit().rename({"default-payment-next-month": "label"})


def _coded(table: pl.DataFrame) -> pl.DataFrame:
    """Texts and categories as codes in the order of their names, as a model's encoder has them."""
    texts = [name for name, kind in table.schema.items() if not kind.is_numeric()]
    return table.with_columns(
        pl.col(name).cast(pl.String).rank("dense").cast(pl.Float64) - 1 for name in texts
    ).with_columns(pl.all().cast(pl.Float64))


TABLES = {"credit": cards, "housing": houses, "german": german, "census": census, "loans": loans}
