"""Stage 5: packs text, questions and the teacher's embeddings for pretraining.

    python recipes/mini/pack.py OUT [--load-megabytes 46] [--part-megabytes 14] [--parts N]

Writes ``OUT/pack/load-0``, ``load-1``, …: folders of at most ``--load-megabytes`` with parts of at
most ``--part-megabytes`` (see ``packed.py``). The first also has what every slice needs: the
tokenizer, ``meta.json``, and ``teacher.xz`` with the codec and the tokens' vectors. Documents are
shuffled, so that each load is a sample of everything. What pretraining can do with the first load
alone, it does better with all.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from initialise import refine
from packed import DIALOGUE, TEXT, Arrays, Codec, group, ragged, write_part
from rich.progress import track
from teacher import PAIRED, documents, examples, passage_key, question, read_shards
from text import read_lines
from tokenizer import said
from torch.nn.functional import normalize
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from uniconv.errors import UniConvError

Ids = npt.NDArray[np.uint16]
Vectors = dict[str, npt.NDArray[np.float16]]
_LONGEST = 2040  # tokens of a document, less than the context; longer ones are cut into several
_BYTES_PER_WORD = 1.6  # of text, packed
_BYTES_PER_EXAMPLE = 220


class Packer:
    """Text and examples as tokens."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(out / "tokenizer")
        names = ("<|start|>", "<|user|>", "<|assistant|>", "<|end|>")
        self.start, self.user, self.assistant, self.end = (
            np.array([token], np.uint16) for token in self.tokenizer.convert_tokens_to_ids(names)
        )

    def ids(self, texts: Sequence[str]) -> list[Ids]:
        """Tokens of texts; special tokens in them stay text."""
        if not texts:
            return []
        found = self.tokenizer(
            list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False
        )["input_ids"]
        return [np.array(ids, np.uint16) for ids in found]

    def dialogue(self, turns: Sequence[Ids]) -> Ids:
        """Turns in the conversation's frame."""
        parts = [self.start]
        for number, turn in enumerate(turns):
            parts += [self.assistant if number % 2 else self.user, turn, self.end]
        return np.concatenate(parts)

    def documents(self, rows: Sequence[tuple[int, dict[str, Any]]], known: Vectors) -> Arrays:
        """The arrays of documents, ``rows`` with their numbers of lines."""
        pieces, titles, kinds, groups, taught, vectors = [], [], [], [], [], []
        for number, row in rows:
            if "turns" in row:
                pieces.append(self.dialogue(self.ids(row["turns"]))[:_LONGEST])
                titles.append(0)
                kinds.append(DIALOGUE)
                groups.append(group(f"dialogue {number}"))
                continue
            title, body = self._title(row["title"]), self.ids([row["text"]])[0]
            key = passage_key(number, row)
            if key in known:
                taught.append(len(pieces))
                vectors.append(known[key])
            for start in range(0, len(body), _LONGEST):
                pieces.append(np.concatenate([title, body[start : start + _LONGEST]]))
                titles.append(len(title))
                kinds.append(TEXT)
                groups.append(group(row["title"]))
        tokens, lengths = ragged(pieces)
        return {
            "tokens": tokens,
            "lengths": lengths,
            "titles": np.array(titles, np.uint8),
            "kinds": np.array(kinds, np.uint8),
            "groups": np.array(groups, np.uint32),
            "taught": np.array(taught, np.uint32),
            "vectors": _stacked(vectors),
        }

    def examples(self, rows: Sequence[dict[str, Any]], known: Vectors) -> Arrays:
        """The arrays of examples; of a question about the same passage it is stored once."""
        places: dict[tuple[str, str], int] = {}
        asked, passages, titles, groups, answers = [], [], [], [], []
        for row in rows:
            key = (row["title"], row["text"])
            if key not in places:
                places[key] = len(passages)
                title, text = self._title(row["title"]), self.ids([row["text"]])[0][:700]
                passages.append(np.concatenate([title, text]))
                titles.append(len(title))
                groups.append(group(row["title"] or row["text"]))
            asked.append(self.dialogue(self.ids(row["turns"][-9:])))
            at = places[key]
            answers.append(self._answer(row, passages[at], titles[at]))
        taught = [number for number, row in enumerate(rows) if question(row) in known]
        tokens, lengths = ragged(asked)
        texts, text_lengths = ragged(passages)
        return {
            "asked": tokens,
            "asked_lengths": lengths,
            "passage": np.array([places[(row["title"], row["text"])] for row in rows], np.uint32),
            "texts": texts,
            "text_lengths": text_lengths,
            "text_titles": np.array(titles, np.uint8),
            "text_groups": np.array(groups, np.uint32),
            "answer": np.array(answers, np.uint16).reshape(len(rows), 2),
            "paired": np.array([row["source"] in PAIRED for row in rows], bool),
            "asked_taught": np.array(taught, np.uint32),
            "asked_vectors": _stacked([known[question(rows[number])] for number in taught]),
        }

    def _title(self, title: str) -> Ids:
        """A title's tokens with the line's end, or none."""
        return self.ids([f"{title}\n"])[0][:60] if title else np.zeros(0, np.uint16)

    def _answer(self, row: dict[str, Any], passage: Ids, title: int) -> tuple[int, int]:
        """Where the answering sentence's tokens are in the passage's; equal where nowhere."""
        if not row["answer"]:
            return 0, 0
        wanted = self.ids([row["answer"]])[0]
        text = passage[title:]
        if len(wanted) and len(wanted) <= len(text):
            windows = np.lib.stride_tricks.sliding_window_view(text, len(wanted))
            found = np.flatnonzero((windows == wanted).all(1))
            if len(found):
                start = title + int(found[0])
                return start, start + len(wanted)
        return 0, 0


