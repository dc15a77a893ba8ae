"""Shipping: weights averaged with those that the last round began from, the card kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import ship
import torch

from tiny import tiny_uniconv
from uniconv.model import UniConv


def _weights(model: UniConv) -> torch.Tensor:
    return torch.cat([one.detach().flatten().float() for one in model.lm.parameters()])


@pytest.fixture
def rounds(tmp_path: Path) -> tuple[Path, Path]:
    """A model, and the one that its round began from, as training leaves them."""
    paths = tmp_path / "after", tmp_path / "before"
    for seed, path in enumerate(paths):
        record = {"command": ["/somewhere/bin/uniconv", "train", "config.yaml"]}
        tiny_uniconv(seed=seed).save_pretrained(path, training=record)
    return paths


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_weights_are_between_those_of_before_and_after(
    rounds: tuple[Path, Path], tmp_path: Path, share: float
) -> None:
    after, before = (_weights(UniConv.from_pretrained(path, device="cpu")) for path in rounds)
    ship.ship(rounds[0], tmp_path / "shipped", rounds[1], share)
    found = UniConv.from_pretrained(tmp_path / "shipped", device="cpu")
    expected = after + share * (before - after)
    torch.testing.assert_close(_weights(found), expected, rtol=2**-8, atol=2**-12)


def test_the_command_keeps_the_card_and_tells_what_was_done(
    rounds: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "shipped"
    target.mkdir()
    (target / "README.md").write_text("A card.", "utf-8")
    monkeypatch.setattr(
        sys, "argv", ["ship.py", str(rounds[0]), str(target), "--before", str(rounds[1])]
    )
    ship.main()
    assert (target / "README.md").read_text("utf-8") == "A card."
    shipped = UniConv.from_pretrained(target, device="cpu")
    assert shipped.settings.quote
    assert shipped.training is not None
    assert shipped.training["command"] == ["uniconv", "train", "config.yaml"]
    assert shipped.training["averaged"] == {"before": rounds[1].as_posix(), "share": 0.4}


def test_without_another_model_it_is_the_model_itself(
    rounds: tuple[Path, Path], tmp_path: Path
) -> None:
    ship.ship(rounds[0], tmp_path / "shipped")
    shipped = UniConv.from_pretrained(tmp_path / "shipped", device="cpu")
    own = _weights(UniConv.from_pretrained(rounds[0], device="cpu"))
    torch.testing.assert_close(_weights(shipped), own, rtol=2**-8, atol=2**-12)
    assert shipped.training is not None
    assert "averaged" not in shipped.training
