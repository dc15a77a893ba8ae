"""Stage 7: measures the base model.

    python recipes/mini/measure.py OUT MODEL --data DATA [--sets topiocqa nfcorpus arguana]

Bits per byte of held-out text by domain; retrieval without any supervised training, through the
harness of ``benchmarks/figures.py`` (the model alone reads the whole conversation); and twenty
continuations of held-out passages, to be read. Writes to the folder ``MODEL.measured`` beside the
model; what it has of retrieval is kept.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from sources import WIKI
from text import read_lines
from torch.nn.functional import cross_entropy

from uniconv.data.catalogue import convert
from uniconv.evaluation.retrieval import evaluate_retrieval
from uniconv.evaluation.retrieval_settings import RetrievalEvaluation
from uniconv.files import write_json
from uniconv.model import UniConv
from uniconv.retrieval.building import build_index
from uniconv.retrieval.interface import Index

SETS = {
    "topiocqa": ("topiocqa", "dev", True),
    "nfcorpus": ("beir_small", "test", False),
    "arguana": ("beir_small", "test", False),
}
"""Folder of native files, split, and whether the passages are those of the wiki corpus."""


@torch.inference_mode()
def bits_per_byte(model: UniConv, rows: list[dict[str, Any]], context: int = 1024) -> float:
    """Of held-out documents, each read alone in its frame, up to ``context`` tokens.

    A dialogue's turns are read as such; the frame's tokens are neither predicted nor counted.
    """
    nats = size = 0.0
    special = torch.tensor(model.tokenizer.all_special_ids)
    for row in rows:
        ids = torch.tensor([_framed(model, row)[:context]])
        logits = model.lm(input_ids=ids).logits[0, :-1]
        wanted = ~torch.isin(ids[0, 1:], special)
        nats += cross_entropy(logits[wanted], ids[0, 1:][wanted], reduction="sum").item()
        size += len(model.tokenizer.decode(ids[0, 1:][wanted]).strip().encode())
    return nats / size / math.log(2)


def _framed(model: UniConv, row: dict[str, Any]) -> list[int]:
    frame, content = model.template.frame, model.template.content
    start, user, assistant, end, passage = model.tokenizer.convert_tokens_to_ids(
        [frame.start, frame.user_open, frame.assistant_open, frame.user_close, frame.passage_open]
    )
    if "turns" not in row:
        text = f"{row['title']}\n{row['text']}" if row["title"] else row["text"]
        return [start, passage, *content(text)]
    ids = [start]
    for number, turn in enumerate(row["turns"]):
        ids += [assistant if number % 2 else user, *content(turn), end]
    return ids


def perplexities(model: UniConv, out: Path, most: int) -> dict[str, dict[str, float]]:
    """Bits per byte by domain, of up to ``most`` documents of each."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read_lines(out / "held_out_documents.jsonl"):
        found[row["domain"]].append(row)
    report = {}
    for domain, rows in track(sorted(found.items()), description="bits per byte"):
        random.Random(0).shuffle(rows)
        report[domain] = {
            "documents": len(rows[:most]),
            "bits_per_byte": round(bits_per_byte(model, rows[:most]), 4),
        }
    return report


def retrieval(model: UniConv, data: Path, out: Path, name: str) -> Any:
    """The figures of one set; conversion, index and evaluation go on where they stopped."""
    native, split, shared = SETS[name]
    folder, wiki = out / "sets" / name, data / WIKI
    if not (folder / "dataset.json").exists():
        convert(name, data / native, folder, wiki if shared else None)
    result = out / "retrieval" / name
    if not (result / "result.json").exists():
        index = out / "index" / name
        build_index(
            [wiki if shared else folder / "corpus.jsonl"], index, model, exact_below=sys.maxsize
        )
        settings = RetrievalEvaluation(
            folder / f"{split}.jsonl", result, index=index, retriever="dense"
        )
        console = Console(quiet=True)
        evaluate_retrieval(settings, index=Index.open(index), model=model, console=console)
    return json.loads((result / "result.json").read_text("utf-8"))


@torch.inference_mode()
def continuations(model: UniConv, out: Path, count: int = 20) -> str:
    """Greedy continuations of the beginnings of held-out passages, as Markdown."""
    rows = [row for row in read_lines(out / "held_out_documents.jsonl") if "turns" not in row]
    rows = [row for row in rows if len(row["text"].split()) > 60]
    by_domain: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_domain[row["domain"]].append(row)
    rng, lines = random.Random(0), []
    for number in range(count):
        domain = sorted(by_domain)[number % len(by_domain)]
        row = rng.choice(by_domain[domain])
        ids = _framed(model, row)
        start = min(len(ids) // 2, 48)
        written = model.lm.generate(
            torch.tensor([ids[:start]]),
            attention_mask=torch.ones(1, start, dtype=torch.long),
            max_new_tokens=60,
            do_sample=False,
            repetition_penalty=1.1,
        )[0, start:]
        decode = model.tokenizer.decode
        lines += [f"{number + 1}. ({domain}) {decode(ids[2:start])}", ""]
        lines += [
            f"   **→** {decode(written)}",
            "",
            f"   *was:* {decode(ids[start : start + 60])}",
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, help="without it retrieval is left out")
    parser.add_argument("--sets", nargs="*", choices=sorted(SETS), default=list(SETS))
    parser.add_argument("--documents", type=int, default=200, help="of each domain")
    args = parser.parse_args()
    model = UniConv.from_pretrained(args.model)
    report: dict[str, Any] = {"bits_per_byte": perplexities(model, args.out, args.documents)}
    folder = args.model.with_name(f"{args.model.name}.measured")
    folder.mkdir(exist_ok=True)
    (folder / "continuations.md").write_text(continuations(model, args.out), "utf-8")
    for name in args.sets if args.data else []:
        report[name] = retrieval(model, args.data, folder, name)["metrics"]
    write_json(folder / "measured.json", report)
    print(json.dumps(report["bits_per_byte"], indent=1))


if __name__ == "__main__":
    main()
