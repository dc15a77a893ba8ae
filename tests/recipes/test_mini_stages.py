"""Every stage of the mini recipe, one after another, at the size for tests."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import checkpoint
import collect
import measure
import numpy as np
import pack
import pretrain
import pytest
import teacher
import tokenizer as tokenizer_stage
import torch
from mini_data import LEAK, nothing_else, write_world
from packed import DIALOGUE, read_parts
from text import read_lines
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

from uniconv.errors import UniConvError
from uniconv.model import UniConv
from uniconv.types import Conversation, Turn

PRETRAIN = (
    *("--size", "tiny", "--rows", "4", "--length", "256"),
    *("--warmup", "4", "--log-every", "1"),
)


def call(stage: ModuleType, *arguments: Any) -> None:
    """Runs a stage's command in this process, and leaves the process as it was."""
    before, precision = sys.argv, torch.get_float32_matmul_precision()
    sys.argv = [stage.__name__, *map(str, arguments)]
    try:
        stage.main()
    finally:
        sys.argv = before
        torch.set_float32_matmul_precision(precision)
        torch.set_flush_denormal(False)


def tiny_teacher(folder: Path) -> Path:
    """A random sentence encoder of width 24."""
    words = ["[PAD]", "[UNK]", *"abcdefghijklmnopqrstuvwxyz0123456789"]
    core = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]")
    torch.manual_seed(0)
    shape = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(words), intermediate_size=24, **shape)).save_pretrained(
        folder
    )
    made.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages up to packing."""
    root = tmp_path_factory.mktemp("mini")
    data, target = write_world(root / "data"), root / "out"
    call(collect, data, target, *nothing_else(root))
    call(tokenizer_stage, target, "--vocabulary", 700)
    call(teacher, target, "--teacher", tiny_teacher(root / "teacher"), "--questions", 300)
    call(pack, target)
    return target


@pytest.fixture(scope="module")
def trained(out: Path) -> Callable[..., Path]:
    """Runs ``pretrain.py`` and gives its folder."""

    def run(name: str, *options: Any) -> Path:
        folder = out / name
        places = ("--state", folder / "state", "--results", folder / "results")
        call(pretrain, out / "pack/load-0", *places, *PRETRAIN, *options)
        return folder

    return run


def losses(folder: Path) -> list[dict[str, float]]:
    lines = read_lines(folder / "state/log.jsonl")
    timed = ("seconds", "tokens/s", "of peak")
    return [{k: v for k, v in line.items() if k not in timed} for line in lines]


def test_text_is_clean_counted_and_partly_held_out(out: Path) -> None:
    rows = list(read_lines(out / "documents.jsonl"))
    text = " ".join(row.get("text", "") for row in rows)
    assert "Learning Objectives" not in text and "shown in ." not in text and "()" not in text
    report = json.loads((out / "report.json").read_text("utf-8"))
    by_name = {row["name"]: row for row in report["sources"]}
    # Every passage that SQuAD asks about is one of the corpus.
    assert by_name["squad"]["documents"] == 0 and by_name["squad"]["duplicate_words"] > 0
    assert report["words"] == sum(
        len(" ".join(row.get("turns", [row.get("text", "")])).split()) for row in rows
    )
    assert "| CC BY-SA 3.0 |" in (out / "report.md").read_text("utf-8")


def test_an_evaluation_dialogue_never_enters(tmp_path: Path) -> None:
    data = write_world(tmp_path / "data", leak=True)
    call(collect, data, tmp_path / "out", *nothing_else(tmp_path))
    assert LEAK not in (tmp_path / "out/documents.jsonl").read_text("utf-8")
    report = json.loads((tmp_path / "out/report.json").read_text("utf-8"))
    assert sum(row["leaks"] for row in report["sources"]) == 1
    known = collect.Dialogues(collect.evaluation_dialogues(data))
    with (tmp_path / "out/documents.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"title": "", "text": f"He asked {LEAK}, and why."}) + "\n")
    with pytest.raises(UniConvError, match="the seven painted boats"):
        collect.check(tmp_path / "out", known)
    assert not (tmp_path / "out/documents.jsonl").exists()


def test_one_setting_leaves_non_commercial_data_out(tmp_path: Path) -> None:
    data = write_world(tmp_path / "data")
    call(collect, data, tmp_path / "out", "--commercial", *nothing_else(tmp_path))
    sources = {row["source"] for row in read_lines(tmp_path / "out/documents.jsonl")}
    assert sources == {"wiki_corpus", "openstax", "python"}
    asked = {row["source"] for row in read_lines(tmp_path / "out/examples.jsonl")}
    assert "topiocqa_topic" not in asked and "squad" in asked


def test_the_teacher_begins_with_what_is_packed_first(out: Path, tmp_path: Path) -> None:
    for name in ("documents.jsonl", "examples.jsonl"):
        shutil.copy(out / name, tmp_path)
    shutil.copytree(out / "tokenizer", tmp_path / "tokenizer")
    source = tiny_teacher(tmp_path / "tiny")
    call(teacher, tmp_path, "--teacher", source, "--passages", 10, "--questions", 5)
    call(pack, tmp_path, "--part-megabytes", 0.01)
    parts = read_parts([tmp_path / "pack/load-0"])
    every = read_parts([out / "pack/load-0"])[0]
    assert parts[0]["taught"].tolist() == every["taught"][:10].tolist()
    assert len(parts[0]["asked_taught"]) >= 5
    assert parts[0]["paired"][parts[0]["asked_taught"]].all()
    assert len(parts) > 2 and not len(parts[-1]["taught"]) and not len(parts[-1]["targets"])


def test_parts_hold_what_was_collected(out: Path) -> None:
    parts = read_parts([out / "pack/load-0"])
    words = AutoTokenizer.from_pretrained(out / "tokenizer")
    kinds = np.concatenate([part["kinds"] for part in parts])
    rows = list(read_lines(out / "documents.jsonl"))
    assert len(kinds) == len(rows)
    assert (kinds == DIALOGUE).sum() == sum("turns" in row for row in rows)
    text = words.decode(parts[0]["tokens"])
    row = next(row for row in rows if "text" in row and len(row["text"]) < 600)
    assert any(row["text"] in words.decode(part["tokens"]) for part in parts), text[:200]
    part = parts[0]
    ends = np.cumsum(part["text_lengths"].astype(int))
    for number, (start, end) in enumerate(part["answer"].astype(int)):
        if end > start:
            at = int(part["passage"][number])
            passage = part["texts"][ends[at] - int(part["text_lengths"][at]) : ends[at]]
            assert words.decode(passage[start:end]).strip().startswith(("The", "Paint The"))


def test_stopping_and_going_on_equals_not_stopping(trained: Callable[..., Path]) -> None:
    straight = trained("straight", "--steps", 6)
    stopped = trained("stopped", "--steps", 3)
    trained("stopped", "--steps", 6)
    assert losses(stopped) == losses(straight)
    one, two = (
        checkpoint.read(checkpoint.newest(run / "state") or run)[0] for run in (straight, stopped)
    )
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_losses_fall_and_the_weights_become_a_model(
    out: Path, trained: Callable[..., Path]
) -> None:
    run, still = (trained(f"rate {rate}", "--steps", 60, "--rate", rate) for rate in (3e-3, 0))
    for name in ("next", "contrast", "distance"):  # on the same batches, with as many pairs
        late, untrained = (
            np.nanmean([line.get(name, np.nan) for line in losses(folder)[-8:]])
            for folder in (run, still)
        )
        assert late < untrained, name
    files = [path for path in (run / "results").rglob("*") if path.is_file()]
    assert all(path.stat().st_size <= 16 << 20 for path in files)
    call(checkpoint, run / "results/weights", out / "model", "--tokenizer", out / "tokenizer")
    model = UniConv.from_pretrained(out / "model")
    assert model.encode_conversations([Conversation("c", (Turn("Which mill?"),))]).shape == (1, 64)
    call(measure, out, out / "model", "--documents", 3)
    measured = json.loads((out / "model.measured/measured.json").read_text("utf-8"))
    assert all(0 < row["bits_per_byte"] < 10 for row in measured["bits_per_byte"].values())
    assert (out / "model.measured/continuations.md").read_text("utf-8").count("*was:*") == 20


def test_weights_alone_start_a_new_run_with_a_warm_up(trained: Callable[..., Path]) -> None:
    first = trained("lost", "--steps", 3)
    second = trained("found", "--steps", 5, "--weights", first / "results/weights")
    assert [line["step"] for line in losses(second)] == [4, 5]


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "w", {"a": torch.ones(5_000_000)}, {})
    assert checkpoint.read(tmp_path / "w")[0]["a"].sum() == 5_000_000
    (tmp_path / "w/part-001.bin").unlink()
    with pytest.raises(ValueError, match=r"part-001\.bin missing"):
        checkpoint.read(tmp_path / "w")
