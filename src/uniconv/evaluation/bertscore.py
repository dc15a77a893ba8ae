"""BERTScore (Zhang et al. 2020) through the package bert-score, which the extra brings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from uniconv.errors import UniConvError


def check_installed() -> None:
    """Raises a UniConvError that names the extra where the package is missing."""
    if find_spec("bert_score") is None:
        raise UniConvError(
            "BERTScore needs the package bert-score: pip install 'uniconv[bertscore]', or leave "
            "--bertscore out"
        )


def bert_scores(
    responses: Sequence[str], references: Sequence[Sequence[str]], model: str
) -> tuple[list[float], dict[str, Any]]:
    """F1 of each response against its best reference, without idf weights and rescaling.

    ``model`` is a name that bert-score knows, which sets the layer, or any encoder, whose last
    layer is taken. A response without words has 0. The second value tells what made the first.

    Raises:
        UniConvError: the package is missing, or the model can't be loaded.
    """
    check_installed()
    import bert_score
    from bert_score.utils import model2layers
    from transformers import AutoConfig

    logging.getLogger("transformers.modeling_utils").setLevel(logging.ERROR)
    spoken = [row for row, text in enumerate(responses) if text.strip()]
    scores = [0.0] * len(responses)
    try:
        layer = model2layers.get(model) or AutoConfig.from_pretrained(model).num_hidden_layers
        if spoken:
            _, _, f1 = bert_score.score(
                [responses[row] for row in spoken],
                [list(references[row]) for row in spoken],
                model_type=model,
                num_layers=layer,
            )
            for row, value in zip(spoken, f1.tolist(), strict=True):
                scores[row] = value
    except (OSError, ValueError, AttributeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UniConvError(
            f"BERTScore's model '{model}' can't be used ({first}); without a network give the "
            "folder of an encoder that is there"
        ) from error
    return scores, {"model": model, "layer": layer, "bert-score": version("bert-score")}
