"""Citation chips, the passages they open, and how an answer came about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fake_server import BRIDGE, MARKET, TOWER, FakeServer, Reply, passage
from page_actions import answered, ask_and_wait, turn
from playwright.sync_api import expect


def marked(page: Any) -> list[str]:
    return page.locator("#sources details[open] mark").all_inner_texts()


@pytest.fixture(scope="module")
def modules(browser: Any) -> Iterator[Any]:
    server = FakeServer()
    page = browser.new_page()
    page.goto(server.url)
    yield page
    page.close()
    server.stop()


def call(modules: Any, function: str, *arguments: object) -> Any:
    """A function of the module of citations."""
    script = "async ([name, given]) => (await import('./citations.js'))[name](...given)"
    return modules.evaluate(script, [function, list(arguments)])


def test_a_chip_opens_its_passage_with_the_shared_words_marked(page: Any) -> None:
    ask_and_wait(page, "Who built the tower?")
    expect(page.locator("#sources")).to_be_hidden()
    page.get_by_role("button", name="Passage 1: Harbour tower").first.click()
    opened = page.locator("#sources details[open]")
    expect(opened).to_have_count(1)
    expect(opened.locator("summary")).to_contain_text("Harbour tower")
    expect(opened.locator("summary")).to_be_focused()
    assert marked(page) == ["tower", "built in 1893 by a family of engineers"]
    expect(opened).to_contain_text("harbour.md")


def test_only_words_of_the_sentence_before_the_mark_are_marked(
    page: Any, server: FakeServer
) -> None:
    pieces = ("It carried light for eighty years [1]. Trams crossed the bridge [2].",)
    server.replies = [Reply(pieces=pieces)]
    ask_and_wait(page, "What happened?")
    page.get_by_role("button", name="Passage 1").first.click()
    assert marked(page) == ["carried", "light for eighty years"]
    page.get_by_role("button", name="Passage 2").first.click()
    assert marked(page) == ["bridge", "trams crossed"]


def test_every_passage_is_listed_with_its_score(page: Any) -> None:
    ask_and_wait(page, "Who built the tower?")
    page.get_by_role("button", name="3 passages").click()
    summaries = page.locator("#sources summary")
    expect(summaries).to_contain_text(["Harbour tower", "Bridge", "Market"])
    expect(summaries).to_contain_text(["score 0.0328", "score 0.0311", "score 0.0109"])
    expect(summaries.nth(0)).to_contain_text("cited")
    expect(summaries.nth(1)).to_contain_text("read")
    expect(summaries.nth(2)).not_to_contain_text("read")
    expect(page.locator("#sources-body > p")).to_contain_text(
        "3 passages considered, the best first; the answer was written from 2 of them."
    )


def test_the_sources_below_an_answer_open_them_too(page: Any) -> None:
    ask_and_wait(page, "Who built the tower?")
    page.get_by_role("list", name="Cited passages").get_by_role("button").click()
    expect(page.locator("#sources details[open] summary")).to_contain_text("Harbour tower")
    assert "built in 1893 by a family of engineers" in marked(page)


def test_the_panel_closes_and_gives_the_focus_back(page: Any) -> None:
    ask_and_wait(page, "Who built the tower?")
    chip = page.get_by_role("button", name="Passage 1: Harbour tower").first
    chip.click()
    page.keyboard.press("Escape")
    expect(page.locator("#sources")).to_be_hidden()
    expect(chip).to_be_focused()


def test_stages_and_saved_tokens_are_told(page: Any) -> None:
    ask_and_wait(page, "Who built the tower?")
    page.get_by_role("button", name="440 ms · 412 tokens from the cache").click()
    rows = page.locator(".timings tr").all_inner_texts()
    assert [row.split("\t") for row in rows] == [
        ["Read the conversation", "12 ms"],
        ["Find passages", "8 ms"],
        ["Read passages, to the first word", "40 ms"],
        ["Write the rest", "380 ms"],
        ["Together", "440 ms"],
        ["Tokens in the prompt", "480"],
        ["From the cache, not read again", "412 (86 %)"],
        ["Tokens written", "34"],
        ["Tokens written a second", "81"],
    ]


def test_marks_that_point_nowhere_stay_text(page: Any, server: FakeServer) -> None:
    server.replies = [Reply(pieces=("See [7] and [1, 2].",))]
    answer = ask_and_wait(page, "Where?")
    expect(answer.locator(".prose")).to_contain_text("See [7] and")
    expect(answer.locator(".chip")).to_have_text(["1", "2"])


def test_an_answer_that_found_nothing_says_so(page: Any, server: FakeServer) -> None:
    unread = tuple(one | {"read": False} for one in (TOWER, BRIDGE, MARKET))
    server.replies = [Reply(pieces=("I found nothing.",), passages=unread, found=False)]
    ask_and_wait(page, "What is the weather?")
    page.get_by_role("button", name="3 passages").click()
    expect(page.locator("#sources-body > p")).to_have_text(
        "3 passages considered, none near enough to answer from."
    )


def test_a_limit_and_warnings_are_told(page: Any, server: FakeServer) -> None:
    server.replies = [Reply(finish="length", warnings=("System messages are not used.",))]
    answer = ask_and_wait(page, "Who?")
    expect(answer).to_contain_text("System messages are not used.")
    expect(answer).to_contain_text("The answer reached the limit of its length.")


def test_a_passage_without_shared_words_is_told(page: Any, server: FakeServer) -> None:
    server.replies = [Reply(pieces=("Nobody knows [1].",), passages=(passage(1, "A", "Ice."),))]
    ask_and_wait(page, "Who?")
    page.get_by_role("button", name="Passage 1: A").first.click()
    expect(page.locator("#sources details")).to_contain_text("shares no words with this passage")


def test_answers_show_lists_code_and_emphasis(page: Any, server: FakeServer) -> None:
    text = (
        "Two **ways**:\n\n1. use `csv.reader`\n2. or *split* [1]\n\n```python\nx = [1]\n\n"
        "y\n```\nAnd [a link](https://example.org) stays text."
    )
    server.replies = [Reply(pieces=tuple(text))]
    prose = ask_and_wait(page, "How?").locator(".prose")
    expect(prose.locator("strong")).to_have_text("ways")
    expect(prose.locator("ol li")).to_have_text(["use csv.reader", "or split 1"])
    expect(prose.locator("pre code")).to_have_text("x = [1]\n\ny")
    expect(prose.locator("p").last).to_have_text("And [a link](https://example.org) stays text.")
    expect(prose.locator("a")).to_have_count(0)


def test_a_finished_paragraph_keeps_the_focus_while_more_is_written(
    page: Any, server: FakeServer
) -> None:
    reply = Reply(pieces=("In 1893 [1].\n\nAnd", " more."), hold=1)
    server.replies = [reply]
    page.locator("#question").fill("When?")
    page.keyboard.press("Enter")
    chip = turn(page, 1).get_by_role("button", name="Passage 1: Harbour tower")
    chip.focus()
    reply.released.set()
    answered(page)
    expect(chip.first).to_be_focused()


@pytest.mark.parametrize(
    ("text", "sentence", "expected"),
    [
        ("The tower is tall.", "A tower, tall", ["tower", "tall"]),
        ("In the year 1893 they burned.", "It burned in the year 1893.", ["year 1893", "burned"]),
        ("Fish of the sea", "the fish of the sea", ["Fish of the sea"]),
        ("one. two", "one two", ["one", "two"]),
        ("csv.DictReader reads rows", "Use DictReader to get rows", ["DictReader", "rows"]),
        ("塔は1893年に建てられた。", "塔が建てられた", ["塔", "建てられた"]),
        ("Über den Fluß", "über den fluß", ["Über den Fluß"]),
        ("the of and", "the of and", []),
        ("Tower", "", []),
    ],
)
def test_shared_words(modules: Any, text: str, sentence: str, expected: list[str]) -> None:
    runs = call(modules, "highlighted", text, sentence)
    assert "".join(run["text"] for run in runs) == text
    assert [run["text"] for run in runs if run["marked"]] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("First. It was built [1]", "It was built"),
        ("It was built. [1]", "It was built."),
        ("It was built [1][2]", "It was built"),
        ("It was built [1] by engineers [2]", "It was built by engineers"),
        ("It was built [1]. They left [2]", "They left"),
        ("[1]", ""),
    ],
)
def test_the_sentence_before_a_mark(modules: Any, text: str, expected: str) -> None:
    said = call(modules, "sentenceBefore", text, text.rindex("["))
    assert " ".join(said.split()) == expected
