"""What supervises what: targets under DDM and under the naive mixtures, negatives, and keys."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tiny import tiny_uniconv
from uniconv.config import DataConfig, Objectives, Source
from uniconv.training.batch import PARTS, Batch
from uniconv.training.collate import Collator, passage_key
from uniconv.training.examples import Example, Examples, supervises
from uniconv.types import NOTHING_FOUND, Conversation, Passage, Turn

PASSAGES = {id: Passage(id, f"text of {id}", "title") for id in ("a", "b", "n1", "n2", "n3")}
POOL = [Passage(f"r{n}", f"random {n}") for n in range(4)]
CONVERSATION = Conversation(
    "c",
    (
        Turn("first?", "First.", positives=("a", "b"), negatives=("n1", "n2", "n3")),
        Turn("second?", "Second."),
        Turn("third?", "Third.", positives=("b",), negatives=("n1",)),
    ),
)
TEMPLATE = tiny_uniconv().template


def _batch(
    *turns: int,
    source: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    weights: dict[str, float] | None = None,
    seed: int = 0,
) -> Batch:
    described = Source((Path("c"),), (Path("p"),), **(source or {}))
    examples = [Example(CONVERSATION, turn, 0) for turn in turns]
    settings = DataConfig((described,), **(data or {}))
    collate = Collator(
        TEMPLATE,
        Examples([described], examples, [PASSAGES], [POOL]),
        settings,
        Objectives(**{"gamma": 1.0, **(weights or {})}),
    )
    return collate((place, random.Random(f"{seed}/{place}")) for place in range(len(turns)))


def _passages(*ids: str) -> list[list[int]]:
    return [TEMPLATE.passage(PASSAGES[id]) for id in ids]


def test_ddm_retrieves_the_passage_and_writes_the_response_of_the_same_turn() -> None:
    batch = _batch(3)
    context = CONVERSATION.context(3)
    assert batch.retrieval.queries == [TEMPLATE.conversation_query(context)]
    assert batch.retrieval.documents == _passages("b", "n1")
    assert batch.retrieval.labels == [0]
    assert batch.retrieval.own == [[passage_key(PASSAGES["b"])]]
    assert batch.generation.prompts == [TEMPLATE.prompt(context)]
    assert batch.generation.responses == [TEMPLATE.response("Third.")]
    assert batch.cii.queries == [TEMPLATE.grounded_query(context, [PASSAGES["b"]])]
    assert batch.cii.documents == [TEMPLATE.response_document("Third.")]


def test_naive_mixture_retrieves_a_response_as_a_passage() -> None:
    batch = _batch(3, source={"retrieval": "responses"})
    assert batch.retrieval.documents == [TEMPLATE.passage(Passage("c_3", "Third."))]
    assert batch.generation.responses == [TEMPLATE.response("Third.")]


def test_naive_mixture_writes_a_passage_as_a_response() -> None:
    batch = _batch(3, source={"generation": "passages"})
    assert batch.retrieval.documents == _passages("b", "n1")
    assert batch.generation.responses == [TEMPLATE.response("text of b")]


def test_none_leaves_an_objective_out() -> None:
    batch = _batch(3, source={"retrieval": "none", "generation": "none", "grounded": False})
    assert not batch.retrieval.queries
    assert not batch.generation.prompts
    assert not batch.grounded.prompts


@pytest.mark.parametrize("retrieval", ["passages", "responses", "none"])
@pytest.mark.parametrize("generation", ["passages", "responses", "none"])
@pytest.mark.parametrize("turn", [1, 2])
def test_a_batch_holds_what_the_plan_says(retrieval: str, generation: str, turn: int) -> None:
    for both in (True, False):
        settings = {"retrieval": retrieval, "generation": generation, "cii": both, "grounded": both}
        batch = _batch(turn, source=settings)
        source = Source((Path("c"),), (Path("p"),), **settings)
        expected = supervises(source, CONVERSATION.turns[turn - 1], Objectives(gamma=1.0))
        assert {part: len(getattr(batch, part)) > 0 for part in PARTS} == expected


def test_sources_with_and_without_ddm_share_a_batch() -> None:
    ddm = Source((Path("c"),), (Path("p"),))
    naive = Source((Path("c"),), (Path("p"),), retrieval="responses", generation="passages")
    examples = Examples(
        [ddm, naive],
        [Example(CONVERSATION, 3, 0), Example(CONVERSATION, 3, 1)],
        [PASSAGES, PASSAGES],
        [[], []],
    )
    collate = Collator(TEMPLATE, examples, DataConfig((ddm, naive)), Objectives())
    batch = collate((place, random.Random(place)) for place in range(2))
    response = TEMPLATE.passage(Passage("c_3", "Third."))
    assert batch.retrieval.documents == [*_passages("b", "n1"), response]
    assert batch.retrieval.labels == [0, 2]
    assert batch.generation.responses == [
        TEMPLATE.response("Third."),
        TEMPLATE.response("text of b"),
    ]


@pytest.mark.parametrize("part", ["retrieval", "generation", "cii", "grounded"])
def test_a_weight_of_zero_leaves_its_part_out(part: str) -> None:
    weight = {"cii": "alpha", "grounded": "gamma"}.get(part, part)
    batch = _batch(1, 3, weights={weight: 0.0})
    counts = dict(zip(("retrieval", "generation", "cii", "grounded"), batch.counts, strict=True))
    assert counts.pop(part) == 0
    assert all(counts.values())


def test_a_turn_without_positives_supervises_generation_alone() -> None:
    batch = _batch(2)
    assert batch.counts == [0, len(TEMPLATE.response("Second.")), 0, 0]


def test_hard_negatives_are_sampled_from_the_turn() -> None:
    seen = set()
    for seed in range(20):
        documents = _batch(1, data={"hard_negatives": 2}, seed=seed).retrieval.documents
        assert len(documents) == 3
        assert documents[0] in _passages("a", "b")
        seen |= {tuple(document) for document in documents[1:]}
    assert seen == {tuple(document) for document in _passages("n1", "n2", "n3")}


@pytest.mark.parametrize("own, expected", [(None, 2), (0, 0), (3, 3)])
def test_a_source_may_have_its_own_number_of_hard_negatives(own: int | None, expected: int) -> None:
    batch = _batch(1, data={"hard_negatives": 2}, source={"hard_negatives": own})
    assert len(batch.retrieval.documents) == 1 + expected


def test_random_negatives_fill_up() -> None:
    documents = _batch(3, data={"random_negatives": True}).retrieval.documents
    assert documents[:2] == _passages("b", "n1")
    assert len(documents) == 5
    assert all(document in [TEMPLATE.passage(one) for one in POOL] for document in documents[2:])


def test_a_document_of_several_turns_is_there_once() -> None:
    batch = _batch(3, 3).retrieval
    assert batch.documents == _passages("b", "n1")
    assert batch.labels == [0, 0]


SAYS = Passage("s", "Rome is old. It has seven hills, they say. It has hills. Cats sleep.", "Rome")


def _sentence_batch(response: str, **data: Any) -> Batch:
    source = Source((Path("c"),), (Path("p"),))
    talk = Conversation("c", (Turn("Hills?", response, positives=("s",), negatives=("n1",)),))
    passages = {"s": SAYS, "n1": PASSAGES["n1"]}
    settings = DataConfig((source,), grounded_passages=2, **data)
    examples = Examples([source], [Example(talk, 1, 0)], [passages], [[]])
    collate = Collator(TEMPLATE, examples, settings, Objectives(gamma=1.0))
    return collate([(0, random.Random(0))])


def test_the_sentence_nearest_to_the_response_is_told_from_others_that_are_shown() -> None:
    batch = _sentence_batch("Rome has seven hills.", sentence_negatives=9)
    document = TEMPLATE.response_document
    assert batch.cii.documents[batch.cii.labels[0]] == document("It has seven hills, they say.")
    others = ["Rome is old.", "Cats sleep.", "text of n1"]
    assert sorted(batch.cii.documents[1:]) == sorted(map(document, others))
    assert len(batch.cii.own[0]) == 4  # with "It has hills.", which says much of it: no negative
    assert not {*batch.cii.own[0]} & {*batch.cii.keys[1:]}


def test_the_query_of_sentences_reads_what_the_grounded_prompt_does() -> None:
    batch = _sentence_batch("Rome has seven hills.", sentence_negatives=2)
    (query,), (prompt,) = batch.cii.queries, batch.grounded.prompts
    assert query[:-1] == prompt[: len(query) - 1]
    assert "text of n1" in TEMPLATE.tokenizer.decode(query)
    assert len(batch.cii.documents) == 3


@pytest.mark.parametrize(("response", "most"), [("Nothing near.", 9), ("Rome has hills.", 0)])
def test_a_response_without_a_sentence_near_to_it_stands_for_itself(
    response: str, most: int
) -> None:
    cii = _sentence_batch(response, sentence_negatives=most).cii
    assert cii.documents == [TEMPLATE.response_document(response)]
    assert cii.labels == [0]


def test_all_positives_of_a_turn_are_its_own() -> None:
    (own,) = _batch(1).retrieval.own
    assert own == [passage_key(PASSAGES["a"]), passage_key(PASSAGES["b"])]


def test_grounded_prompts_are_shuffled_and_hold_one_relevant_passage() -> None:
    places = set()
    by_tokens = {tuple(TEMPLATE.passages_block([one])): one.id for one in PASSAGES.values()}
    assert len(by_tokens) == len(PASSAGES)
    for seed in range(20):
        (prompt,) = _batch(3, data={"grounded_passages": 3}, seed=seed).grounded.prompts
        text = TEMPLATE.tokenizer.decode(prompt)
        assert "text of b" in text
        assert "text of n1" in text
        assert "random" in text
        assert "text of a" not in text
        places.add(text.index("text of b") < text.index("text of n1"))
    assert places == {True, False}


def test_keys_are_of_title_and_text_not_of_ids_or_white_space() -> None:
    key = passage_key(Passage("1", "same  text\n", "t"))
    assert key == passage_key(Passage("2", "same text", "t"))
    assert key != passage_key(Passage("1", "same text", "u"))
    assert 0 < key < 2**63


def test_cited_responses_end_with_the_mark_of_the_relevant_passage() -> None:
    marks = set()
    for seed in range(8):
        batch = _batch(3, source={"cite": True}, data={"grounded_passages": 2}, seed=seed)
        prompts, responses = batch.grounded.prompts, batch.grounded.responses
        prompt = TEMPLATE.tokenizer.decode(prompts[0])
        mark = next(mark for mark in ("[1]", "[2]") if f"{mark} title\ntext of b" in prompt)
        assert responses == [TEMPLATE.response(f"Third. {mark}")]
        marks.add(mark)
    assert marks == {"[1]", "[2]"}
    assert _batch(3).grounded.responses == [TEMPLATE.response("Third.")]


def test_a_prompt_has_the_relevant_passage_among_a_drawn_number_of_others() -> None:
    sizes = set()
    for seed in range(30):
        data = {"grounded_passages": 4, "fewest_passages": 2}
        (prompt,) = _batch(3, data=data, seed=seed).grounded.prompts
        text = TEMPLATE.tokenizer.decode(prompt)
        assert "text of b" in text
        sizes.add(next(size for size in (4, 3, 2, 1) if f"[{size}] " in text))
    assert sizes == {2, 3, 4}


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_the_relevant_passage_stands_first_in_a_part_of_the_prompts(share: float) -> None:
    data = {"grounded_passages": 3, "relevant_first": share}
    marks = []
    for seed in range(30):
        batch = _batch(3, source={"cite": True}, data=data, seed=seed)
        text = TEMPLATE.tokenizer.decode(batch.grounded.prompts[0])
        marks.append(next(n for n in (1, 2, 3) if f"[{n}] title\ntext of b" in text))
        assert batch.grounded.responses == [TEMPLATE.response(f"Third. [{marks[-1]}]")]
        assert "[3] " in text
    assert {1} == set(marks) if share == 1 else {1, 2, 3} == set(marks)
    assert marks.count(1) > 15  # a third of the other half as well


def test_what_no_passage_answers_is_declined() -> None:
    seen = set()
    for seed in range(20):
        data = {"grounded_passages": 3, "unanswerable": 0.5}
        batch = _batch(3, source={"cite": True}, data=data, seed=seed)
        text = TEMPLATE.tokenizer.decode(batch.grounded.prompts[0])
        assert "[3] " in text
        answered = "text of b" in text
        (response,) = batch.grounded.responses
        if not answered:
            assert "text of a" not in text
            assert response == TEMPLATE.response(NOTHING_FOUND)
        else:
            assert "Third. [" in TEMPLATE.tokenizer.decode(response)
        seen.add(answered)
    assert seen == {True, False}


def test_a_turn_without_other_passages_is_answered() -> None:
    data = {"grounded_passages": 3, "unanswerable": 1.0}
    source = Source((Path("c"),), (Path("p"),))
    alone = Conversation("c", (Turn("first?", "Third.", positives=("b",)),))
    examples = Examples([source], [Example(alone, 1, 0)], [{"b": PASSAGES["b"]}], [[]])
    collate = Collator(TEMPLATE, examples, DataConfig((source,), **data), Objectives(gamma=1.0))
    assert collate([(0, random.Random(0))]).grounded.responses == [TEMPLATE.response("Third.")]
