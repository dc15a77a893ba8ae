"""The only place where text becomes tokens.

A prompt is built from a *frame*, the constant strings around the contents, and the contents. Each
is tokenised on its own and their tokens are joined. So the tokens of a conversation begin the
tokens of everything built on it, whatever the tokenizer: what has been computed for a conversation
once serves its embedding, its answer and its next turn (docs/architecture.md, "Read once").

Contents are data: special tokens are never parsed from them, so a passage can't close its
delimiters or speak as the user where the frame uses special tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from uniconv.errors import TemplateError
from uniconv.frames import Frame, chat_frame, plain_frame
from uniconv.types import Conversation, Passage, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TemplateKind = Literal["auto", "chat", "plain"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The most tokens that a conversation, an embedded passage and a response may take.

    Defaults follow ChatRetriever (session 1024, passage 384). A longer conversation loses its
    oldest turns, half of the room at a time, then the beginning of its only question; passages and
    responses lose their end.
    """

    conversation: int = 1024
    passage: int = 384
    response: int = 256


class Template:
    """Conversations, passages and responses as token ids (lists of int, no padding)."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        frame: Frame,
        limits: Limits | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.frame = frame
        self.limits = limits or Limits()
        self._frame_ids = {
            field.name: _tokens(tokenizer, getattr(frame, field.name), special=True)
            for field in fields(frame)
        }
        if len(self._frame_ids["marker"]) != 1:
            raise TemplateError(
                f"the embedding marker '{frame.marker}' must be one token of the tokenizer, not "
                f"{len(self._frame_ids['marker'])}"
            )
        self.marker: int = self._frame_ids["marker"][0]
        self.stop = frozenset(self._frame_ids["assistant_close"][:1])
        if not self.stop:
            raise TemplateError("nothing ends a response: the frame's assistant_close is empty")

    def conversation(self, conversation: Conversation) -> list[int]:
        """``C_n`` while the last question waits for its response; the whole trunk otherwise."""
        room = self.limits.conversation - len(self._frame_ids["start"])
        questions = [self._question(turn) for turn in conversation.turns]
        answers = [self._answer(turn) for turn in conversation.turns]
        first = _window(list(map(len, questions)), list(map(len, answers)), room)
        excess = len(questions[-1]) - room
        if excess > 0:
            questions[-1] = self._question(conversation.turns[-1], drop=excess)
        tokens = list(self._frame_ids["start"])
        for question, answer in zip(questions[first:], answers[first:], strict=True):
            tokens += question + answer
        return tokens

    def conversation_query(self, conversation: Conversation) -> list[int]:
        """``C_n`` and the marker: what retrieval embeds."""
        return [*self.conversation(conversation), self.marker]

    def passages_block(self, passages: Sequence[Passage]) -> list[int]:
        """Numbered passages as they follow ``C_n`` in a prompt; nothing for no passages."""
        if not passages:
            return []
        frame = self._frame_ids
        block = list(frame["passages_open"])
        for number, passage in enumerate(passages, start=1):
            text = _tokens(self.tokenizer, f"[{number}] {_document(passage)}")
            block += frame["passage_open"] + text[: self.limits.passage] + frame["passage_close"]
        return block + frame["passages_close"]

    def answer_suffix(self, passages: Sequence[Passage] = ()) -> list[int]:
        """What follows ``C_n`` in a prompt: the passages and the assistant's header."""
        return self.passages_block(passages) + self._frame_ids["assistant_open"]

    def prompt(self, conversation: Conversation, passages: Sequence[Passage] = ()) -> list[int]:
        """``C_n``, the passages, and the header after which the response is written."""
        return self.conversation(conversation) + self.answer_suffix(passages)

    def grounded_query(self, conversation: Conversation, passages: Sequence[Passage]) -> list[int]:
        """``C_n``, passages and the marker: the query of the context identification instruction."""
        return [*self.conversation(conversation), *self.passages_block(passages), self.marker]

    def passage(self, passage: Passage) -> list[int]:
        """A passage and the marker: what the index embeds."""
        frame = self._frame_ids
        head = frame["document_start"] + frame["passage_open"]
        tail = [*frame["passage_close"], self.marker]
        room = max(0, self.limits.passage - len(head) - len(tail))
        return head + _tokens(self.tokenizer, _document(passage))[:room] + tail

    def response(self, text: str) -> list[int]:
        """A response with the tokens that end it: what follows a prompt."""
        close = self._frame_ids["assistant_close"]
        room = max(0, self.limits.response - len(close))
        return _tokens(self.tokenizer, text.strip())[:room] + close

    def response_document(self, text: str) -> list[int]:
        """A response and the marker: what the context identification instruction singles out."""
        frame = self._frame_ids
        return (
            frame["document_start"] + frame["assistant_open"] + self.response(text) + [self.marker]
        )

    def content(self, text: str) -> list[int]:
        """A text's own tokens: what it takes of the room that a limit leaves."""
        return _tokens(self.tokenizer, text)

    def to_json(self) -> dict[str, Any]:
        """The part of ``uniconv.json`` that :func:`load_template` reads back."""
        return {"frame": asdict(self.frame), "limits": asdict(self.limits)}

    def _question(self, turn: Turn, drop: int = 0) -> list[int]:
        """A question's tokens; ``drop`` tokens are cut from its beginning."""
        frame = self._frame_ids
        query = _tokens(self.tokenizer, turn.query.strip())
        return frame["user_open"] + query[min(drop, len(query)) :] + frame["user_close"]

    def _answer(self, turn: Turn) -> list[int]:
        """A response's tokens after the assistant's header; none where there is no response."""
        if turn.response is None:
            return []
        return self._frame_ids["assistant_open"] + self.response(turn.response)


