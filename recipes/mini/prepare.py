"""Stage 1: reads the data and writes what the other stages learn from.

    python recipes/mini/prepare.py DATA OUT

``OUT/passages.jsonl`` holds texts with titles, ``OUT/examples.jsonl`` conversations with the
passage and the sentence that answer them, ``OUT/held_out.jsonl`` the examples that no stage trains
on (2 % of titles and conversations), ``OUT/prose.txt`` plain text for the tokenizer.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import sources
from sources import Example
from text import clean, held_out, read_lines, write_lines


def main(data: Path, out: Path, wiki: int = 120_000) -> None:
    """Writes the four files to ``out``; at most ``wiki`` passages of the corpus are kept."""
    out.mkdir(parents=True, exist_ok=True)
    corpus = data / "wiki_corpus/corpus.jsonl"
    readers: dict[str, Callable[[], Iterator[Example]]] = {
        "squad": lambda: sources.squad(data / "squad"),
        "qed_nq": lambda: sources.qed(data / "qed_nq"),
        "clapnq": lambda: sources.clapnq(data / "clapnq"),
        "medquad": lambda: sources.medquad(data / "medquad"),
        "topiocqa": lambda: sources.topiocqa(data / "topiocqa", corpus),
        "doc2dial": lambda: sources.doc2dial(data / "doc2dial"),
        "dstc": lambda: sources.dstc(data / "dstc"),
        "mtrag": lambda: sources.mtrag_synthetic(data / "mtrag"),
        "canard": lambda: sources.canard(data / "canard", data / "qrecc"),
    }
    examples = []
    for name, read in readers.items():
        if (data / name).is_dir():
            examples += list(read())
        else:
            print(f"{data / name}: absent, skipped")
    examples += list(sources.docstrings())
    random.Random(0).shuffle(examples)
    train = [e for e in examples if not held_out(e.group)]
    dev = [e for e in examples if held_out(e.group)]
    write_lines(out / "examples.jsonl", (asdict(e) for e in train))
    write_lines(out / "held_out.jsonl", (asdict(e) for e in dev))
    passages = _passages(corpus, wiki)
    write_lines(out / "passages.jsonl", passages)
    texts = [f"{p['title']}\n{p['text']}" for p in passages[:40_000]]
    texts += [f"{' '.join(e.turns[-3:])}\n{e.text}" for e in train]
    (out / "prose.txt").write_text("\n".join(texts), "utf-8")
    answered = Counter(e.source for e in train if e.answer)
    for source, count in Counter(e.source for e in train).most_common():
        print(f"{source}: {count} examples, {answered[source]} with the answering sentence")
    print(f"{len(dev)} examples held out, {len(passages)} passages")


def _passages(corpus: Path, most: int) -> list[dict[str, str]]:
    rows = list(read_lines(corpus)) if corpus.exists() else []
    random.Random(0).shuffle(rows)
    return [
        {"id": row["_id"], "title": row["title"], "text": clean(row["text"])} for row in rows[:most]
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
