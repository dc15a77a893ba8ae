"""Tiny random models of several families with a real tokenizer, built in the test process."""

from __future__ import annotations

from functools import lru_cache

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from uniconv.model import Settings, UniConv
from uniconv.templates import Limits, load_template

PACKS_4_BITS = bool(getattr(torch.cpu, "get_capabilities", dict)().get("avx512_bf16"))
"""Whether bitsandbytes packs matrices anew on this CPU; it fails with those narrower than 64."""

FAMILIES = ("llama", "mistral", "qwen3", "gpt2")

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_TEXT = [
    "The tower of the old harbour was built in 1893 by a family of engineers.",
    "Who built it, and when was it opened to visitors?",
    "It was opened in the spring of 1901 after the bridge had been repaired [1].",
    "A glacier moves slowly because ice deforms under its own weight.",
    "What does the function return? It returns a list of numbers, or None.",
    "Passages: [2] Title\nAnswer the last question: yes, no, why? 0123456789 é ü 漢字",
]


@lru_cache
def _backend() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    return tokenizer


def tiny_tokenizer(chat_template: str | None = CHATML) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_backend().to_str()),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def tiny_config(family: str, vocabulary: int) -> PretrainedConfig:
    shape = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "initializer_range": 0.2,
    }
    match family:
        case "llama":
            return LlamaConfig(**shape, tie_word_embeddings=True)
        case "mistral":
            return MistralConfig(**shape, sliding_window=None)
        case "qwen3":
            return Qwen3Config(**shape, head_dim=8)
        case "gpt2":
            return GPT2Config(
                vocab_size=vocabulary,
                n_embd=32,
                n_layer=2,
                n_head=4,
                n_positions=512,
                bos_token_id=1,
                eos_token_id=2,
                initializer_range=0.2,
            )
    raise ValueError(family)


def tiny_uniconv(
    family: str = "llama",
    *,
    seed: int = 0,
    chat_template: str | None = CHATML,
    settings: Settings | None = None,
    limits: Limits | None = None,
) -> UniConv:
    """A random model in fp32 on the CPU, in evaluation mode."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer(chat_template)
    lm = AutoModelForCausalLM.from_config(tiny_config(family, len(tokenizer)), dtype=torch.float32)
    return UniConv(
        lm.eval(), tokenizer, load_template(tokenizer, limits=limits), settings or Settings()
    )
