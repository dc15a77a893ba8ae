"""What the page does when the server refuses, breaks off, goes away, or wants a token."""

from __future__ import annotations

from typing import Any

from fake_server import FakeServer, Reply
from page_actions import OpenPage, answered, ask, ask_and_wait, notice, turn
from playwright.sync_api import expect


def busy(seconds: str) -> Reply:
    return Reply(status=429, message="the queue is full", headers={"Retry-After": seconds})


def test_a_busy_server_is_asked_again_by_itself(page: Any, server: FakeServer) -> None:
    server.replies = [busy("0.1"), busy("0.1")]
    ask_and_wait(page, "Who built the tower?")
    assert len(server.requests) == 3


def test_the_wait_is_told_and_can_be_cut_short(page: Any, server: FakeServer) -> None:
    server.replies = [busy("30")]
    ask(page, "Who built the tower?")
    expect(turn(page, 1)).to_contain_text("The server is busy. Asking again in 30 seconds.")
    page.get_by_role("button", name="Ask now").click()
    answered(page)


def test_a_wait_can_be_stopped(page: Any, server: FakeServer) -> None:
    server.replies = [busy("30")]
    ask(page, "Who built the tower?")
    page.get_by_role("button", name="Ask now").wait_for()
    page.get_by_role("button", name="Stop the answer").click()
    answered(page, state="stopped")
    assert len(server.requests) == 1


def test_an_error_in_the_middle_keeps_the_text(page: Any, server: FakeServer) -> None:
    server.replies = [Reply(error=1)]
    ask(page, "Who built the tower?")
    answer = answered(page, state="failed")
    expect(answer.locator(".prose")).to_have_text("The tower was built")
    expect(answer.locator(".problem")).to_contain_text("The model failed.")
    answer.get_by_role("button", name="Try again").click()
    answered(page)
    expect(page.locator(".turn")).to_have_count(1)
    assert "temperature" not in server.requests[1]


def test_a_stream_that_ends_early_is_told(page: Any, server: FakeServer) -> None:
    server.replies = [Reply(cut=1)]
    ask(page, "Who built the tower?")
    expect(answered(page, state="failed")).to_contain_text("The connection was lost in the middle")


def test_a_refusal_is_told_in_the_servers_words(page: Any, server: FakeServer) -> None:
    server.replies = [Reply(status=400, message="messages: the conversation is too long")]
    ask(page, "Who built the tower?")
    problem = answered(page, state="failed").locator(".problem p")
    expect(problem).to_have_text("messages: the conversation is too long.")


def test_an_answer_that_is_no_json_is_told(page: Any, server: FakeServer) -> None:
    page.route("**/v1/chat/completions", lambda route: route.fulfill(status=502, body="<html>"))
    ask(page, "Who built the tower?")
    expect(answered(page, state="failed")).to_contain_text("answered with an error (502)")


def test_an_unanswered_question_is_not_sent_again(page: Any, server: FakeServer) -> None:
    server.replies = [Reply(status=500, message="it failed")]
    ask(page, "Who?")
    answered(page, state="failed")
    ask_and_wait(page, "When?", 2)
    assert server.requests[1]["messages"] == [{"role": "user", "content": "When?"}]


def test_a_server_that_went_away_is_found_again_by_itself(page: Any, server: FakeServer) -> None:
    server.stop()
    ask(page, "Who built the tower?")
    expect(answered(page, state="failed")).to_contain_text("The server can't be reached.")
    notice(page, "The server can't be reached. Trying again by itself.")
    server.start(server.port)
    notice(page, "Connected again.")
    page.get_by_role("button", name="Try again").click()
    answered(page)


def test_a_server_that_isnt_ready_can_be_tried_at_once(page: Any) -> None:
    body = {"error": {"message": "it is starting"}}
    refuse = {"status": 503, "headers": {"Retry-After": "60"}, "json": body}
    page.route("**/v1/models", lambda route: route.fulfill(**refuse))
    page.reload()
    notice(page, "It is starting. Trying again by itself.")
    page.unroute("**/v1/models")
    page.get_by_role("button", name="Try now").click()
    notice(page, "Connected again.")
    expect(page.locator("#about")).to_contain_text("12,345 passages")


def test_a_token_is_asked_for_and_kept_for_the_session(
    open_page: OpenPage, server: FakeServer
) -> None:
    server.token = "open sesame"
    page = open_page(server.url)
    dialog = page.get_by_role("dialog", name="This server asks for a token")
    dialog.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="The token was not accepted")
    dialog.get_by_label("Token").fill("open sesame")
    page.keyboard.press("Enter")
    expect(page.locator("#welcome-count")).to_contain_text("12,345 passages")
    ask_and_wait(page, "Who built the tower?")
    page.reload()
    expect(page.locator("#about")).to_contain_text("12,345 passages")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert "open sesame" not in page.evaluate("JSON.stringify(localStorage)")


def test_without_a_token_the_page_says_why_it_does_nothing(
    open_page: OpenPage, server: FakeServer
) -> None:
    server.token = "open sesame"
    page = open_page(server.url)
    page.get_by_role("button", name="Cancel").click()
    notice(page, "A token is needed.")
    page.get_by_role("button", name="Try now").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def test_full_storage_is_told_and_the_conversation_goes_on(page: Any, server: FakeServer) -> None:
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full'); }; }")
    ask_and_wait(page, "Who built the tower?")
    notice(page, "The browser keeps no more conversations.")
    ask_and_wait(page, "When?", 2)
    assert len(server.requests[1]["messages"]) == 3


def test_damaged_entries_are_passed_over_and_old_ones_read(page: Any) -> None:
    ask_and_wait(page, "Who built the tower?")
    page.evaluate("localStorage.setItem('uniconv.conversation.x', '{')")
    page.evaluate("localStorage.setItem('uniconv.conversation.y', '{\"id\": 3}')")
    old = '{"id": "old", "title": "Old", "turns": [{"question": "Who?"}]}'
    page.evaluate(f"localStorage.setItem('uniconv.conversation.old', '{old}')")
    page.reload()
    links = page.locator("#conversations a")
    expect(links).to_have_text(["Who built the tower?", "Old"])
    links.nth(1).click()
    expect(turn(page, 1).locator("h2")).to_have_text("Who?")
