"""Stage 3: the model's shape, by name. Standard Llama configurations of transformers."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import LlamaConfig

CONTEXT = 2048


@dataclass(frozen=True, slots=True)
class Size:
    """Width, layers, attention heads, heads of keys and values, width of the feed-forward part."""

    width: int
    layers: int
    heads: int
    groups: int
    inner: int
    head: int = 64


SIZES = {
    # 29.9 M parameters, 60 MB in bfloat16; deep and narrow, and as wide as the teacher's vectors.
    "base": Size(384, 15, 6, 2, 1024),
    # 10.1 M parameters: what two CPU cores can train.
    "small": Size(256, 8, 4, 2, 704),
    # For tests.
    "tiny": Size(64, 2, 2, 1, 128, head=32),
}


def config(size: str, vocabulary: int) -> LlamaConfig:
    """The configuration of ``size`` for ``vocabulary`` tokens: GQA, RoPE, tied embeddings."""
    shape = SIZES[size]
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.groups,
        head_dim=shape.head,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=4,
    )
