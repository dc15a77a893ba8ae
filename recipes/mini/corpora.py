"""The texts of the mini recipe: every folder of the data as documents and dialogues."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cleaning
from documents import Document, Source, dialogue, text
from text import clean, read_lines

_NON_COMMERCIAL_BOOKS = frozenset(
    {
        *("principles-marketing", "introduction-python-programming", "writing-guide"),
        *("nursing-external-bundle", "workplace-software-skills", "introduction-business"),
        *("introduction-intellectual-property", "principles-finance", "business-law"),
    }
)
"""Books under CC BY-NC-SA, or whose licence isn't known to be CC BY."""


def corpora(data: Path) -> Iterator[Document]:
    """All documents; where two say the same, the first is the better one.

    A folder that is absent is skipped with a line.
    """
    readers: tuple[tuple[str, Callable[[Path], Iterator[Document]]], ...] = (
        ("wiki_corpus", wiki),
        ("text", books),
        ("text", general),
        ("medquad", medquad),
        ("mtrag", manuals),
        ("doc2dial", service),
        ("dstc", knowledge),
        ("squad", squad),
        ("qed_nq", natural_questions),
        ("topiocqa", topiocqa),
        ("qrecc", qrecc),
        ("canard", canard),
        ("topical_chat", topical_chat),
        ("cmu_dog", cmu_dog),
        ("mtrag", synthetic),
        ("text", instructions),
    )
    for folder, read in readers:
        if (data / folder).is_dir():
            yield from read(data / folder)
        else:
            print(f"{data / folder}: absent, skipped")


def wiki(folder: Path) -> Iterator[Document]:
    source = Source("wiki_corpus", "wikipedia", "CC BY-SA 3.0")
    for row in read_lines(folder / "corpus.jsonl"):
        if len(row["text"].split()) >= 8:
            title, body = clean(row["title"]), clean(row["text"])
            yield Document(source, title, (body,), row["title"], id=row["_id"])


def books(folder: Path) -> Iterator[Document]:
    free = Source("openstax", "textbooks", "CC BY 4.0")
    bound = Source("openstax_nc", "textbooks", "CC BY-NC-SA 4.0 or unknown", commercial=False)
    for number, row in enumerate(_lines(folder / "openstax.jsonl")):
        if row["title"] in cleaning.BOOK_ENDS:
            continue
        source = bound if row["book"] in _NON_COMMERCIAL_BOOKS else free
        paragraphs = [cleaning.book_paragraph(one) for one in row["paras"]]
        name = row["book"].removesuffix("-bundle").replace("-", " ")
        title = f"{row['title'].replace('📖', '').strip()} ({name})"
        yield text(source, title, paragraphs, f"{row['book']} {number // 8}")


def general(folder: Path) -> Iterator[Document]:
    """The Factbook, news, speeches, the Brown corpus and WikiText-2."""
    public = Source("factbook", "reference", "public domain")
    for row in _lines(folder / "factbook.jsonl"):
        name = row["name"] or ""
        if name and name.lower() != "none":
            yield text(public, name, list(cleaning.facts(name, row["fields"])))
    abc = Source("nltk_abc", "news and speeches", "NLTK data, research use", commercial=False)
    for title, paragraphs in cleaning.news(_read(folder / "nltk_abc.txt")):
        yield text(abc, title, paragraphs)
    for name in ("nltk_state_union", "nltk_inaugural"):
        source = Source(name, "news and speeches", "public domain")
        for title, paragraphs in cleaning.speeches(_read(folder / f"{name}.txt")):
            for start in range(0, len(paragraphs), 6):
                yield text(source, title, paragraphs[start : start + 6], f"{name}{start // 60}")
    source = Source("nltk_brown", "news and speeches", "NLTK data, research use", commercial=False)
    for number, paragraphs in enumerate(cleaning.brown(_read(folder / "nltk_brown.txt"))):
        yield text(source, "", paragraphs, f"brown{number // 5}")
    source = Source("wikitext2", "wikipedia", "CC BY-SA 3.0")
    for name in ("valid", "test"):
        for title, paragraphs in cleaning.wikitext(_read(folder / f"wikitext2_{name}.txt")):
            yield text(source, title, paragraphs)


