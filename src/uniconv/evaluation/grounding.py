"""Whether a response rests on the passages that were read: word overlap, citations, declining.

Support is judged by the words that are shared, not by meaning: it is cheap, needs no model and is
the same everywhere, and it is deceived by paraphrase and by negation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from functools import cache

from uniconv.citations import marked_numbers, without_marks
from uniconv.evaluation.response_metrics import normalise, token_f1
from uniconv.sentences import sentences
from uniconv.types import Passage

SUPPORT = 0.5
"""The share of a sentence's content words that a passage must hold to support it."""

_NOT = r"(?:do(?:es)? not|don[’']?t|doesn[’']?t|can ?not|can[’']?t|could not)"
_LACK = (
    r"(?:information|info|details?|data|knowledge|answers?|enough|sufficient|specifics?|mention)"
)
_DECLINE = re.compile(
    rf"\b(?:i|we)\b.{{0,40}}?\b{_NOT}\s+(?:\w+\s+)?(?:know|find|have|see|answer|tell|say|provide)\b"
    rf"|\b(?:i|we) (?:found|find|have|know|see) (?:nothing|no)\b"
    rf"|\b(?:passages?|documents?|context|texts?|sources?|materials?)\b.{{0,60}}?\b{_NOT}\s+"
    rf"(?:\w+\s+)?(?:contain|provide|mention|include|say|specify|have|give|answer|state)\b"
    rf"|\b(?:there is|there[’']s|has|have|contains?|provides?) no (?:\w+ )?{_LACK}\b"
    rf"|\bnot (?:enough|sufficient) (?:information|context)\b"
    rf"|\b(?:unable|not able) to (?:find|answer|provide|tell|say)\b"
    rf"|\b(?:nothing|no (?:\w+ )?(?:{_LACK}|documents?|passages?)) (?:was |were )?found\b"
    rf"|\b(?:unanswerable|cannotanswer)\b|\bno answer\b",
    re.IGNORECASE,
)
# An answer to a part of the question, or to a question near it, after what isn't known.
_YET = re.compile(
    r"\b(?:however|nevertheless|nonetheless|that said)\b"
    r"|\bbut\b(?! (?:i|we|there|unfortunately|none|no|nothing)\b)"
    r"(?! the (?:passages?|documents?|context)\b)",
    re.IGNORECASE,
)


def content_words(text: str) -> list[str]:
    """The normalised words without stop words; all of them where nothing else is left."""
    words = normalise(without_marks(text)).split()
    return [word for word in words if word not in _stop_words()] or words


@cache
def _stop_words() -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_EN

    return frozenset(STOPWORDS_EN)


def is_supported(sentence: str, passages: Sequence[Passage], threshold: float = SUPPORT) -> bool:
    """Whether the passages together hold at least this share of the sentence's content words."""
    words = content_words(sentence)
    if not words or not passages:
        return False
    held = set(normalise(_text(passages)).split())
    return sum(word in held for word in words) >= threshold * len(words)


def knowledge_precision(response: str, passages: Sequence[Passage]) -> float:
    """K-Precision: the share of the response's words that the passages hold, with repetitions.

    Words are SQuAD's (Adlakha et al. 2024); 0 for a response without words.
    """
    words = Counter(normalise(without_marks(response)).split())
    held = Counter(normalise(_text(passages)).split())
    return (words & held).total() / max(1, words.total())


def knowledge_metrics(response: str, passages: Sequence[Passage]) -> dict[str, float]:
    """``k_precision`` and ``k_f1`` (knowledge F1, Shuster et al. 2021) against all passages."""
    return {
        "k_precision": knowledge_precision(response, passages),
        "k_f1": token_f1(without_marks(response), _text(passages)),
    }


def citation_metrics(
    response: str,
    passages: Sequence[Passage],
    positives: Collection[str] = (),
    threshold: float = SUPPORT,
) -> dict[str, float]:
    """How good the marks of a response are; mark n points to the n-th of the passages.

    ``citation_recall`` is the share of sentences that the passages they mark support together;
    a sentence without a mark counts as unsupported. ``citation_precision`` is the share of marks
    whose passage supports the sentence alone; absent where there is no mark. (After Gao et al.
    2023, with shared words in place of an entailment model.) With ``positives``, ``cited_relevant``
    is the share of cited passages that are relevant, and ``relevant_cited`` the share of the
    relevant passages among those read that are cited. A mark that points nowhere supports nothing.
    """
    supported, good_marks = [], []
    for sentence in sentences(response):
        if not normalise(without_marks(sentence)):
            continue
        numbers = marked_numbers(sentence)
        cited = [passages[number - 1 : number] if number else [] for number in numbers]
        together = [passage for one in cited for passage in one]
        supported.append(is_supported(sentence, together, threshold))
        good_marks += [is_supported(sentence, one, threshold) for one in cited]
    values: dict[str, float] = {}
    if supported:
        values["citation_recall"] = sum(supported) / len(supported)
    if good_marks:
        values["citation_precision"] = sum(good_marks) / len(good_marks)
    if positives:
        values |= _against_positives(marked_numbers(response), passages, set(positives))
    return values


def _against_positives(
    numbers: Sequence[int], passages: Sequence[Passage], positives: set[str]
) -> dict[str, float]:
    cited = [passages[n - 1].id if 1 <= n <= len(passages) else "" for n in numbers]
    read = {passage.id for passage in passages} & positives
    values = {}
    if cited:
        values["cited_relevant"] = sum(id in positives for id in cited) / len(cited)
    if read:
        values["relevant_cited"] = len(read & set(cited)) / len(read)
    return values


def declines(text: str) -> bool:
    """Whether a response says in its first sentence that it has no answer, or says nothing.

    It is told by phrases ("I don't know", "the passages do not mention"), English ones. A response
    that answers a part, which a "however" or a "but" tells, is no decline.
    """
    first = next(iter(sentences(without_marks(text))), "")
    if re.fullmatch(r"\W*(?:(?:i[’']?m |i am )?sorry|unfortunately)\W*", first, re.IGNORECASE):
        first = " ".join(sentences(without_marks(text))[:2])
    return not first or (_DECLINE.search(first) is not None and _YET.search(text) is None)


def _text(passages: Sequence[Passage]) -> str:
    return " ".join(f"{passage.title} {passage.text}" for passage in passages)
