"""What ``uniconv evaluate`` takes. Heavy imports happen inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tyro.conf import Positional
from tyro.extras import SubcommandApp

from uniconv.evaluation.inspect_settings import InspectSettings
from uniconv.evaluation.response_settings import ResponseEvaluation
from uniconv.evaluation.retrieval_settings import RetrievalEvaluation

evaluate = SubcommandApp()


@evaluate.command
def retrieval(settings: RetrievalEvaluation) -> None:
    """Measure how well passages are found for the turns of conversations."""
    from uniconv.evaluation.retrieval import evaluate_retrieval

    evaluate_retrieval(settings)
    _draw([settings.out], settings.out / "figures")


@evaluate.command
def response(settings: ResponseEvaluation) -> None:
    """Measure responses: against references, by their grounding, and by when they decline.

    Several kinds of passages and lengths of history are compared in one go, each in a folder of
    its own; what was interrupted goes on.
    """
    from uniconv.evaluation.response import evaluate_responses

    evaluate_responses(settings)
    _draw([settings.out], settings.out / "figures")


@evaluate.command
def compare(
    folders: Positional[tuple[Path, ...]],
    measures: tuple[str, ...] = (),
    by: tuple[str, ...] = (),
    out: Path | None = None,
    seed: int = 0,
) -> None:
    """Show results side by side, and which differences are more than chance.

    Args:
        folders: Folders that `uniconv evaluate retrieval` or `response` wrote, over the same turns.
        measures: Which measures; without it, all that the results share.
        by: Breakdowns to show the first measure by, such as depth, topic, type or gold.
        out: A folder to write compare.md and compare.json to.
        seed: Of the bootstrap intervals and the randomisation test.
    """
    from uniconv.evaluation.comparison import compare_results
    from uniconv.evaluation.comparison_report import comparison_markdown, write_comparison
    from uniconv.evaluation.saved import read_results

    results = read_results(folders)
    comparison = compare_results(results, measures, by=by, seed=seed)
    print(comparison_markdown(comparison))
    if out is not None:
        write_comparison(comparison, out)
        _draw(folders, out / "figures", measures)


@evaluate.command
def plot(results: Positional[tuple[Path, ...]], out: Path, measures: tuple[str, ...] = ()) -> None:
    """Draw results: measures by turn depth, scores, abstention, and several side by side.

    Args:
        results: Folders of results.
        out: The folder for the figures, PNG and SVG.
        measures: What is drawn; the usual ones if none is named.
    """
    from uniconv.evaluation.plots import draw_results
    from uniconv.evaluation.saved import read_results

    drawn = draw_results(read_results(results), out, measures)
    print("\n".join([*map(str, drawn.files), *drawn.skipped]))


@evaluate.command
def inspect(settings: InspectSettings) -> None:
    """Show every turn of a result on one HTML page, and why it failed."""
    from uniconv.evaluation.inspection import inspect_results

    print(inspect_results(settings))


def _draw(folders: Sequence[Path], out: Path, measures: Sequence[str] = ()) -> None:
    """Figures along with the figures in tables, where what draws them is installed."""
    from uniconv.evaluation.figures import can_draw

    if can_draw():
        from uniconv.evaluation.plots import draw_results
        from uniconv.evaluation.saved import read_results

        drawn = draw_results(read_results(folders), out, measures)
        print("\n".join([f"Figures: {out}", *drawn.skipped]))
