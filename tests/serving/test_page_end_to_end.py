"""The chat page on the real server: nothing between the browser and the index is made up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from page_actions import OpenPage, answered, ask, ask_and_wait, notice
from playwright.sync_api import expect
from scripted import Scripted, running, searching

from tiny import tiny_uniconv
from uniconv.engine import Engine
from uniconv.search import ConversationalSearch
from uniconv.serving.app import create_app
from uniconv.serving.settings import ServerSettings

DROP = """(name) => {
  const data = new DataTransfer();
  data.items.add(new File(["# Bridge\\n\\nThe bridge was opened in 1901."], name));
  document.body.dispatchEvent(
    new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
def model() -> Scripted:
    return Scripted()


@pytest.fixture
def url(model: Scripted, tmp_path: Path) -> Iterator[str]:
    search = searching(tmp_path, model)
    with running(create_app(search, ServerSettings(documents=True))) as address:
        yield f"{address}/"


def test_an_answer_is_streamed_and_its_passage_opened(
    open_page: OpenPage, url: str, model: Scripted
) -> None:
    page = open_page(url)
    expect(page.locator("#welcome-count")).to_have_text("3 passages are ready to be searched.")
    model.said = ("The tower was ", "built in 1893 [1].")
    ask_and_wait(page, "Who built the tower?")
    page.locator(".chip").click()
    opened = page.locator("#sources details[open]")
    expect(opened.locator("dl")).to_contain_text(".md")
    (_, read, _), *_ = reversed(model.asked)
    expect(opened.locator(".passage-text")).to_have_text(read[0].text)
    expect(page.locator("#sources summary")).to_have_count(3)
    expect(page.locator(".timings")).to_contain_text("Find passages")


def test_stop_ends_the_writing(open_page: OpenPage, url: str, model: Scripted) -> None:
    page = open_page(url)
    page.locator("#welcome-count:not(:empty)").wait_for()
    model.may.clear()
    ask(page, "Who built the tower?")
    answered(page, state="writing")
    page.get_by_role("button", name="Stop the answer").click()
    answered(page, state="stopped")
    model.may.set()
    ask_and_wait(page, "And when?", 2)


def test_documents_come_and_go(open_page: OpenPage, url: str) -> None:
    page = open_page(url)
    expect(page.locator(".document")).to_have_count(3)
    page.evaluate(DROP, "bridge.md")
    notice(page, "Added bridge.md.")
    expect(page.locator("#about")).to_contain_text("4 passages")
    page.get_by_role("button", name="Remove bridge.md").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.locator(".document")).to_have_count(3)
    page.evaluate(DROP, "bridge.exe")
    notice(page, "bridge.exe could not be added")


def test_a_token_opens_the_server(open_page: OpenPage, model: Scripted, tmp_path: Path) -> None:
    app = create_app(searching(tmp_path, model), ServerSettings(), tokens=["sesame"])
    with running(app) as address:
        page = open_page(f"{address}/")
        page.get_by_role("dialog").get_by_label("Token").fill("sesame")
        page.keyboard.press("Enter")
        expect(page.locator("#welcome-count")).to_contain_text("3 passages")
        ask_and_wait(page, "Who built the tower?")


def test_the_tokens_that_the_engine_saves_are_told(open_page: OpenPage, tmp_path: Path) -> None:
    small = tiny_uniconv()
    index = searching(tmp_path, small).index
    engine = Engine(small)
    try:
        with running(create_app(ConversationalSearch(engine, index))) as address:
            page = open_page(f"{address}/")
            ask_and_wait(page, "Who built the tower of the old harbour, and what was it for?")
            second = ask_and_wait(page, "When was that?", 2)
            expect(second.locator(".actions")).to_contain_text("from the cache")
    finally:
        engine.close()
