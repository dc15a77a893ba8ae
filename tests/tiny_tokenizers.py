"""Tiny random models whose tokenizers cut text as those of well-known families do."""

from __future__ import annotations

import json

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaTokenizer, PreTrainedTokenizerFast

from tiny import CHATML, tiny_config
from uniconv.model import UniConv
from uniconv.templates import Limits, load_template

TEXTS = [
    "The tower of the old harbour was built in 1893.\n\n",
    "Ice deforms; under its own weight!\n\nWho built the tower?",
]


def joining_uniconv(limits: Limits) -> UniConv:
    """A tiny model whose tokenizer joins marks and line ends, as Llama 3's and Qwen's do."""
    backend = Tokenizer(models.BPE())
    pieces = (
        r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pieces), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<s>", "</s>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    tokenizer.chat_template = CHATML
    torch.manual_seed(0)
    config = tiny_config("qwen3", len(tokenizer))
    lm = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return UniConv(lm.eval(), tokenizer, load_template(tokenizer, limits=limits))


def sentencepiece_uniconv(limits: Limits, *, legacy: bool = False) -> UniConv:
    """A tiny model whose tokenizer marks words as Llama 2's and Mistral's do.

    A ``legacy`` one does it while normalising, so that each stretch of text gets a mark.
    """
    backend = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    all_bytes = [f"<0x{number:02X}>" for number in range(256)]
    named = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=[*named, *all_bytes], show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    learned = json.loads(backend.to_str())["model"]
    if legacy:
        backend.pre_tokenizer = None
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
        )
    else:
        tokenizer = LlamaTokenizer(
            vocab=learned["vocab"],
            merges=[tuple(pair) for pair in learned["merges"]],
            extra_special_tokens=["[INST]", "[/INST]"],
        )
    tokenizer.chat_template = (
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
        "[INST] {{ message['content'] }}[/INST]{% else %} {{ message['content'] }}</s>{% endif %}"
        "{% endfor %}"
    )
    torch.manual_seed(0)
    lm = AutoModelForCausalLM.from_config(
        tiny_config("mistral", len(tokenizer)), dtype=torch.float32
    )
    return UniConv(lm.eval(), tokenizer, load_template(tokenizer, limits=limits))
