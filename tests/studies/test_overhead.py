"""What one model costs beside two: tokens by hand, and the study with processes of its own."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from rich.console import Console

from tiny import tiny_uniconv
from uniconv.config import OverheadConfig
from uniconv.errors import UniConvError
from uniconv.model import UniConv
from uniconv.retrieval.building import build_index
from uniconv.retrieval.interface import Index
from uniconv.studies.overhead import overhead, ratios_of
from uniconv.studies.turns import answer, main
from uniconv.types import Conversation, Turn

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def indexed(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("overhead") / "index"
    model = UniConv.from_pretrained(world / "model")
    build_index([world / "corpus.jsonl"], folder, model, quiet=True)
    return folder


def test_a_second_model_reads_the_conversation_again(world: Path, indexed: Path) -> None:
    one, two = (UniConv.from_pretrained(world / "model") for _ in range(2))
    talk = Conversation("c", (Turn("When?", "In 1801."), Turn("And tower 3?")))
    index = Index.open(indexed)
    unified = answer(one, one, talk, index, 2, 4)
    separate = answer(one, two, talk, index, 2, 4)
    conversation = len(one.template.conversation(talk)) + 1
    assert separate["tokens_read"] - unified["tokens_read"] == conversation
    assert separate["tokens_written"] == unified["tokens_written"]
    passages = [scored.passage for scored in index.search(one.encode_conversations([talk]), 2)[0]]
    suffix = len(one.template.answer_suffix(passages))
    assert unified["tokens_read"] == conversation + suffix
    assert 0 < unified["first_token_seconds"] <= unified["seconds"]


def load(seconds: float, memory: int) -> dict[str, float]:
    return {"load_seconds": seconds, "weight_bytes": 10, "resident_bytes": memory}


def answered(**seconds: float) -> dict[str, dict[str, float]]:
    return {
        turn: {"first_token_seconds": one, "seconds": 2 * one, "tokens_read": 10.0}
        for turn, one in seconds.items()
    }


def test_ratios_are_of_what_was_measured_together() -> None:
    ratios = ratios_of(
        {
            "unified": [load(1.0, 100), load(2.0, 100), load(1.0, 100)],
            "separate": [load(2.0, 200), load(2.0, 210), load(3.0, 220)],
        },
        [
            {"unified": answered(a_1=1.0, b_1=2.0), "separate": answered(a_1=2.0, b_1=8.0)},
            {"unified": answered(a_1=9.0, b_1=2.0), "separate": answered(a_1=18.0, b_1=8.0)},
            {"unified": answered(a_1=1.0, b_1=2.0), "separate": answered(a_1=99.0, b_1=8.0)},
        ],
    )
    first = ratios["first_token_seconds"]
    assert (first.ratio, first.low, first.high) == (3.0, 2.0, 4.0)  # of 2 and 4: 99 does not count
    assert (ratios["load_seconds"].low, ratios["load_seconds"].ratio) == (1.0, 2.0)
    assert ratios["resident_bytes"].ratio == 2.1
    assert ratios["tokens_read"].ratio == 1.0


def test_the_study_measures_both_sides(
    world: Path, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"model": str(world / "model"), "index": indexed}

    def in_this_process(command: list[str], **_: object) -> CompletedProcess[str]:
        main(Path(command[-2]), Path(command[-1]))
        return CompletedProcess(command, 0)

    monkeypatch.setattr("subprocess.run", in_this_process)
    study = OverheadConfig(
        tmp_path / "out",
        conversations=world / "dev.jsonl",
        turns=3,
        rounds=1,
        max_new_tokens=3,
        **settings,  # type: ignore[arg-type]
    )
    result = overhead(study, QUIET)
    assert 1.1 < result["ratios"]["tokens_read"]["ratio"] < 2
    assert result["ratios"]["weight_bytes"]["ratio"] == 2
    assert result["ratios"]["resident_bytes"]["unified"] > 0
    report = (tmp_path / "out/report.md").read_text()
    assert "3 turns" in report
    assert "both sides wrote the same tokens" in report
    assert (tmp_path / "out/figures/overhead.svg").exists()

    kept = tmp_path / "out/round-0/separate.json"
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "load_seconds": 1e9}))
    again = overhead(study, QUIET)  # a round that is there is not measured again
    assert again["ratios"]["load_seconds"]["separate"] == 1e9


def test_other_settings_are_refused(world: Path, indexed: Path, tmp_path: Path) -> None:
    study = OverheadConfig(tmp_path, "nowhere", indexed, world / "dev.jsonl", rounds=1)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(UniConvError, match="holds rounds with other settings"):
        overhead(study, QUIET)


def test_a_process_that_fails_is_told(
    world: Path, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))
    study = OverheadConfig(tmp_path, "nowhere", indexed, world / "dev.jsonl", rounds=1)
    with pytest.raises(UniConvError, match=r"the process that measures it failed: .*nowhere"):
        overhead(study, QUIET)


def test_models_of_different_vocabularies_can_be_a_pair(indexed: Path, world: Path) -> None:
    one = UniConv.from_pretrained(world / "model")
    other = tiny_uniconv("gpt2")
    talk = Conversation.start("When did tower 3 open?")
    row = answer(one, other, talk, Index.open(indexed), 1, 3)
    assert row["tokens_written"] >= 1
