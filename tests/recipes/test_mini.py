"""The mini recipe's stages on a few sentences: tokens, circuits, batches, steps and resuming."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from initialise import SCALE, config, embed_tokens, write_circuits
from measure import bits_per_byte, grounded, retrieval
from mixture import Mixture, conversation, window
from pretrain import Run, schedule
from sources import answer_sentence, docstrings, squad
from text import clean, held_out, overlap, sentences
from tokenizer import FRAME, SPECIAL, train_tokenizer
from transformers import LlamaForCausalLM

from uniconv.model import UniConv
from uniconv.templates import Limits, Template

TEXTS = [
    (
        "Harbour bridge",
        "The old bridge crosses the harbour. It was opened in 1932. It carries trains and cars.",
    ),
    (
        "Clock tower",
        "The tower holds four clocks. A storm broke it in 1901. Masons repaired it in spring.",
    ),
    (
        "River ferry",
        "The ferry leaves at noon. It takes forty people. Dogs travel free of any charge.",
    ),
]
PASSAGES = [{"id": f"w{n}", "title": title, "text": text} for n, (title, text) in enumerate(TEXTS)]
EXAMPLES = [
    {
        "source": source,
        "group": title,
        "turns": turns,
        "title": title,
        "text": text,
        "answer": sentences(text)[1],
        "rewrite": turns[-1],
    }
    for (title, text), turns, source in zip(
        TEXTS,
        (["When was it opened?"], ["Who broke it?", "A storm.", "When?"], ["How many people?"]),
        ("one", "two", "one"),
        strict=True,
    )
]


@pytest.fixture(scope="module")
def model() -> UniConv:
    """The recipe's architecture and circuits over a tokenizer and tokens of a few sentences."""
    prose = [f"{title}\n{text}" for title, text in TEXTS] * 3
    tokenizer = train_tokenizer(iter(prose), 400)
    template = Template(tokenizer, FRAME, Limits(conversation=96, passage=96, response=64))
    torch.manual_seed(0)
    network = LlamaForCausalLM(config(len(tokenizer)))
    table = torch.randn(len(tokenizer), 253)
    network.model.embed_tokens.weight.data.copy_(embed_tokens(table, template.marker))
    write_circuits(network)
    return UniConv(network, tokenizer, template)


def mixture(model: UniConv) -> Mixture:
    teacher = {"w0": np.ones(253, np.float32), "When?": -np.ones(253, np.float32)}
    return Mixture(EXAMPLES, PASSAGES, model.template, teacher, 256)


def test_tokens_are_reversible_and_the_same_at_the_beginning_and_in_the_middle(
    model: UniConv,
) -> None:
    tokenizer = model.tokenizer
    text = "The tower, opened in 1932: é 🙂"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids).strip() == text
    tower = tokenizer("tower", add_special_tokens=False)["input_ids"]
    joined = tokenizer("bridge\ntower", add_special_tokens=False)["input_ids"]
    assert joined[-len(tower) :] == tower
    assert [tokenizer.convert_tokens_to_ids(token) for token in SPECIAL] == list(range(7))


def test_circuits_copy_repeated_tokens_before_any_training(model: UniConv) -> None:
    span = torch.randint(263, len(model.tokenizer), (4, 24))
    ids = torch.cat([span, span], dim=1)
    with torch.inference_mode():
        predicted = model.network(ids).logits[:, 24:-1].argmax(-1)
    assert (predicted == span[:, 1:]).float().mean() > 0.5


def test_token_weights_and_the_marker_have_their_own_dimensions(model: UniConv) -> None:
    matrix = model.network.model.embed_tokens.weight
    assert matrix[model.template.marker, :253].abs().max() == 0
    assert torch.allclose(matrix[10:, :253].norm(dim=-1), torch.tensor(16 * SCALE), atol=1e-4)


def test_batches_depend_on_the_seed_and_step_only(model: UniConv) -> None:
    one, two = mixture(model), mixture(model)
    one.sequences(7, 4, 0.2)
    assert torch.equal(one.sequences(2, 4, 0.2).ids, two.sequences(2, 4, 0.2).ids)
    assert one.pairs(3, 6).queries == two.pairs(3, 6).queries
    assert one.pairs(3, 6).queries != one.pairs(4, 6).queries


def test_pairs_end_with_the_marker_and_know_what_the_teacher_said(model: UniConv) -> None:
    pairs = mixture(model).pairs(0, 60)
    marker = model.template.marker
    assert all(ids[-1] == marker for ids in [*pairs.queries, *pairs.passages])
    assert {float(row[0]) for row in pairs.query_targets} == {0.0, -1.0}
    assert {float(row[0]) for row in pairs.passage_targets} <= {0.0, 1.0}


