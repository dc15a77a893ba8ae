"""Documents: listed, dropped on the page, chosen, refused, removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer
from page_actions import OpenPage, notice
from playwright.sync_api import expect

DRAG = """([type, names]) => {
  const data = new DataTransfer();
  for (const name of names) data.items.add(new File(["The tower is tall."], name));
  document.body.dispatchEvent(
    new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def drag(page: Any, event: str, *names: str) -> None:
    page.evaluate(DRAG, [event, list(names)])


@pytest.fixture
def page(open_page: OpenPage, server: FakeServer) -> Any:
    server.documents = {"harbour.md": 41}
    page = open_page(server.url)
    page.locator(".document").wait_for()
    return page


def test_documents_are_listed(page: Any) -> None:
    expect(page.locator(".document")).to_contain_text(["harbour.md"])
    expect(page.locator(".document")).to_contain_text(["41 passages"])
    expect(page.locator("#hint-documents")).to_be_visible()


def test_dropped_documents_are_added(page: Any, server: FakeServer) -> None:
    drag(page, "dragenter", "tower.md")
    expect(page.locator("#drop")).to_be_visible()
    drag(page, "drop", "tower.md", "bridge & more.md")
    expect(page.locator("#drop")).to_be_hidden()
    notice(page, "Added 2 documents.")
    names = ["harbour.md", "tower.md", "bridge & more.md"]
    expect(page.locator(".document .name")).to_have_text(names)
    assert server.uploads == [
        ("tower.md", b"The tower is tall."),
        ("bridge & more.md", b"The tower is tall."),
    ]
    expect(page.locator("#about")).to_have_text("embedded · 12,349 passages")


def test_a_drag_that_leaves_hides_the_invitation(page: Any) -> None:
    drag(page, "dragenter", "tower.md")
    drag(page, "dragleave", "tower.md")
    expect(page.locator("#drop")).to_be_hidden()


def test_chosen_documents_are_added(page: Any, server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("The bridge is old.")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add documents").click()
    chooser.value.set_files(path)
    notice(page, "Added notes.txt.")
    assert server.uploads == [("notes.txt", b"The bridge is old.")]


def test_a_refused_document_is_told(page: Any) -> None:
    drag(page, "drop", "tool.exe")
    notice(page, "tool.exe could not be added: tool.exe: this kind of file can't be read.")


def test_a_document_is_removed_when_that_is_confirmed(page: Any, server: FakeServer) -> None:
    server.documents = {"a/b & c.md": 3}
    page.reload()
    page.get_by_role("button", name="Remove a/b & c.md").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.locator(".document")).to_have_count(0)
    assert server.documents == {}


def test_where_documents_are_not_taken_a_drop_says_so(
    open_page: OpenPage, server: FakeServer
) -> None:
    page = open_page(server.url)
    page.locator("#welcome-count:not(:empty)").wait_for()
    expect(page.locator("#documents")).to_be_hidden()
    drag(page, "drop", "tower.md")
    notice(page, "This server doesn't take documents.")
    expect(page.locator("#drop")).to_be_hidden()
