"""The readers, on small files in the native formats of their data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from uniconv.data.beir import read_corpus
from uniconv.data.catalogue import CATALOGUE, convert
from uniconv.data.conversations import read_conversations
from uniconv.data.dataset import dialogue
from uniconv.data.lines import read_jsonl
from uniconv.errors import DataError, UniConvError
from uniconv.types import Conversation, Passage, Turn


def put(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")


def put_lines(path: Path, *values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values), "utf-8")


def inscit_label(response: str, *passages: tuple[str, str]) -> dict[str, Any]:
    return {
        "responseType": "directAnswer",
        "response": response,
        "evidence": [
            {"passage_id": id, "passage_text": text, "passage_titles": ["Bread", "Crust"]}
            for id, text in passages
        ],
    }


def test_inscit_takes_the_response_that_was_gone_on_from(tmp_path: Path) -> None:
    first = [inscit_label("from flour", ("Bread:1", "a")), inscit_label("rye", ("Bread:2", "b"))]
    turns = [
        {"context": ["what is bread?"], "prevEvidence": [], "labels": first},
        {
            "context": ["what is bread?", "rye", "and the crust?"],
            "prevEvidence": [],
            "labels": [
                {
                    **inscit_label("It browns.", ("Bread:1", "a")),
                    "responseType": "noAnswerButRelevantInfo",
                }
            ],
        },
    ]
    put(tmp_path / "in/dev.json", {"food_1": {"seedArticle": {"topic": "food"}, "turns": turns}})
    out = tmp_path / "out"
    convert("inscit", tmp_path / "in", out)
    assert list(read_conversations(out / "dev.jsonl")) == [
        Conversation(
            "food_1",
            (
                Turn(
                    "what is bread?",
                    "rye",
                    positives=("inscit:Bread:1", "inscit:Bread:2"),
                    attributes={"answerability": "answerable", "topic": "food"},
                ),
                Turn(
                    "and the crust?",
                    "It browns.",
                    positives=("inscit:Bread:1",),
                    attributes={"answerability": "partial", "topic": "food"},
                ),
            ),
        )
    ]
    references = dict(
        read_jsonl(
            out / "dev.references.jsonl", lambda row: (row.text("_id"), row.texts("references"))
        )
    )
    assert references == {"food_1_1": ("from flour", "rye"), "food_1_2": ("It browns.",)}
    assert [passage.id for passage in read_corpus(out / "corpus.jsonl")] == [
        "inscit:Bread:1",
        "inscit:Bread:2",
    ]
    turns[1]["context"] = ["something else"]
    put(tmp_path / "in/dev.json", {"food_1": {"seedArticle": {}, "turns": turns}})
    with pytest.raises(DataError, match=r"food_1.turns\[1\].context': does not go on"):
        convert("inscit", tmp_path / "in", out)


def mtrag_task(number: int, text: str, domain: str = "cloud") -> dict[str, Any]:
    return {
        "task_id": f"c0ffee<::>{number}",
        "conversation_id": "3",
        "turn_id": number,
        "domain": domain,
        "input": text,
        "gold_answer": f"answer {number}",
    }


def test_mtrag_maps_its_queries_onto_turns(tmp_path: Path) -> None:
    source = tmp_path / "in"
    put_lines(
        source / "mtrag_tasks.jsonl",
        mtrag_task(2, "and deletes?"),
        mtrag_task(1, "is it a database?"),
        {**mtrag_task(1, "who?", "clapnq"), "task_id": "beef<::>1"},
    )
    put_lines(
        source / "mtrag_passages_pooled.jsonl",
        {"_id": "m_1", "domain": "cloud", "title": "Manual", "url": "", "text": "Rows."},
        {"_id": "w_1", "domain": "clapnq", "title": "Wiki", "url": "", "text": "Other."},
    )
    folder = source / "mtrag-human/retrieval_tasks/cloud"
    put_lines(
        folder / "cloud_rewrite.jsonl",
        {"_id": "c0ffee<::>2", "text": "|user|: Does the database delete rows?"},
    )
    (folder / "qrels").mkdir()
    judged = folder / "qrels/dev.tsv"
    judged.write_text("query-id\tcorpus-id\tscore\nc0ffee<::>2\tm_1\t1\n")
    out = tmp_path / "out"
    convert("mtrag-cloud", source, out)
    assert list(read_conversations(out / "dev.jsonl")) == [
        Conversation(
            "c0ffee",
            (
                Turn("is it a database?", "answer 1"),
                Turn("and deletes?", "answer 2", "Does the database delete rows?", ("m_1",)),
            ),
        )
    ]
    assert list(read_corpus(out / "corpus.jsonl")) == [Passage("m_1", "Rows.", "Manual")]
    judged.write_text("query-id\tcorpus-id\tscore\nc0ffee<::>5\tm_1\t1\n")
    with pytest.raises(DataError, match="query 'c0ffee<::>5' is no turn"):
        convert("mtrag-cloud", source, out)


def test_doc2dial_cuts_pages_at_headings_and_marks_the_passages_of_spans(tmp_path: Path) -> None:
    long = "word " * 100
    spans = {"1": "\n\nFees \n", "2": f"{long}. ", "3": "\n\nDates \n", "4": "On Mondays. "}
    put(tmp_path / "doc2dial_val_docs.json", {"Permits#3_0": {"domain": "dmv", "spans": spans}})
    row = {"doc": "Permits#3_0", "domain": "dmv"}
    put(
        tmp_path / "doc2dial_val_turns.json",
        [
            {
                "id": "d_3",
                "history": [
                    ["user", "hello"],
                    ["agent", "Yes?"],
                    ["user", "when?"],
                    ["user", "and"],
                ],
                "response": "On Mondays.",
                "span_ids": ["4"],
                **row,
            },
            {
                "id": "d_1",
                "history": [["user", "hello"]],
                "response": "Yes?",
                "span_ids": ["1", "2", "3"],
                **row,
            },
        ],
    )
    convert("doc2dial", tmp_path, tmp_path / "out")
    passages = list(read_corpus(tmp_path / "out/corpus.jsonl"))
    assert [passage.text for passage in passages] == [f"Fees \n{long}.", "Dates \nOn Mondays."]
    assert {passage.title for passage in passages} == {"Permits"}
    assert list(read_conversations(tmp_path / "out/val.jsonl")) == [
        Conversation(
            "d",
            (
                Turn("hello", "Yes?", positives=tuple(passage.id for passage in passages)),
                Turn("when? and", "On Mondays.", positives=(passages[1].id,)),
            ),
        )
    ]


def test_dstc_keeps_the_dialogues_that_knowledge_answers(tmp_path: Path) -> None:
    faq = {"0": {"question": "Pets?", "answer": "No pets."}}
    review = {"5": {"traveler_type": "Couples", "sentences": {"0": "Quiet.", "1": "Clean."}}}
    place = {"name": "THE MILL", "faqs": faq, "reviews": review}
    put(tmp_path / "knowledge.json", {"hotel": {"20": place}})
    said = [{"speaker": "U", "text": "A hotel?"}, {"speaker": "S", "text": "The Mill."}]
    asked = {"speaker": "U", "text": "Is it clean?"}
    put(tmp_path / "val/logs.json", [[asked], [*said, asked]])
    snippets = [
        {"domain": "hotel", "entity_id": 20, "doc_type": "review", "doc_id": 5, "sent_id": number}
        for number in (0, 1)
    ]
    labels = [
        {"target": False},
        {"target": True, "knowledge": snippets, "response": "Guests say so."},
    ]
    put(tmp_path / "val/labels.json", labels)
    convert("dstc11", tmp_path, tmp_path / "out")
    assert [(one.id, one.text) for one in read_corpus(tmp_path / "out/corpus.jsonl")] == [
        ("dstc11:hotel:20:faq:0", "Pets? No pets."),
        ("dstc11:hotel:20:review:5", "Quiet. Clean."),
    ]
    assert list(read_conversations(tmp_path / "out/val.jsonl")) == [
        Conversation(
            "dstc11_val_1",
            (
                Turn("A hotel?", "The Mill."),
                Turn("Is it clean?", "Guests say so.", positives=("dstc11:hotel:20:review:5",)),
            ),
        )
    ]
    snippets[1]["doc_id"] = 6
    put(tmp_path / "val/labels.json", labels)
    with pytest.raises(DataError, match=r"knowledge\[1\].doc_id': there is no such snippet"):
        convert("dstc11", tmp_path, tmp_path / "out")


def test_squad_reads_official_and_plain_answers_and_shares_paragraphs(tmp_path: Path) -> None:
    questions = [
        {"id": "q1", "question": "Who? ", "answers": [{"text": "Ada"}, {"text": "Ada Quay"}]},
        {"question": "When?", "answers": ["1902", "1902"]},
        {"question": "Why?", "answers": []},
    ]
    article = {"title": "The_Mill", "paragraphs": [{"context": "Ada, 1902.", "qas": questions}]}
    put(tmp_path / "dev-v2.0.json", {"version": "v2.0", "data": [article]})
    about = convert("squad2", tmp_path, tmp_path / "out")
    passage = Passage("squad2.0:0:0", "Ada, 1902.", "The Mill")
    assert list(read_corpus(tmp_path / "out/corpus.jsonl")) == [passage]
    assert list(read_conversations(tmp_path / "out/dev.jsonl")) == [
        Conversation("q1", (Turn("Who?", "Ada", positives=(passage.id,)),)),
        Conversation("squad2.0_2", (Turn("When?", "1902", positives=(passage.id,)),)),
    ]
    assert about["counts"]["left out, without an answer"] == 1


def test_qed_and_clapnq(tmp_path: Path) -> None:
    qed = {"id": -5, "title": "Mill", "question": "who", "answers": ["Ada"], "paragraph": "Ada."}
    put_lines(tmp_path / "qed_nq.jsonl", qed, {**qed, "id": 6, "answers": [""]})
    convert("qed_nq", tmp_path, tmp_path / "qed")
    assert list(read_conversations(tmp_path / "qed/train.jsonl")) == [
        Conversation("qed_-5", (Turn("who", "Ada", positives=("qed_-5",)),))
    ]
    clapnq = {
        "id": "1",
        "input": "how?",
        "passages": [{"title": "Mill", "text": "By wind. "}],
        "output": [{"answer": "It uses wind."}, {"answer": ""}],
    }
    put_lines(tmp_path / "annotated_data/dev/clapnq_dev_answerable.jsonl", clapnq)
    convert("clapnq", tmp_path, tmp_path / "clapnq-out")
    assert list(read_conversations(tmp_path / "clapnq-out/dev.jsonl")) == [
        Conversation("clapnq_1", (Turn("how?", "It uses wind.", positives=("clapnq_1",)),))
    ]


def test_linked_questions_find_their_passages_by_title(tmp_path: Path) -> None:
    put_lines(tmp_path / "wiki.jsonl", {"_id": "w:1", "title": "Café Röst", "text": "t"})
    links = ["/wiki/Caf%C3%A9_R%C3%B6st", "/wiki/Nowhere"]
    row = {"id": "1", "question": "which?", "answer": "this", "passages": links}
    put_lines(tmp_path / "ottqa_dev.jsonl", row, {**row, "id": "2", "passages": links[1:]})
    with pytest.raises(UniConvError, match="give the corpus"):
        convert("ottqa", tmp_path, tmp_path / "out")
    convert("ottqa", tmp_path, tmp_path / "out", corpus=tmp_path / "wiki.jsonl")
    assert list(read_conversations(tmp_path / "out/dev.jsonl")) == [
        Conversation("ottqa_1", (Turn("which?", "this", positives=("w:1",)),))
    ]


def test_qed_reads_its_release(tmp_path: Path) -> None:
    row = {
        "example_id": 7,
        "title_text": "Mill",
        "question_text": "who and when",
        "paragraph_text": "Ada, 1902.",
        "original_nq_answers": [[{"string": "Ada"}, {"string": "1902"}], [{"string": "Ada"}]],
        "annotation": {"explanation_type": "none"},
    }
    put_lines(tmp_path / "qed-train.jsonlines", row)
    put_lines(tmp_path / "qed-dev.jsonlines", {**row, "example_id": 8, "original_nq_answers": []})
    about = convert("qed_nq", tmp_path, tmp_path / "out")
    assert list(read_conversations(tmp_path / "out/train.jsonl")) == [
        Conversation("qed_7", (Turn("who and when", "Ada, 1902", positives=("qed_7",)),))
    ]
    assert about["counts"]["dev"]["conversations"] == 0
    assert about["counts"]["left out, without an answer"] == 1
    references = json.loads((tmp_path / "out/train.references.jsonl").read_text())
    assert references["references"] == ["Ada, 1902", "Ada"]
    put_lines(tmp_path / "qed-dev.jsonlines", {**row, "original_nq_answers": [[{"string": 3}]]})
    with pytest.raises(DataError, match=r"answers\[0\].spans\[0\].string': is a number"):
        convert("qed_nq", tmp_path, tmp_path / "out")


@pytest.mark.parametrize(("name", "file"), [("ottqa", "dev.traced.json"), ("hybridqa", "dev.json")])
def test_linked_questions_of_the_releases(name: str, file: str, tmp_path: Path) -> None:
    put_lines(tmp_path / "wiki.jsonl", {"_id": "w:1", "title": "Old Mill", "text": "t"})
    node = ["Old Mill", [1, 0], "/wiki/Old_Mill", "passage"]
    rows = [
        {"question_id": str(number), "question": "which?", "answer-text": "this", "answer-node": at}
        for number, at in enumerate(
            ([node, node], [["x", [0, 0], None, "table"]], [[*node[:2], "/wiki/No", "passage"]], [])
        )
    ]
    put(tmp_path / "released_data" / file, rows)
    about = convert(name, tmp_path, tmp_path / "out", corpus=tmp_path / "wiki.jsonl")
    assert list(read_conversations(tmp_path / "out/dev.jsonl")) == [
        Conversation(f"{name}_0", (Turn("which?", "this", positives=("w:1",)),))
    ]
    assert about["counts"]["left out, answer in no passage"] == 2
    assert about["counts"]["left out, no passage in the corpus"] == 1
    for wrong, message in (
        ([*rows, rows[0]], "'0' was already used"),
        ([{**rows[0], "answer-node": [["x"]]}], "is not text, place, link and kind"),
    ):
        put(tmp_path / "released_data" / file, wrong)
        with pytest.raises(DataError, match=message):
            convert(name, tmp_path, tmp_path / "out", corpus=tmp_path / "wiki.jsonl")


def test_ids_that_repeat_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    qed = {"id": 5, "title": "Mill", "question": "who", "answers": ["Ada"], "paragraph": "Ada."}
    put_lines(tmp_path / "qed_nq.jsonl", qed, {**qed, "paragraph": "Bea."})
    with pytest.raises(DataError, match="passage id 'qed_5' is used 2 times"):
        convert("qed_nq", tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_dialogues_without_a_question_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "dstc10_knowledge.json", {})
    put(tmp_path / "dstc10_val_logs.json", [[{"speaker": "S", "text": "Welcome."}]])
    label = {"target": True, "knowledge": [], "response": "Yes."}
    put(tmp_path / "dstc10_val_labels.json", [label])
    with pytest.raises(DataError, match="the user says nothing"):
        convert("dstc10", tmp_path, tmp_path / "out")
    put(tmp_path / "doc2dial_val_docs.json", {"P": {"domain": "va", "spans": {"1": "text"}}})
    row = {"id": "d_1", "doc": "P", "history": [["agent", "Hi"]], "response": "Yes", "span_ids": []}
    put(tmp_path / "doc2dial_val_turns.json", [row])
    with pytest.raises(DataError, match="no question"):
        convert("doc2dial", tmp_path, tmp_path / "out")


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_an_empty_folder_names_the_file_that_is_missing(name: str, tmp_path: Path) -> None:
    put_lines(tmp_path / "wiki.jsonl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no file"):
        convert(name, tmp_path / "empty", tmp_path / "out", corpus=tmp_path / "wiki.jsonl")


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UniConvError, match=r"unknown data set 'topi'; known are .*topiocqa"):
        convert("topi", tmp_path, tmp_path / "out")


def test_utterances_of_one_side_are_joined() -> None:
    said = [(False, "Welcome."), (True, "hi"), (True, "a room?"), (False, "Yes."), (False, " ")]
    assert dialogue([*said, (False, "Two."), (True, "good")]) == [
        Turn("hi a room?", "Yes. Two."),
        Turn("good"),
    ]
