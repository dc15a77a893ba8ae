"""What millions of passages and turns would cost, from what this machine was measured to do.

    python benchmarks/scale.py measure CORPUS --out rates.json [--load load.json]
    python benchmarks/scale.py check CORPUS --rates rates.json --sizes 10000 100000 235986
    python benchmarks/scale.py predict --rates rates.json

CORPUS is BEIR's corpus.jsonl. ``measure`` times encoding, reading, BM25, and building and searching
vectors on small samples, and takes answers a second from ``benchmarks/load.py --json``. ``check``
makes real indexes and prints them beside the prediction. ``predict`` is a simulation: hours, disk
and dollars to encode, index and serve 1, 25 and 54 million passages and a million turns a day on
this machine and on the accelerators of hardware.toml, of which ``--share`` of the peak is assumed
to be reached (no measurement: benchmarks/throughput.py measures it where there is one).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from transformers import MistralConfig, Qwen3Config

import scale_model as laws
from machine import Hardware, hardware
from scale_model import DAY, Rates, Shape, Turn
from scale_rates import build, mean_tokens, measure, sample, shape_of
from uniconv.files import provenance, write_json
from uniconv.model import UniConv

MILLIONS = (1, 25, 54)
PEAK_HOUR = 2.5  # questions in the busiest hour over those in a mean one
SHAPES = {
    # Of the published models: https://huggingface.co/Qwen/Qwen3-0.6B
    "0.6B": Qwen3Config(
        vocab_size=151_936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
    ),
    "7B": MistralConfig(),
}
console = Console()


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Prints a table."""
    printed = Table(*columns, title=title)
    for row in rows:
        printed.add_row(*map(str, row))
    console.print(printed)


def answers_of(path: Path) -> tuple[tuple[int, float], ...]:
    """Pairs of simultaneous conversations and answers a second from ``load.py --json``."""
    levels = json.loads(path.read_text("utf-8"))
    return tuple((one["conversations"], len(one["first_texts"]) / one["seconds"]) for one in levels)


def run_measure(args: argparse.Namespace) -> None:
    model = UniConv.from_pretrained(args.model, device="cpu")
    with tempfile.TemporaryDirectory() as work:
        rates = measure(args.corpus, model, Path(work))
    if args.load:
        rates = replace(rates, answers=answers_of(args.load))
    about = {
        "tokens": mean_tokens(model, sample(args.corpus, 1000)),
        "shape": asdict(shape_of(model)),
        "provenance": provenance(model=args.model),
    }
    write_json(args.out, {"rates": asdict(rates), **about})
    for name, value in asdict(rates).items():
        console.print(f"{name:12} {value if name == 'answers' else format(value, '.4g')}")


def load_rates(path: Path) -> tuple[Rates, Shape, float]:
    """The rates, the shape of the model they were measured with, and tokens of a passage."""
    told = json.loads(path.read_text("utf-8"))
    answers = tuple((int(count), float(rate)) for count, rate in told["rates"].pop("answers"))
    return Rates(**told["rates"], answers=answers), Shape(**told["shape"]), told["tokens"]


def run_check(args: argparse.Namespace) -> None:
    rates, shape, _ = load_rates(args.rates)
    model = UniConv.from_pretrained(args.model, device="cpu")
    rows, runs = [], []
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        for run in build(args.corpus, args.sizes, model, Path(work)):
            predicted = {
                "encoding": laws.encoding(rates, shape, run.encoded, run.tokens),
                "rest": laws.indexing(rates, run.passages, shape.dimension),
                "search": laws.searching(rates, run.passages, shape.dimension),
                "disk": laws.disk(rates, run.passages, shape.dimension).total,
            }
            runs.append({**asdict(run), "predicted": predicted})
            rows.append(
                [
                    f"{run.passages:,} ({run.encoded:,} new)",
                    *_beside(predicted["encoding"], run.encoding, 1, "s"),
                    *_beside(predicted["rest"], run.rest, 1, "s"),
                    *_beside(predicted["search"], run.search, 1e-3, "ms"),
                    *_beside(predicted["disk"], run.disk, 1e6, "MB"),
                ]
            )
            write_json(args.out, {"runs": runs, "provenance": provenance(model=args.model)})
    columns = ["passages"]
    for name in ("encoding", "all else", "a search", "on disk"):
        columns += [name, "predicted"]
    table("Real runs and their predictions", columns, rows)
    _check_answers(rates)


def _beside(predicted: float, real: float, unit: float, name: str) -> list[str]:
    return [f"{real / unit:.1f} {name}", f"{predicted / unit:.1f} ({predicted / real:.2f}x)"]


def _check_answers(rates: Rates) -> None:
    """Whether the simulation says what the server did where more ask than it takes at once."""
    rows = []
    known = [one for one in rates.answers if one[0] <= 16]
    replica = laws.measured_replica(replace(rates, answers=tuple(known)), Turn(), 16)
    for clients, real in rates.answers:
        load = laws.simulate(replica, Turn().answer, clients=clients)
        rows.append([clients, f"{real:.2f}", f"{load.answers:.2f} ({load.answers / real:.2f}x)"])
    if rows:
        table("Answers a second (fitted up to 16)", ["at once", "real", "simulated"], rows)


