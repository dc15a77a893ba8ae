"""DSTC's knowledge-grounded track, with several splits in the release's folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from native import put_json, read_twisted

from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Turn


@pytest.fixture
def label(tmp_path: Path) -> dict[str, Any]:
    place = {"name": None, "docs": {"3": {"title": "Pets?", "body": "Not on trains."}}}
    put_json(tmp_path / "task2/data/knowledge.json", {"train": {"*": place}})
    snippet = {"domain": "train", "entity_id": "*", "doc_id": 3}
    return {"target": True, "knowledge": [snippet], "response": "No."}


def test_every_split_with_labels_is_read(tmp_path: Path, label: dict[str, Any]) -> None:
    log = [{"speaker": "U", "text": "a dog"}, {"speaker": "U", "text": "may it come"}]
    folder = tmp_path / "task2/data"
    for split, labels in (("train", [label, {"target": False}]), ("val", [label])):
        put_json(folder / split / "logs.json", [log] * len(labels))
        put_json(folder / split / "labels.json", labels)
    put_json(folder / "test/logs.json", [log])
    about = convert("dstc10", tmp_path, tmp_path / "out")
    turn = Turn("a dog may it come", "No.", positives=("dstc10:train:*:faq:3",))
    for split in ("train", "val"):
        talks = list(read_conversations(tmp_path / f"out/{split}.jsonl"))
        assert talks == [Conversation(f"dstc10_{split}_0", (turn,))]
    assert not (tmp_path / "out/test.jsonl").exists()
    assert about["counts"]["left out, dialogues that need no knowledge"] == 1


def test_a_folder_without_labels_is_refused(tmp_path: Path, label: dict[str, Any]) -> None:
    assert label
    put_json(tmp_path / "task2/data/val/logs.json", [])
    with pytest.raises(DataError, match=r"has no file val/logs\.json"):
        convert("dstc10", tmp_path, tmp_path / "out")


def test_odd_values_are_refused_or_read(tmp_path: Path, label: dict[str, Any]) -> None:
    folder = tmp_path / "task2/data"
    put_json(folder / "val/logs.json", [[{"speaker": "U", "text": "a dog"}]])
    put_json(folder / "val/labels.json", [label])
    tried, refused = read_twisted("dstc10", folder)
    assert 0 < refused < tried
