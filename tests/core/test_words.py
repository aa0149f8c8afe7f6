from __future__ import annotations

from tocsin.words import count, figure, listed, sentence, short


def test_a_count_has_the_right_noun() -> None:
    assert [count(n, "access", "accesses") for n in (0, 1, 2)] == ["0 accesses", "1 access", "2 accesses"]
    assert count(1_278, "window") == "1,278 windows"


def test_a_figure_is_short() -> None:
    assert [figure(value) for value in (0.05333, 12.5, -1278.4, 3e6)] == [
        "0.0533",
        "12.5",
        "-1,278",
        "3,000,000",
    ]


def test_a_list_names_the_first_and_counts_the_others() -> None:
    assert [listed(list(names), 3) for names in ("", "a", "ab", "abc", "abcd")] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "a, b, c and 1 more",
    ]


def test_a_long_name_loses_its_middle() -> None:
    assert short("broker-13") == "broker-13"
    assert short("features/payment_status_september", 15) == "feature…ptember"
    assert [len(short("x" * n, 24)) for n in (23, 24, 25, 999)] == [23, 24, 24, 24]


def test_a_sentence_loses_the_last_parts_that_do_not_fit() -> None:
    parts = ["loans: it has 3,000 rows", "2 more figures out of range", "written by eve, a new writer"]
    assert sentence(parts) == "; ".join(parts)
    assert sentence(parts, 60) == "loans: it has 3,000 rows; 2 more figures out of range"