def run_predict(args: argparse.Namespace) -> None:
    rates, own, tokens = load_rates(args.rates)
    large = {name: Shape.of(config) for name, config in SHAPES.items()}
    cards = hardware()
    _predict_encoding(rates, own, large, cards, args.share, tokens)
    _predict_indexes(rates, {"embedded": own, **large})
    _predict_serving(rates, own, large, cards, args.share)


def _predict_encoding(
    rates: Rates,
    own: Shape,
    large: dict[str, Shape],
    cards: dict[str, Hardware],
    share: float,
    tokens: float,
) -> None:
    """A card is not predicted for the embedded model: it would wait for Python."""
    rows = []
    for name, shape in {"embedded": own, **large}.items():
        for millions in MILLIONS:
            passages = millions * 1_000_000
            hours = laws.encoding(rates, shape, passages, tokens) / 3600
            cells = [name, f"{millions} M", f"{hours:,.0f} h" if shape is own else "-"]
            for card in cards.values():
                reached = replace(rates, flops=card.flops * share)
                on_card = laws.encoding(reached, shape, passages, tokens) / 3600
                price = on_card * card.dollars
                cells.append(f"{on_card:.1f} h, ${price:,.0f}" if shape is not own else "-")
            rows.append(cells)
    table(
        f"Encoding passages of {tokens:.0f} tokens; one card each, {share:.0%} of its peak",
        ["model", "passages", "this machine", *cards],
        rows,
    )


def _predict_indexes(rates: Rates, shapes: dict[str, Shape]) -> None:
    rows = []
    for name, shape in shapes.items():
        for millions in MILLIONS:
            count, width = millions * 1_000_000, shape.dimension
            sizes = laws.disk(rates, count, width)
            rows.append(
                [
                    f"{name} ({width})",
                    f"{millions} M",
                    f"{laws.indexing(rates, count, width) / 3600:.1f} h",
                    f"{1000 * laws.searching(rates, count, width):.0f} ms",
                    *(f"{one / 1e9:,.0f} GB" for one in (sizes.text, sizes.bm25, sizes.vectors)),
                    f"{sizes.searched / 1e9:,.0f} GB",
                ]
            )
    columns = ["model", "passages", "indexing", "a search", "text", "BM25", "vectors", "IVF"]
    table("An index on one machine like this one, encoding not counted", columns, rows)


def _predict_serving(
    rates: Rates, own: Shape, large: dict[str, Shape], cards: dict[str, Hardware], share: float
) -> None:
    rate, turn = PEAK_HOUR * 1e6 / DAY, Turn()
    servers = [(name, card, large[name]) for name in large for card in cards]
    rows = []
    if rates.answers:
        search = laws.searching(rates, 25_000_000, own.dimension)
        server = laws.measured_replica(rates, turn, 16)
        rows.append(["embedded", "this machine", *_served(server, turn, rate, search), "-"])
    for name, card, shape in servers:
        search = laws.searching(rates, 25_000_000, shape.dimension)
        server = laws.gpu_replica(cards[card], shape, turn, share)
        cells = _served(server, turn, rate, search)
        price = 24 * int(cells[0]) * cards[card].dollars
        rows.append([name, card, *cells, f"${price:,.0f}"])
    table(
        f"A million turns a day: {rate:.0f} a second in the busiest hour, 25 M passages",
        ["model", "on", "replicas", "first text p50", "p95", "whole p95", "a day"],
        rows,
    )


def _served(server: laws.Replica, turn: Turn, rate: float, search: float) -> list[str]:
    count, load = laws.replicas_for(server, turn, rate, search=search)
    first, whole = load.first, load.whole
    times = (
        load.percentile(first, 0.5),
        load.percentile(first, 0.95),
        load.percentile(whole, 0.95),
    )
    return [str(count), *(f"{one:.2f} s" for one in times)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("measure")
    one.add_argument("corpus", type=Path)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--load", type=Path, help="what benchmarks/load.py --json wrote")
    one.set_defaults(run=run_measure)
    two = commands.add_parser("check")
    two.add_argument("corpus", type=Path)
    two.add_argument("--rates", type=Path, required=True)
    two.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    two.add_argument("--out", type=Path, default=Path("scale-check.json"))
    two.add_argument("--work", type=Path, help="where the indexes are made; a temporary folder")
    two.set_defaults(run=run_check)
    three = commands.add_parser("predict")
    three.add_argument("--rates", type=Path, required=True)
    three.add_argument("--share", type=float, default=0.4, help="of a card's peak that is reached")
    three.set_defaults(run=run_predict)
    for command in (one, two):
        command.add_argument("--model", default="embedded")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
