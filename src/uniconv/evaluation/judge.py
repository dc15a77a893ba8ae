"""A language model as a judge: a grade from 1 to 5 and a reason for every response.

Judgements are kept in ``judgements.jsonl`` under a checksum of all that the judge was told, so that
none is paid for twice and none outlives the response that it was made for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from uniconv.data.lines import append_jsonl, resume_jsonl
from uniconv.data.records import Record
from uniconv.evaluation.chat_api import ChatClient, Completion
from uniconv.evaluation.predictions import Prediction
from uniconv.evaluation.prompts import Message, judge_messages
from uniconv.evaluation.protocols import Question

JUDGEMENTS = "judgements.jsonl"
ATTEMPTS = 2
"""How often a judge is asked that replies something else than a grade."""

_MAX_TOKENS = 300
_FENCE = re.compile(r"\A```(?:json)?\s*(.*?)\s*```\Z", re.DOTALL)
_AGAIN = 'Reply with the JSON object alone: {"score": 1 to 5, "reason": "one sentence"}'


@dataclass(frozen=True, slots=True)
class Judgement:
    """A line of ``judgements.jsonl``; ``score`` is None where the judge gave none."""

    id: str
    key: str
    score: int | None
    tokens: Mapping[str, int]
    seconds: float


def judge(
    folder: Path,
    questions: Sequence[Question],
    predictions: Mapping[str, Prediction],
    client: ChatClient,
    console: Console,
) -> tuple[dict[str, int], dict[str, Any]]:
    """Grades by query id, and what they cost; a turn that the judge gave no grade for is left out.

    Failures are tried again the next time.

    Raises:
        UniConvError: the server fails for good; what was judged so far is kept.
    """
    asked = {}
    for one in questions:
        made = predictions[one.id]
        asked[one.id] = judge_messages(one.context, one.references, made.read, made.text)
    keys = {id: _key(client, messages) for id, messages in asked.items()}
    path = folder / JUDGEMENTS
    known = {one.id for one in _scores(resume_jsonl(path, _judgement), keys)}
    left = [id for id in asked if id not in known]
    shown = track(left, "Judging", console=console, transient=True)
    append_jsonl(path, _judgements(shown, keys, asked, client))
    lines = resume_jsonl(path, _judgement)
    scores = {one.id: one.score for one in _scores(lines, keys) if one.score is not None}
    return scores, {
        "url": client.url,
        "model": client.model,
        "judged": len(scores),
        "failures": len(asked) - len(scores),
        "replies": sum(one.tokens["replies"] for one in lines),
        "prompt_tokens": sum(one.tokens["prompt"] for one in lines),
        "completion_tokens": sum(one.tokens["completion"] for one in lines),
        "seconds": round(sum(one.seconds for one in lines), 3),
    }


def _scores(lines: Sequence[Judgement], keys: Mapping[str, str]) -> list[Judgement]:
    return [one for one in lines if one.score is not None and keys.get(one.id) == one.key]


def _judgements(
    ids: Any, keys: Mapping[str, str], asked: Mapping[str, list[Message]], client: ChatClient
) -> Iterator[dict[str, Any]]:
    for id in ids:
        yield {"_id": id, "key": keys[id], **_ask(client, asked[id])}


def _ask(client: ChatClient, messages: list[Message]) -> dict[str, Any]:
    replies: list[Completion] = []
    verdict: dict[str, Any] = {}
    for _ in range(ATTEMPTS):
        reply = client.complete(messages, _MAX_TOKENS)
        replies.append(reply)
        parsed = parse_verdict(reply.text)
        if parsed is not None:
            verdict = {"score": parsed[0], "reason": parsed[1]}
            break
        verdict = {"score": None, "failure": reply.text[:500]}
        said = [{"role": "assistant", "content": reply.text}, {"role": "user", "content": _AGAIN}]
        messages = [*messages, *said]
    return {
        **verdict,
        "tokens": {
            "replies": len(replies),
            "prompt": sum(reply.prompt_tokens for reply in replies),
            "completion": sum(reply.completion_tokens for reply in replies),
        },
        "seconds": round(sum(reply.seconds for reply in replies), 3),
    }


def parse_verdict(text: str) -> tuple[int, str] | None:
    """Grade and reason of a reply that is the JSON object asked for and nothing else, or None.

    A code fence around it is taken off.
    """
    text = text.strip()
    fenced = _FENCE.match(text)
    try:
        value = json.loads(fenced.group(1) if fenced else text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or set(value) != {"score", "reason"}:
        return None
    score, reason = value["score"], value["reason"]
    if type(score) is not int or not 1 <= score <= 5 or not isinstance(reason, str):
        return None
    return score, reason


def _key(client: ChatClient, messages: Sequence[Message]) -> str:
    told = json.dumps([client.model, messages], ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _judgement(record: Record) -> Judgement:
    tokens = record.record("tokens")
    seconds = record.fields.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise record.error("seconds", "is no number; expected seconds")
    return Judgement(
        record.identifier("_id"),
        record.text("key"),
        record.integer("score") if record.has("score") else None,
        {kind: tokens.integer(kind) for kind in ("replies", "prompt", "completion")},
        float(seconds),
    )
