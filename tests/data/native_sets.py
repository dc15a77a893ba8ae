"""A small valid data set in every native form that a reader takes, as files by their paths."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Files = dict[str, bytes]

PAGE = "http://web.archive.org/web/2019/https://example.org/mill_p0"
WIKI = "wiki.jsonl"
"""The shared corpus of the sets that name passages of one."""


def jsonl(*rows: Any) -> bytes:
    """A JSON value a line."""
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def one(value: Any) -> bytes:
    """One JSON value, indented as releases often are."""
    return json.dumps(value, indent=1).encode()


def text(*lines: str) -> bytes:
    """Lines of text."""
    return "".join(f"{line}\n" for line in lines).encode()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """Writes the files into a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


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


def _mtrag_task(turn: int, collection: str) -> dict[str, Any]:
    said = ["What is a sluice?", "A gate.", "Who opens it?", "A keeper."]
    messages = [
        {"speaker": "agent" if place % 2 else "user", "text": words}
        for place, words in enumerate(said)
    ]
    return {
        "conversation_id": "c0de",
        "task_id": f"c0de<::>{turn}",
        "turn": str(turn),
        "Collection": collection,
        "contexts": [{"document_id": "p-1", "text": "A sluice is a gate."}],
        "input": messages[: 2 * turn - 1],
        "targets": [messages[2 * turn - 1]],
        "Question Type": ["Factoid"],
        "Answerability": ["ANSWERABLE"],
        "Multi-Turn": ["N/A"],
    }


def _mtrag(domain: str) -> Files:
    rows = [_mtrag_task(turn, f"mt-rag-{domain}-elser-512-100-20240611") for turn in (1, 2)]
    folder = f"mtrag-human/retrieval_tasks/{domain}"
    corpus = zipped({f"{domain}.jsonl": jsonl({"_id": "p-1", "title": "S", "text": "A gate."})})
    return {
        "mtrag-human/generation_tasks/reference.jsonl": jsonl(*rows),
        f"{folder}/{domain}_rewrite.jsonl": jsonl({"_id": "c0de<::>2", "text": "|user|: Who?"}),
        f"{folder}/qrels/dev.tsv": text("query-id\tcorpus-id\tscore", "c0de<::>2\tp-1\t1"),
        f"corpora/passage_level/{domain}.jsonl.zip": corpus,
    }


def _mtragun(domain: str) -> Files:
    passage = {"_id": "p-1", "title": "", "text": "A gate."}
    return {
        "mtragun-human/generation_tasks/reference.jsonl": jsonl(_mtrag_task(2, domain)),
        f"mtragun-human/retrieval_tasks/qrels/{domain}.tsv": text("c0de<::>2\tp-1\t1"),
        f"corpora/passage_level/{domain}.jsonl": jsonl(passage),
    }


def _cast(year: int) -> Files:
    turns = [
        {
            "number": number,
            "raw_utterance": question,
            "manual_rewritten_utterance": f"{question} (rust)",
            "manual_canonical_result_id": "MARCO_1",
            "passage": "Iron and water.",
        }
        for number, question in enumerate(("What is rust?", "Why?"), start=1)
    ]
    topics = one([{"number": 31, "title": "Rust", "turn": turns}])
    judged = text("31_1 0 MARCO_1 3", "31_2 0 MARCO_2 1")
    match year:
        case 2019:
            base = "2019/data/evaluation/evaluation_topics"
            return {
                f"{base}_v1.0.json": topics,
                "2019/data/2019qrels.txt": judged,
                f"{base}_annotated_resolved_v1.0.tsv": text("31_1\tWhat is rust?", "31_2\tWhy so?"),
            }
        case 2020:
            return {
                "2020/2020_manual_evaluation_topics_v1.0.json": topics,
                "2020/2020qrels.txt": judged,
            }
        case _:
            return {
                "2021/2021_manual_evaluation_topics_v1.0.json": topics,
                "2021/trec-cast-qrels-docs.2021.qrel": judged,
            }


