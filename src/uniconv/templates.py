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
from uniconv.types import Conversation, Passage, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TemplateKind = Literal["auto", "chat", "plain"]

_INSTRUCTION = (
    "Answer my last question from the passages above and cite them with their marks, such as [1]."
)


@dataclass(frozen=True, slots=True)
class Frame:
    """The constant strings around contents; special tokens in them are parsed.

    ``start`` opens a conversation, ``document_start`` a passage or response that is embedded.
    ``passages_open`` and ``passages_close`` surround all passages of a prompt, ``passage_open``
    and ``passage_close`` each one. ``marker`` is the one token at which embeddings are read.
    """

    start: str
    user_open: str
    user_close: str
    assistant_open: str
    assistant_close: str
    passages_open: str
    passage_open: str
    passage_close: str
    passages_close: str
    document_start: str
    marker: str

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Frame:
        """The frame saved in ``uniconv.json``."""
        names = {field.name for field in fields(cls)}
        if set(value) != names or not all(isinstance(text, str) for text in value.values()):
            raise TemplateError(f"a frame needs the strings {', '.join(sorted(names))}")
        return cls(**value)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most tokens that a conversation, an embedded passage and a response may take.

    Defaults follow ChatRetriever (session 1024, passage 384). A longer conversation loses its
    oldest turns, then the beginning of its only question; passages and responses lose their end.
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
        turns = [self._turn(turn) for turn in conversation.turns]
        room = self.limits.conversation - len(self._frame_ids["start"])
        first = len(turns) - 1
        length = len(turns[first])
        while first > 0 and length + len(turns[first - 1]) <= room:
            first -= 1
            length += len(turns[first])
        if length > room:
            last = conversation.turns[-1]
            excess = length - room
            turns[-1] = self._turn(last, drop=excess)
        return self._frame_ids["start"] + [token for turn in turns[first:] for token in turn]

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

    def to_json(self) -> dict[str, Any]:
        """The part of ``uniconv.json`` that :func:`load_template` reads back."""
        return {"frame": asdict(self.frame), "limits": asdict(self.limits)}

    def _turn(self, turn: Turn, drop: int = 0) -> list[int]:
        """A turn's tokens; ``drop`` tokens are cut from the beginning of its question."""
        frame = self._frame_ids
        query = _tokens(self.tokenizer, turn.query.strip())
        tokens = frame["user_open"] + query[min(drop, len(query)) :] + frame["user_close"]
        if turn.response is not None:
            tokens += frame["assistant_open"] + self.response(turn.response)
        return tokens


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


def plain_frame(tokenizer: PreTrainedTokenizerBase) -> Frame:
    """A frame of labels and line ends, for backbones without a usable chat format."""
    bos, eos = tokenizer.bos_token or "", tokenizer.eos_token
    if not eos:
        raise TemplateError(
            "the tokenizer has no end-of-sequence token; set tokenizer.eos_token and save it"
        )
    return Frame(
        start=bos,
        user_open="User: ",
        user_close="\n",
        assistant_open="Assistant:",
        assistant_close=f"{eos}\n",
        passages_open="Passages:\n",
        passage_open="",
        passage_close="\n\n",
        passages_close=f"{_INSTRUCTION}\n",
        document_start=bos,
        marker=eos,
    )


def chat_frame(tokenizer: PreTrainedTokenizerBase) -> Frame:
    """The frame that a tokenizer's own chat format implies.

    A conversation of unmistakable contents is rendered and split at them. The frame is accepted
    only if it renders other conversations, short and long, exactly as the chat format does.

    Raises:
        TemplateError: there is no chat format, or a conversation's rendering changes when it goes
            on (for instance because thinking is stripped from earlier turns).
    """
    if not tokenizer.chat_template:
        raise TemplateError("the tokenizer has no chat format; choose template 'plain'")
    if not tokenizer.eos_token:
        raise TemplateError("the tokenizer has no end-of-sequence token to mark embeddings with")
    contents = ["uq1", "ur1", "uq2", "ur2"]
    start_open, user_answer, between, user_answer_2, close = _split(
        _render(tokenizer, contents), contents
    )
    # What ends an answer is what a conversation shows after it when nothing follows.
    after_answer = _split(_render(tokenizer, contents[:2]), contents[:2])[-1]
    user_close = _split(_render(tokenizer, contents[:1]), contents[:1])[-1]
    stable = (
        between.startswith(after_answer)
        and user_answer.startswith(user_close)
        and user_answer == user_answer_2
        and close == after_answer
    )
    user_open = between[len(after_answer) :]
    if not stable or not start_open.endswith(user_open) or not after_answer:
        raise TemplateError(_UNSTABLE)
    bos = tokenizer.bos_token or ""
    frame = Frame(
        start=start_open[: len(start_open) - len(user_open)],
        user_open=user_open,
        user_close=user_close,
        assistant_open=user_answer[len(user_close) :],
        assistant_close=after_answer,
        passages_open=f"{user_open}Passages:\n",
        passage_open="",
        passage_close="\n\n",
        passages_close=f"{_INSTRUCTION}{user_close}",
        document_start=bos if start_open.startswith(bos) else "",
        marker=tokenizer.eos_token,
    )
    _check(tokenizer, frame)
    return frame


_UNSTABLE = (
    "the backbone's chat format is not prefix-stable: what follows a turn changes how the turn is "
    "written, so a conversation could not be read once; choose template 'plain'"
)


def _check(tokenizer: PreTrainedTokenizerBase, frame: Frame) -> None:
    for contents in (
        ["What is it?"],
        ["Où ça?", "Là-bas: <b>1</b>."],
        ["one", "two\n\nthree", "four"],
        ["一", "2 + 2 = 4", "why?", "Because [1].", "And <think>this</think>?"],
    ):
        written = frame.start
        for number, content in enumerate(contents):
            user = number % 2 == 0
            written += frame.user_open if user else frame.assistant_open
            written += content
            written += frame.user_close if user else frame.assistant_close
        if written != _render(tokenizer, contents):
            raise TemplateError(_UNSTABLE)


def _render(tokenizer: PreTrainedTokenizerBase, contents: Sequence[str]) -> str:
    messages = [
        {"role": "assistant" if number % 2 else "user", "content": content}
        for number, content in enumerate(contents)
    ]
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False))
    except Exception as error:  # a chat format is a program of the backbone's: anything can happen
        raise TemplateError(
            f"the backbone's chat format failed on a plain conversation ({error}); choose template "
            "'plain'"
        ) from error


def _split(text: str, contents: Sequence[str]) -> list[str]:
    parts = []
    for content in contents:
        before, found, text = text.partition(content)
        if not found:
            raise TemplateError(_UNSTABLE)
        parts.append(before)
    return [*parts, text]


def _document(passage: Passage) -> str:
    title, text = passage.title.strip(), passage.text.strip()
    return f"{title}\n{text}" if title else text


def _tokens(tokenizer: PreTrainedTokenizerBase, text: str, *, special: bool = False) -> list[int]:
    """Token ids of ``text``; special tokens are parsed only where ``special`` is true."""
    if not text:
        return []
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=not special)["input_ids"]
    return [int(token) for token in ids]
