from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from tiny import FAMILIES, tiny_uniconv
from uniconv.errors import ModelError
from uniconv.model import Settings, UniConv
from uniconv.templates import Limits
from uniconv.types import Conversation, Passage, Turn

CONVERSATIONS = [
    Conversation.start("Who built the tower?"),
    Conversation("b", (Turn("Who built it?", "A family of engineers [1]."), Turn("When?"))),
    Conversation("c", (Turn("Why does ice move?", "Its weight."), Turn("a"), Turn("b"))[:2]),
]
PASSAGES = [
    Passage("1", "The tower of the old harbour was built in 1893.", "Tower"),
    Passage("2", "Ice deforms under its own weight."),
    Passage("3", "x"),
]


def with_adapter(model: UniConv) -> UniConv:
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    return UniConv(
        get_peft_model(model.network, config).eval(),
        model.tokenizer,
        model.template,
        model.settings,
    )


def text(model: UniConv, *arguments: object, **options: object) -> str:
    return "".join(model.generate(*arguments, max_new_tokens=16, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", ["last", "mean", "weighted_mean"])
def test_packed_equals_padded(family: str, pooling: str) -> None:
    model = tiny_uniconv(family, settings=Settings(pooling=pooling))  # type: ignore[arg-type]
    together = model.encode_conversations(CONVERSATIONS)
    alone = [model.encode_conversations([one])[0] for one in CONVERSATIONS]
    small = model.encode_conversations(CONVERSATIONS, batch_tokens=1)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(together, small, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("bfloat16", "dtype", "rounded"),
    [(True, None, True), (True, torch.float32, False), (False, None, False)],
)
def test_passages_are_rounded_where_the_cpu_computes_in_bfloat16(
    bfloat16: bool,
    dtype: torch.dtype | None,
    rounded: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("uniconv.model.computes_in_bfloat16", lambda _device: bfloat16)
    tiny_uniconv().save_pretrained(tmp_path)
    model = UniConv.from_pretrained(tmp_path, device="cpu", dtype=dtype)
    exact = model.encode([model.template.passage(passage) for passage in PASSAGES])
    found = model.encode_passages(PASSAGES)
    assert found.dtype == np.float32
    assert (found == exact).all() != rounded
    np.testing.assert_allclose((found * exact).sum(axis=1), 1, atol=1e-3)
    asked = model.encode_conversations(CONVERSATIONS[:1])[0]  # as exact as what is read in a chat
    np.testing.assert_allclose(asked, model.read(CONVERSATIONS[0]).embedding, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_once_embeds_and_answers_as_reading_twice(family: str) -> None:
    model = tiny_uniconv(family)
    for conversation in CONVERSATIONS:
        reading = model.read(conversation)
        np.testing.assert_allclose(
            reading.embedding, model.encode_conversations([conversation])[0], atol=1e-6
        )
        for passages in ([], PASSAGES):
            prompt = torch.tensor([model.template.prompt(conversation, passages)])
            with torch.inference_mode():
                expected = model.lm.generate(
                    prompt,
                    attention_mask=torch.ones_like(prompt),
                    max_new_tokens=16,
                    do_sample=False,
                    eos_token_id=sorted(model.template.stop),
                )[0, prompt.shape[1] :]
            expected_text = model.tokenizer.decode(expected, skip_special_tokens=True)
            # The same reading serves again: its cache is put back after each answer.
            assert text(model, reading, passages) == expected_text
            assert text(model, conversation, passages) == expected_text


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_logits_equal_uncached(family: str) -> None:
    model = tiny_uniconv(family)
    reading = model.read(CONVERSATIONS[1])
    suffix = model.template.answer_suffix(PASSAGES)
    with torch.inference_mode():
        cached = model.lm(
            torch.tensor([suffix]), past_key_values=reading.cache, use_cache=True
        ).logits[0]
        whole = model.lm(torch.tensor([reading.tokens + suffix])).logits[0, len(reading.tokens) :]
    torch.testing.assert_close(cached, whole, atol=1e-5, rtol=1e-5)


def test_an_abandoned_answer_leaves_the_reading_as_it_was() -> None:
    model = tiny_uniconv()
    reading = model.read(CONVERSATIONS[1])
    whole = text(model, reading, PASSAGES)
    pieces = model.generate(reading, PASSAGES, max_new_tokens=16)
    next(pieces)
    pieces.close()
    assert reading.cache.get_seq_length() == len(reading.tokens)
    assert text(model, reading, PASSAGES) == whole


def test_a_format_without_assistant_header_can_answer_closed_book() -> None:
    model = tiny_uniconv(
        chat_template="{% for m in messages %}{% if m['role'] == 'user' %}"
        "[Q]{{ m['content'] }}[/Q]{% else %}{{ m['content'] }}</s>{% endif %}{% endfor %}"
    )
    assert model.template.answer_suffix() == []
    reading = model.read(CONVERSATIONS[0])
    first = text(model, reading)
    assert first
    assert text(model, reading) == first


def test_generation_stops_where_it_is_told() -> None:
    model = tiny_uniconv()
    whole = text(model, CONVERSATIONS[0])
    stop = whole[3:5]
    assert text(model, CONVERSATIONS[0], stop=[stop]) == whole[: whole.index(stop)]
    assert len(list(model.generate(CONVERSATIONS[0], max_new_tokens=3))) <= 4


def test_an_answer_that_only_repeats_itself_is_ended() -> None:
    model = tiny_uniconv()
    with torch.no_grad():  # the same token whatever was said
        model.lm.model.norm.weight.zero_()
    pieces = list(model.generate(CONVERSATIONS[0], max_new_tokens=50))
    assert len(pieces) > 40
    ended = list(model.generate(CONVERSATIONS[0], max_new_tokens=50, stop_loops=True))
    assert len(ended) == 12


def test_sampling_is_reproducible_with_a_seed() -> None:
    model = tiny_uniconv()
    options = {"temperature": 1.0, "top_p": 0.9}
    first = text(model, CONVERSATIONS[0], seed=3, **options)
    assert first == text(model, CONVERSATIONS[0], seed=3, **options)
    assert any(text(model, CONVERSATIONS[0], seed=s, **options) != first for s in range(4, 8))


def test_passages_that_do_not_fit_are_left_out_from_the_end() -> None:
    model = tiny_uniconv(limits=Limits(passage=200))
    reading = model.read(CONVERSATIONS[0])
    long = [Passage(str(n), "word " * 100) for n in range(5)]
    fitting = model.fitting(reading, long, max_new_tokens=16)
    assert 0 < len(fitting) < 5
    assert list(fitting) == long[: len(fitting)]
    assert len(reading.tokens) + len(model.template.answer_suffix(fitting)) + 16 <= 512


def test_answered_conversations_are_not_encoded() -> None:
    model = tiny_uniconv()
    with pytest.raises(ValueError, match="no open question"):
        model.encode_conversations([Conversation("x", (Turn("q", "r"),))])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_is_the_same_model(family: str, tmp_path: Path) -> None:
    settings = Settings(pooling="mean", temperature=0.05, threshold=1.5)
    model = tiny_uniconv(family, settings=settings, limits=Limits(passage=30))
    model.save_pretrained(tmp_path / "m", training={"steps": 3})
    again = UniConv.from_pretrained(tmp_path / "m", device="cpu")
    assert again.settings == settings
    assert again.template.limits == Limits(passage=30)
    assert again.training == {"steps": 3}
    assert again.fingerprint == model.fingerprint
    np.testing.assert_allclose(
        again.encode_passages(PASSAGES), model.encode_passages(PASSAGES), atol=1e-6
    )
    assert not list((tmp_path / "m").glob("*.bin"))
    half = tmp_path / "half"
    model.save_pretrained(half, dtype=torch.bfloat16)
    assert UniConv.from_pretrained(half, device="cpu").fingerprint == model.fingerprint


def test_merged_equals_unmerged(tmp_path: Path) -> None:
    base = tiny_uniconv()
    base.save_pretrained(tmp_path / "base")
    model = with_adapter(UniConv.from_pretrained(tmp_path / "base", device="cpu"))
    plain = base.encode_passages(PASSAGES)
    expected = model.encode_passages(PASSAGES)
    assert np.abs(expected - plain).max() > 1e-3  # the adapter does something
    model.save_pretrained(tmp_path / "adapter")
    model.save_pretrained(tmp_path / "merged", merge=True)
    np.testing.assert_allclose(model.encode_passages(PASSAGES), expected, atol=1e-6)
    for folder in ("adapter", "merged"):
        again = UniConv.from_pretrained(tmp_path / folder, device="cpu")
        np.testing.assert_allclose(again.encode_passages(PASSAGES), expected, atol=1e-5)
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    assert (tmp_path / "merged" / "model.safetensors").exists()


def test_any_causal_lm_and_any_adapter_can_be_loaded(tmp_path: Path) -> None:
    model = tiny_uniconv("qwen3")
    model.network.save_pretrained(tmp_path / "lm")
    model.tokenizer.save_pretrained(tmp_path / "lm")
    loaded = UniConv.from_pretrained(tmp_path / "lm", device="cpu")
    assert loaded.settings == Settings()
    adapted = with_adapter(loaded)
    adapted.network.save_pretrained(tmp_path / "peft")
    again = UniConv.from_pretrained(tmp_path / "peft", device="cpu")
    np.testing.assert_allclose(
        again.encode_passages(PASSAGES), adapted.encode_passages(PASSAGES), atol=1e-6
    )


def test_what_cannot_be_loaded_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no causal language model could be loaded"):
        UniConv.from_pretrained(tmp_path)
    (tmp_path / "uniconv.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        UniConv.from_pretrained(tmp_path)
    (tmp_path / "uniconv.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ModelError, match="expected format 1"):
        UniConv.from_pretrained(tmp_path)
    with pytest.raises(ModelError, match="pooling 'max' is unknown"):
        Settings(pooling="max")  # type: ignore[arg-type]


def test_another_model_has_another_fingerprint() -> None:
    one = tiny_uniconv(seed=0)
    assert one.fingerprint == tiny_uniconv(seed=0).fingerprint
    assert one.fingerprint != tiny_uniconv(seed=1).fingerprint
    assert one.fingerprint != tiny_uniconv(seed=0, limits=Limits(passage=9)).fingerprint
    assert one.fingerprint != tiny_uniconv(seed=0, settings=Settings(pooling="mean")).fingerprint
