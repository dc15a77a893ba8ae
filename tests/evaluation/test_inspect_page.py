"""The page is one file that asks for nothing, and no text in it can become markup or script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniconv.evaluation.inspect_page import render_page

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "<!-- <script>alert(1)</script>",
    '"><svg onload="alert(1)">',
    "javascript:alert(1)",
    "$data ${script} \\u003c/script>",
    "]]></style><script>alert(1)</script>",
    "\u2028\u2029\0'`&lt;b&gt;",
]


class Page(HTMLParser):
    """The tags, the attributes and the contents of scripts and styles, as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.contents: dict[str, str] = {}
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self._inside = dict(attrs).get("id") or tag
        self.contents.setdefault(self._inside, "")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.contents[self._inside] += data

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")
        self._inside = ""

    def attribute(self, tag: str, name: str) -> list[str]:
        return [value or "" for of, called, value in self.attributes if (of, called) == (tag, name)]


def data_of(text: str) -> Any:
    return json.loads(Page(text).contents["data"])


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    page = render_page(text, {"turns": [text], text: text})
    parsed, harmless = Page(page), Page(render_page("x", {}))
    assert parsed.tags == harmless.tags
    assert [(tag, name) for tag, name, _ in parsed.attributes] == [
        (tag, name) for tag, name, _ in harmless.attributes
    ]
    assert parsed.contents["script"] == harmless.contents["script"]
    assert data_of(page) == {"turns": [text], text: text}
    assert parsed.contents["title"] == text.replace("\0", "\ufffd") or "\0" in text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert data_of(render_page("x", {"text": text})) == {"text": text}


def test_the_policy_allows_this_script_and_style_and_no_request() -> None:
    page = Page(render_page("x", {}))
    policy = page.attribute("meta", "content")[0]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    for name, kind in (("script", "script-src"), ("style", "style-src")):
        digest = base64.b64encode(hashlib.sha256(page.contents[name].encode()).digest()).decode()
        assert rules[kind] == f"'sha256-{digest}'"


def test_nothing_is_loaded_and_nothing_makes_markup_of_text() -> None:
    page = Page(render_page("x", {}))
    assert not page.attribute("script", "src") and "link" not in page.tags
    assert page.attribute("a", "href") == ["#detail"]
    assert not any(name.startswith("on") or name == "style" for _, name, _ in page.attributes)
    code = page.contents["script"]
    makers = (
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|import\(|fetch\("
    )
    assert not re.search(makers, code)
    assert "url(" not in page.contents["style"] and "@import" not in page.contents["style"]


def test_controls_have_names() -> None:
    page = Page(render_page("x", {}))
    assert page.attribute("html", "lang") == ["en"]
    assert page.attribute("p", "role") == ["status"]
    ids = page.attribute("select", "id") + page.attribute("input", "id")
    text = render_page("x", {})
    for id in ids:
        assert re.search(rf'<label[^>]*>[^<]+<(?:select|input)[^>]* id="{id}"', text), id


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        render_page("x", {"score": float("nan")})
