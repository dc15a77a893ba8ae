"""The constant strings around contents, and how a backbone's chat format becomes such a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from uniconv.errors import TemplateError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
