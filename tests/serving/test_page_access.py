"""Keyboard, screen readers, phones, themes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from fake_server import FakeServer, Reply, passage
from page_actions import DESKTOP, PHONE, OpenPage, answered, ask, ask_and_wait, choose, turn
from playwright.sync_api import expect

LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 4
VIEWS = [("light", PHONE), ("dark", DESKTOP)]


def violations(page: Any) -> list[str]:
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": tags}).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]


def states(page: Any, server: FakeServer) -> Iterator[str]:
    """The page in all the states that look different, one after the other."""
    yield "empty"
    ask_and_wait(page, "Who built the tower?")
    yield "answered"
    page.locator(".chip").first.click()
    page.wait_for_timeout(250)  # the panel has come in
    yield "passages"
    page.locator("#sources .close").click()
    server.replies = [Reply(hold=1)]
    ask(page, "When?")
    answered(page, 2, "writing")
    yield "writing"
    page.get_by_role("button", name="Stop the answer").click()
    server.replies = [Reply(status=429, message="Busy.", headers={"Retry-After": "60"})]
    ask(page, "Why?")
    page.get_by_role("button", name="Ask now").wait_for()
    yield "busy"
    page.get_by_role("button", name="Stop the answer").click()
    server.replies = [Reply(error=1)]
    ask(page, "Where?")
    answered(page, 4, "failed")
    yield "failed"
    turn(page, 1).get_by_role("button", name="Edit the question").click()
    yield "edited"
    page.get_by_role("button", name="Rename, export or delete this conversation").click()
    yield "menu"
    page.keyboard.press("Escape")
    choose(page, "Delete")
    yield "dialog"


@pytest.mark.parametrize(("theme", "size"), VIEWS)
def test_axe_finds_nothing(
    open_page: OpenPage, server: FakeServer, theme: str, size: dict[str, int]
) -> None:
    server.documents = {"harbour.md": 41}
    page = open_page(
        server.url, viewport=size, color_scheme=theme, bypass_csp=True, reduced_motion="reduce"
    )
    page.locator("#welcome-count:not(:empty)").wait_for()
    found = {state: violations(page) for state in states(page, server)}
    assert found == {state: [] for state in found}


@pytest.mark.parametrize("width", [320, 375, 768, 1024])
def test_nothing_is_wider_than_the_page(
    open_page: OpenPage, server: FakeServer, width: int
) -> None:
    wide = passage(1, LONG, LONG, id=LONG, **{LONG: LONG})
    code = f"```\n{LONG}\n```"
    server.documents = {LONG: 1}
    server.replies = [Reply(pieces=(f"{LONG} [1]\n\n{code}",), passages=(wide,), warnings=(LONG,))]
    page = open_page(server.url, viewport={"width": width, "height": 640})
    fits = "() => document.documentElement.scrollWidth <= innerWidth"
    inner = "() => document.querySelector('#scroller').scrollWidth <= innerWidth"
    ask_and_wait(page, LONG)
    assert page.evaluate(fits)
    assert page.evaluate(inner)
    page.locator(".chip").first.click()
    assert page.evaluate(fits)
    body = "() => { const one = document.querySelector('#sources-body'); "
    assert page.evaluate(f"{body} return one.scrollWidth <= one.clientWidth; }}")


def test_a_phone_shows_one_thing_at_a_time(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page(server.url, viewport=PHONE, has_touch=True, is_mobile=True)
    ask_and_wait(page, "Who built the tower?")
    expect(page.locator("#sidebar")).to_be_hidden()
    page.get_by_role("button", name="Conversations").tap()
    expect(page.locator("#sidebar")).to_be_visible()
    assert page.evaluate("document.querySelector('main').inert")
    page.get_by_role("button", name="New conversation").tap()
    expect(page.locator("#sidebar")).to_be_hidden()
    page.get_by_role("button", name="Conversations").tap()
    page.get_by_role("link", name="Who built the tower?").tap()
    expect(page.locator("#sidebar")).to_be_hidden()
    page.locator(".chip").tap()
    expect(page.locator("#sources")).to_be_visible()
    assert page.evaluate("document.querySelector('main').inert")
    page.locator("#backdrop").tap(position={"x": 10, "y": 10})
    expect(page.locator("#sources")).to_be_hidden()
    assert not page.evaluate("document.querySelector('main').inert")


def press_until(page: Any, key: str, target: Any, most: int = 30) -> None:
    for _ in range(most):
        if target.evaluate("one => one === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} does not reach {target}")


def test_everything_is_reached_by_keyboard(page: Any, server: FakeServer) -> None:
    page.keyboard.type("Who built the tower?")
    page.keyboard.press("Enter")
    answered(page)
    chip = page.locator(".chip").first
    press_until(page, "Shift+Tab", chip)
    page.keyboard.press("Enter")
    expect(page.locator("#sources summary").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#sources details[open]")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(chip).to_be_focused()
    edit = page.get_by_role("button", name="Edit the question")
    press_until(page, "Shift+Tab", edit)
    page.keyboard.press("Enter")
    page.keyboard.type(" Tell me.")
    page.keyboard.press("Enter")
    answered(page)
    expect(page.locator("h2").get_by_text("Who built the tower? Tell me.")).to_be_visible()
    expect(page.locator("#question")).to_be_focused()
    menu = page.get_by_role("button", name="Rename, export or delete this conversation")
    press_until(page, "Shift+Tab", menu)
    page.keyboard.press("Enter")
    rename = page.get_by_role("button", name="Rename", exact=True)
    press_until(page, "Tab", rename)
    page.keyboard.press("Enter")
    page.keyboard.type("Towers")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Towers")


def test_the_skip_link_leads_to_the_question(page: Any) -> None:
    page.locator("#new").focus()
    press_until(page, "Shift+Tab", page.locator(".skip"))
    page.keyboard.press("Enter")
    expect(page.locator("#question")).to_be_focused()


def test_answers_are_told_to_screen_readers_by_sentences(page: Any, server: FakeServer) -> None:
    reply = Reply(pieces=("It was built in 1893 [1]. It ca", "rried a light."), hold=1)
    server.replies = [reply]
    ask(page, "Who built the tower?")
    said = page.get_by_role("log").locator("p")
    expect(said).to_have_text(
        ["Looking through the passages.", "It was built in 1893 (passage 1) ."]
    )
    reply.released.set()
    expect(said.last).to_have_text("It carried a light.")


def test_the_theme_is_switched_and_kept(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page(server.url, color_scheme="light")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Theme: system; change to light").click()
    assert page.evaluate(ground) == light
    page.get_by_role("button", name="Theme: light; change to dark").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Theme: dark; change to system").click()
    assert page.evaluate(ground) == light
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) == dark


def test_new_text_is_followed_unless_the_reader_went_up(
    open_page: OpenPage, server: FakeServer
) -> None:
    page = open_page(server.url, reduced_motion="reduce")
    lines = "\n\n".join(f"Line {number}." for number in range(60))
    reply = Reply(pieces=(lines, "\n\nLast."), hold=1)
    server.replies = [reply]
    ask(page, "Who?")
    page.locator(".prose p", has_text="Line 59.").wait_for()
    at_end = "one => one.scrollHeight - one.scrollTop - one.clientHeight < 2"
    scroller = page.locator("#scroller")
    assert scroller.evaluate(at_end)
    scroller.evaluate("one => one.scrollTo(0, 0)")
    page.locator("#latest").wait_for()
    reply.released.set()
    answered(page)
    assert scroller.evaluate("one => one.scrollTop") == 0
    page.locator("#latest").click()
    expect(page.locator("#latest")).to_be_hidden()
    assert scroller.evaluate(at_end)


def test_reduced_motion_is_respected(open_page: OpenPage, server: FakeServer) -> None:
    page = open_page(server.url, reduced_motion="reduce")
    server.replies = [Reply(hold=0)]
    ask(page, "Who?")
    # The line is another element when writing begins, so one look could be at the one that left.
    working = page.locator(".working")
    expect(working).to_have_css("animation-iteration-count", "1")
