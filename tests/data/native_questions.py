"""Small sets of single questions and of chats in their native forms."""

from __future__ import annotations

from native_files import WIKI, Files, jsonl, one


def questions() -> dict[str, tuple[str, Files]]:
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


def chitchat() -> dict[str, tuple[str, Files]]:
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
