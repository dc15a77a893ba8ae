from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from scripted import Scripted, question, searching

from tiny import tiny_uniconv
from uniconv.engine import Engine
from uniconv.search import ConversationalSearch
from uniconv.serving.app import create_app
from uniconv.types import Answer, Usage


def figures(client: TestClient) -> dict[str, float]:
    text = client.get("/metrics").text
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())):
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }  # fmt: skip


def test_what_is_counted_and_timed(tmp_path: Path) -> None:
    model = Scripted()
    chat = "path=/v1/chat/completions"
    with TestClient(create_app(searching(tmp_path, model))) as client:
        client.post("/v1/chat/completions", json=question())
        client.post("/v1/chat/completions", json=question(stream=True))
        client.post("/v1/chat/completions", json={})
        client.get("/anything/goes")
        found = figures(client)
        assert found[f"uniconv_requests_total,method=POST,{chat},status=200"] == 2
        assert found[f"uniconv_requests_total,method=POST,{chat},status=400"] == 1
        assert found["uniconv_requests_total,method=GET,path=other,status=404"] == 1
        assert found[f"uniconv_request_seconds_count,{chat}"] == 3
        for stage in ("queue", "read", "retrieve", "first_text", "write", "total"):
            assert found[f"uniconv_stage_seconds_count,stage={stage}"] == 2
        read = found["uniconv_stage_seconds_sum,stage=read"]
        assert 0 < read < found["uniconv_stage_seconds_sum,stage=total"]
        assert found["uniconv_tokens_total,kind=prompt"] == 2 * len(model.asked[-1][0].tokens)
        assert found["uniconv_conversation_cache_total,outcome=miss"] == 2
        assert found["uniconv_index_passages"] == 3
        assert (found["uniconv_working"], found["uniconv_queue_length"]) == (0, 0)
        assert not [name for name in found if name.startswith("uniconv_engine")]

        timings = {"read": 0.5, "total": 2.0}
        usage = Usage(prompt_tokens=9, cached_tokens=7, completion_tokens=5)
        answer = Answer("", (), (), True, timings, usage, "stop")
        client.app.state.service.metrics.answer(answer, 0.1)  # type: ignore[attr-defined]
        found = figures(client)
        assert found["uniconv_conversation_cache_total,outcome=hit"] == 1
        assert found["uniconv_tokens_total,kind=cached"] == 7
        assert found["uniconv_tokens_total,kind=completion"] == 5
        assert found["uniconv_stage_seconds_bucket,le=0.5,stage=read"] == 3


def test_an_engine_tells_of_its_cache(tmp_path: Path) -> None:
    model = tiny_uniconv()
    search = searching(tmp_path, model, max_new_tokens=4)
    asked = question("Who built the tower of the old harbour, and when was it opened to visitors?")
    with (
        Engine(model) as engine,
        TestClient(create_app(ConversationalSearch(engine, search.index))) as client,
    ):
        said = client.post("/v1/chat/completions", json=asked).json()["choices"][0]["message"]
        asked["messages"] += [said, {"role": "user", "content": "When?"}]
        again = client.post("/v1/chat/completions", json=asked).json()
        found = figures(client)
    cached = again["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached > 0
    assert found["uniconv_tokens_total,kind=cached"] == cached
    assert found["uniconv_conversation_cache_total,outcome=hit"] == 1
    assert found["uniconv_engine_hits"] == 1
    assert found["uniconv_engine_cache_bytes"] > 0
