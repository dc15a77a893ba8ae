"""A sentence-transformers folder whose embeddings are UniConv's, made of that library's modules.

A chat template renders conversations and passages as :mod:`uniconv.templates` does, and the
tokenizer gets one more pre-tokenizer, which cuts the text between the template's strings and the
contents: so both are tokenised one by one there too. What differs is told in the folder's README.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from string import Template as StringTemplate
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from uniconv.errors import ModelError
from uniconv.export.chat_templates import embedding_template
from uniconv.files import atomic_folder
from uniconv.messages import to_messages
from uniconv.model import UniConv
from uniconv.templates import Limits, Template
from uniconv.types import Conversation, Passage, Turn

_CUT = "\ufdd0"
"""A code point that Unicode keeps out of texts (a noncharacter)."""

_POOLING = {"last": "lasttoken", "mean": "mean", "weighted_mean": "weightedmean"}


def check_installed() -> None:
    """Raises a ModelError unless sentence-transformers is there."""
    try:
        import sentence_transformers  # noqa: F401
    except ImportError as error:
        raise ModelError(
            "sentence-transformers 6 is not installed; install uniconv[sentence-transformers]"
        ) from error


def export_sentence_transformers(model: UniConv, out: Path) -> None:
    """Writes the folder; ``model`` has no adapter.

    Raises:
        ModelError: sentence-transformers is missing, or the tokenizer can't be reproduced there.
    """
    check_installed()
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    limits = model.template.limits
    read = {"method": "forward", "method_output_name": "last_hidden_state"}
    logging.disable_progress_bar()
    try:
        with TemporaryDirectory() as backbone, atomic_folder(out) as folder:
            model.lm.base_model.save_pretrained(backbone)
            _tokenizer(model).save_pretrained(backbone)
            transformer = Transformer(
                backbone,
                modality_config={"text": read, "message": {**read, "format": "flat"}},
                module_output_name="token_embeddings",
                max_seq_length=limits.passage,
                document_length=limits.passage,
                query_length=limits.conversation + 1,  # the marker
            )
            _check_tokens(transformer, model.template)
            pooling = Pooling(model.dimension, _POOLING[model.settings.pooling])
            encoder = SentenceTransformer(
                modules=[transformer, pooling, Normalize()], similarity_fn_name="dot", device="cpu"
            )
            encoder.save_pretrained(str(folder), create_model_card=False)
            (folder / "README.md").write_text(_card(model), "utf-8")
    finally:
        logging.enable_progress_bar()


def _tokenizer(model: UniConv) -> PreTrainedTokenizerFast:
    """The model's tokenizer with the cut, the template and the limit of passages."""
    tokenizer = model.tokenizer
    if not isinstance(getattr(tokenizer, "backend_tokenizer", None), Tokenizer):
        raise ModelError(
            f"{model.name}: its tokenizer ({type(tokenizer).__name__}) is not of the tokenizers "
            "library, so sentence-transformers can't cut texts as UniConv does"
        )
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    described |= {"truncation": None, "padding": None}
    pieces = described["pre_tokenizer"]
    if pieces and pieces["type"] == "Metaspace" and pieces["prepend_scheme"] == "first":
        pieces["prepend_scheme"] = "always"  # each piece of text is the first of its own
    backend = Tokenizer.from_str(json.dumps(described))
    cut = pre_tokenizers.Split(_CUT, "removed")
    earlier = backend.pre_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence([cut, earlier] if earlier else [cut])
    # The generic class, because those of a family may build a pre-tokenizer of their own.
    copy = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        padding_side="right",
        model_max_length=model.template.limits.passage,
        **{**tokenizer.special_tokens_map, "pad_token": tokenizer.pad_token or tokenizer.eos_token},
    )
    copy.chat_template = embedding_template(model.template.frame, _CUT)
    return copy


def _check_tokens(transformer: Any, template: Template) -> None:
    """Raises a ModelError unless texts of many kinds have the tokens that UniConv gives them."""
    limits = template.limits
    uncut = Template(template.tokenizer, template.frame, Limits(10**6, limits.passage, 10**6))
    talk = Conversation("talk", (Turn(_TEXTS[0], _TEXTS[1]), Turn(_TEXTS[2], _TEXTS[3]), Turn("?")))
    questions = [talk, *map(Conversation.start, _TEXTS)]
    long = " ".join(_TEXTS * (1 + limits.passage // 50))
    cases: list[tuple[str, Any, list[int]]] = [
        ("document", text, template.passage(Passage("check", text))) for text in (*_TEXTS, long)
    ]
    cases += [("query", to_messages(one), uncut.conversation_query(one)) for one in questions]
    for task, given, expected in cases:
        if task == "query" and len(expected) > limits.conversation + 1:
            continue  # it is cut elsewhere there, as the README says
        found = transformer.preprocess([given], task=task)["input_ids"][0].tolist()
        if found != expected:
            raise ModelError(
                "sentence-transformers can't reproduce the tokenizer of this model: as "
                f"{task}, {str(given)[:60]!r} has other tokens there; use the model through UniConv"
            )


_TEXTS = (
    "The tower was built in 1893.",
    "Who built it, and when?",
    "Déjà vu — 漢字 (42)!",
    'x = {"a": [1, 2]}\n\nreturn x;',
    "\u2026 end\r\n\tof   the 👍🏽 line:",
)
"""Ends and beginnings that tokenizers like to join with what surrounds them."""


def _card(model: UniConv) -> str:
    """The folder's README: how to use it, and what differs from UniConv."""
    limits = model.template.limits
    text = files("uniconv.export").joinpath("sentence_transformers_card.md").read_text("utf-8")
    return StringTemplate(text).substitute(
        name=Path(model.name).name,
        dtype=str(model.lm.dtype).removeprefix("torch."),
        marker=model.template.frame.marker,
        conversation=limits.conversation,
        passage=limits.passage,
        response=limits.response,
    )
