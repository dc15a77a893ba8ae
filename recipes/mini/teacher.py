"""Stage 4: embeddings of all-MiniLM-L6-v2, the teacher, for tokens, questions and passages.

    python recipes/mini/teacher.py OUT [--passages 60000] [--teacher PATH_OR_ID]

Writes shards ``OUT/teacher/{tokens,questions,passages}/*.npz`` (``ids``, ``e`` float16 [n, 384]).
What a shard has is not computed again, so the same command goes on where it stopped. Passages are
taken in the order in which ``pack.py`` packs them, so that what a small budget reads has a teacher.
With ``--index``, an index that ``benchmarks/figures.py`` built with this teacher, the passages of
the wiki corpus are taken from there; it saves some hours.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from network import computes_in_bfloat16
from packed import group
from rich.progress import track
from text import read_lines
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer

from uniconv.files import atomic

PAIRED = frozenset({"squad", "qed", "clapnq", "medquad", "docstrings", "canard"})
"""Sources whose questions are contrasted with passages: single questions and answers, but no
conversation whose passage a person chose, so that the base model is unsupervised in that."""
_SHARD = 2048


class Teacher:
    """A mean-pooling sentence encoder."""

    def __init__(self, source: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(source)
        self.network = AutoModel.from_pretrained(source).eval()
        self.bfloat16 = computes_in_bfloat16(torch.device("cpu"))

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], batch_tokens: int = 4096) -> np.ndarray:
        """L2-normalised embeddings float16 [n, d]; texts are cut at 256 tokens, from the left."""
        self.tokenizer.truncation_side = "left"
        ids = self.tokenizer(list(texts), truncation=True, max_length=256)["input_ids"]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        out = np.zeros((len(ids), self.network.config.hidden_size), np.float16)
        while order:
            size = max(1, batch_tokens // len(ids[order[0]]))
            rows, order = order[:size], order[size:]
            batch = self.tokenizer.pad({"input_ids": [ids[i] for i in rows]}, return_tensors="pt")
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                hidden = self.network(**batch).last_hidden_state.float()
            weights = batch["attention_mask"][..., None].float()
            out[rows] = normalize((hidden * weights).sum(1), dim=-1).numpy()
        return out


def read_shards(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The ids and embeddings of all finished shards."""
    for path in sorted(folder.glob("[0-9]*.npz")):
        with np.load(path) as shard:
            yield from zip(shard["ids"].tolist(), shard["e"], strict=True)


def encode_to(folder: Path, texts: Mapping[str, str], teacher: Teacher) -> None:
    """Writes shards of the ``texts`` by id that ``folder`` lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {id for id, _ in read_shards(folder)}
    missing = [id for id in texts if id not in known]
    for start in track(range(0, len(missing), _SHARD), description=folder.name):
        ids = missing[start : start + _SHARD]
        _write(folder, ids, teacher.encode([texts[id] for id in ids]))


def copy_index(folder: Path, index: Path) -> None:
    """Copies the vectors of an index's passages by their ids, once."""
    from uniconv.retrieval.interface import Index

    folder.mkdir(parents=True, exist_ok=True)
    known = {id for id, _ in read_shards(folder)}
    opened = Index.open(index)
    ids = [passage.id for passage in opened.store]
    rows = [row for row, id in enumerate(ids) if id not in known]
    for start in range(0, len(rows), 32 * _SHARD):
        part = rows[start : start + 32 * _SHARD]
        _write(folder, [ids[row] for row in part], opened.vectors[part].astype(np.float16))


def _write(folder: Path, ids: Sequence[str], embeddings: np.ndarray) -> None:
    path = folder / f"{len(list(folder.glob('[0-9]*.npz'))):07d}.npz"
    while path.exists():
        path = folder / f"{int(path.stem) + 1:07d}.npz"
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, ids=np.array(ids), e=embeddings)


def question(example: Mapping[str, Any]) -> str:
    """What the teacher reads in place of an example's conversation.

    A person's rewrite of the last question where there is one, else everything that was said.
    """
    return example["rewrite"] or " ".join(example["turns"])


def passage_key(number: int, row: Mapping[str, Any]) -> str:
    """The id of a document's embedding: that of its passage, or its line in ``documents.jsonl``."""
    return row.get("id") or f"line {number}"


def documents(out: Path) -> list[tuple[int, dict[str, Any]]]:
    """All documents with their numbers of lines, in the order in which they are packed."""
    rows = list(enumerate(read_lines(out / "documents.jsonl")))
    random.Random(0).shuffle(rows)
    return rows


def examples(out: Path) -> list[dict[str, Any]]:
    """All examples in the order in which they are packed: those of a page stay together."""
    rows = [row for row in read_lines(out / "examples.jsonl") if row["source"] != "topiocqa_topic"]
    return sorted(rows, key=lambda row: group(f"part {row['title']}{row['group']}"))


def passages(out: Path) -> dict[str, str]:
    """Texts of documents that are passages, by :func:`passage_key`."""
    return {
        passage_key(number, row): f"{row['title']} {row['text']}"
        for number, row in documents(out)
        if "text" in row and 100 < len(row["text"]) < 1300
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--passages", type=int, default=60_000)
    parser.add_argument("--questions", type=int, default=30_000)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--teacher", default="sentence-transformers/all-MiniLM-L6-v2")
    args = parser.parse_args()
    folder = args.out / "teacher"
    teacher = Teacher(args.teacher)
    tokenizer = AutoTokenizer.from_pretrained(args.out / "tokenizer")
    strings = {
        str(token): tokenizer.decode([token]).strip().lower() for token in range(len(tokenizer))
    }
    encode_to(folder / "tokens", strings, teacher)
    if args.index:
        copy_index(folder / "passages", args.index)
    asked = dict.fromkeys(question(row) for row in examples(args.out) if row["source"] in PAIRED)
    first = islice(asked, args.questions)
    encode_to(folder / "questions", {text: text for text in first}, teacher)
    found = passages(args.out)
    encode_to(folder / "passages", dict(islice(found.items(), args.passages)), teacher)


if __name__ == "__main__":
    main()