def _cast22() -> Files:
    def turn(number: str, parent: str | None, **more: Any) -> dict[str, Any]:
        return {"number": number, "parent": parent, **more}

    def user(number: str, parent: str | None, said: str) -> dict[str, Any]:
        words = {"utterance": said, "manual_rewritten_utterance": said}
        return turn(number, parent, participant="User", **words)

    def system(number: str, parent: str, said: str, *provenance: str) -> dict[str, Any]:
        told = {"response": said, "provenance": list(provenance)}
        return turn(number, parent, participant="System", **told)

    turns = [
        user("1-1", None, "Can I make soap?"),
        system("1-2", "1-1", "Yes, with lye.", "P-1"),
        user("1-3", "1-2", "How long?"),
        system("2-1", "1-1", "Which kind?"),
        user("2-2", "2-1", "Liquid."),
    ]
    return {
        "2022/2022_evaluation_topics_tree_v1.0.json": one([{"number": 132, "turn": turns}]),
        "2022/cast2022.qrel": text("132_1-1 0 Q-1 3", "132_2-2 0 Q-3 2"),
    }


def _ikat(year: int) -> Files:
    turns = [
        {
            "turn_id": number,
            "utterance": "What grows here?",
            "resolved_utterance": "What grows in my garden?",
            "response": "Beans.",
            "ptkb_provenance": [1],
            "response_provenance": ["d-1:0"],
        }
        for number in (1, 2)
    ]
    topic = {"number": "9-1", "title": "Garden", "ptkb": {"1": "I keep bees."}, "turns": turns}
    return {
        f"{year}/data/{year}_test_topics.json": one([topic]),
        f"{year}-qrels.txt": text("9-1_1 0 d-1:0 3"),
    }


def _doc2dial(name: str) -> Files:
    multi = name == "multidoc2dial"
    key, page = ("id_sp" if multi else "sp_id"), "Permits#1_0"
    spans = {
        id: {key: id, "text_sp": words}
        for id, words in {"1": "\n\nFees \n", "2": "word " * 90, "3": "\n\nDates \n"}.items()
    }
    reference = {key: "1", "label": "solution"} | ({"doc_id": page} if multi else {})
    turns = [
        {"role": role, "da": act, "utterance": said, "references": [reference]}
        for role, act, said in (
            ("user", "query_solution", "What is due?"),
            ("agent", "respond_solution", "A fee."),
            ("user", "query_solution", "Why?"),
            ("agent", "respond_no_solution", "I can't tell."),
        )
    ]
    talks = [{"dial_id": "d", "turns": turns}]
    pages = {page: {"doc_id": page, "title": "Permits", "domain": "dmv", "spans": spans}}
    dialogues = {"dial_data": {"dmv": talks if multi else {page: talks}}}
    return {
        f"{name}/{name}_doc.json": one({"doc_data": {"dmv": pages}}),
        f"{name}/{name}_dial_train.json": one(dialogues),
    }


def _dstc(edition: str) -> Files:
    faq = {"3": {"question": "Pets?", "answer": "No.", "title": "Pets?", "body": "No."}}
    review = {"0": {"sentences": {"0": "Quiet.", "1": "Clean."}}}
    kinds = {"docs": faq} if edition == "dstc10" else {"faqs": faq, "reviews": review}
    snippet: dict[str, Any] = {"domain": "hotel", "entity_id": 1, "doc_id": 3}
    snippet |= {} if edition == "dstc10" else {"doc_type": "faq"}
    label = {"target": True, "knowledge": [snippet], "response": "No."}
    log = [{"speaker": "U", "text": "a room"}, {"speaker": "S", "text": "Which?"}]
    logs = [[*log, {"speaker": "U", "text": "with a dog?"}]] * 2
    folder = "task2/data" if edition == "dstc10" else "data"
    return {
        f"{folder}/knowledge.json": one({"hotel": {"1": {"name": "Mill", **kinds}}}),
        f"{folder}/val/logs.json": one(logs),
        f"{folder}/val/labels.json": one([label, {"target": False}]),
    }


