"""Negatives mined during training: the right ones, part of the run's state, and resumed exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.test_stages import assert_same, staged, stop_after, weights
from uniconv.config import TrainConfig, plain
from uniconv.data.beir import read_corpus
from uniconv.errors import ConfigError, UniConvError
from uniconv.retrieval.negatives import overlap
from uniconv.training import refreshing
from uniconv.training.checkpoints import checkpoints
from uniconv.training.reporting import Reporter
from uniconv.training.trainer import Trainer, train

Configure = Callable[..., TrainConfig]

# The world's passages are near-duplicates of each other but for a number.
REFRESH = {"every_steps": 2, "overlap": 2, "percentage": None, "negatives": 3, "last": 6}
STAGES = [{"name": "a", "steps": 3, "refresh": True}, {"name": "b", "steps": 2, "refresh": True}]


def refreshing_config(configure: Configure, output: str, **refresh: Any) -> TrainConfig:
    sections = {"data": {"refresh": REFRESH | refresh}, "optimisation": {"ema": 0.9}}
    return staged(configure, output, STAGES, **sections)


def mined(output: Path, step: int) -> dict[int, list[str]]:
    value = json.loads((output / "negatives" / f"step-{step:08d}.json").read_bytes())
    return {int(position): ids for position, ids in value["negatives"].items()}


def test_the_hardest_passages_by_the_model_are_mined(configure: Configure) -> None:
    config = refreshing_config(configure, "run", existing="replace", percentage=0.99)
    run = Trainer(config)
    run._refresh(Reporter(1, 0, False))
    found = mined(config.output, 0)
    passages = list(read_corpus(config.data.train[0].corpora[0]))
    run.model.network.eval()
    vectors = run.model.encode_passages(passages)
    examples = run.collators["a"]._examples
    assert len(found) == len(examples) == 10
    some = 0
    for position, example in enumerate(examples.examples):
        (query,) = run.model.encode_conversations([example.context])
        scores = vectors @ query
        (positive,) = example.turn.positives
        own = float(scores[[one.id for one in passages].index(positive)])
        order = [passages[row].id for row in np.argsort(-scores)]
        best = [id for id in order[:6] if id != positive]
        score = dict(zip((one.id for one in passages), scores.tolist(), strict=True))
        limit = own - 0.01 * abs(own)
        wanted = [id for id in best if score[id] < limit][:3]
        assert found[position] == wanted
        assert list(example.negatives) == (wanted or list(example.turn.negatives))
        some += bool(wanted)
    assert some > 3


def test_mined_negatives_come_beside_those_of_turns(configure: Configure) -> None:
    run = Trainer(refreshing_config(configure, "run"))
    run._refresh(Reporter(1, 0, False))
    for example in run.collators["a"]._examples.examples:
        own = example.turn.negatives
        assert example.negatives[: len(own)] == own
        assert len(example.negatives) > len(own)
        assert len({*example.negatives, *example.turn.positives}) == len(example.negatives) + 1


def test_near_duplicates_are_no_negatives(configure: Configure) -> None:
    passages = list(read_corpus(configure().data.train[0].corpora[0]))
    assert overlap(passages[0].text, passages[1].text) < 0.5
    run = Trainer(refreshing_config(configure, "run", overlap=1e-9, existing="replace"))
    run._refresh(Reporter(1, 0, False))
    assert not any(mined(run.config.output, 0).values())
    assert all(one.mined is None for one in run.collators["a"]._examples.examples)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_refreshed_negatives_resume_exactly(
    step: int, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = (refreshing_config(configure, name) for name in ("whole", "parts"))
    uninterrupted = weights(train(whole))
    assert sorted(path.name for path in (whole.output / "negatives").glob("step-*")) == [
        f"step-{step:08d}.json" for step in (0, 2, 3, 4)
    ]
    with monkeypatch.context() as patch:
        stop_after(patch, step)
        with pytest.raises(SystemExit):
            train(parts)
    assert checkpoints(parts.output)[-1].step == step
    assert_same(weights(train(parts)), uninterrupted)
    for due in (0, 2, 3, 4):
        assert mined(parts.output, due) == mined(whole.output, due)


def test_what_was_mined_later_is_forgotten(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = refreshing_config(configure, "run")
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(SystemExit):
            train(config)
    first, later = (config.output / "negatives" / f"step-0000000{n}.json" for n in (0, 2))
    later.write_text("not of this run")
    saved = first.read_bytes()
    first.unlink()
    with pytest.raises(UniConvError, match=r"step-00000000.json: is missing, so the run can't"):
        train(config)
    first.write_bytes(saved)
    train(config)
    assert mined(config.output, 2)


@pytest.mark.parametrize(("pool", "size"), [(None, 12), (100, 12), (2, 11)])
def test_what_is_searched_is_all_or_a_sample(
    pool: int | None, size: int, configure: Configure, tmp_path: Path
) -> None:
    (source,) = plain(configure())["data"]["train"]
    lines = Path(source["corpora"][0]).read_text("utf-8")
    others = [json.dumps({"_id": f"x{n}", "text": f"Another {n}."}) for n in range(3)]
    (tmp_path / "corpus.jsonl").write_text(lines + "\n".join(others), "utf-8")
    source["corpora"] = [str(tmp_path / "corpus.jsonl"), source["corpora"][0]]
    data = {"train": [source], "refresh": REFRESH | {"pool": pool}}
    run = Trainer(configure(data=data))
    (collection,) = run.refresher._open()
    assert len(collection.store) == size
    assert {f"p{n}" for n in range(9)} <= {passage.id for passage in collection.store}


def test_blocks_of_passages_are_searched_together(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for block in (2048, 4):
        monkeypatch.setattr("uniconv.retrieval.sweeping.BLOCK", block)
        monkeypatch.setattr(refreshing, "_TURNS", block)
        run = Trainer(refreshing_config(configure, f"run{block}"))
        run._refresh(Reporter(1, 0, False))
        found.append(mined(run.config.output, 0))
    assert found[0] == found[1]


def test_mistakes_are_named(configure: Configure) -> None:
    def refused(objectives: dict[str, Any] | None = None, **data: Any) -> str:
        weights = {"gamma": 0} | (objectives or {})
        with pytest.raises(ConfigError) as caught:
            train(configure(model={"path": "none"}, data=data, objectives=weights))
        return str(caught.value)

    assert "every_steps: is not set, nor refresh in a stage" in refused(refresh={"last": 50})
    assert "hard_negatives is 0" in refused(refresh={"every_steps": 1}, hard_negatives=0)
    assert "the teacher embeds once" in refused({"scores": 1}, refresh={"every_steps": 1})
    (source,) = plain(configure())["data"]["train"]
    source |= {"retrieval": "none", "grounded": False}
    problem = refused(refresh={"every_steps": 1}, train=[source])
    assert "no source of data.train is supervised by passages" in problem
    assert "refresh: ranks go from first to last" in refused(refresh={"first": 9, "last": 2})
