"""Stage 3: embeddings of all-MiniLM-L6-v2, the teacher, for tokens, questions and passages.

    python recipes/mini/teacher.py OUT [--passages N] [--teacher PATH_OR_ID]

Writes shards ``OUT/teacher/{tokens,questions,passages}/*.npz`` (``ids``, ``e`` float16 [n, 384]);
finished shards are kept, so the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from text import read_lines
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer

from uniconv.files import atomic

_SHARD = 2048


class Teacher:
    """A mean-pooling sentence encoder."""

    def __init__(self, source: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(source)
        self.network = AutoModel.from_pretrained(source).eval()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], batch_tokens: int = 4096) -> np.ndarray:
        """L2-normalised embeddings float16 [n, d]; texts are cut at 256 tokens."""
        ids = self.tokenizer(list(texts), truncation=True, max_length=256)["input_ids"]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        out = np.zeros((len(ids), self.network.config.hidden_size), np.float16)
        while order:
            size = max(1, batch_tokens // len(ids[order[0]]))
            rows, order = order[:size], order[size:]
            batch = self.tokenizer.pad({"input_ids": [ids[i] for i in rows]}, return_tensors="pt")
            hidden = self.network(**batch).last_hidden_state
            weights = batch["attention_mask"][..., None].float()
            out[rows] = normalize((hidden * weights).sum(1), dim=-1).numpy()
        return out


def read_shards(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The ids and embeddings of all finished shards."""
    for path in sorted(folder.glob("[0-9]*.npz")):
        with np.load(path) as shard:
            yield from zip(shard["ids"].tolist(), shard["e"], strict=True)


def encode_to(folder: Path, ids: Sequence[str], texts: Sequence[str], teacher: Teacher) -> None:
    """Writes the shards of ``texts`` that ``folder`` lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in track(range(0, len(texts), _SHARD), description=folder.name):
        path = folder / f"{start:07d}.npz"
        if not path.exists():
            embeddings = teacher.encode(texts[start : start + _SHARD])
            with atomic(path) as temporary, temporary.open("wb") as file:
                np.savez(file, ids=np.array(ids[start : start + _SHARD]), e=embeddings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--passages", type=int, default=60_000)
    parser.add_argument("--questions", type=int, default=60_000)
    parser.add_argument("--teacher", default="sentence-transformers/all-MiniLM-L6-v2")
    args = parser.parse_args()
    teacher = Teacher(args.teacher)
    tokenizer = AutoTokenizer.from_pretrained(args.out / "tokenizer")
    strings = [tokenizer.decode([token]).strip() for token in range(len(tokenizer))]
    numbers = [str(token) for token in range(len(tokenizer))]
    encode_to(args.out / "teacher/tokens", numbers, strings, teacher)
    rewrites = {
        row["rewrite"]: None for row in read_lines(args.out / "examples.jsonl") if row["rewrite"]
    }
    questions = list(rewrites)[: args.questions]
    encode_to(args.out / "teacher/questions", questions, questions, teacher)
    rows = list(read_lines(args.out / "passages.jsonl"))[: args.passages]
    encode_to(
        args.out / "teacher/passages",
        [row["id"] for row in rows],
        [f"{row['title']} {row['text']}" for row in rows],
        teacher,
    )


if __name__ == "__main__":
    main()
