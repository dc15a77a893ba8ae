"""The texts that sparse retrieval searches with."""

from __future__ import annotations

from pathlib import Path

import pytest
from retrieval_fixtures import FakeEncoder

from uniconv.config import QueryForm
from uniconv.data.beir import write_corpus
from uniconv.errors import UniConvError
from uniconv.retrieval.building import build_index
from uniconv.retrieval.interface import Index
from uniconv.retrieval.queries import fuse, history_text, query_text
from uniconv.types import Conversation, Passage, Turn

TALK = Conversation("c", (Turn("Who?", "They."), Turn("When?", rewrite="When did they?")))


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("history", "Who? They. When?"),
        ("last", "When?"),
        ("questions", "Who? When?"),
        ("rewrite", "When did they?"),
    ],
)
def test_forms_of_a_query(form: QueryForm, text: str) -> None:
    assert query_text(TALK, form) == text


def test_a_missing_rewrite_is_named() -> None:
    with pytest.raises(UniConvError, match="query 'c_1' has no rewrite"):
        query_text(TALK.context(1), "rewrite")


def test_history_text_is_all_that_was_said() -> None:
    conversation = Conversation("c", (Turn("a", "b"), Turn("c")))
    assert history_text(conversation) == "a b c"


def test_responses_are_cut_to_their_first_words() -> None:
    conversation = Conversation("c", (Turn("a b c", "d  e\nf"), Turn("g h i")))
    assert history_text(conversation, 2) == "a b c d e g h i"
    assert history_text(conversation, 0) == "a b c g h i"


def test_what_a_long_response_ends_with_does_not_bring_its_passage_back(tmp_path: Path) -> None:
    texts = ["Painted green, then red, then brown.", "The tower is open until nine.", "A gate."]
    write_corpus(tmp_path / "c.jsonl", [Passage(str(n), text) for n, text in enumerate(texts)])
    build_index([tmp_path / "c.jsonl"], tmp_path / "index", FakeEncoder(), quiet=True)
    index = Index.open(tmp_path / "index")
    said = "It is of iron, " + "which is one more thing to know, " * 2 + texts[0] * 2
    talk = Conversation("c", (Turn("What of?", said), Turn("When is the tower open?")))
    assert index.search_text([history_text(talk)], 1)[0][0].passage.id == "0"
    (fused,) = fuse(index, [talk], [[]], 3)
    assert [one.passage.id for one in fused] == ["1"]
