"""Conversations: asked, streamed, stopped, changed, kept and exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer, Reply
from page_actions import OpenPage, answered, ask, ask_and_wait, choose, notice, turn
from playwright.sync_api import expect

from uniconv.data.conversations import read_conversations

WHOLE = "The tower was built in 1893 by a family of engineers 1."


def test_the_empty_page_tells_how_many_passages_there_are(page: Any) -> None:
    expect(page.locator("#welcome-count")).to_have_text("12,345 passages are ready to be searched.")
    expect(page.locator("#about")).to_have_text("embedded · 12,345 passages")
    expect(page.get_by_role("textbox", name="Your question")).to_be_focused()


def test_an_empty_index_tells_what_to_do(open_page: OpenPage, server: FakeServer) -> None:
    server.passages = 0
    page = open_page(server.url)
    expect(page.locator("#welcome-count")).to_contain_text("Index documents with “uniconv index”")


def test_text_shows_as_it_is_streamed(page: Any, server: FakeServer) -> None:
    reply = Reply(hold=1)
    server.replies = [reply]
    ask(page, "Who built the tower?")
    answer = answered(page, state="writing")
    expect(answer.locator(".prose")).to_have_text("The tower was built")
    expect(page.locator("#send")).to_be_hidden()
    reply.released.set()
    expect(answered(page).locator(".prose")).to_have_text(WHOLE)
    expect(page.locator("#stop")).to_be_hidden()
    (request,) = server.requests
    assert request["model"] == "embedded"
    assert request["stream"] is True
    assert request["messages"] == [{"role": "user", "content": "Who built the tower?"}]
    assert "temperature" not in request


def test_a_mark_is_not_shown_before_it_is_whole(page: Any, server: FakeServer) -> None:
    server.replies = [Reply(pieces=("In 1893 [", "1]."), hold=1)]
    ask(page, "When?")
    expect(answered(page, state="writing").locator(".prose")).to_have_text("In 1893")


def test_a_later_question_is_sent_with_what_was_said(page: Any, server: FakeServer) -> None:
    ask_and_wait(page, "Who built the tower?")
    ask_and_wait(page, "When?", 2)
    assert server.requests[1]["messages"] == [
        {"role": "user", "content": "Who built the tower?"},
        {
            "role": "assistant",
            "content": "The tower was built in 1893 by a family of engineers [1].",
        },
        {"role": "user", "content": "When?"},
    ]
    # By this a proxy finds the replica that has read it.
    first, second = server.conversations
    assert first == second and first is not None and first.startswith("chat-")


def test_lines_are_started_with_shift_and_enter(page: Any, server: FakeServer) -> None:
    page.locator("#question").press_sequentially("Who")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("built it?")
    page.keyboard.press("Enter")
    answered(page)
    assert server.requests[0]["messages"][0]["content"] == "Who\nbuilt it?"


def test_an_empty_question_is_not_asked(page: Any, server: FakeServer) -> None:
    ask(page, "  ")
    expect(page.locator("#welcome")).to_be_visible()
    assert server.requests == []


def test_stop_keeps_the_text_and_tells_the_server(page: Any, server: FakeServer) -> None:
    reply = Reply(hold=1)
    server.replies = [reply]
    ask(page, "Who built the tower?")
    answered(page, state="writing")
    page.get_by_role("button", name="Stop the answer").click()
    answer = answered(page, state="stopped")
    expect(answer.locator(".prose")).to_have_text("The tower was built")
    assert reply.left.wait(2)
    expect(page.locator("#question")).to_be_focused()


def test_escape_stops(page: Any, server: FakeServer) -> None:
    server.replies = [Reply(hold=0)]
    ask(page, "Who built the tower?")
    expect(turn(page, 1)).to_contain_text("Reading 2 of 3 passages")
    page.keyboard.press("Escape")
    answered(page, state="stopped")


def test_another_answer_takes_the_place_of_the_last(page: Any, server: FakeServer) -> None:
    ask_and_wait(page, "Who built the tower?")
    server.replies = [Reply(pieces=("Engineers did.",))]
    page.get_by_role("button", name="Answer again").click()
    expect(answered(page).locator(".prose")).to_have_text("Engineers did.")
    expect(page.locator(".turn")).to_have_count(1)
    assert server.requests[1]["messages"] == server.requests[0]["messages"]
    assert server.requests[1]["temperature"] > 0  # or it would be the same answer


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(pieces=("Engin", "eers did."), error=1), "The model failed."),
        (Reply(status=500, message="it failed"), "It failed."),
    ],
)
def test_an_answer_is_kept_when_another_one_fails(
    page: Any, server: FakeServer, reply: Reply, told: str
) -> None:
    first = ask_and_wait(page, "Who built the tower?").inner_text()
    server.replies = [reply]
    page.get_by_role("button", name="Answer again").click()
    notice(page, f"{told} The earlier answer is kept.")
    assert answered(page).inner_text() == first
    page.reload()
    assert answered(page).inner_text() == first
    server.replies = [Reply(pieces=("Engineers did.",))]
    page.get_by_role("button", name="Answer again").click()
    expect(answered(page).locator(".prose")).to_have_text("Engineers did.")
    assert len(server.requests[2]["messages"]) == 1


@pytest.mark.parametrize("leaves", [False, True])
def test_an_answer_is_kept_when_another_one_is_not_waited_for(
    page: Any, server: FakeServer, leaves: bool
) -> None:
    first = ask_and_wait(page, "Who built the tower?").inner_text()
    server.replies = [Reply(pieces=("Engin", "eers did."), hold=1)]
    page.get_by_role("button", name="Answer again").click()
    expect(turn(page, 1).locator(".prose")).to_have_text("Engin")
    if leaves:
        page.reload()
    else:
        page.keyboard.press("Escape")
        notice(page, "Stopped. The earlier answer is kept.")
    assert answered(page).inner_text() == first
    expect(page.locator(".turn")).to_have_count(1)


def test_only_the_last_answer_can_be_written_again(page: Any) -> None:
    ask_and_wait(page, "Who built the tower?")
    ask_and_wait(page, "When?", 2)
    expect(page.get_by_role("button", name="Answer again")).to_have_count(1)


def test_an_edited_question_replaces_what_follows(page: Any, server: FakeServer) -> None:
    for number, question in enumerate(("Who?", "When?", "Why?"), start=1):
        ask_and_wait(page, question, number)
    turn(page, 2).hover()
    turn(page, 2).get_by_role("button", name="Edit the question").click()
    expect(turn(page, 2)).to_contain_text("1 later question will be removed.")
    field = turn(page, 2).get_by_role("textbox")
    expect(field).to_have_value("When?")
    field.fill("Where?")
    field.press("Enter")
    answered(page, 2)
    expect(page.locator(".turn h2")).to_have_text(["Who?", "Where?"])
    assert [message["content"] for message in server.requests[3]["messages"]][::2] == [
        "Who?",
        "Where?",
    ]


def test_an_edit_can_be_cancelled(page: Any, server: FakeServer) -> None:
    ask_and_wait(page, "Who?")
    turn(page, 1).hover()
    turn(page, 1).get_by_role("button", name="Edit the question").click()
    turn(page, 1).get_by_role("textbox").fill("Nobody?")
    page.keyboard.press("Escape")
    expect(turn(page, 1).locator("h2")).to_have_text("Who?")
    expect(turn(page, 1).get_by_role("button", name="Edit the question")).to_be_focused()
    assert len(server.requests) == 1


def test_conversations_outlive_a_reload(page: Any) -> None:
    ask_and_wait(page, "Who built the tower?")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator("#welcome")).to_be_visible()
    ask_and_wait(page, "What is sold at the market?")
    page.reload()
    expect(turn(page, 1).locator("h2")).to_have_text("What is sold at the market?")
    expect(answered(page).locator(".prose")).to_have_text(WHOLE)
    links = page.locator("#conversations a")
    expect(links).to_have_text(["What is sold at the market?", "Who built the tower?"])
    links.nth(1).click()
    expect(turn(page, 1).locator("h2")).to_have_text("Who built the tower?")
    page.go_back()
    expect(turn(page, 1).locator("h2")).to_have_text("What is sold at the market?")


def test_an_answer_goes_on_while_another_conversation_is_open(
    page: Any, server: FakeServer
) -> None:
    reply = Reply(hold=1)
    server.replies = [reply]
    ask(page, "Who built the tower?")
    answered(page, state="writing")
    page.get_by_role("button", name="New conversation").click()
    ask_and_wait(page, "What is sold at the market?")
    reply.released.set()
    page.get_by_role("link", name="Who built the tower?").click()
    expect(answered(page).locator(".prose")).to_have_text(WHOLE)


def test_a_reload_in_the_middle_keeps_what_was_written(page: Any, server: FakeServer) -> None:
    server.replies = [Reply(hold=1)]
    ask(page, "Who built the tower?")
    answered(page, state="writing")
    page.reload()
    expect(answered(page, state="stopped").locator(".prose")).to_have_text("The tower was built")


def test_a_conversation_is_renamed(page: Any) -> None:
    ask_and_wait(page, "Who built the tower?")
    choose(page, "Rename")
    name = page.get_by_role("textbox", name="Name")
    expect(name).to_have_value("Who built the tower?")
    name.fill("Towers")
    name.press("Enter")
    expect(page.locator("h1")).to_have_text("Towers")
    page.reload()
    expect(page.locator("#conversations a")).to_have_text(["Towers"])
    expect(page).to_have_title("Towers – UniConv")


def test_a_conversation_is_deleted_when_that_is_confirmed(page: Any) -> None:
    ask_and_wait(page, "Who built the tower?")
    choose(page, "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(turn(page, 1)).to_be_visible()
    choose(page, "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#welcome")).to_be_visible()
    page.reload()
    expect(page.locator("#conversations a")).to_have_count(0)


def saved(page: Any, action: str, folder: Path) -> Path:
    with page.expect_download() as download:
        choose(page, action)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_exported_conversations_are_read_by_uniconv(
    page: Any, server: FakeServer, tmp_path: Path
) -> None:
    ask_and_wait(page, "Who built the tower?")
    server.replies = [Reply(status=500, message="It failed.")]
    ask(page, "When?")
    answered(page, 2, "failed")
    path = saved(page, "Export as JSONL", tmp_path)
    assert path.name == "who-built-the-tower.jsonl"
    (conversation,) = read_conversations(path)
    assert [turn.query for turn in conversation.turns] == ["Who built the tower?", "When?"]
    assert conversation.turns[0].response == (
        "The tower was built in 1893 by a family of engineers [1]."
    )
    assert conversation.waits
    page.get_by_role("button", name="New conversation").click()
    ask_and_wait(page, "What is sold at the market?")
    path = saved(page, "Export all as JSONL", tmp_path)
    assert len(list(read_conversations(path))) == 2


def test_markdown_has_the_cited_passages(page: Any, tmp_path: Path) -> None:
    ask_and_wait(page, "Who built the tower?")
    path = saved(page, "Export as Markdown", tmp_path)
    text = path.read_text("utf-8")
    assert text.startswith("# Who built the tower?\n\n## Who built the tower?\n\nThe tower was")
    assert "> [1] **Harbour tower** (harbour#1)\n>\n> The tower of the old harbour" in text
    assert "Bridge" not in text
