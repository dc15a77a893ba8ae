"""Stage 2: trains the model's own tokenizer, a cased byte-level BPE.

    python recipes/mini/tokenizer.py OUT

Reads ``OUT/prose.txt``, writes a Hugging Face tokenizer to ``OUT/tokenizer``. Words have the same
token at the beginning of a text or a line as in the middle, so that copying stays copying.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from uniconv.templates import Frame

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


def main(out: Path, vocabulary: int = 12_288) -> None:
    """Trains on ``out/prose.txt`` and writes ``out/tokenizer``."""
    with (out / "prose.txt").open(encoding="utf-8") as file:
        tokenizer = train_tokenizer(file, vocabulary)
    tokenizer.save_pretrained(out / "tokenizer")
    print(f"{len(tokenizer)} tokens")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
