"""What ``uniconv evaluate`` takes. Heavy imports happen inside."""

from __future__ import annotations

from tyro.extras import SubcommandApp

from uniconv.evaluation.response import ResponseEvaluation
from uniconv.evaluation.retrieval import RetrievalEvaluation

evaluate = SubcommandApp()


@evaluate.command
def retrieval(settings: RetrievalEvaluation) -> None:
    """Measure how well passages are found for the turns of conversations."""
    from uniconv.evaluation.retrieval import evaluate_retrieval

    evaluate_retrieval(settings)


@evaluate.command
def response(settings: ResponseEvaluation) -> None:
    """Measure responses against references: closed-book, or with passages."""
    from uniconv.evaluation.response import evaluate_responses

    evaluate_responses(settings)
