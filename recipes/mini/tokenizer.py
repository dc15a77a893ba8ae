"""Stage 2: trains the model's own tokenizer, a cased byte-level BPE.

    python recipes/mini/tokenizer.py OUT

Reads ``OUT/documents.jsonl``, of each domain as much as keeps the domains in balance, and writes a
Hugging Face tokenizer to ``OUT/tokenizer`` with ``OUT/tokenizer.report.json``: words and bytes per
token of held-out text. Words have the same token at the beginning of a text or a line as in the
middle, so that copying stays copying. Citations are plain text.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from text import read_lines
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from uniconv.files import write_json
from uniconv.frames import Frame

SPECIAL = (
    "<|pad|>",
    "<|start|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<|passage|>",
    "<|embed|>",
)
FRAME = Frame(
    start="<|start|>",
    user_open="<|user|>",
    user_close="<|end|>",
    assistant_open="<|assistant|>",
    assistant_close="<|end|>",
    passages_open="",
    passage_open="<|passage|>",
    passage_close="<|end|>",
    passages_close="",
    document_start="<|start|>",
    marker="<|embed|>",
)
VOCABULARY = 16_384
_CHARACTERS = 16_000_000  # of a domain


def train_tokenizer(prose: Iterator[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer of at most ``vocabulary`` tokens, the special ones first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace("\n", "\n ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(prose, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        bos_token="<|start|>",
        eos_token="<|end|>",
        additional_special_tokens=["<|user|>", "<|assistant|>", "<|passage|>", "<|embed|>"],
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )


def said(row: dict[str, Any]) -> str:
    """All text of a line of ``documents.jsonl``."""
    return "\n".join([row["title"], *row.get("turns", [row.get("text", "")])]).strip()


def balanced(out: Path) -> Iterator[str]:
    """Documents until their domain has had its share."""
    seen: Counter[str] = Counter()
    for row in read_lines(out / "documents.jsonl"):
        if seen[row["domain"]] < _CHARACTERS:
            text = said(row)
            seen[row["domain"]] += len(text)
            yield text


def measure(tokenizer: PreTrainedTokenizerFast, out: Path) -> dict[str, dict[str, float]]:
    """Words and bytes per token of held-out text, by domain."""
    texts: dict[str, list[str]] = defaultdict(list)
    for row in read_lines(out / "held_out_documents.jsonl"):
        texts[row["domain"]].append(said(row))
    report = {}
    for domain, found in sorted(texts.items()):
        tokens = sum(
            map(len, tokenizer(found, add_special_tokens=False, verbose=False)["input_ids"])
        )
        report[domain] = {
            "tokens": tokens,
            "words_per_token": round(sum(len(text.split()) for text in found) / tokens, 3),
            "bytes_per_token": round(sum(len(text.encode()) for text in found) / tokens, 2),
        }
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY)
    args = parser.parse_args()
    tokenizer = train_tokenizer(balanced(args.out), args.vocabulary)
    tokenizer.save_pretrained(args.out / "tokenizer")
    report = measure(tokenizer, args.out)
    write_json(args.out / "tokenizer.report.json", {"tokens": len(tokenizer), "domains": report})
    print(f"{len(tokenizer)} tokens")
    for domain, row in report.items():
        print(f"{domain:22} " + "  ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