def _window(questions: Sequence[int], answers: Sequence[int], room: int) -> int:
    """The first turn that is kept, from the numbers of tokens of all turns.

    When the next question no longer fits, the window moves on to where it fills half of the room,
    and stays there until it is full again. Moving by one turn at a time would keep more, but no
    two turns would share a beginning, so nothing that was read could be used again.
    """
    first = before = 0
    for turn, question in enumerate(questions):
        if before + question > room:
            while first < turn and before + question > room // 2:
                before -= questions[first] + answers[first]
                first += 1
        before += question + answers[turn]
    return first


def load_template(
    tokenizer: PreTrainedTokenizerBase,
    kind: TemplateKind = "auto",
    saved: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
) -> Template:
    """The template of a backbone.

    ``auto`` takes the ``saved`` one of a UniConv checkpoint, else the tokenizer's chat format,
    else (no chat format) the plain one.

    Raises:
        TemplateError: the chat format isn't prefix-stable, or there is none.
    """
    if kind == "auto" and saved is not None:
        frame = Frame.from_json(saved.get("frame", {}))
        return Template(tokenizer, frame, limits or Limits(**saved.get("limits", {})))
    if kind == "chat" or (kind == "auto" and tokenizer.chat_template):
        return Template(tokenizer, chat_frame(tokenizer), limits)
    return Template(tokenizer, plain_frame(tokenizer), limits)


def _document(passage: Passage) -> str:
    title, text = passage.title.strip(), passage.text.strip()
    return f"{title}\n{text}" if title else text


def _tokens(tokenizer: PreTrainedTokenizerBase, text: str, *, special: bool = False) -> list[int]:
    """Token ids of ``text``; special tokens are parsed only where ``special`` is true."""
    if not text:
        return []
    # What is too long is cut to the template's limits, so nobody need be warned of it.
    encoded = tokenizer(
        text, add_special_tokens=False, split_special_tokens=not special, verbose=False
    )
    return [int(token) for token in encoded["input_ids"]]
