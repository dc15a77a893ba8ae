"""What clients send: OpenAI's requests as far as they mean something here, and our own."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from uniconv.search import Retriever, SearchSettings
from uniconv.serving.errors import ApiError
from uniconv.serving.settings import ServerSettings


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("the text holds half a character (a lone surrogate)") from error
    return text


def _as_list(value: Any) -> Any:
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


Text = Annotated[str, AfterValidator(_whole)]
Count = Annotated[int, Field(ge=1)]
Filters = Annotated[dict[Text, Text | list[Text]], Field(max_length=16)]
"""Fields of passages' metadata, and the value or the values that they may have."""
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Message(BaseModel):
    """One of a conversation's messages; its parts, where it has several, are joined."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text

    @field_validator("content", mode="before")
    @classmethod
    def _join_parts(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        texts = []
        for part in value:
            if not (isinstance(part, dict) and isinstance(part.get("text"), str)):
                raise ValueError("only parts of text are understood")
            texts.append(part["text"])
        return "\n".join(texts)

    @model_validator(mode="after")
    def _refuse_empty_questions(self) -> Self:
        if self.role == "user" and not self.content.strip():
            raise ValueError("a user's message must not be empty")
        return self


class StreamOptions(BaseModel):
    """OpenAI's."""

    include_usage: bool = False


class Extension(BaseModel):
    """How this one question is answered, where it differs from the server's settings."""

    model_config = ConfigDict(extra="forbid")

    retriever: Retriever | None = None
    retrieve: Count | None = None
    read: Count | None = None
    threshold: Finite | None = None
    quote: bool | None = None
    filters: Filters | None = None


class ChatRequest(BaseModel):
    """OpenAI's chat completion request; what it may hold beside this is ignored."""

    model_config = ConfigDict(extra="allow")

    messages: list[Message] = Field(min_length=1)
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[list[Text], BeforeValidator(_as_list), Field(max_length=16)] = []
    user: str | None = None
    uniconv: Extension | None = None

    def settings(
        self, default: SearchSettings, limits: ServerSettings, max_tokens: int
    ) -> SearchSettings:
        """The search's settings for this question; an answer has at most ``max_tokens``.

        Raises:
            ApiError: more is asked for than the server allows.
            ConfigError: the settings don't fit together.
        """
        asked = self.max_completion_tokens or self.max_tokens
        if asked is not None and asked > max_tokens:
            raise ApiError(
                400,
                f"max_tokens: an answer may have at most {max_tokens} tokens here, not {asked}",
                "max_tokens_exceeded",
                param="max_tokens",
            )
        extension = self.uniconv or Extension()
        settings = _retrieving(
            default, limits, extension.retrieve, extension.retriever, "uniconv.retrieve"
        )
        changes = {
            "read": extension.read,
            "threshold": extension.threshold,
            "quote": extension.quote,
            "filters": extension.filters,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
        }
        given: dict[str, Any] = {
            name: value for name, value in changes.items() if value is not None
        }
        asked = asked or min(default.max_new_tokens, max_tokens)
        return replace(settings, max_new_tokens=asked, stop=tuple(self.stop), **given)

    @property
    def ignored(self) -> list[str]:
        """Fields that were sent and mean nothing here."""
        return sorted(name for name, value in (self.model_extra or {}).items() if value is not None)


class SearchRequest(BaseModel):
    """A question, or a conversation whose last question is searched for."""

    model_config = ConfigDict(extra="forbid")

    query: Text | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    k: Count | None = None
    retriever: Retriever | None = None
    filters: Filters | None = None

    def conversation_messages(self) -> list[Message]:
        """What to search for, as messages.

        Raises:
            ApiError: there is neither a query nor messages, or both.
        """
        if (self.query is None) == (self.messages is None):
            raise ApiError(400, "give either a query or messages", "invalid_value", param="query")
        if self.query is not None and not self.query.strip():
            raise ApiError(400, "query: must not be empty", "invalid_value", param="query")
        return self.messages or [Message(role="user", content=self.query or "")]

    def settings(self, default: SearchSettings, limits: ServerSettings) -> SearchSettings:
        """The search's settings for this request."""
        settings = _retrieving(default, limits, self.k, self.retriever, "k")
        return settings if self.filters is None else replace(settings, filters=self.filters)


class EmbeddingsRequest(BaseModel):
    """OpenAI's embeddings request, and whether the inputs are passages or questions."""

    model_config = ConfigDict(extra="allow")

    input: Annotated[list[Text], BeforeValidator(_as_list)]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    role: Literal["passage", "query"] = "passage"

    def texts(self, limit: int) -> list[str]:
        """The inputs.

        Raises:
            ApiError: there are none or too many, or one is empty.
        """
        problem = None
        if not 1 <= len(self.input) <= limit:
            problem = f"1 to {limit} texts can be embedded at once, not {len(self.input)}"
        elif not all(text.strip() for text in self.input):
            problem = "a text is empty"
        if problem:
            raise ApiError(400, f"input: {problem}", "invalid_value", param="input")
        return self.input


def _retrieving(
    default: SearchSettings,
    limits: ServerSettings,
    retrieve: int | None,
    retriever: Retriever | None,
    param: str,
) -> SearchSettings:
    """``retrieve`` passages are retrieved, and of them as many are read as by default."""
    retrieve = retrieve or default.retrieve
    if retrieve > limits.max_retrieve:
        raise ApiError(
            400,
            f"{param}: at most {limits.max_retrieve} passages can be retrieved, not {retrieve}",
            "invalid_value",
            param=param,
        )
    read = min(default.read, retrieve)
    return replace(default, retriever=retriever or default.retriever, retrieve=retrieve, read=read)
