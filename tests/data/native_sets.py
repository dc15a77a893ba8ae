"""A small valid data set in every native form that a reader takes, as files by their paths."""

from __future__ import annotations

import gzip
from typing import Any

from native_files import Files, jsonl, one, text, zipped
from native_questions import chitchat, questions
from native_tracks import cast, cast22, doc2dial, dstc, ikat, mtrag, mtrag_task, mtragun

PAGE = "http://web.archive.org/web/2019/https://example.org/mill_p0"


def _topiocqa_row(conversation: int, turn: int, question: str, answer: str) -> dict[str, Any]:
    told = {"Topic": "Harbour", "Topic_section": "Introduction", "is_nq": False, "Context": []}
    said = {"Question": question, "Answer": answer}
    return {**told, **said, "Conversation_no": conversation, "Turn_no": turn}


def _topiocqa_official() -> Files:
    more = {"Additional_answers": [{"Answer": "1902"}, {"Answer": "In 1902."}]}
    passage = {"title": "Harbour [SEP] History", "text": "Ada built it.", "passage_id": "1"}
    other = {"title": "Quay", "text": 'A "wall".', "passage_id": 2}
    gold = {"positive_ctxs": [passage], "negative_ctxs": [], "hard_negative_ctxs": [other]}
    return {
        "data/topiocqa_train.jsonl": jsonl(
            _topiocqa_row(1, 1, "who built it?", "Ada"), _topiocqa_row(1, 2, "why?", "UNANSWERABLE")
        ),
        "data/topiocqa_valid.jsonl": jsonl(_topiocqa_row(7, 1, "when?", "1902") | more),
        "data/retriever/all_history/train.json": one([{"conv_id": 1, "turn_id": 1, **gold}]),
        "data/retriever/all_history/dev.json": one([{"conv_id": "7", "turn_id": "1", **gold}]),
        "data/wikipedia_split/full_wiki_segments.tsv": text(
            "id\ttext\ttitle", "1\tAda built it.\tHarbour [SEP] History", '2\t"A ""wall""."\tQuay'
        ),
    }


def _topiocqa_matched() -> Files:
    rows = {
        "topiocqa_train.json": one([_topiocqa_row(1, 1, "who?", "Ada")]),
        "topiocqa_dev.json": one(
            [_topiocqa_row(7, 1, "when?", "1902"), _topiocqa_row(7, 2, "why?", "Trade.")]
        ),
    }
    return {
        "topiocqa.zip": zipped(rows),
        "train_gold.jsonl": jsonl({"id": "train_1_1", "pid": "w:1", "use": True}),
        "dev_gold.jsonl": jsonl(
            {"id": "dev_7_1", "pid": "w:2", "use": True}, {"id": "dev_7_2", "pid": "w:1", "use": 0}
        ),
    }


def _qrecc() -> Files:
    def turn(number: int, question: str, answer: str, start: str = "") -> dict[str, Any]:
        said = {"Context": [], "Question": question, "Answer_URL": "https://example.org"}
        truth = {f"{start}{'Rewrite' if not start else 'rewrite'}": f"{question} (the mill)"}
        truth[f"{start}{'Answer' if not start else 'answer'}"] = answer
        where = {"Conversation_no": 3, "Turn_no": number, "Conversation_source": "quac"}
        return said | truth | where

    first = turn(1, "who built it?", "Ada", "Truth_") | {"Truth_passages": [PAGE]}
    second = turn(2, "why?", "", "Truth_") | {"Truth_passages": []}
    return {
        "scai-qrecc21-training-turns.json": one([first, second]),
        "qrecc_test.json": one([turn(1, "when?", "1902"), turn(3, "where?", "Here")]),
        "scai-qrecc21-ground-truth.json": one(
            [{"Conversation_no": 3, "Turn_no": 1, "Truth_passages": [PAGE]}]
        ),
        "collection-paragraph/wayback/a/00.jsonl": jsonl({"id": PAGE, "contents": "Ada."}),
        "collection-paragraph/commoncrawl/00.jsonl": jsonl(
            {"id": "x_p0", "contents": "Other."}, {"id": "x_p1", "contents": ""}
        ),
    }


def _orquac() -> Files:
    def row(number: int, question: str, answer: str) -> dict[str, Any]:
        said = {"question": question, "rewrite": f"{question} Ada", "history": []}
        answered = {"answer": {"text": answer, "answer_start": 0}, "retrieval_labels": [1]}
        return {"qid": f"C_1_0_q#{number}", **said, **answered, "evidences": ["text"]}

    block = {"id": "9@0", "title": "Ada", "text": "She built.", "aid": "9", "bid": 0}
    return {
        "preprocessed/train.txt": jsonl(row(0, "who?", "Ada"), row(1, "why?", "CANNOTANSWER")),
        "preprocessed/dev.txt": jsonl(row(0, "when?", "1902")),
        "qrels.txt": one({"C_1_0_q#0": {"9@0": 1, "9@1": 0}}),
        "all_blocks.txt.gz": gzip.compress(jsonl(block, {**block, "id": "9@1"})),
    }


def _faithdial() -> Files:
    def utterance(knowledge: str, response: str, *history: str) -> dict[str, Any]:
        labels = {"BEGIN": ["Hallucination"], "VRM": None, "original_response": None}
        said = {"knowledge": knowledge, "response": response, "speaker": "Wizard"}
        return {"history": list(history), **said, **labels}

    talk = [
        utterance("Mills grind.", "They grind.", "What do they do?"),
        utterance("Ada built it.", "Ada did.", "What do they do?", "They grind.", "Who did?"),
    ]
    return {"data/train.json": one([{"utterances": talk}]), "data/test.json": one([])}


