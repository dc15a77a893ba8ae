"""Response metrics: exact match and token F1 as SQuAD defines them, and ROUGE-L.

With several references each metric takes its best one.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, without ASCII punctuation, English articles and superfluous blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, reference: str) -> float:
    """1 if both are the same once normalised, else 0."""
    return float(normalise(prediction) == normalise(reference))


def token_f1(prediction: str, reference: str) -> float:
    """Harmonic mean of the precision and recall of tokens, counted with repetitions.

    Where nothing is left of one side by normalisation, it is 1 if nothing is left of the other
    either and 0 otherwise (SQuAD 2.0).
    """
    predicted, expected = normalise(prediction).split(), normalise(reference).split()
    if not predicted or not expected:
        return float(predicted == expected)
    shared = sum((Counter(predicted) & Counter(expected)).values())
    return 2 * shared / (len(predicted) + len(expected))


def rouge_l(prediction: str, reference: str) -> float:
    """F-measure of the longest common subsequence (Lin 2004), without stemming.

    The tokens are ASCII letters and digits: text in other scripts scores 0.
    """
    return float(_scorer().score(reference, prediction)["rougeL"].fmeasure)


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # takes seconds to import

    return RougeScorer(["rougeL"], use_stemmer=False)


METRICS = {"f1": token_f1, "em": exact_match, "rouge_l": rouge_l}


def response_metrics(prediction: str, references: Sequence[str]) -> dict[str, float]:
    """Each metric against the best of the references.

    Raises:
        ValueError: there is no reference.
    """
    if not references:
        raise ValueError("a response can't be measured without a reference")
    return {
        name: max(metric(prediction, reference) for reference in references)
        for name, metric in METRICS.items()
    }