def medquad(folder: Path) -> Iterator[Document]:
    source = Source("medquad", "medicine", "CC BY 4.0")
    for row in _lines(folder / "medquad.jsonl"):
        title = row["focus"] or ""
        yield text(source, clean(row["question"]), [row["answer"]], title or row["question"])


def manuals(folder: Path) -> Iterator[Document]:
    """The pooled passages of MTRAG; its dialogues are not read here."""
    cloud = Source("mtrag_cloud", "manuals", "Apache-2.0")
    clapnq = Source("mtrag_clapnq", "wikipedia", "CC BY-SA 3.0")
    for row in _lines(folder / "mtrag_passages_pooled.jsonl"):
        source = cloud if row["domain"] == "cloud" else clapnq
        group = row["url"] if source is cloud else row["title"]
        paragraphs = row["text"].removeprefix(row["title"]).split("\n\n")
        yield text(source, row["title"], [_plain(part) for part in paragraphs], group)


def service(folder: Path) -> Iterator[Document]:
    documents = Source("doc2dial", "manuals", "Apache-2.0")
    for title, row in _json(folder / "doc2dial_val_docs.json").items():
        yield text(documents, title.split("#")[0], row["text"].split("\n"), title)
    talks = Source("doc2dial_dialogues", "dialogue", "Apache-2.0")
    longest: dict[str, Any] = {}
    for turn in _json(folder / "doc2dial_val_turns.json"):
        name = turn["id"].rsplit("_", 1)[0]
        longest[name] = max(longest.get(name, turn), turn, key=lambda one: len(one["history"]))
    for turn in longest.values():
        said = _merged([(who, line) for who, line in turn["history"]])
        yield dialogue(talks, [*said, *filter(None, [turn["response"]])], turn["doc"])


def knowledge(folder: Path) -> Iterator[Document]:
    """Frequently asked questions and reviews of DSTC 10 and 11, and the dialogues of 11.

    Those of 10 are the raw output of speech recognition.
    """
    for year, licence in (("10", "Apache-2.0"), ("11", "CDLA-Sharing-1.0")):
        source = Source(f"dstc{year}", "reviews and FAQ", licence)
        for domain in _json(folder / f"dstc{year}_knowledge.json").values():
            for entity in domain.values():
                name = (entity["name"] or "").title()
                asked = [
                    f"{one['title' if 'title' in one else 'question']} "
                    f"{one['body' if 'body' in one else 'answer']}"
                    for key in ("docs", "faqs")
                    for one in entity.get(key, {}).values()
                ]
                told = [
                    " ".join(review["sentences"].values())
                    for review in entity.get("reviews", {}).values()
                ]
                yield text(source, name, [*asked, *told], f"dstc {name}")
    talks = Source("dstc11_dialogues", "dialogue", "CDLA-Sharing-1.0")
    for number, log in enumerate(_json(folder / "dstc11_val_logs.json")):
        said = _merged([(turn["speaker"], turn["text"]) for turn in log])
        yield dialogue(talks, said, f"dstc11{number // 20}")


def squad(folder: Path) -> Iterator[Document]:
    source = Source("squad", "wikipedia", "CC BY-SA 4.0")
    for path in sorted(folder.glob("dev-*.json")):
        for article in _json(path)["data"]:
            title = article["title"].replace("_", " ")
            for paragraph in article["paragraphs"]:
                yield text(source, title, [paragraph["context"]])


def natural_questions(folder: Path) -> Iterator[Document]:
    source = Source("qed_nq", "wikipedia", "CC BY-SA 3.0")
    for row in _lines(folder / "qed_nq.jsonl"):
        yield text(source, row["title"], [row["paragraph"]])


