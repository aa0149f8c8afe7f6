"""The two writers: text stays text in both, and both say the same."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.demo.small_story import HOSTILE
from tests.report.page import Reader
from tocsin.contract.findings import Severity
from tocsin.report import document as doc
from tocsin.report import html, markdown
from tocsin.report.evidence import complete, measures, readable

TIME = datetime(2026, 3, 5, 2, 43, tzinfo=UTC)
TEXT = st.text(max_size=60) | st.text(alphabet="<>&\"'`*_[]()#|~!\\-+=:/.@ \n0aw$\u202e", max_size=60)
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
SVG = '<svg width="1" height="1"><path d="M0 0" style="fill: #0072b2"/></svg>'


def document(text: str) -> doc.Document:
    """One of every block and of everything that stands in a line, with a text in every place for one."""
    line: doc.Line = (text, " ", doc.Chip(Severity.HIGH), " ", doc.Strong(text), doc.Small(text), doc.Code(text),
                      doc.When(TIME), doc.When(TIME, timedelta(days=1)), doc.Badge(3), doc.Link(text, "part"))  # fmt: skip
    blocks: list[doc.Block] = [
        doc.Heading(text),
        doc.Paragraph(line),
        doc.Paragraph(text, muted=True),
        doc.Facts([(text, line)]),
        doc.Table([f"#{text}", "b"], [(text, line)]),
        doc.Tiles([(text, text)]),
        doc.Notices([doc.Notice(Severity.HIGH, doc.Link(text, "part"), line, text, line)]),
        doc.Notices([doc.Notice(Severity.LOW, text, text, text, text)]),
        doc.Heading(text, id="heading"),
        doc.Steps([doc.Item(text, text, "done", [doc.Paragraph(doc.Code(text))])]),
        doc.Verbatim(text),
        doc.Picture("one", SVG, text, text, doc.Picture("small", SVG, text, text)),
        doc.Picture("two", SVG, text, text),
    ]
    inner: list[doc.Block] = [doc.Panel(blocks), doc.Details(text, [doc.Verbatim(text)], "details")]
    return doc.Document(text, text, True, blocks, [doc.Section(text, inner, "part", 1)])  # noqa: FBT003


def elements(page: str) -> list[str]:
    return [name for name, _ in Reader(page).elements]


def tokens(text: str) -> list[tuple[str, str]]:
    """What a reader of Markdown makes of a text, without its words: types and, of marks, what they lead to."""

    def walk(found: list[Token]) -> list[tuple[str, str]]:
        parsed = []
        for token in found:
            if token.type not in {"text", "inline"}:
                parsed.append(
                    (token.type, str(token.attrs.get("href", "")) + str(token.attrs.get("src", "")))
                )
            parsed += walk(token.children or [])
        return parsed

    return walk(READER.parse(text))


@given(TEXT.filter(bool))
def test_no_text_becomes_an_element_of_the_page(text: str) -> None:
    assert elements(html.write(document(text))) == elements(html.write(document("x")))


@given(TEXT.filter(lambda t: t.strip() != ""))
def test_no_text_becomes_markup_in_markdown(text: str) -> None:
    written, _ = markdown.write(document(text), "pictures")
    plain, _ = markdown.write(document("x"), "pictures")
    assert tokens(written) == tokens(plain)


@given(TEXT)
def test_markdown_says_just_the_text(text: str) -> None:
    shown = re.sub(r"\s+", " ", doc.shown(text)).strip()
    parsed = READER.parse(markdown.escape(f"x {text}").strip())
    children = parsed[1].children or []
    assert {child.type for child in children} == {"text"}
    assert "".join(child.content for child in children) == f"x {shown}".strip()


@given(TEXT.filter(lambda t: t.strip() != ""))
def test_verbatim_text_keeps_to_its_fence(text: str) -> None:
    tokens_ = READER.parse(markdown.write(doc.Document("e", "v", True, [doc.Verbatim(text)], []), "p")[0])  # noqa: FBT003
    fences = [token for token in tokens_ if token.type == "fence"]
    assert [fence.content.rstrip("\n") for fence in fences] == [doc.shown(text).rstrip("\n")]
    assert [t.type for t in tokens_[-1:]] == ["fence"]


@pytest.mark.parametrize("text", ["https://evil.example/x", "www.evil.example", "see HTTP://a.b", ":skull:"])
def test_what_githubs_reader_links_without_marks_is_broken(text: str) -> None:
    assert not re.search(r"(?<!\\)://|www\.|(?<!\\):\w+:", markdown.escape(text), re.IGNORECASE)
    rendered = READER.renderInline(markdown.escape(text))
    assert rendered == text


def test_markup_is_only_what_was_built_as_markup() -> None:
    inner = html.tag("b", HOSTILE)
    assert html.tag("p", inner, "<i>", class_='"x') == f'<p class="&quot;x">{inner}&lt;i&gt;</p>'
    assert "&lt;script&gt;" in inner
    shown = html.inline(doc.When(TIME))
    assert datetime.fromisoformat(re.findall(r'datetime="([^"]+)"', shown)[0]) == TIME


def test_a_picture_follows_the_theme_on_a_page_and_keeps_its_colors_in_a_file() -> None:
    page = html.write(document("x"))
    assert "var(--blue)" in page
    assert "fill: #0072b2" not in page
    text, pictures = markdown.write(document("x"), "my pictures")
    assert "(my%20pictures/one.svg)" in text
    assert "fill: #0072b2" in pictures["one.svg"]
    assert '<rect width="100%" height="100%" fill="#fefefe"/>' in pictures["one.svg"]


def test_evidence_is_short_and_whole() -> None:
    facts = {
        "rows": 1000,
        "p": 1e-20,
        "ids": list(range(30)),
        "odd": [{"row": i, "x": {}} for i in range(9)],
        "none": None,
    }
    blocks = readable(json.dumps(facts))
    page = html.write(doc.Document("e", "v", True, blocks, []))  # noqa: FBT003
    Reader(page)
    assert "<dd>1,000</dd>" in page
    assert "1e-20" not in page
    assert measures(json.dumps(facts)) == [("p", "1e-20")]
    assert "and 22 more" in page
    assert "3 more rows are in the appendix" in page
    assert complete(json.dumps(facts)) == [doc.Verbatim(json.dumps(facts, indent=2))]
    assert readable(None) == readable("{}")
