"""The chat page in a headless Chromium, before a server that follows a script."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from fake_server import FakeServer
from page_actions import DESKTOP, OpenPage

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    path = os.environ.get("UNICONV_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium was found; UNICONV_CHROMIUM names one")
    from playwright.sync_api import sync_playwright  # tests without a page don't need it

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def desktop(browser: Any) -> Any:
    """One context for all tests: each has a server, and so an origin and a storage, of its own."""
    context = browser.new_context(viewport=DESKTOP)
    context.new_page()  # keeps a window open: a page in a new window costs twice as much
    return context


@pytest.fixture
def open_page(browser: Any, desktop: Any) -> Iterator[OpenPage]:
    """Opens an address; errors of scripts and foreign requests fail the test."""
    opened, errors = [], []

    def open_one(url: str, **options: Any) -> Any:
        context = browser.new_context(**({"viewport": DESKTOP} | options)) if options else desktop
        context.set_default_timeout(10_000)
        page = context.new_page()
        opened.append(context if options else page)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: note(message))
        page.on("request", lambda request: check(request.url, url))
        page.goto(url)
        return page

    def note(message: Any) -> None:
        # A refused request is told there too; what the page makes of it is for the tests.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            errors.append(message.text)

    def check(requested: str, url: str) -> None:
        if not requested.startswith((url.split("#")[0], "blob:")):
            errors.append(f"requested {requested}")

    yield open_one
    for one in opened:
        one.close()
    assert errors == []


@pytest.fixture
def page(open_page: OpenPage, server: FakeServer) -> Any:
    page = open_page(server.url)
    page.locator("#welcome-count:not(:empty)").wait_for()
    return page
