"""A model in other servers says and embeds what it does here, and tells what keeps it from that."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from vllm_server import BLOCK, VLLM, Refusal, vllm_server

from tiny import tiny_uniconv
from tiny_index import tiny_index
from uniconv.decoding import Decoding
from uniconv.engine import Engine
from uniconv.errors import ModelError, RemoteError
from uniconv.model import Settings, UniConv
from uniconv.quotations import respond
from uniconv.remote.embeddings import EmbeddingServer
from uniconv.remote.generator import Generator
from uniconv.remote.model import RemoteModel
from uniconv.remote.server import Server
from uniconv.retrieval.building import build_index
from uniconv.retrieval.interface import Index
from uniconv.search import ConversationalSearch, SearchSettings
from uniconv.types import Conversation, Passage
from waiting import until

PASSAGES = [
    Passage("tower", "The tower of the old harbour was built in 1893 by a family.", "Tower"),
    Passage("ice", "A glacier moves slowly because ice deforms under its own weight."),
]
TALK = (
    Conversation.start("Who built the tower of the old harbour?")
    .answer("A family of engineers built it [1].")
    .ask("When was that?")
)


def at(vllm: VLLM, **options: Any) -> Server:
    return Server(vllm.url, "UNICONV_TEST_KEY", **({"retries": 2, "pause": 0.01} | options))


@pytest.fixture(scope="module")
def model() -> UniConv:
    return tiny_uniconv()


@pytest.fixture
def vllm(model: UniConv) -> Iterator[VLLM]:
    with vllm_server(model) as server:
        yield server


@pytest.fixture
def remote(model: UniConv, vllm: VLLM) -> RemoteModel:
    return RemoteModel(model, Generator(at(vllm), model.template))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_index(tmp_path_factory.mktemp("remote"))


def here_and_there(model: UniConv, remote: RemoteModel, **options: Any) -> Any:
    """Text, reason and length of what both write."""
    options = {"max_new_tokens": 24} | options
    found = []
    for one in (model, remote):
        generation = one.generate(one.read(TALK), PASSAGES, **options)
        text = "".join(generation)
        found.append((text, generation.finish_reason, generation.completion_tokens))
    return found


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_answers_are_those_of_the_model(family: str) -> None:
    model = tiny_uniconv(family)
    with vllm_server(model) as vllm:
        remote = RemoteModel(model, Generator(at(vllm), model.template))
        here, there = here_and_there(model, remote)
        assert there == here and here[2] > 4
        [*_, sent] = vllm.completions()
        assert sent["prompt"] == model.template.prompt(TALK, PASSAGES)


def test_it_ends_where_the_model_ends(model: UniConv, remote: RemoteModel, vllm: VLLM) -> None:
    text = here_and_there(model, remote)[0][0]
    here, there = here_and_there(model, remote, stop=[text[5:8]])
    assert there == here and here[1] == "stop" and here[0] == text[:5]
    here, there = here_and_there(model, remote, stop_loops=True, max_new_tokens=200)
    assert there == here
    assert here_and_there(model, remote, max_new_tokens=0)[1][0] == ""


def test_a_special_token_ends_an_answer(vllm: VLLM) -> None:
    model = vllm.model
    closing = next(iter(model.template.stop))
    head = model.lm.get_output_embeddings().weight
    before = head.detach().clone()
    try:
        head.data[closing] = 4 * head.data[closing + 40]  # it soon is the likeliest
        remote = RemoteModel(model, Generator(at(vllm), model.template))
        here, there = here_and_there(model, remote, max_new_tokens=200)
        assert there == here
    finally:
        head.data.copy_(before)


def test_the_conversation_is_read_once_there(model: UniConv, vllm: VLLM, folder: Path) -> None:
    """What comes after a turn begins with it, token for token, so its blocks are in the cache."""
    index = Index.open(folder)
    with Engine(UniConv.from_pretrained(index.model_name, device="cpu")) as engine:
        remote = RemoteModel(engine, Generator(at(vllm), model.template))
        search = ConversationalSearch(remote, index, SearchSettings(max_new_tokens=8, read=1))
        talk = TALK
        for _ in range(3):
            known = len(engine.template.conversation(talk))
            answer = search.ask(talk)
            talk = talk.answer("It was built a long time ago [1].").ask("And who opened it?")
        usage = search.ask(talk).usage
        assert usage.cached_tokens >= known // BLOCK * BLOCK > 3 * BLOCK
        assert usage.prompt_tokens > usage.cached_tokens
        assert answer.usage.completion_tokens == 8


def test_sampling_is_passed_on(remote: RemoteModel, vllm: VLLM) -> None:
    vllm.refusals = [Refusal(400, "enough")]
    generation = remote.generate(TALK, temperature=0.5, top_p=0.9, seed=7, max_new_tokens=5)
    with pytest.raises(RemoteError, match=r"HTTP 400 Bad Request: .*enough"):
        next(generation)
    sent = vllm.completions()[-1]
    wanted = {"temperature": 0.5, "top_p": 0.9, "seed": 7, "max_tokens": 5, "top_k": -1}
    assert wanted.items() <= sent.items()


def test_a_quotation_takes_no_server_that_writes(model: UniConv, vllm: VLLM) -> None:
    quoting = UniConv(model.network, model.tokenizer, model.template, Settings(quote=True))
    remote = RemoteModel(quoting, Generator(at(vllm), model.template))
    decoding = Decoding(max_new_tokens=40)
    before = len(vllm.completions())
    for quotes in (None, True):  # unless it is told, it has its server write
        said = "".join(respond(remote, TALK, remote.read(TALK), PASSAGES, decoding, quotes))
        assert len(vllm.completions()) == before + 1
    expected = respond(quoting, TALK, quoting.read(TALK), PASSAGES, decoding)
    assert said == "".join(expected)


def test_a_lost_stream_goes_on(model: UniConv, remote: RemoteModel, vllm: VLLM) -> None:
    vllm.cuts = [3, 2]
    here, there = here_and_there(model, remote)
    assert there == here
    lengths = [body["max_tokens"] for body in vllm.completions()[-3:]]
    assert lengths == [24, 21, 19]


def test_a_stream_that_is_lost_without_end_is_told(remote: RemoteModel, vllm: VLLM) -> None:
    vllm.cuts = [3] + [0] * 9
    with pytest.raises(RemoteError, match=r"completions: can't be reached .*3 times"):
        "".join(remote.generate(TALK))


def test_an_error_in_the_stream_is_told(remote: RemoteModel, vllm: VLLM) -> None:
    vllm.said_in_stream = "EngineCore died"
    with pytest.raises(RemoteError, match="in the middle of the answer: EngineCore died"):
        "".join(remote.generate(TALK))


def test_closing_ends_the_writing_there(remote: RemoteModel, vllm: VLLM) -> None:
    generation = remote.generate(TALK, max_new_tokens=300)
    next(generation)
    vllm.may.clear()
    with ThreadPoolExecutor(1) as threads:
        rest = threads.submit(list, generation)
        generation.close()
        rest.result(5)
    assert vllm.gone.wait(5)
    assert generation.finish_reason == "stop"


def test_an_answer_that_is_forgotten_ends_there(remote: RemoteModel, vllm: VLLM) -> None:
    generation = remote.generate(TALK, max_new_tokens=300)
    next(generation)
    vllm.may.clear()
    del generation
    assert vllm.gone.wait(5)


def test_a_server_without_token_ids_ends_answers_itself(model: UniConv, vllm: VLLM) -> None:
    vllm.strict, vllm.tells_tokens = True, False
    generator = Generator(at(vllm), model.template)
    assert not generator.tells_tokens
    remote = RemoteModel(model, generator)
    (text, _, length), there = here_and_there(model, remote)
    assert there == (text, "length", length)
    assert here_and_there(model, remote, stop=[text[5:8]])[1][:2] == (text[:5], "stop")
    assert vllm.completions()[-1]["stop"] == [text[5:8]]
    vllm.cuts = [3]
    with pytest.raises(RemoteError, match="was lost"):
        "".join(remote.generate(TALK))


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({"takes_tokens": False}, "no prompts of tokens.*chat endpoint alone is not enough"),
        ({"names": ("a", "b")}, r"/models: its models are a, b; name one"),
        ({"key": "secret"}, r"HTTP 401 Unauthorized.*set UNICONV_TEST_KEY"),
    ],
)
def test_a_server_that_can_not_write_for_it(
    model: UniConv, vllm: VLLM, how: dict[str, Any], problem: str
) -> None:
    vars(vllm).update(how)
    with pytest.raises(RemoteError, match=problem):
        Generator(at(vllm), model.template)


def test_a_model_that_is_not_served(model: UniConv, vllm: VLLM) -> None:
    with pytest.raises(RemoteError, match="its models are tiny; 'large' is not among them"):
        Generator(at(vllm), model.template, "large")


def test_another_tokenizer_is_noticed(model: UniConv, vllm: VLLM) -> None:
    vllm.model = tiny_uniconv()
    decode = vllm.model.tokenizer.decode
    vllm.model.tokenizer.decode = lambda ids, **more: decode([one + 1 for one in ids], **more)
    with pytest.raises(RemoteError, match="its tokens mean something else"):
        Generator(at(vllm), model.template)


def test_the_shorter_context_holds(model: UniConv, vllm: VLLM) -> None:
    assert RemoteModel(model, Generator(at(vllm), model.template)).max_positions == 512
    vllm.max_model_len = 100
    assert RemoteModel(model, Generator(at(vllm), model.template)).max_positions == 100


# Embeddings


def test_embeddings_are_those_of_the_model(vllm: VLLM, folder: Path) -> None:
    index = Index.open(folder)
    model = UniConv.from_pretrained(index.model_name, device="cpu")
    reader = EmbeddingServer(at(vllm), index, index.model_name)
    remote = RemoteModel(reader, Generator(at(vllm), reader.template))
    told: list[int] = []
    found = remote.encode_passages(PASSAGES * 50, progress=told.append)
    np.testing.assert_allclose(found, model.encode_passages(PASSAGES * 50), atol=1e-5)
    assert told == [64, 36]
    reading = remote.read(TALK)
    np.testing.assert_allclose(reading.embedding, model.read(TALK).embedding, atol=1e-5)
    here = ConversationalSearch(model, index, SearchSettings(max_new_tokens=16)).ask(TALK)
    there = ConversationalSearch(remote, index, SearchSettings(max_new_tokens=16)).ask(TALK)
    assert (there.text, there.citations) == (here.text, here.citations)
    assert [one.passage.id for one in there.passages] == [one.passage.id for one in here.passages]


def test_a_reading_that_nobody_waits_for_ends(vllm: VLLM, folder: Path) -> None:
    index = Index.open(folder)
    reader = EmbeddingServer(at(vllm), index, index.model_name)
    vllm.may.clear()
    cancelled = Event()
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(reader.read_tokens, [1, 2, 3], cancelled)
        until(lambda: vllm.requests[-1][1]["input"] == [[1, 2, 3, reader.template.marker]])
        cancelled.set()
        with pytest.raises(CancelledError):
            reading.result(5)
    assert vllm.gone.wait(5)


def test_vectors_of_another_model_are_noticed(vllm: VLLM, folder: Path) -> None:
    vllm.model = tiny_uniconv(seed=1)
    index = Index.open(folder)
    with pytest.raises(RemoteError, match=r"not those of the index \(cosine 0.\d\d\); serve"):
        EmbeddingServer(at(vllm), index, index.model_name)


def test_an_index_may_keep_less_of_its_vectors(vllm: VLLM, tmp_path: Path) -> None:
    folder = tiny_index(tmp_path)
    documents, model = tmp_path / "documents", UniConv.from_pretrained(tmp_path / "model")
    build_index([documents], folder, model, dimensions=16, vectors="int8", quiet=True)
    reader = EmbeddingServer(at(vllm), Index.open(folder), tmp_path / "model")
    assert reader.dimension == 32
    vllm.model = tiny_uniconv(seed=1)
    with pytest.raises(RemoteError, match="not those of the index"):
        EmbeddingServer(at(vllm), Index.open(folder), tmp_path / "model")


def test_vectors_of_another_length_are_noticed(
    vllm: VLLM, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "embedding", lambda tokens: VLLM.embedding(vllm, tokens)[:16])
    index = Index.open(folder)
    with pytest.raises(RemoteError, match="vectors have 16 dimensions, the index's 32"):
        EmbeddingServer(at(vllm), index, index.model_name)


def test_a_pooling_that_no_server_has(vllm: VLLM, folder: Path, tmp_path: Path) -> None:
    model = tiny_uniconv(settings=Settings(pooling="weighted_mean"))
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="no server weighs states"):
        EmbeddingServer(at(vllm), Index.open(folder), tmp_path / "model")