def _questions() -> dict[str, tuple[str, Files]]:
    qed = {
        "example_id": 7,
        "title_text": "Mill",
        "question_text": "who and when",
        "paragraph_text": "Ada, 1902.",
        "original_nq_answers": [[{"string": "Ada"}, {"string": "1902"}], [{"string": "Ada"}]],
    }
    flat = {"id": -5, "title": "Mill", "question": "who", "answers": ["Ada"], "paragraph": "Ada."}
    qas = [{"id": "q1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}]
    qas.append({"id": "q2", "question": "Why?", "answers": []})
    paragraphs = [{"context": "Ada built it.", "qas": qas}]
    squad = one({"version": "1", "data": [{"title": "The_Mill", "paragraphs": paragraphs}]})
    passage = {"title": "Mill", "text": "By wind.", "sentences": ["By wind."]}
    clapnq = {"id": "1", "input": "how?", "passages": [passage], "output": [{"answer": "Wind."}]}
    node = ["Mill", [1, 0], "/wiki/Mill", "passage"]
    released = {"question_id": "a", "question": "which?", "answer-text": "this"}
    linked = one([{**released, "answer-node": [node, ["x", [0, 0], None, "table"]]}])
    wiki = {WIKI: jsonl({"_id": "w:1", "title": "Mill", "text": "A mill."})}
    own = {"id": "1", "question": "which?", "answer": "this", "passages": ["/wiki/Mill"]}
    return {
        "qed_nq": ("qed_nq", {f"qed-{split}.jsonlines": jsonl(qed) for split in ("train", "dev")}),
        "qed_nq flat": ("qed_nq", {"qed_nq.jsonl": jsonl(flat, {**flat, "id": 6})}),
        "squad": ("squad", {"dev-v1.1.json": squad}),
        "squad2": ("squad2", {"dev-v2.0.json": squad}),
        "clapnq": ("clapnq", {"annotated_data/dev/clapnq_dev_answerable.jsonl": jsonl(clapnq)}),
        "ottqa": ("ottqa", {"released_data/dev.traced.json": linked, **wiki}),
        "hybridqa": ("hybridqa", {"released_data/dev.json": linked, **wiki}),
        "hybridqa flat": ("hybridqa", {"hybridqa_dev.jsonl": jsonl(own), **wiki}),
    }


def _chitchat() -> dict[str, tuple[str, Files]]:
    history = [["user1", 0, "hello"], ["user2", 0, "hi"], ["user1", 1, "seen it?"]]
    dog = {"split": "train", "id": "d1", "wiki": 1, "rating": 2, "who": ["user2"]}
    said = [
        {"message": words, "agent": f"agent_{1 + place % 2}"}
        for place, words in enumerate(("Do you like mills?", "Yes.", "Why?"))
    ]
    topical = {"t1": {"article_url": "u", "config": "A", "content": said}}
    sentence = {"label": "Mill <knowledge_separator> Mills grind.", "relevance": "relevant"}
    wow = {"turns": ["Mills!", "How?"], "topic": "Mill", "start_speaker": "Assistant"}
    wow |= {"annotated_sentences": [sentence]}
    medquad = {"source": "s", "focus": "Flu", "question": "What is flu?", "answer": "A virus."}
    return {
        "cmu_dog": ("cmu_dog", {"conversations.jsonl": jsonl({**dog, "history": history})}),
        "topical_chat": ("topical_chat", {"conversations/train.json": one(topical)}),
        "wowpp": ("wowpp", {"wow++/full_train_augmented_wow.json": one({"w1": wow})}),
        "medquad": ("medquad", {"medquad.jsonl": jsonl(medquad, {**medquad, "question": "?"})}),
    }


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
    **{f"mtrag-{name}": (f"mtrag-{name}", _mtrag(name)) for name in ("clapnq", "cloud")},
    **{f"mtrag-{name}": (f"mtrag-{name}", _mtrag(name)) for name in ("fiqa", "govt")},
    **{f"mtragun-{name}": (f"mtragun-{name}", _mtragun(name)) for name in ("clapnq", "cloud")},
    **{f"mtragun-{name}": (f"mtragun-{name}", _mtragun(name)) for name in ("fiqa", "govt")},
    "mtrag-synthetic": (
        "mtrag-synthetic",
        {
            "mtrag-synthetic/generation_tasks/reference.jsonl": jsonl(
                _mtrag_task(1, "govt"), _mtrag_task(2, "govt")
            )
        },
    ),
    **{f"cast{year % 100}": (f"cast{year % 100}", _cast(year)) for year in (2019, 2020, 2021)},
    "cast22": ("cast22", _cast22()),
    **{f"ikat{year % 100}": (f"ikat{year % 100}", _ikat(year)) for year in (2023, 2024, 2025)},
    **{name: (name, _doc2dial(name)) for name in ("doc2dial", "multidoc2dial")},
    **{name: (name, _dstc(name)) for name in ("dstc10", "dstc11")},
    **_questions(),
    **_chitchat(),
}
"""By a name of the form: the data set, and its files (with ``WIKI`` where it needs a corpus)."""