def topiocqa(folder: Path) -> Iterator[Document]:
    """The training conversations, each once."""
    source = Source("topiocqa", "dialogue", "CC BY-NC-SA 4.0", commercial=False)
    last: dict[int, list[str]] = {}
    with zipfile.ZipFile(folder / "topiocqa.zip") as archive:
        for turn in json.loads(archive.read("topiocqa_train.json")):
            last[turn["Conversation_no"]] = [*turn["Context"], turn["Question"], turn["Answer"]]
    for number, turns in last.items():
        said = [turn.replace("UNANSWERABLE", "I don't know.") for turn in turns]
        yield dialogue(source, said, f"topiocqa{number}")


def qrecc(folder: Path) -> Iterator[Document]:
    source = Source("qrecc", "dialogue", "CC BY-SA 3.0")
    longest: dict[str, list[str]] = {}
    for row in _lines(folder / "qrecc_train_subset_turns.jsonl"):
        turns = [*row["history"], row["question"], *filter(None, [row.get("answer")])]
        if len(turns) > len(longest.get(turns[0], ())):
            longest[turns[0]] = turns
    for first, turns in longest.items():
        yield dialogue(source, turns, f"qrecc {first}")


def canard(folder: Path) -> Iterator[Document]:
    source = Source("canard", "dialogue", "CC BY-SA 4.0")
    longest: dict[str, list[str]] = {}
    for row in _json(folder / "canard_dev.json"):
        longest[row["QuAC_dialog_id"]] = [*row["History"][2:], row["Question"]]
    for name, turns in longest.items():
        yield dialogue(source, turns, name)


def topical_chat(folder: Path) -> Iterator[Document]:
    source = Source("topical_chat", "chat", "CDLA-Sharing-1.0")
    for path in sorted(folder.glob("conversations_*.json")):
        for name, chat in _json(path).items():
            said = _merged([(turn["agent"], turn["message"]) for turn in chat["content"]])
            yield dialogue(source, said, name)


def cmu_dog(folder: Path) -> Iterator[Document]:
    source = Source("cmu_dog", "chat", "not stated", commercial=False)
    for chat in _lines(folder / "conversations.jsonl"):
        said = _merged([(speaker, line) for speaker, _, line in chat["history"]])
        yield dialogue(source, said, f"cmu{chat['wiki']}-{chat['id'][:2]}")


def synthetic(folder: Path) -> Iterator[Document]:
    source = Source("mtrag_synthetic", "dialogue", "Apache-2.0")
    longest: dict[str, list[str]] = {}
    for row in _lines(folder / "mtrag_synthetic_tasks.jsonl"):
        turns = [turn["text"] for turn in row["input"]] + [row["targets"][0]["text"]]
        name = row["conversation_id"]
        longest[name] = max(longest.get(name, []), turns, key=len)
    for name, turns in longest.items():
        yield dialogue(source, turns, name)


def instructions(folder: Path) -> Iterator[Document]:
    """T0's prompts and completions, each as a question and its answer."""
    source = Source("t0", "instructions", "by data set, several", commercial=False)
    for row in _lines(folder / "t0_sample.jsonl"):
        answer = row["completion"].replace("<|endoftext|>", "").strip()
        if answer and len(row["prompt"].split()) < 900:
            yield dialogue(source, [row["prompt"], answer], row["prompt"][:200])


def _merged(said: list[tuple[str, str]]) -> list[str]:
    """Turns of two speakers, neighbouring ones of one speaker joined."""
    turns: list[str] = []
    previous = None
    for speaker, line in said:
        if speaker == previous:
            turns[-1] += f" {line}"
        else:
            turns.append(line)
        previous = speaker
    return turns


def _plain(markdown: str) -> str:
    """Text without the targets of links."""
    parts = markdown.replace("<br>", " ").split("](")
    return parts[0].replace("[", "") + "".join(
        part.split(")", 1)[-1].replace("[", "") for part in parts[1:]
    )


def _lines(path: Path) -> Iterator[Any]:
    return read_lines(path) if path.exists() else iter(())


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""
