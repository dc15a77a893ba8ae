"""The one look of all figures (extra ``plots``): light, readable in print and without colour.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; every series also has its
own marker and line, so that a figure survives a black-and-white print.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from uniconv.errors import UniConvError
from uniconv.files import atomic

WIDTH = 7.0  # inches
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")
_STYLE: dict[str, Any] = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 11,
    "font.size": 9.5,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "svg.hashsalt": "uniconv",  # element ids that repeat
    "text.parse_math": False,  # a folder's name may hold dollar signs
}


def can_draw() -> bool:
    """Whether matplotlib is installed, which comes with the extra ``plots``."""
    return find_spec("matplotlib") is not None


@contextmanager
def figure(out: Path, name: str, height: float = 4.2) -> Iterator[tuple[Any, list[Path]]]:
    """Gives an empty figure and an empty list; afterwards the list names the files it went to.

    ``height`` is in inches. Nothing is written where drawing fails.

    Raises:
        UniConvError: matplotlib is missing, or ``out`` can't be written.
    """
    if not can_draw():
        raise UniConvError(
            "figures need matplotlib, which isn't installed; install it with "
            "pip install 'uniconv[plots]'"
        )
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        empty = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(empty)
        files: list[Path] = []
        yield empty, files
        for kind in ("png", "svg"):
            path = out / f"{name}.{kind}"
            with atomic(path) as temporary:
                # Without a date the same figure gives the same file.
                about = {"Date": None} if kind == "svg" else None
                empty.savefig(temporary, format=kind, metadata=about)
            files.append(path)


def series(number: int) -> dict[str, Any]:
    """Colour, marker and line of the ``number``-th series."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": LINES[number % len(LINES)],
        "markersize": 5,
        "linewidth": 1.6,
    }


def legend(figure: Any, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Names the series below the axes, where no point can lie behind it."""
    # A label that begins with an underscore would be left out.
    shown = [label.lstrip("_") or label for label in labels]
    columns = 1 if max(map(len, shown)) > 30 else min(3, len(shown))
    figure.legend(handles, shown, loc="outside lower center", ncols=columns)


def note(axes: Any, text: str) -> None:
    """Small print under the title."""
    axes.set_title(axes.get_title(loc="left"), loc="left", pad=20)
    axes.annotate(
        text,
        (0, 1),
        (0, 6),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8.5,
        color="#444444",
    )