def _canard() -> Files:
    rows = [
        {
            "History": ["Mill", "Wind", "Who?", "Ada."][: 2 + 2 * number],
            "QuAC_dialog_id": "C_1",
            "Question": question,
            "Question_no": number + 1,
            "Rewrite": f"{question} (the mill)",
        }
        for number, question in enumerate(("Who?", "Why?"))
    ]
    return {"CANARD_Release/train.json": one(rows), "CANARD_Release/dev.json": one(rows[:1])}


def _coral() -> Files:
    turns = [
        {
            "turn_id": number,
            "question": "who?",
            "response": "Ada [1][2]. In [1902]",
            "golden_rewrite": "who (mill)?",
            "golden_docs_pids": [1, 2],
            "golden_docs_text": ["one", "two"],
        }
        for number in (1, 2)
    ]
    passages = ({"ref_id": number, "ref_string": f"text {number}"} for number in (1, 2))
    return {
        "train/train_conversation.json": one([{"conv_id": "Train_LDS_1", "turns": turns}]),
        "test/test_conversation.json": jsonl({"conv_id": "Test_LDS_4", "turns": turns[:1]}),
        "passage_corpus.json": jsonl(*passages),
    }


def _messages() -> Files:
    log = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]},
        {"role": "tool", "content": "a mill", "tool_call_id": "c1"},
        {"role": "assistant", "content": "A mill."},
        {"role": "user", "content": "Whose?"},
    ]
    return {"a.jsonl": jsonl({"messages": log}, {"id": "17", "messages": log[1:2]})}


def _msmarco() -> Files:
    return {
        "collection.tsv": text('0\t"Wind" mills', "1\tWater mills"),
        "queries.dev.small.tsv": text("7\twhat turns mills", "8\twhy mills"),
        "qrels.dev.small.tsv": text("7\t0\t0\t1", "7\t0\t1\t1"),
    }


def _beir() -> Files:
    return {
        "corpus.jsonl": jsonl({"_id": "d1", "title": "Mill", "text": "Wind."}),
        "queries.jsonl": jsonl({"_id": "q1", "text": "why?"}, {"_id": "q2", "text": "who?"}),
        "qrels/test.tsv": text("query-id\tcorpus-id\tscore", "q1\td1\t2"),
    }


def _inscit() -> Files:
    evidence = {"passage_id": "Mill:1", "passage_titles": ["Mill", "Use"], "passage_text": "Wind."}
    label = {"response": "Wind.", "responseType": "directAnswer", "evidence": [evidence]}
    second = {**label, "response": "Ada.", "responseType": "noAnswerNoRelevantInfo", "evidence": []}
    turns = [
        {"context": ["How?"], "prevEvidence": [], "labels": [label, second]},
        {"context": ["How?", "Wind.", "Who?"], "prevEvidence": [], "labels": [second]},
    ]
    return {"dev.json": one({"c1": {"seedArticle": {"title": "Mill"}, "turns": turns}})}


FORMS: dict[str, tuple[str, Files]] = {
    "topiocqa": ("topiocqa", _topiocqa_official()),
    "topiocqa matched": ("topiocqa", _topiocqa_matched()),
    "qrecc": ("qrecc", _qrecc()),
    "orquac": ("orquac", _orquac()),
    "faithdial": ("faithdial", _faithdial()),
    "canard": ("canard", _canard()),
    "coral": ("coral", _coral()),
    "ultrachat": ("ultrachat", {"train_0.jsonl": jsonl({"id": "0", "data": ["hi", "Hello."]})}),
    "openai-messages": ("openai-messages", _messages()),
    "msmarco": ("msmarco", _msmarco()),
    "beir": ("beir", _beir()),
    "nfcorpus": ("nfcorpus", {f"nfcorpus/{name}": file for name, file in _beir().items()}),
    "arguana": (
        "arguana",
        {"arguana.zip": zipped({f"arguana/{name}": file for name, file in _beir().items()})},
    ),
    "inscit": ("inscit", _inscit()),
    **{f"mtrag-{name}": (f"mtrag-{name}", mtrag(name)) for name in ("clapnq", "cloud")},
    **{f"mtrag-{name}": (f"mtrag-{name}", mtrag(name)) for name in ("fiqa", "govt")},
    **{f"mtragun-{name}": (f"mtragun-{name}", mtragun(name)) for name in ("clapnq", "cloud")},
    **{f"mtragun-{name}": (f"mtragun-{name}", mtragun(name)) for name in ("fiqa", "govt")},
    "mtrag-synthetic": (
        "mtrag-synthetic",
        {
            "mtrag-synthetic/generation_tasks/reference.jsonl": jsonl(
                mtrag_task(1, "govt"), mtrag_task(2, "govt")
            )
        },
    ),
    **{f"cast{year % 100}": (f"cast{year % 100}", cast(year)) for year in (2019, 2020, 2021)},
    "cast22": ("cast22", cast22()),
    **{f"ikat{year % 100}": (f"ikat{year % 100}", ikat(year)) for year in (2023, 2024, 2025)},
    **{name: (name, doc2dial(name)) for name in ("doc2dial", "multidoc2dial")},
    **{name: (name, dstc(name)) for name in ("dstc10", "dstc11")},
    **questions(),
    **chitchat(),
}
"""By a name of the form: the data set, and its files (``WIKI`` is a corpus that it needs)."""
