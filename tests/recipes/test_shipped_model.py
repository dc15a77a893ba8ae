"""The models in models/: small and complete; mini is good for what the demo asks of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from uniconv.model import UniConv
from uniconv.types import Conversation, Passage

MODELS = Path(__file__).parents[2] / "models"
PASSAGES = [
    Passage("1", "The ferry crosses the river every hour and carries bicycles.", "River ferry"),
    Passage("2", "Bread is baked from flour, water, salt and yeast in a hot oven.", "Bread"),
    Passage("3", "The telescope was invented in 1608 to observe distant objects.", "Telescope"),
]


@pytest.fixture(scope="module")
def model() -> UniConv:
    return UniConv.from_pretrained(MODELS / "mini", device="cpu")


@pytest.fixture(scope="module")
def base() -> UniConv:
    return UniConv.from_pretrained(MODELS / "base", device="cpu")


@pytest.mark.parametrize("name", ["mini", "base"])
def test_they_are_small_and_complete(name: str) -> None:
    files = {path.name: path.stat().st_size for path in (MODELS / name).iterdir()}
    assert sum(files.values()) < 64 * 2**20
    needed = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert needed | {"uniconv.json", "README.md"} <= set(files)
    with safe_open(MODELS / name / "model.safetensors", "np") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"BF16"}  # noqa: SIM118


def test_they_find_the_passage_that_a_question_is_about(model: UniConv, base: UniConv) -> None:
    asked = ("How is bread made?", "when was the telescope invented", "Does the ferry take bikes?")
    for one in (model, base):
        queries = one.encode_conversations([Conversation.start(question) for question in asked])
        documents = one.encode_passages(PASSAGES)
        assert np.allclose(np.linalg.norm(documents, axis=1), 1, atol=1e-4)
        assert (queries @ documents.T).argmax(1).tolist() == [1, 2, 0]


def test_it_answers_with_words_of_the_passage_and_a_mark(model: UniConv) -> None:
    question = Conversation.start("When was the telescope invented?")
    answer = "".join(model.generate(question, PASSAGES[2:], max_new_tokens=64))
    assert answer.strip().endswith("[1]")
    words = set(PASSAGES[2].text.split()) | {"Telescope", "[1]"}
    said = answer.split()
    assert sum(word in words for word in said) >= 0.7 * len(said)