def test_grounded_sequences_cite_the_passage_that_is_copied(model: UniConv) -> None:
    source = mixture(model)
    tokenizer = model.tokenizer
    cited = 0
    for step in range(8):
        batch = source.sequences(step, 8, 0.0)
        for ids, labels in zip(batch.ids, batch.labels, strict=True):
            answer = tokenizer.decode(labels[labels != -100], skip_special_tokens=True).strip()
            if not answer.endswith("]"):
                continue
            sentence, number = answer[:-1].rsplit(" [", 1)
            prompt = tokenizer.decode(ids[labels == -100]).split("<|passage|>")
            assert sentence in prompt[int(number)]
            cited += 1
    assert cited > 10


def test_resuming_equals_not_stopping(model: UniConv, tmp_path: Path) -> None:
    args = argparse.Namespace(steps=4, pairs=4, sequences=4, rate=1e-3)
    model.save_pretrained(tmp_path / "init")

    def start() -> Run:
        loaded = UniConv.from_pretrained(tmp_path / "init")
        return Run(loaded, mixture(loaded), args)

    straight, first, second = start(), start(), start()
    losses = [straight.train_step() for _ in range(4)]
    for _ in range(2):
        first.train_step()
    first.save(tmp_path / "run.pt")
    second.load(tmp_path / "run.pt")
    for _ in range(2):
        last = second.train_step()
    assert last == losses[-1] and second.tokens == straight.tokens
    pairs = zip(straight.network.parameters(), second.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_few_steps_lower_the_loss(model: UniConv, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "init")
    loaded = UniConv.from_pretrained(tmp_path / "init")
    args = argparse.Namespace(steps=500, pairs=4, sequences=4, rate=2e-3)
    run = Run(loaded, mixture(loaded), args)
    losses = [run.train_step()["next"] for _ in range(16)]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])


def test_the_schedule_warms_up_and_falls() -> None:
    values = [schedule(step, 1000) for step in range(1000)]
    assert values[0] < 0.05 and max(values) == 1.0 and values[-1] == 0.05
    assert values[100:500] == [1.0] * 400


def test_measures_agree_with_a_model_that_is_looked_at_by_hand(model: UniConv) -> None:
    rows = [{**row, "title": row["title"]} for row in EXAMPLES]
    found = retrieval(model, rows, [])
    assert found["passages"] == {"count": 3}
    assert found["one"]["questions"] == 2 and found["one"]["recall@10"] == 1.0
    report = grounded(model, rows, shown=2)
    assert report["answers"] == 3 and len(report["samples"]) == 2
    assert bits_per_byte(model, PASSAGES) < 8 * math.log2(len(model.tokenizer))


def test_sentences_and_spacing() -> None:
    assert (
        clean("born in 1901 , in `` Paris '' ( France ) .")
        == 'born in 1901, in " Paris " (France).'
    )
    assert sentences("Dr. J. Smith came. He saw it! Why?") == [
        "Dr. J. Smith came.",
        "He saw it!",
        "Why?",
    ]
    assert overlap("the red house", "A house that is red") == 1.0
    assert held_out("a") == held_out("a")
    assert 0 < sum(held_out(str(n)) for n in range(2000)) < 100


def test_the_answering_sentence_is_the_one_nearest_to_the_question() -> None:
    text = "Anna met Tom. Tom built the mill. Tom slept."
    assert answer_sentence(text, ["Tom"], "Who built the mill?") == "Tom built the mill."
    assert answer_sentence(text, ["Eve"], "Who?") is None


def test_a_window_keeps_the_answer() -> None:
    import random

    text = " ".join(f"Number {n} is here." for n in range(30))
    for seed in range(20):
        part = window(text, "Number 17 is here.", random.Random(seed), 4)
        assert "Number 17 is here." in part and len(sentences(part)) <= 4


def test_squad_paragraphs_become_examples(tmp_path: Path) -> None:
    qa = [
        {"question": "When was it opened?", "answers": ["1932"]},
        {"question": "Why?", "answers": []},
    ]
    paragraph = {"context": TEXTS[0][1], "qas": qa}
    data = {"data": [{"title": "Harbour_bridge", "paragraphs": [paragraph]}]}
    for name in ("dev-v2.0.from_explore_html.json", "dev-1.1.from_explore_html.json"):
        (tmp_path / name).write_text(json.dumps(data), "utf-8")
    found = list(squad(tmp_path))
    assert [e.answer for e in found] == ["It was opened in 1932."] * 2
    assert found[0].title == "Harbour bridge"


def test_docstrings_become_questions(tmp_path: Path) -> None:
    (tmp_path / "walls.py").write_text(
        'def paint(wall, colour="white"):\n'
        '    """Paint a wall with white colour. Returns litres."""\n'
        "def _hidden():\n    '''Nobody asks about this private function anywhere.'''\n",
        "utf-8",
    )
    found = list(docstrings(tmp_path))
    assert [e.turns[0] for e in found] == [
        "What does walls.paint do?",
        "What is paint for?",
        "How do I paint a wall with white colour?",
    ]
    assert found[0].text.startswith("paint(wall, colour='white'): Paint a wall")


def test_a_conversation_needs_questions_and_responses_in_turn() -> None:
    made = conversation(["a?", "b", "c?"])
    assert [(turn.query, turn.response) for turn in made.turns] == [("a?", "b"), ("c?", None)]
