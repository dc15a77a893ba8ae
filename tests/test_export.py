"""What other programs load is the same model: its embeddings, its answers, its prompts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from sentence_transformers import SentenceTransformer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
)

from command import run
from tiny import FAMILIES, tiny_uniconv
from tiny_tokenizers import joining_uniconv, sentencepiece_uniconv
from uniconv.errors import ConfigError, ModelError, UniConvError
from uniconv.export import export
from uniconv.messages import to_messages
from uniconv.model import Settings, UniConv
from uniconv.templates import Limits
from uniconv.types import Conversation, Passage, Turn

LIMITS = Limits(conversation=90, passage=40, response=30)
TALK = Conversation("t", (Turn("Who built it? ", "A family of engineers [1]."), Turn(" When…")))
QUESTIONS = ["Who built the tower?", " and\nwhy ", "漢字?"]
PASSAGES = [
    Passage("1", "The tower of the old harbour was built in 1893.", "Tower."),
    Passage("2", " Ice deforms; under its own weight!\n"),
    Passage("3", "The end is cut. " * 30, "Long"),
    Passage("4", "é"),
]


def with_adapter(model: UniConv, out: Path) -> Path:
    """A folder with a backbone and one with an adapter on it; the adapter's is returned."""
    model.save_pretrained(out / "backbone")
    modules = ["c_attn"] if model.lm.config.model_type == "gpt2" else ["q_proj", "v_proj"]
    backbone = AutoModelForCausalLM.from_pretrained(out / "backbone", dtype=torch.float32)
    torch.manual_seed(1)
    network = get_peft_model(
        backbone, LoraConfig(r=4, target_modules=modules, init_lora_weights=False)
    )
    adapted = UniConv(network.eval(), model.tokenizer, model.template, model.settings)
    adapted.save_pretrained(out / "adapter")
    return out / "adapter"


def said(model: UniConv) -> str:
    return "".join(model.generate(TALK, PASSAGES[:2], max_new_tokens=12))


def dtypes(folder: Path) -> set[str]:
    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        return {str(weights.get_tensor(name).dtype) for name in weights.keys()}  # noqa: SIM118


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_merged_model_is_the_adapted_one(family: str, tmp_path: Path) -> None:
    source = with_adapter(tiny_uniconv(family), tmp_path)
    export(str(source), tmp_path / "merged", "merged")
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    before, after = UniConv.from_pretrained(source), UniConv.from_pretrained(tmp_path / "merged")
    plain = UniConv.from_pretrained(tmp_path / "backbone")
    embedded = before.encode_conversations([TALK])
    np.testing.assert_allclose(after.encode_conversations([TALK]), embedded, atol=1e-5)
    assert np.abs(plain.encode_conversations([TALK]) - embedded).max() > 1e-3
    assert said(after) == said(before)
    assert after.template.to_json() == before.template.to_json()


def test_weights_keep_their_precision_or_take_another(tmp_path: Path) -> None:
    tiny_uniconv().save_pretrained(tmp_path / "model", dtype=torch.bfloat16)
    adapter = with_adapter(tiny_uniconv(), tmp_path)
    for source, dtype, expected in (
        (tmp_path / "model", "stored", "torch.bfloat16"),
        (tmp_path / "model", "float32", "torch.float32"),
        (adapter, "float16", "torch.float16"),
        (adapter, "stored", "torch.float32"),
    ):
        out = tmp_path / f"{source.name}-{dtype}"
        export(str(source), out, "merged", dtype)  # type: ignore[arg-type]
        assert dtypes(out) == {expected}


