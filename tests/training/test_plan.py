"""The plan tells what training does, without a model."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from uniconv.cli.mixture import print_plan
from uniconv.config import TrainConfig, plain
from uniconv.data.conversations import write_conversations
from uniconv.errors import ConfigError, DataError
from uniconv.training.plan import plan
from uniconv.types import Conversation, Turn

Configure = Callable[..., TrainConfig]


def _sources(configure: Configure, *settings: dict[str, Any]) -> list[dict[str, Any]]:
    source = plain(configure())["data"]["train"][0]
    return [source | {"weight": 1.0} | one for one in settings]


def test_the_plan_counts_what_supervises_what(configure: Configure) -> None:
    sources = _sources(
        configure,
        {"share": 3.0},
        {
            "share": 1.0,
            "retrieval": "responses",
            "generation": "passages",
            "cii": False,
            "limit": 4,
        },
    )
    config = configure(
        data={"train": sources, "dev": sources[:1]},
        model={"path": "no model"},
        optimisation={"steps": None, "epochs": 2.0, "batch_size": 4},
        reporting={"evaluate_turns": 3},
    )
    ddm, naive = plan(config).sources
    assert (ddm.conversations, ddm.turns, ddm.visits) == (5, 10, 11)  # 10.5 and 3.5 of 14
    assert (naive.turns, naive.visits) == (4, 3)
    assert ddm.serves == {"retrieval": 10, "generation": 10, "cii": 10, "grounded": 10}
    assert naive.serves == {"retrieval": 4, "generation": 4, "cii": 0, "grounded": 4}
    assert ddm.supervision == {"retrieval": "passages", "generation": "responses"}
    assert naive.supervision == {"retrieval": "responses", "generation": "passages"}
    assert ddm.negatives == 3
    whole = plan(config)
    assert (whole.epoch_length, whole.steps, whole.dev) == (14, 7, 3)
    assert ddm.example == (
        ("c0_1", "When did tower 0 open?"),
        ("retrieves, of passages", "Tower 0 | The 0th tower opened in 1800."),
        ("writes, of responses", "In 1800."),
    )


def test_the_plan_is_printed(configure: Configure) -> None:
    config = configure(data={"train": _sources(configure, {}, {"retrieval": "none"})})
    written = io.StringIO()
    print_plan(plan(config), Console(file=written, width=240))
    lines = written.getvalue().splitlines()
    rows = [line.split("│")[1:-1] for line in lines if line.startswith("│")]
    assert [cell.strip() for cell in rows[0]] == [
        "0",
        str(config.data.train[0].conversations[0]),
        *("5", "10", "10", "50.0%", "10 passages", "10 responses", "10", "10", "3.0"),
    ]
    assert rows[1][6].strip() == "-"
    assert "20 turns an epoch, 4 steps in one process, 0 turns of dev" in lines
    assert "0  c0_1: When did tower 0 open?" in lines
    assert "   writes, of responses: In 1800." in lines


def test_mistakes_in_any_source_are_found(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.train\[0\].conversations: there is no file"):
        plan(configure(data={"train": _sources(configure, {"conversations": "nowhere"})}))
    talk = Conversation("c", (Turn("?", "Yes.", positives=("nobody",)),))
    write_conversations(tmp_path / "dev.jsonl", [talk])
    dev = _sources(configure, {"conversations": str(tmp_path / "dev.jsonl")})
    with pytest.raises(DataError, match="first 'nobody'"):
        plan(configure(data={"dev": dev}))
