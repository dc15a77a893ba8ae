"""Models, index and passages of an evaluation of responses, opened when they are first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from uniconv.errors import DataError, UniConvError
from uniconv.evaluation.chat_api import ChatClient
from uniconv.evaluation.collection import Collection, CorpusCollection, Draw, IndexCollection
from uniconv.evaluation.generators import (
    EXTRACTIVE,
    ApiGenerator,
    ExtractiveGenerator,
    Generator,
    ModelGenerator,
    Response,
    model_identity,
)
from uniconv.evaluation.protocols import Part, Question
from uniconv.evaluation.response_settings import ResponseEvaluation, is_url
from uniconv.types import Conversation, Passage

if TYPE_CHECKING:
    from uniconv.engine import Engine
    from uniconv.model import UniConv
    from uniconv.remote.model import RemoteModel
    from uniconv.retrieval.interface import Index
    from uniconv.search import AnswerStream


class Search(Protocol):
    """What retrieves for a conversation and answers it, as ConversationalSearch does."""

    model: UniConv | Engine | RemoteModel
    index: Index

    def stream(self, conversation: Conversation) -> AnswerStream:
        """Retrieves at once; the answer is written as the result is iterated."""


Respond = Callable[[Question], Response]


class Opened:
    """What the settings name; each is loaded at its first use, and once for all parts."""

    def __init__(
        self,
        settings: ResponseEvaluation,
        inputs: Mapping[str, Mapping[str, str]],
        search: Search | None,
        model: UniConv | None,
    ) -> None:
        self._settings = settings
        self._inputs = inputs
        self._given_search = search
        self._given_model = model

    @cached_property
    def index(self) -> Index:
        """The index; settings without one don't get here."""
        if self._given_search is not None:
            return self._given_search.index
        from uniconv.retrieval.interface import Index

        return Index.open(cast(Path, self._settings.index))

    @cached_property
    def model(self) -> UniConv:
        """The index's model or, without an index, the one that responds."""
        if self._given_search is not None:
            from uniconv.engine import Engine
            from uniconv.remote.model import RemoteModel

            model = self._given_search.model
            if isinstance(model, RemoteModel):
                raise UniConvError(
                    "an evaluation runs the model here; search with the model itself"
                )
            return model.model if isinstance(model, Engine) else model
        if self._given_model is not None and self._settings.generator is None:
            return self._given_model
        return _load(self._settings.model or self.index.model_name)

    @cached_property
    def search(self) -> Search:
        """The search that retrieves and answers."""
        if self._given_search is not None:
            return self._given_search
        from uniconv.search import ConversationalSearch, SearchSettings

        own = self._settings
        settings = SearchSettings(
            retriever=own.retriever,
            retrieve=max(10, own.read),
            read=own.read,
            threshold=own.threshold,
            quote=own.quote,
            max_new_tokens=own.max_new_tokens,
        )
        return ConversationalSearch(self.model, self.index, settings)

    @cached_property
    def generator(self) -> Generator:
        """What responds."""
        own = self._settings
        if own.generator is None:
            return ModelGenerator(self.model, own.max_new_tokens, own.quote)
        if own.generator == EXTRACTIVE:
            return ExtractiveGenerator()
        if is_url(own.generator):
            client = ChatClient(
                own.generator,
                cast(str, own.generator_model),
                timeout=own.timeout,
                retries=own.retries,
            )
            return ApiGenerator(client, own.max_new_tokens)
        model = self._given_model or _load(own.generator)
        return ModelGenerator(model, own.max_new_tokens, own.quote)

    @cached_property
    def collection(self) -> Collection:
        """The passages: the corpus where there is one, else the index."""
        if self._settings.corpus is not None:
            return CorpusCollection(self._settings.corpus)
        return IndexCollection(self.index)

    def questions(self, part: Part, questions: Sequence[Question]) -> list[Question]:
        """The turns of a part: those with positives where these are shown.

        Raises:
            UniConvError: there are none.
        """
        if part.passages != "relevant":
            return list(questions)
        judged = [question for question in questions if question.positives]
        if not judged:
            path = self._settings.conversations
            raise DataError(path, None, "has no turn with a response and positives")
        return judged

    def deciding(self, part: Part) -> dict[str, Any]:
        """What a part's predictions depend on beside its protocol, without any path.

        Models are known by their fingerprints, passages by their checksums.
        """
        own = self._settings
        about: dict[str, Any] = {"generator": self.generator.identity}
        if part.passages == "retrieved":
            about["retriever"] = {
                "kind": own.retriever,
                **model_identity(self.model),
                "passages": self.index.identity,
            }
            if own.generator is None:
                about["threshold"] = (
                    self.model.settings.threshold if own.threshold is None else own.threshold
                )
        elif part.passages != "none":
            corpus = self._inputs.get("corpus")
            about["corpus"] = corpus["sha256"] if corpus else self.index.identity
        if part.passages == "irrelevant":
            about["seed"] = own.seed
        return about

    def responder(self, part: Part, questions: Sequence[Question]) -> Respond:
        """What responds to a part's questions.

        Raises:
            UniConvError: a relevant passage is missing, or there are no others.
        """
        if part.passages == "retrieved":
            return self._with_retrieved(part)
        given = self._passages(part, questions)

        def respond(question: Question) -> Response:
            return self.generator.respond(part.shown(question.context), given[question.id])

        return respond

    def _with_retrieved(self, part: Part) -> Respond:
        """The whole search, or its passages in the hands of another generator.

        Another generator gets the passages whatever the search's confidence: it declines itself.
        """
        search, own = self.search, self._settings

        def respond(question: Question) -> Response:
            context = part.shown(question.context)
            stream = search.stream(context)
            if own.generator is None:
                answer = stream.answer
                return Response(
                    answer.text,
                    stream.read,
                    answer.timings,
                    found=stream.found,
                    confidence=stream.confidence,
                )
            return self.generator.respond(
                context, [scored.passage for scored in stream.passages[: own.read]]
            )

        return respond

    def _passages(
        self, part: Part, questions: Sequence[Question]
    ) -> Mapping[str, Sequence[Passage]]:
        own = self._settings
        if part.passages == "none":
            return {question.id: () for question in questions}
        if part.passages == "irrelevant":
            draws = {one.id: Draw(own.read, set(one.positives)) for one in questions}
            drawn = self.collection.draw(draws, own.seed)
            empty = next((id for id, passages in drawn.items() if not passages), None)
            if empty is not None:
                raise UniConvError(
                    f"query '{empty}' has no irrelevant passage: all passages are its positives"
                )
            return drawn
        needed = {id for question in questions for id in question.positives[: own.read]}
        found = self.collection.find(needed)
        missing = sorted(needed - found.keys())
        if missing:
            problem = f"lacks {len(missing)} relevant passages, such as '{missing[0]}'"
            raise DataError(cast(Path, own.corpus or own.index), None, problem)
        return {one.id: [found[id] for id in one.positives[: own.read]] for one in questions}


def _load(source: str) -> UniConv:
    from uniconv.model import UniConv

    return UniConv.from_pretrained(source)
