"""A tiny random sentence-transformers model as an encoder, and as what is evaluated."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import BertConfig, BertModel, BertTokenizerFast

from uniconv.data.beir import write_corpus
from uniconv.data.conversations import write_conversations
from uniconv.data.runs import ranked, read_run
from uniconv.errors import IndexFolderError, ModelError
from uniconv.evaluation.retrieval import evaluate_retrieval
from uniconv.evaluation.retrieval_settings import RetrievalEvaluation
from uniconv.retrieval.interface import Index
from uniconv.retrieval.sentence_encoder import SentenceEncoder
from uniconv.types import Conversation, Passage, Turn

WORDS = ["tower", "bridge", "bread", "moon", "the", "of", "old", "where", "is", "and", "harbour"]
PASSAGES = [
    Passage(f"p{number}", f"the {word} of the old harbour", word)
    for number, word in enumerate(WORDS[:4])
]
CONVERSATION = Conversation(
    "c",
    (
        Turn("where is the tower", "the old harbour", positives=("p0",)),
        Turn("and the bridge", "of the moon", "where is the bridge", positives=("p1",)),
    ),
)


def save_model(folder: Path, seed: int = 0, positions: int = 16) -> str:
    """A random BERT of one layer, which sentence-transformers pools by the mean."""
    folder.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=positions)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=positions,
    )
    BertModel(config).eval().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model(tmp_path_factory.mktemp("encoder") / "bert")


def test_vectors_are_means_of_length_1(name: str) -> None:
    encoder = SentenceEncoder(name)
    vectors = encoder.encode_passages(PASSAGES)
    assert vectors.shape == (4, encoder.dimension) == (4, 16)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    tokenizer = BertTokenizerFast.from_pretrained(name)
    with torch.inference_mode():
        states = BertModel.from_pretrained(name).eval()(
            **tokenizer("tower the tower of the old harbour", return_tensors="pt")
        )
    mean = states.last_hidden_state[0].mean(0).numpy()
    np.testing.assert_allclose(vectors[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_a_long_history_loses_its_beginning_and_a_long_passage_its_end(name: str) -> None:
    encoder = SentenceEncoder(name)  # of 16 tokens, two are not words

    def apart(vectors: np.ndarray) -> float:
        return float(np.abs(vectors[0] - vectors[1]).max())

    for words, read in ((13, True), (14, False)):
        rest = " old" * words
        talks = [Conversation.start(first + rest) for first in ("tower", "moon")]
        assert (apart(encoder.encode_conversations(talks)) > 1e-4) == read
        passages = [Passage(last, f"{rest} {last}") for last in ("tower", "moon")]
        assert (apart(encoder.encode_passages(passages)) > 1e-4) == read


def test_the_form_of_the_query(name: str) -> None:
    told: list[int] = []
    context = CONVERSATION.context(2)
    by_form = {
        form: SentenceEncoder(name, form).encode_conversations([context], progress=told.append)
        for form in ("history", "last", "rewrite")
    }
    assert told == [1, 1, 1]
    direct = SentenceEncoder(name, "last").encode_conversations(
        [Conversation.start("and the bridge")]
    )
    np.testing.assert_allclose(by_form["last"], direct, atol=1e-6)
    assert np.abs(by_form["last"] - by_form["rewrite"]).max() > 1e-3
    assert np.abs(by_form["last"] - by_form["history"]).max() > 1e-3
    assert SentenceEncoder(name).encode_conversations([]).shape == (0, 16)


def test_other_weights_have_another_fingerprint(name: str, tmp_path: Path) -> None:
    other = save_model(tmp_path / "other", seed=1)
    assert SentenceEncoder(name).fingerprint == SentenceEncoder(name, "last").fingerprint
    assert SentenceEncoder(name).fingerprint != SentenceEncoder(other).fingerprint


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="can't be loaded as a sentence-transformers model"):
        SentenceEncoder(str(tmp_path / "nowhere"))


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ModelError, match=r"install uniconv\[sentence-transformers\]"):
        SentenceEncoder("any")


def test_an_encoder_is_evaluated_over_its_own_index(name: str, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.jsonl", PASSAGES)
    write_conversations(tmp_path / "dev.jsonl", [CONVERSATION])

    def evaluate(encoder: str, corpus: Path | None) -> dict[str, dict[str, float]]:
        settings = RetrievalEvaluation(
            tmp_path / "dev.jsonl",
            tmp_path / "out",
            index=tmp_path / "index",
            corpus=corpus,
            encoder=encoder,
        )
        result = evaluate_retrieval(settings, console=Console(file=io.StringIO(), width=120))
        assert result["index"] == {"version": Index.open(tmp_path / "index").version, "exact": True}
        assert result["model"]["name"] == encoder
        return read_run(tmp_path / "out" / "run.trec")

    run = evaluate(name, tmp_path / "corpus.jsonl")
    encoder = SentenceEncoder(name)
    contexts = [CONVERSATION.context(turn) for turn in (1, 2)]
    scores = encoder.encode_conversations(contexts) @ encoder.encode_passages(PASSAGES).T
    for row, query in enumerate(("c_1", "c_2")):
        order = [PASSAGES[column].id for column in np.argsort(-scores[row])]
        assert [id for id, _ in ranked(run[query])] == order
    version = Index.open(tmp_path / "index").version
    assert evaluate(name, None) == run
    assert Index.open(tmp_path / "index").version == version
    with pytest.raises(IndexFolderError, match="was made by another model"):
        evaluate(save_model(tmp_path / "other", seed=1), None)
