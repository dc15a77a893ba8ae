"""Small sets in the forms of MTRAG, the TREC tracks, Doc2Dial and the DSTC tracks."""

from __future__ import annotations

from typing import Any

from native_files import Files, jsonl, one, text, zipped


def mtrag_task(turn: int, collection: str) -> dict[str, Any]:
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


def mtrag(domain: str) -> Files:
    rows = [mtrag_task(turn, f"mt-rag-{domain}-elser-512-100-20240611") for turn in (1, 2)]
    folder = f"mtrag-human/retrieval_tasks/{domain}"
    corpus = zipped({f"{domain}.jsonl": jsonl({"_id": "p-1", "title": "S", "text": "A gate."})})
    return {
        "mtrag-human/generation_tasks/reference.jsonl": jsonl(*rows),
        f"{folder}/{domain}_rewrite.jsonl": jsonl({"_id": "c0de<::>2", "text": "|user|: Who?"}),
        f"{folder}/qrels/dev.tsv": text("query-id\tcorpus-id\tscore", "c0de<::>2\tp-1\t1"),
        f"corpora/passage_level/{domain}.jsonl.zip": corpus,
    }


def mtragun(domain: str) -> Files:
    passage = {"_id": "p-1", "title": "", "text": "A gate."}
    return {
        "mtragun-human/generation_tasks/reference.jsonl": jsonl(mtrag_task(2, domain)),
        f"mtragun-human/retrieval_tasks/qrels/{domain}.tsv": text("c0de<::>2\tp-1\t1"),
        f"corpora/passage_level/{domain}.jsonl": jsonl(passage),
    }


def cast(year: int) -> Files:
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


def cast22() -> Files:
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


def ikat(year: int) -> Files:
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


def doc2dial(name: str) -> Files:
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


def dstc(edition: str) -> Files:
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
