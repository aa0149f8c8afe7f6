"""What panels ask of Elasticsearch, as Grafana's data source takes it: a filter, buckets and metrics.

Settings are texts there, and the date histogram comes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from grafana_foundation_sdk.builders import elasticsearch as es
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import elasticsearch as model
from grafana_foundation_sdk.models.common import DataSourceRef

from tocsin_dashboards.sources import SOURCES

Bucket = Builder[model.BucketAggregation]
Metric = Builder[model.MetricAggregation]
#: Widths of buckets of time: the reader's choice, and about a pixel.
STEP, AUTO = "$step", "auto"
MOST, ALPHABET = "_count", "_key"


def count() -> Metric:
    """How many events."""
    return es.Count()


def unique(field: str) -> Metric:
    """How many different values."""
    return es.UniqueCount().field(field)


def highest(field: str) -> Metric:
    """The largest value."""
    return es.Max().field(field)


def lowest(field: str) -> Metric:
    """The smallest value."""
    return es.Min().field(field)


def total(field: str) -> Metric:
    """The sum."""
    return es.Sum().field(field)


def percentiles(field: str, *percents: int) -> Metric:
    """Percentiles, each a series of its own."""
    return (
        es.Percentiles()
        .field(field)
        .settings(es.ElasticsearchPercentilesSettings().percents([str(p) for p in percents]))
    )


def raw(rows: int = 500) -> Metric:
    """The newest documents themselves."""
    return es.RawData().settings(es.ElasticsearchRawDataSettings().size(str(rows)))


def terms(field: str, size: int = 20, by: str = MOST, missing: str = "") -> Bucket:
    """A bucket for each value: the most frequent ones, those of which the metric with the id `by` is highest, or the
    first ones in the order of the `ALPHABET`.

    Documents without the field are in the bucket `missing` if that is given, else in none.
    """
    settings = (
        es.ElasticsearchTermsSettings()
        .size(str(size))
        .min_doc_count("1")
        .order_by(by)
        .order(model.TermsOrder.ASC if by == ALPHABET else model.TermsOrder.DESC)
    )
    if missing:
        settings.missing(missing)
    return es.Terms().field(field).settings(settings)


def filters(named: Mapping[str, str]) -> Bucket:
    """A bucket for each condition, by its name."""
    conditions: list[Builder[model.Filter]] = [
        es.Filter().query(query).label(label) for label, query in named.items()
    ]
    return es.Filters().settings(es.ElasticsearchFiltersSettings().filters(conditions))


def ranges(field: str, least: float, most: float, step: float) -> Bucket:
    """A bucket for each step of a number between two, named after where it begins; what lies outside is in the first
    and in the last one.

    Not a histogram: above another bucket its keys are cut to whole numbers.
    """
    number = round((most - least) / step)
    starts = [least + step * n for n in range(number)]
    digits = len(f"{step:.6f}".rstrip("0").partition(".")[2])
    width = len(f"{starts[-1]:.{digits}f}")
    named = {}
    for n, start in enumerate(starts):
        low = f">={start:.10g}" if n else ""
        high = f"<{start + step:.10g}" if n < number - 1 else ""
        named[f"{start:0{width}.{digits}f}"] = f"{field}:({' AND '.join(filter(None, (low, high))) or '*'})"
    return filters(named)


def ref_of(source: str) -> DataSourceRef:
    """The data source of a stream or view, as panels, variables and annotations name it."""
    return DataSourceRef(type_val="elasticsearch", uid=SOURCES[source].uid)


def ask(
    source: str,
    where: str = "",
    metrics: Sequence[Metric] = (),
    by: Iterable[Bucket] = (),
    *,
    over: str = "",
    alias: str = "",
    ref: str = "A",
) -> es.Dataquery:
    """One query.

    Args:
        source: the stream or view.
        where: a condition in Lucene's words; the namespace is added.
        metrics: what to compute; how many there are if nothing else.
        by: buckets, the outermost first.
        over: the width of a bucket of time: `STEP` for bars, `AUTO` for lines; empty for no time axis.
        alias: the name of a series, where `{{term field}}` is the bucket's value.
        ref: which query of the panel it is.
    """
    about = SOURCES[source]
    buckets = list(by)
    if over:
        settings = es.ElasticsearchDateHistogramSettings().interval(over).min_doc_count("0")
        buckets.append(es.DateHistogram().field(about.time).settings(settings))
    query = f"{about.within} AND ({where})" if where else about.within
    numbered = [bucket.id(str(10 + n)) for n, bucket in enumerate(buckets, 1)]  # type: ignore[attr-defined]
    computed = [metric.id(str(n)) for n, metric in enumerate(metrics or [count()], 1)]  # type: ignore[attr-defined]
    found = (
        es.Dataquery().ref_id(ref).query(query).time_field(about.time).metrics(computed).bucket_aggs(numbered)
    )
    found.datasource(ref_of(source))
    return found.alias(alias) if alias else found
