"""Nothing that comes from documents, models, servers or users becomes markup or script."""

from __future__ import annotations

from typing import Any

from fake_server import FakeServer, Reply, passage
from page_actions import OpenPage, answered, ask, ask_and_wait, choose, notice
from playwright.sync_api import expect

SCRIPT = (
    "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"
    "<svg onload=window.hacked=1></svg><a href='javascript:window.hacked=1'>x</a>"
    "\"'><style>*{display:none}</style>${window.hacked=1}"
)


def assert_harmless(page: Any) -> None:
    assert page.evaluate("window.hacked") is None
    strange = "#turns :is(img, script, style, iframe, a), #sources :is(img, script, style, iframe)"
    assert page.locator(strange).count() == 0
    links = page.eval_on_selector_all("a", "all => all.map((one) => one.protocol)")
    assert set(links) <= {"http:", "https:"}


def test_a_hostile_passage_is_text(page: Any, server: FakeServer) -> None:
    hostile = passage(
        1, SCRIPT, f"built {SCRIPT}", id=SCRIPT, source="javascript:window.hacked=1",
        page="https://example.org/a?b=<script>", other=SCRIPT, address="data:text/html,x",
    )  # fmt: skip
    server.replies = [
        Reply(pieces=(f"It was built {SCRIPT} [1].",), passages=(hostile,), warnings=(SCRIPT,))
    ]
    ask_and_wait(page, f"Who? {SCRIPT}")
    page.locator(".chip").first.click()
    opened = page.locator("#sources details[open]")
    expect(opened.locator(".passage-name")).to_have_text(SCRIPT)
    expect(opened.locator(".passage-text")).to_contain_text("<script>window.hacked=1</script>")
    expect(opened.locator("a")).to_have_count(1)
    expect(opened.locator("a")).to_have_attribute("rel", "noopener noreferrer")
    assert_harmless(page)
    page.reload()  # what was kept is drawn again
    answered(page)
    assert_harmless(page)


def test_a_hostile_name_of_a_conversation_is_text(page: Any) -> None:
    ask_and_wait(page, "Who built the tower?")
    choose(page, "Rename")
    page.get_by_role("textbox", name="Name").fill(SCRIPT)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("<img src=x")
    choose(page, "Delete")
    assert_harmless(page)


def test_hostile_documents_models_and_errors_are_text(
    open_page: OpenPage, server: FakeServer
) -> None:
    server.documents = {SCRIPT: 1}
    page = open_page(server.url)
    expect(page.locator(".document .name")).to_have_text(SCRIPT)
    page.locator(".document button").click()
    expect(page.get_by_role("dialog")).to_contain_text("<img src=x")
    page.get_by_role("button", name="Cancel").click()
    server.replies = [Reply(status=400, message=SCRIPT), Reply(pieces=("```\n", SCRIPT, "\n```"))]
    ask(page, "Who?")
    expect(answered(page, state="failed")).to_contain_text("<img src=x")
    ask_and_wait(page, "When?", 2)
    expect(page.locator("pre code")).to_have_text(SCRIPT)
    assert_harmless(page)


def test_kept_conversations_are_not_trusted(page: Any) -> None:
    ask_and_wait(page, "Who built the tower?")
    page.evaluate(
        """(script) => {
          const key = Object.keys(localStorage).find((one) => one.includes("conversation"));
          const kept = JSON.parse(localStorage.getItem(key));
          Object.assign(kept, { title: script });
          Object.assign(kept.turns[0], { text: script, problem: script, state: "failed" });
          localStorage.setItem(key, JSON.stringify(kept));
        }""",
        SCRIPT,
    )
    page.reload()
    expect(answered(page, state="failed").locator(".problem")).to_contain_text("<img src=x")
    assert_harmless(page)


def test_a_full_notice_is_text(page: Any, server: FakeServer) -> None:
    page.evaluate(
        "async (text) => (await import('./notice.js')).notice(text, { action: text })", SCRIPT
    )
    notice(page, "<img src=x")
    assert_harmless(page)


def test_the_browser_itself_refuses_markup_from_text(browser: Any, server: FakeServer) -> None:
    page = browser.new_page()
    page.goto(server.url)
    refused = "() => { try { document.body.innerHTML = '<b>x</b>'; } catch { return true; } }"
    assert page.evaluate(refused)
    page.close()
