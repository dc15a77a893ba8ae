"""What each generator is given and what it gives."""

from __future__ import annotations

import pytest
from chat_server import Reply, chat_server

from tiny import tiny_uniconv
from uniconv.evaluation.chat_api import ChatClient
from uniconv.evaluation.generators import ApiGenerator, ExtractiveGenerator, ModelGenerator
from uniconv.evaluation.prompts import CLOSED_BOOK, GROUNDED
from uniconv.types import Conversation, Passage, Turn

TOWER = Passage("tower", "It stands near the harbour. It was built in 1893 by Ada Quay.", "Tower")
BRIDGE = Passage("bridge", "The bridge crosses the river.")
TALK = Conversation("c", (Turn("Where is the tower?", "Near the harbour."), Turn("Who built it?")))


def test_the_best_sentence_of_the_first_passage_is_copied() -> None:
    response = ExtractiveGenerator().respond(TALK, [TOWER, BRIDGE])
    assert response.text == "It was built in 1893 by Ada Quay. [1]"
    assert response.read == [TOWER]
    history = Conversation("c", (*TALK.turns[:1], Turn("And then?")))
    assert ExtractiveGenerator().respond(history, [TOWER]).text.startswith("It stands near")
    for nothing in ([], [Passage("empty", " ")]):
        assert ExtractiveGenerator().respond(TALK, nothing).text == "I don't know."


def test_a_model_responds_as_generate_does() -> None:
    model = tiny_uniconv()
    response = ModelGenerator(model, 8).respond(TALK, [TOWER])
    pieces = model.generate(TALK, [TOWER], max_new_tokens=8, stop_loops=True)
    assert response.text == "".join(pieces).strip()
    assert response.read == [TOWER]
    assert response.timings["write"] > 0


def test_a_model_is_known_by_its_weights() -> None:
    one, same, other = (ModelGenerator(tiny_uniconv(seed=seed), 8) for seed in (0, 0, 1))
    assert one.identity == same.identity != other.identity


def test_a_model_can_be_held_to_quotations() -> None:
    model = tiny_uniconv()
    quoting = ModelGenerator(model, 40, quote=True)
    assert quoting.identity != ModelGenerator(model, 40).identity
    said = quoting.respond(TALK, [BRIDGE]).text
    assert said == "The bridge crosses the river. [1]"


def test_passages_that_do_not_fit_are_not_read() -> None:
    long = [Passage(str(number), "harbour " * 60) for number in range(4)]
    read = ModelGenerator(tiny_uniconv(), 8).respond(TALK, long).read
    assert 0 < len(read) < 4


def test_a_server_is_told_the_conversation_and_the_passages() -> None:
    with chat_server(lambda *_: Reply("Ada Quay [1], says [7].")) as server:
        generator = ApiGenerator(ChatClient(server.url, "big"), 60)
        response = generator.respond(TALK, [TOWER, BRIDGE])
        generator.respond(TALK, [])
    assert response.text == "Ada Quay [1], says."  # a mark that points nowhere never shows
    assert response.tokens == {"prompt": 7, "completion": 3}
    grounded, closed_book = (body["messages"] for _, _, body in server.requests)
    assert grounded[:3] == [
        {"role": "system", "content": GROUNDED},
        {"role": "user", "content": "Where is the tower?"},
        {"role": "assistant", "content": "Near the harbour."},
    ]
    assert grounded[3]["content"] == (
        "Passages:\n[1] Tower\nIt stands near the harbour. It was built in 1893 by Ada Quay.\n\n"
        "[2] \nThe bridge crosses the river.\n\nQuestion: Who built it?"
    )
    assert closed_book[0]["content"] == CLOSED_BOOK
    assert closed_book[-1] == {"role": "user", "content": "Who built it?"}


@pytest.mark.parametrize(("url", "name"), [("http://a/v1", "big"), ("http://b/v1", "small")])
def test_a_server_is_known_by_its_url_and_model(url: str, name: str) -> None:
    identity = ApiGenerator(ChatClient(url, name), 60).identity
    assert identity == ApiGenerator(ChatClient(url, name), 60).identity
    assert identity != ApiGenerator(ChatClient("http://a/v1", "small"), 60).identity
