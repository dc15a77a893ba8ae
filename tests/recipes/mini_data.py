"""A small world in the formats of the mini recipe's data: passages, questions, dialogues."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path
from typing import Any

_PLACES = ("harbour", "orchard", "tower", "ferry", "mill", "library", "quarry", "bridge")
_ACTS = ("opened", "closed", "painted", "flooded", "repaired", "measured", "sold", "lifted")
_PEOPLE = ("masons", "sailors", "farmers", "teachers", "divers", "bakers", "clerks", "singers")
LEAK = "which of the seven painted boats sank during the winter regatta"
"""A question of the evaluation set."""


def sentence(rng: random.Random) -> str:
    """A sentence that is unlikely to come twice."""
    year, count = rng.randrange(1000, 2000), rng.randrange(2, 900)
    return (
        f"The {rng.choice(_PLACES)} was {rng.choice(_ACTS)} by {count} {rng.choice(_PEOPLE)} "
        f"in {year} near the {rng.choice(_PLACES)}."
    )


def paragraph(seed: int, sentences: int = 4) -> str:
    """Some sentences."""
    rng = random.Random(seed)
    return " ".join(sentence(rng) for _ in range(sentences))


def nothing_else(folder: Path) -> tuple[Any, ...]:
    """The options by which ``collect.py`` reads a small library instead of this machine's."""
    code = "\n".join(
        f'def paint_{n}(wall):\n    """Paint {paragraph(500 + n, 2)}"""' for n in range(12)
    )
    _write(folder / "library/walls.py", code)
    places = (("--library", "library"), ("--packages", "none"), ("--debian", "none"))
    return tuple(part for option, name in places for part in (option, folder / name))


def write_world(folder: Path, passages: int = 120, leak: bool = False) -> Path:
    """Writes the data; with ``leak`` a training dialogue has a question of the evaluation set."""
    wiki = [
        {"_id": f"w{n}", "title": f"{_PLACES[n % 8].title()} {n}", "text": paragraph(n, 6)}
        for n in range(passages)
    ]
    _write(folder / "wiki_corpus/corpus.jsonl", "\n".join(map(json.dumps, wiki)))
    books = [
        {
            "book": "astronomy",
            "title": f"Chapter {n}",
            "paras": [
                "Learning Objectives: Unit 5F Explain how the harbour was built and by whom",
                f"{paragraph(1000 + n, 6)} The mill is shown in . It was sold ().",
                paragraph(2000 + n, 8),
            ],
        }
        for n in range(20)
    ]
    _write(folder / "text/openstax.jsonl", "\n".join(map(json.dumps, books)))
    questions = [_question(row) for row in wiki[::2]]
    article = {"title": "Harbour_history", "paragraphs": questions}
    for name in ("dev-v2.0.from_explore_html.json", "dev-1.1.from_explore_html.json"):
        _write(folder / "squad" / name, json.dumps({"data": [article]}))
    turns = [turn for n in range(20) for turn in _dialogue(n)]
    if leak:
        turns.append(
            {**turns[-1], "Conversation_no": 99, "Context": [], "Question": f"And {LEAK}?"}
        )
    (folder / "topiocqa").mkdir(parents=True)
    _write(folder / "topiocqa/train_gold.jsonl", "")
    with zipfile.ZipFile(folder / "topiocqa/topiocqa.zip", "w") as archive:
        archive.writestr("topiocqa_train.json", json.dumps(turns))
        asked = {"Context": [], "Question": f"{LEAK.capitalize()}?", "Answer": "The blue one."}
        archive.writestr("topiocqa_dev.json", json.dumps([asked]))
    return folder


def _question(row: dict[str, str]) -> dict[str, Any]:
    first = row["text"].split(". ")[1]
    answer = first.split(" in ")[1].split()[0]
    asked = f"When was the {first.split()[1]} {first.split()[3]} by {first.split()[5]} people?"
    return {"context": row["text"], "qas": [{"question": asked, "answers": [answer]}]}


def _dialogue(number: int) -> list[dict[str, Any]]:
    rng = random.Random(number)
    said: list[str] = []
    turns = []
    for place in range(3):
        question, answer = f"what happened to the {rng.choice(_PLACES)}?", sentence(rng)
        turns.append(
            {
                "Conversation_no": number,
                "Turn_no": place + 1,
                "Context": list(said),
                "Question": question,
                "Answer": answer,
                "Topic": "Harbour",
                "Topic_section": "History",
            }
        )
        said += [question, answer]
    return turns


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
