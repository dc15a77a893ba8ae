"""Large corpora pass through in constant memory: the peak does not grow with the file."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from native import put_json, put_jsonl, put_text

from uniconv.data.catalogue import convert

TEXT = "word " * 60
SMALL, LARGE = 1_000, 10_000
"""Passages; the larger file has about 3.5 MB."""


def write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def qrecc(folder: Path, size: int) -> None:
    put_jsonl(folder / "qrecc_train_subset_turns.jsonl", {"history": [], "question": "who?"})
    with zipfile.ZipFile(folder / "passages.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for shard in range(4):
            rows = ({"id": f"{shard}_{n}", "contents": TEXT} for n in range(size // 4))
            text = "".join(json.dumps(row) + "\n" for row in rows)
            archive.writestr(f"wayback/{shard}.jsonl", text)


def topiocqa(folder: Path, size: int) -> None:
    row = {"Conversation_no": 1, "Turn_no": 1, "Question": "who?", "Answer": "Ada"}
    for split in ("train", "dev"):
        put_json(folder / f"topiocqa_{split}.json", [row])
        gold = {"conv_id": 1, "turn_id": 1, "positive_ctxs": [{"passage_id": "1"}]}
        put_json(folder / f"topiocqa_all_history_retriever_{split}.json", [gold])
    rows = (f'{n}\t"{TEXT}"\tMill [SEP] History' for n in range(size))
    write(folder / "full_wiki_segments.tsv", ("id\ttext\ttitle", *rows))


def orquac(folder: Path, size: int) -> None:
    put_json(folder / "qrels.txt", {})
    row = {"qid": "C_1_q#0", "question": "who?", "answer": {"text": "Ada"}}
    put_jsonl(folder / "train.txt", row)
    rows = ({"id": f"{n}@0", "title": "Mill", "text": TEXT} for n in range(size))
    write(folder / "all_blocks.txt", map(json.dumps, rows))


def coral(folder: Path, size: int) -> None:
    turn = {"turn_id": 1, "question": "who?", "response": "Ada.", "golden_docs_pids": []}
    put_jsonl(folder / "train_conversation.json", {"conv_id": "Train_LDS_1", "turns": [turn]})
    rows = ({"ref_id": n, "ref_string": TEXT} for n in range(size))
    write(folder / "passage_corpus.json", map(json.dumps, rows))


def msmarco(folder: Path, size: int) -> None:
    put_text(folder / "queries.dev.tsv", "7\twhat turns mills")
    put_text(folder / "qrels.dev.tsv", "7\t0\t1\t1")
    write(folder / "collection.tsv", (f"{n}\t{TEXT}" for n in range(size)))


def beir(folder: Path, size: int) -> None:
    put_jsonl(folder / "queries.jsonl", {"_id": "7", "text": "what turns mills"})
    put_text(folder / "qrels/test.tsv", "7\t1\t1")
    rows = ({"_id": str(n), "text": TEXT} for n in range(size))
    write(folder / "corpus.jsonl", map(json.dumps, rows))


def ultrachat(folder: Path, size: int) -> None:
    rows = ({"id": str(n), "data": ["hi", TEXT]} for n in range(size))
    write(folder / "train_0.jsonl", map(json.dumps, rows))


def peak(name: str, source: Path, out: Path) -> int:
    """The bytes that a conversion holds at most at one time."""
    tracemalloc.start()
    try:
        convert(name, source, out)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", [qrecc, topiocqa, orquac, coral, msmarco, beir, ultrachat])
def test_memory_does_not_grow_with_the_file(
    make: Callable[[Path, int], None], tmp_path: Path
) -> None:
    peaks = []
    for size in (SMALL, LARGE):
        source = tmp_path / str(size)
        source.mkdir()
        make(source, size)
        peaks.append(peak(make.__name__, source, tmp_path / f"out-{size}"))
        written = "train.jsonl" if make is ultrachat else "corpus.jsonl"
        with (tmp_path / f"out-{size}" / written).open() as file:
            assert sum(1 for _ in file) == size
    assert peaks[1] < peaks[0] + 500_000
    assert peaks[1] < 2_000_000