def test_the_chat_template_is_kept(tmp_path: Path) -> None:
    model = tiny_uniconv()
    model.save_pretrained(tmp_path / "model")
    export(str(tmp_path / "model"), tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.chat_template == model.tokenizer.chat_template


def test_a_model_without_chat_template_gets_its_frame_as_one(tmp_path: Path) -> None:
    model = tiny_uniconv(chat_template=None)
    model.save_pretrained(tmp_path / "model")
    export(str(tmp_path / "model"), tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    for passages in ([], PASSAGES[:2]):
        rendered = tokenizer.apply_chat_template(
            [{"role": "system", "content": "Be kind."}, *to_messages(TALK)],
            documents=[{"title": one.title, "text": one.text} for one in passages],
            add_generation_prompt=True,
            tokenize=False,
        )
        prompt = model.template.prompt(TALK, passages)
        assert rendered == tokenizer.decode(prompt, skip_special_tokens=False)
    answered = tokenizer.apply_chat_template(to_messages(TALK.answer(" In 1893. ")), tokenize=False)
    trunk = model.template.conversation(TALK.answer("In 1893."))
    assert answered == tokenizer.decode(trunk, skip_special_tokens=False)


def exported(model: UniConv, folder: Path, **options: Any) -> SentenceTransformer:
    model.save_pretrained(folder / "model")
    export(str(folder / "model"), folder / "out", "sentence-transformers", **options)
    return SentenceTransformer(str(folder / "out"), device="cpu")


def check_embeddings(model: UniConv, there: SentenceTransformer) -> None:
    texts = [f"{one.title}\n{one.text}" if one.title else one.text for one in PASSAGES]
    passages = model.encode_passages(PASSAGES)
    np.testing.assert_allclose(there.encode_document(texts), passages, atol=1e-5)
    np.testing.assert_allclose(there.encode(texts), passages, atol=1e-5)
    questions = model.encode_conversations([Conversation.start(text) for text in QUESTIONS])
    np.testing.assert_allclose(there.encode_query(QUESTIONS), questions, atol=1e-5)
    follow_up = model.encode_conversations([TALK])
    np.testing.assert_allclose(there.encode_query([to_messages(TALK)]), follow_up, atol=1e-5)
    cosines = questions @ passages.T
    np.testing.assert_allclose(
        there.similarity(there.encode_query(QUESTIONS), there.encode_document(texts)),
        cosines,
        atol=1e-5,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_sentence_transformers_embeds_the_same(family: str, tmp_path: Path) -> None:
    model = tiny_uniconv(family, limits=LIMITS)
    check_embeddings(model, exported(model, tmp_path))


@pytest.mark.parametrize("pooling", ["mean", "weighted_mean"])
def test_sentence_transformers_pools_the_same(pooling: str, tmp_path: Path) -> None:
    model = tiny_uniconv(settings=Settings(pooling=pooling), limits=LIMITS)  # type: ignore[arg-type]
    check_embeddings(model, exported(model, tmp_path))


def test_sentence_transformers_with_a_plain_frame_and_no_padding_token(tmp_path: Path) -> None:
    model = tiny_uniconv(chat_template=None, limits=LIMITS)
    model.tokenizer.pad_token = None
    check_embeddings(model, exported(model, tmp_path))


def test_sentence_transformers_of_an_adapter(tmp_path: Path) -> None:
    source = with_adapter(tiny_uniconv(limits=LIMITS), tmp_path)
    export(str(source), tmp_path / "out", "sentence-transformers")
    there = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    check_embeddings(UniConv.from_pretrained(source), there)


def test_sentence_transformers_of_the_embedded_model(tmp_path: Path) -> None:
    export("embedded", tmp_path / "out", "sentence-transformers")
    there = SentenceTransformer(
        str(tmp_path / "out"), device="cpu", model_kwargs={"dtype": "float32"}
    )
    assert dtypes(tmp_path / "out") == {"torch.bfloat16"}
    check_embeddings(UniConv.from_pretrained("embedded", device="cpu"), there)


def test_sentence_transformers_with_a_tokenizer_that_joins_pieces(tmp_path: Path) -> None:
    model = joining_uniconv(LIMITS)
    tokens = [model.tokenizer(text)["input_ids"] for text in ("1893.\n\n", "1893.", "\n\n")]
    assert tokens[0] != tokens[1] + tokens[2]
    check_embeddings(model, exported(model, tmp_path))


def test_sentence_transformers_with_a_tokenizer_as_mistrals(tmp_path: Path) -> None:
    model = sentencepiece_uniconv(LIMITS)
    check_embeddings(model, exported(model, tmp_path))


def test_a_tokenizer_that_cannot_be_reproduced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has other tokens there; use the model"):
        exported(sentencepiece_uniconv(LIMITS, legacy=True), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_differs_is_told_in_the_folder(tmp_path: Path) -> None:
    model = tiny_uniconv(limits=LIMITS)
    there = exported(model, tmp_path)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "more than 90 tokens" in card
    assert "after 30 tokens" in card
    assert "such as `</s>`" in card
    assert "$" not in card
    # It is true: what is told to differ does.
    for told in (Conversation.start("a </s>"), Conversation.start("word " * 100)):
        here = model.encode_conversations([told])
        assert np.abs(there.encode_query([told.turns[0].query]) - here).max() > 1e-3


def test_mistakes_are_told_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UniConvError, match="exists already"):
        export("embedded", tmp_path)
    with pytest.raises(ConfigError, match="to 'onnx' is unknown; choose merged or"):
        export("embedded", tmp_path / "out", "onnx")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="dtype 'int8' is unknown"):
        export("embedded", tmp_path / "out", "merged", "int8")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no causal language model"):
        export(str(tmp_path / "missing"), tmp_path / "out")


def test_without_sentence_transformers_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ModelError, match=r"install uniconv\[sentence-transformers\]"):
        export("embedded", tmp_path / "out", "sentence-transformers")


def test_the_command_says_how_to_load_what_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_uniconv().save_pretrained(tmp_path / "model")
    out = tmp_path / "out"
    arguments = ("export", tmp_path / "model", "--out", out, "--dtype", "bfloat16")
    assert run(*arguments) == 0
    assert f'UniConv.from_pretrained("{out}")' in capsys.readouterr().out
    assert dtypes(out) == {"torch.bfloat16"}
