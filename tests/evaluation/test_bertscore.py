"""BERTScore: what is said where the extra is missing, and the values of a tiny encoder."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from uniconv.errors import UniConvError
from uniconv.evaluation import bertscore
from uniconv.evaluation.bertscore import bert_scores

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("bert_score") is None, reason="the extra bertscore is not installed"
)
WORDS = "[PAD] [UNK] [CLS] [SEP] the tower is high old bridge near harbour"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    vocabulary = {word: id for id, word in enumerate(WORDS.split())}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(vocabulary), intermediate_size=16, **shape)
    BertModel(config).save_pretrained(folder)
    return folder


@needs_package
def test_the_best_reference_counts(encoder: Path) -> None:
    references = [["the bridge", "the tower is high"], ["bridge"], ["near harbour"], ["old tower"]]
    responses = ["the tower is high", "bridge", " ", "near the harbour"]
    scores, about = bert_scores(responses, references, str(encoder))
    assert scores[:2] == pytest.approx([1, 1], abs=1e-5)
    assert scores[2] == 0
    assert 0 < scores[3] < 0.99
    assert about["layer"] == 2


@needs_package
def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UniConvError, match="without a network give the folder"):
        bert_scores(["a"], [["b"]], str(tmp_path / "nowhere"))


def test_the_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bertscore, "find_spec", lambda _: None)
    with pytest.raises(UniConvError, match=r"pip install 'uniconv\[bertscore\]'"):
        bert_scores(["a"], [["b"]], "roberta-large")
