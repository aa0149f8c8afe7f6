from __future__ import annotations

from tocsin.words import count, figure, listed


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
