"""Every reader on damaged files: it reads them or refuses them in one sentence, and loses nothing.

The long form is ``python benchmarks/fuzz_readers.py``.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_files import write
from native_sets import FORMS

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from fuzz_readers import Failure, _lost, attempt, trial
from mutations import mutate
from uniconv.data.catalogue import CATALOGUE

INPUTS = 12


def test_every_data_set_has_a_form() -> None:
    assert {name for name, _ in FORMS.values()} == CATALOGUE.keys()


@pytest.mark.parametrize("form", FORMS)
def test_damaged_files_are_read_or_refused(form: str, tmp_path: Path) -> None:
    name, files = FORMS[form]
    assert attempt(name, files, tmp_path) == "read"
    rng = random.Random(form)
    for _ in range(INPUTS):
        damaged, outcome = trial(name, files, rng, tmp_path)
        assert outcome.startswith(("read", "refused")), (outcome, damaged)


@given(st.sampled_from(sorted(FORMS)), st.randoms(use_true_random=False))
def test_damage_is_damage(form: str, rng: random.Random) -> None:
    files = FORMS[form][1]
    for name, content in files.items():
        assert isinstance(mutate(name, content, rng), bytes)


def test_lost_records_would_be_noticed(tmp_path: Path) -> None:
    write(FORMS["faithdial"][1], tmp_path)
    counts = {"train": {"conversations": 1}}
    _lost("faithdial", tmp_path, {"counts": counts})
    with pytest.raises(Failure, match="1 records were given, 0 came out"):
        _lost("faithdial", tmp_path, {"counts": {"train": {"conversations": 0}}})
    none = {"train": {"conversations": 0}, "left out, dialogues in which the seeker is silent": 1}
    _lost("faithdial", tmp_path, {"counts": none})