def _stacked(vectors: Sequence[npt.NDArray[np.float16]]) -> npt.NDArray[np.float32]:
    """Vectors as rows [n, d] float32; [0, 0] where there are none."""
    return np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, 0), np.float32)


def quantised(arrays: Arrays, codec: Codec) -> Arrays:
    """The arrays with codes in place of vectors."""
    done = dict(arrays)
    for vectors, codes in (("vectors", "targets"), ("asked_vectors", "asked_targets")):
        found = done.pop(vectors)
        none = np.zeros((0, codec.basis.shape[1] // 2), np.uint8)
        done[codes] = codec.encode(found) if len(found) else none
    return done


def token_vectors(out: Path, packer: Packer, known: Vectors, codec: Codec) -> npt.NDArray[Any]:
    """Vectors [v, 192] float16 of tokens, such that a text's mean is near its embedding."""
    texts, targets = [], []
    for number, row in enumerate(read_lines(out / "documents.jsonl")):
        key = passage_key(number, row)
        if "text" in row and key in known and len(texts) < 60_000:
            texts.append(f"{row['title']}\n{row['text'][:1200]}")
            targets.append(known[key])
    shards = dict(read_shards(out / "teacher/tokens"))
    rows = np.stack([shards[str(token)] for token in range(len(packer.tokenizer))])
    centred = rows.astype(np.float32) - rows.astype(np.float32).mean(0)
    ids = [ids[:200].tolist() for ids in packer.ids(texts)]
    student = normalize(torch.tensor(np.array(targets, np.float32) @ codec.basis), dim=-1)
    return refine(torch.tensor(centred @ codec.basis), ids, student).numpy().astype(np.float16)


def chunks(rows: Sequence[Any], parts: int) -> Iterator[Sequence[Any]]:
    """``rows`` in ``parts`` shares of about equal number."""
    for part in range(parts):
        yield rows[len(rows) * part // parts : len(rows) * (part + 1) // parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--load-megabytes", type=float, default=46)
    parser.add_argument("--part-megabytes", type=float, default=14)
    parser.add_argument("--parts", type=int, help="as many as a small budget needs, not all")
    args = parser.parse_args()
    packer = Packer(args.out)
    rows, asked_rows = documents(args.out), examples(args.out)
    known = dict(read_shards(args.out / "teacher/passages"))
    asked = dict(read_shards(args.out / "teacher/questions"))
    sample = random.Random(0).sample(sorted(known), min(30_000, len(known)))
    codec = Codec.fit(np.array([known[key] for key in sample], np.float32))
    target = args.out / "pack"
    words = sum(len(said(row).split()) for _, row in rows)
    expected = words * _BYTES_PER_WORD + len(known) * 96 + len(asked_rows) * _BYTES_PER_EXAMPLE
    parts = int(expected / (args.part_megabytes * 1e6)) + 1
    shares = list(zip(chunks(rows, parts), chunks(asked_rows, parts), strict=True))[: args.parts]
    total: Counter[str] = Counter()
    sizes = []
    for number, (some, questions) in enumerate(track(shares, description="parts")):
        arrays = packer.documents(some, known) | packer.examples(questions, asked)
        total.update(documents=len(some), examples=len(questions), tokens=len(arrays["tokens"]))
        path = target / f"part-{number:03d}.xz"
        sizes.append((path, write_part(path, quantised(arrays, codec))))
        if sizes[-1][1] > 16e6:
            raise UniConvError(f"{path} has more than 16 MB; give a smaller --part-megabytes")
    table = token_vectors(args.out, packer, known, codec)
    _arrange(target, sizes, args.load_megabytes * 1e6)
    first = target / "load-0"
    write_part(first / "teacher.xz", {"basis": codec.basis, "scale": codec.scale, "tokens": table})
    packer.tokenizer.save_pretrained(first / "tokenizer")
    meta = {
        "vocabulary": len(packer.tokenizer),
        **total,
        "bytes": {path.name: size for path, size in sizes},
    }
    (first / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", "utf-8")
    print(json.dumps(meta, indent=1))


def _arrange(target: Path, sizes: Sequence[tuple[Path, int]], most: float) -> None:
    """Moves the parts into loads; the first keeps room for what every slice needs."""
    load, filled = 0, 8e6
    for path, size in sizes:
        if filled + size > most:
            load, filled = load + 1, 0.0
        folder = target / f"load-{load}"
        folder.mkdir(parents=True, exist_ok=True)
        path.replace(folder / path.name)
        filled += size


if __name__ == "__main__":
    main()
