from __future__ import annotations

from pathlib import Path

import pytest

from tiny import tiny_tokenizer
from uniconv.data.dataset import DataSet
from uniconv.data.statistics import statistics, tokens
from uniconv.errors import DataError, ModelError
from uniconv.types import Conversation, Passage, Turn


def turn(query: str, response: str | None, *positives: str, **attributes: str) -> Turn:
    return Turn(query, response, None, positives, attributes=attributes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    talks = [
        Conversation(
            "a",
            (
                turn("who built it", "Ada", "p1", "p2", topic="A", answerability="answerable"),
                turn("when", "in 1902 or so", "p1", topic="A", answerability="partial"),
                turn("and the bridge", "", topic="B", answerability="unanswerable"),
            ),
        ),
        Conversation("b", (turn("why", None), turn("x", None))[:1]),
    ]
    corpus = [Passage("p1", "one two", "Title"), Passage("p2", "one")]
    DataSet({"dev": talks}, (), corpus).write(tmp_path / "set", corpus=None)
    return tmp_path / "set"


def test_counts_in_words(folder: Path) -> None:
    found = statistics(folder)
    dev = found["splits"]["dev"]
    assert (dev["conversations"], dev["turns"], dev["turns with positives"]) == (2, 4, 2)
    assert dev["turns per conversation"] == {
        "count": 2, "mean": 2.0, "median": 2.0, "p95": pytest.approx(2.9), "max": 3
    }  # fmt: skip
    assert dev["positives per turn"]["mean"] == 0.75
    assert dev["relevant passages"] == 2
    assert dev["lengths"]["query"]["mean"] == 2.0
    assert dev["lengths"]["response"] == {
        "count": 2, "mean": 2.5, "median": 2.5, "p95": pytest.approx(3.85), "max": 4
    }  # fmt: skip
    assert dev["lengths"]["rewrite"] == {"count": 0}
    assert dev["lengths"]["conversation"]["max"] == 3 + 1 + 1 + 4 + 3
    assert dev["lengths"]["conversation"]["mean"] == (3 + 5 + 12 + 1) / 4
    assert dev["topic shifts"] == {"turns": 1, "of": 2, "share": 0.5}
    assert dev["answerable"] == {"turns": 2, "of": 3, "share": 0.6667}
    assert dev["turns by depth"] == {"1": 2, "2": 1, "3": 1}
    assert found["passages"]["count"] == 2
    assert found["passages"]["length"]["mean"] == 2.0


def test_lengths_in_tokens_are_the_tokenizers(folder: Path, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    found = statistics(folder, measure=tokens(tmp_path / "model"))
    lengths = found["splits"]["dev"]["lengths"]
    asked = ["who built it", "when", "and the bridge", "why"]
    expected = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in asked]
    assert lengths["query"]["mean"] == sum(expected) / 4
    assert lengths["query"]["max"] == max(expected)
    with pytest.raises(ModelError, match="no tokenizer could be loaded"):
        tokens(tmp_path / "nothing")


def test_more_than_a_batch_and_what_is_malformed(tmp_path: Path) -> None:
    talks = [Conversation(f"c{n}", (Turn("a b", "c"),)) for n in range(2500)]
    DataSet({"train": talks}, ()).write(tmp_path, corpus=None)
    told: list[tuple[str, int]] = []
    found = statistics(tmp_path, progress=lambda *seen: told.append(seen))
    assert found["splits"]["train"]["lengths"]["query"]["count"] == 2500
    assert [count for _, count in told] == [1000, 2000, 2500]
    assert "passages" not in found
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(DataError, match=r"train\.jsonl:2501"):
        statistics(tmp_path)
