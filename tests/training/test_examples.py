"""What is read of a mixture: sets by folder, limits, and who supervises what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from uniconv.config import Objectives, Source
from uniconv.data.beir import write_corpus
from uniconv.data.conversations import write_conversations
from uniconv.errors import DataError
from uniconv.training.examples import read_examples, supervises
from uniconv.types import Conversation, Passage, Turn

ALL = Objectives(gamma=1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set with 6 conversations of 4 turns in two splits, and a corpus that lies elsewhere."""
    write_corpus(tmp_path / "wiki" / "corpus.jsonl", [Passage("p", "Text."), Passage("q", "More.")])
    for split in ("train", "extra"):
        turns = tuple(Turn(f"{split} {n}?", "Yes.", positives=("p",)) for n in range(4))
        talks = [Conversation(f"{split}-{n}", turns) for n in range(3)]
        write_conversations(tmp_path / "set" / f"{split}.jsonl", talks)
    about = {"corpus": "../wiki/corpus.jsonl"}
    (tmp_path / "set" / "dataset.json").write_text(json.dumps(about))
    return tmp_path / "set"


def test_a_set_is_read_by_its_folder(folder: Path) -> None:
    examples = read_examples([Source(set=folder, split=("train", "extra"))], ALL)
    assert len(examples) == 24
    assert examples.passages == [{"p": Passage("p", "Text.")}]
    assert len({one.conversation.id for one in examples.examples}) == 6


def test_a_limit_takes_whole_conversations_by_the_seed(folder: Path) -> None:
    def ids(limit: int, seed: int) -> list[tuple[str, int]]:
        source = Source(set=folder, split=("train", "extra"), limit=limit)
        examples = read_examples([source], ALL, seed=seed).examples
        return [(one.conversation.id, one.number) for one in examples]

    everything = ids(24, 0)
    assert ids(100, 3) == everything
    some = ids(10, 0)
    assert some == ids(10, 0)
    assert len(some) == 10
    assert some == [one for one in everything if one in some]  # in their order
    sizes = {id: [number for other, number in some if other == id] for id, _ in some}
    assert sorted(sizes.values(), key=len) == [[1, 2], [1, 2, 3, 4], [1, 2, 3, 4]]
    assert len({tuple(ids(10, seed)) for seed in range(8)}) > 1


FULL = Turn("?", "Yes.", positives=("p",))
CORPUS = (Path("p"),)


@pytest.mark.parametrize(
    ("settings", "turn", "serves"),
    [
        ({}, FULL, "retrieval generation cii grounded"),
        ({}, Turn("?", "Yes."), "generation"),
        ({}, Turn("?", positives=("p",)), "retrieval"),
        ({}, Turn("?", " "), ""),
        ({"corpora": ()}, FULL, "generation"),
        ({"retrieval": "none", "grounded": False}, FULL, "generation cii"),
        ({"retrieval": "none", "generation": "none", "cii": False}, FULL, "grounded"),
        # The naive mixture, half by half.
        ({"retrieval": "responses", "generation": "none"}, Turn("?", "Yes."), "retrieval"),
        ({"retrieval": "responses", "generation": "passages"}, Turn("?", "Yes."), "retrieval"),
        (
            {"retrieval": "none", "generation": "passages"},
            Turn("?", positives=("p",)),
            "generation",
        ),
    ],
)
def test_turns_serve_what_their_source_says(
    settings: dict[str, object], turn: Turn, serves: str
) -> None:
    source = Source(**{"conversations": (Path("c"),), "corpora": CORPUS, **settings})  # type: ignore[arg-type]
    parts = supervises(source, turn, ALL)
    assert [part for part, serving in parts.items() if serving] == serves.split()
    nothing = supervises(source, turn, Objectives(0, 0, 0, 0))
    assert not any(nothing.values())


def test_turns_that_serve_no_weighted_part_are_left_out(folder: Path) -> None:
    write_conversations(
        folder / "train.jsonl",
        [Conversation("c", (Turn("a?", "A."), Turn("b?", "B.", positives=("p",))))],
    )
    source = Source(set=folder)
    assert [one.number for one in read_examples([source], Objectives()).examples] == [1, 2]
    retrieval = Objectives(generation=0.0)
    assert [one.number for one in read_examples([source], retrieval).examples] == [2]
    silent = Source(set=folder, retrieval="none", cii=False)
    with pytest.raises(DataError, match="no turn has what its source's settings learn from"):
        read_examples([silent], retrieval)
