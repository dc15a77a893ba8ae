"""What a user does on the chat page, and what they then see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OpenPage = Callable[..., Any]
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 375, "height": 667}


def ask(page: Any, question: str) -> None:
    page.get_by_role("textbox", name="Your question").fill(question)
    page.keyboard.press("Enter")


def turn(page: Any, number: int) -> Any:
    return page.locator(".turn").nth(number - 1)


def answered(page: Any, number: int = 1, state: str = "done") -> Any:
    """The answer to question ``number`` when it has come to an end."""
    answer = turn(page, number).locator(f".answer[data-state={state}]")
    answer.wait_for()
    return answer


def ask_and_wait(page: Any, question: str, number: int = 1) -> Any:
    ask(page, question)
    return answered(page, number)


def choose(page: Any, action: str) -> None:
    """An action of the conversation's menu."""
    page.get_by_role("button", name="Rename, export or delete this conversation").click()
    page.locator("#menu").get_by_role("button", name=action, exact=True).click()


def notice(page: Any, text: str) -> Any:
    place = page.locator("#notice", has_text=text)
    place.wait_for()
    return place
