"""Response metrics: token F1 and exact match as SQuAD, CoQA or QuAC define them, ROUGE-L, BLEU.

Everything is from 0 to 1 but the corpus-level BLEU, which is sacreBLEU's, from 0 to 100.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any, Literal

from uniconv.sentences import f_measure

Scoring = Literal["squad", "coqa", "quac"]
Metric = Callable[[str, str], float]

CANNOT_ANSWER = "CANNOTANSWER"
"""What QuAC's references say where the text holds no answer."""

_LEAST_HUMAN_F1 = 0.4  # QuAC leaves out questions on which people agree less

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
    return f_measure(predicted, expected)


def rouge_l(prediction: str, reference: str) -> float:
    """F-measure of the longest common subsequence (Lin 2004), without stemming.

    The tokens are ASCII letters and digits: text in other scripts scores 0.
    """
    return float(_scorer().score(reference, prediction)["rougeL"].fmeasure)


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # takes seconds to import

    return RougeScorer(["rougeL"], use_stemmer=False)


def sentence_bleu(prediction: str, references: Sequence[str]) -> float:
    """sacreBLEU's sentence BLEU (13a tokens, exponential smoothing, effective order), 0 to 1."""
    from sacrebleu import sentence_bleu

    return float(sentence_bleu(prediction, list(references)).score) / 100


def corpus_bleu(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, float | str]:
    """sacreBLEU's ``score`` over all responses together, 0 to 100, and its ``signature``.

    Responses may have different numbers of references.
    """
    from sacrebleu import BLEU

    bleu = BLEU()
    streams = [list(stream) for stream in zip_longest(*references)]
    score = bleu.corpus_score(list(predictions), streams).score
    return {"score": float(score), "signature": str(bleu.get_signature())}


def best(metric: Metric, prediction: str, references: Sequence[str]) -> float:
    """The metric against the reference that is best for it."""
    return max(metric(prediction, reference) for reference in references)


def leave_one_out(metric: Metric, prediction: str, references: Sequence[str]) -> float:
    """The mean, over the references, of the best of the others; with one reference, that one.

    A person's answer can be measured by the other persons' only, so this makes a model's value
    comparable with theirs (Choi et al. 2018, Reddy et al. 2019).
    """
    values = [metric(prediction, reference) for reference in references]
    if len(values) == 1:
        return values[0]
    return _mean([max(values[:left] + values[left + 1 :]) for left in range(len(values))])


def quac_metrics(prediction: str, references: Sequence[str]) -> dict[str, float]:
    """``f1``, ``human_f1`` and ``heq`` (at least as good as people) as QuAC's scorer has them.

    Where at least half of the references are CANNOTANSWER, the answer is that one; otherwise these
    references don't count. ``f1`` is absent where people's own F1 is below 0.4.
    """
    answers = [one for one in references if one != CANNOT_ANSWER]
    if 2 * len(answers) <= len(references):
        answers = [CANNOT_ANSWER]
    others = [answers[:left] + answers[left + 1 :] for left in range(len(answers))]
    human = 1.0
    if len(answers) > 1:
        human = _mean([best(_quac_f1, *pair) for pair in zip(answers, others, strict=True)])
    f1 = leave_one_out(_quac_f1, prediction, answers)
    if human < _LEAST_HUMAN_F1:
        return {"human_f1": human}
    return {"f1": f1, "human_f1": human, "heq": float(f1 >= human)}


def _quac_f1(prediction: str, reference: str) -> float:
    if CANNOT_ANSWER in (prediction, reference):
        return float(prediction == reference)
    return token_f1(prediction, reference) if normalise(reference) else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def response_metrics(
    prediction: str, references: Sequence[str], scoring: Scoring = "squad"
) -> dict[str, float]:
    """F1 and exact match by one of three definitions, ROUGE-L and BLEU, by name.

    ``squad``: against the best reference. ``coqa`` (CoQA, TopiOCQA): :func:`leave_one_out`.
    ``quac`` (QuAC, OR-QuAC): :func:`quac_metrics`, and no exact match. ROUGE-L takes the best
    reference, BLEU all of them.

    Raises:
        ValueError: there is no reference.
    """
    if not references:
        raise ValueError("a response can't be measured without a reference")
    overlap = {
        "rouge_l": best(rouge_l, prediction, references),
        "bleu": sentence_bleu(prediction, references),
    }
    if scoring == "quac":
        return quac_metrics(prediction, references) | overlap
    over = leave_one_out if scoring == "coqa" else best
    f1 = over(token_f1, prediction, references)
    return {"f1": f1, "em": over(exact_match, prediction, references), **overlap}
