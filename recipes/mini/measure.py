"""Measures a model on the held-out examples: retrieval, grounded answers, next-token loss.

    python recipes/mini/measure.py OUT MODEL

Retrieval: each held-out question against the held-out passages and ``--passages`` others of the
corpus. Grounded answers: the passage among two others of its source; greedy decoding; an answer is
right when its sentence is the marked one, a citation when it names the passage.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mixture import conversation
from text import content_words, read_lines, sentences
from torch.nn.functional import cross_entropy

from uniconv.files import write_json
from uniconv.model import UniConv
from uniconv.types import Passage

_CITATION = re.compile(r"\[(\d+)\]")


def retrieval(
    model: UniConv, rows: list[dict[str, Any]], others: list[dict[str, Any]]
) -> dict[str, dict[str, float]]:
    """Recall at 1 and 10 for each source; passages of equal text count as one."""
    texts = list(dict.fromkeys((row["title"], row["text"]) for row in [*rows, *others]))
    places = {text: number for number, text in enumerate(texts)}
    passages = model.encode_passages([Passage("", text, title) for title, text in texts])
    queries = model.encode_conversations([conversation(row["turns"]) for row in rows])
    scores = queries @ passages.T
    right = np.array([places[(row["title"], row["text"])] for row in rows])
    ranks = (scores > scores[np.arange(len(rows)), right][:, None]).sum(1)
    found = defaultdict(list)
    for row, rank in zip(rows, ranks, strict=True):
        found[row["source"]].append(rank)
    return {
        source: {
            "questions": len(at),
            "recall@1": float(np.mean(np.array(at) < 1)),
            "recall@10": float(np.mean(np.array(at) < 10)),
        }
        for source, at in sorted(found.items())
    } | {"passages": {"count": len(texts)}}


def same_sentence(answer: str, reference: str, least: float = 0.8) -> bool:
    """Whether two sentences share at least ``least`` of the content words of each."""
    one, two = set(content_words(answer)), set(content_words(reference))
    return len(one & two) >= least * max(len(one), len(two), 1)


def grounded(model: UniConv, rows: list[dict[str, Any]], shown: int = 5) -> dict[str, Any]:
    """Shares of grounded answers with the right sentence, source and citation; and samples."""
    rng = random.Random(0)
    counts: dict[str, float] = defaultdict(float)
    samples = []
    for row in rows:
        others = [r for r in rows if r["source"] == row["source"] and r["title"] != row["title"]]
        chosen = [row, *rng.sample(others, min(2, len(others)))]
        rng.shuffle(chosen)
        passages = [Passage("", " ".join(sentences(r["text"])[:6]), r["title"]) for r in chosen]
        at = chosen.index(row) + 1
        if row["answer"] not in passages[at - 1].text:
            continue
        text = "".join(model.generate(conversation(row["turns"]), passages, max_new_tokens=96))
        said = _CITATION.sub("", text).strip()
        cited = [int(number) for number in _CITATION.findall(text)]
        copied = [i for i, p in enumerate(passages, 1) if said and said[:200] in p.text]
        counts["answers"] += 1
        counts["sentence right"] += same_sentence(said, row["answer"])
        counts["copied word for word"] += bool(copied)
        counts["from the right passage"] += at in copied
        counts["citation right"] += cited == [at]
        counts["citation fits what was copied"] += bool(set(cited) & set(copied))
        if len(samples) < shown:
            samples.append({"question": row["turns"][-1], "expected": row["answer"], "got": text})
    total = counts.pop("answers")
    return {"answers": total, **{k: v / total for k, v in counts.items()}, "samples": samples}


@torch.inference_mode()
def bits_per_byte(model: UniConv, rows: list[dict[str, Any]]) -> float:
    """Of passages as text, each read on its own."""
    nats = size = 0.0
    for row in rows:
        ids = torch.tensor([model.template.passage(Passage("", row["text"], row["title"]))[:-2]])
        logits = model.lm(input_ids=ids).logits[0]
        nats += cross_entropy(logits[1:-1], ids[0, 2:], reduction="sum").item()
        size += len(model.tokenizer.decode(ids[0, 2:]).strip().encode())
    return nats / size / math.log(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--answers", type=int, default=100)
    parser.add_argument("--passages", type=int, default=3000)
    args = parser.parse_args()
    model = UniConv.from_pretrained(args.model)
    rows = list(read_lines(args.out / "held_out.jsonl"))
    rows = [row for row in rows if row["source"] not in ("topiocqa_topic", "canard")]
    corpus = list(read_lines(args.out / "passages.jsonl"))[-args.passages :]
    report = {
        "retrieval": retrieval(model, rows, corpus),
        "grounded": grounded(model, [row for row in rows if row["answer"]][: args.answers]),
        "bits_per_byte": bits_per_byte(model, corpus[:200]),
    }
    print(json.dumps(report, indent=1, ensure_ascii=False))
    write_json(args.model.with_name(f"{args.model.name}.measured.json"), report)


if __name__ == "__main__":
    main()
