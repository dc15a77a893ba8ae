from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from command import run
from tiny import tiny_uniconv
from uniconv.cli.terminal import hold_conversation
from uniconv.data.conversations import read_conversations, write_conversations
from uniconv.model import UniConv
from uniconv.retrieval.interface import Index
from uniconv.search import ConversationalSearch, SearchSettings
from uniconv.types import Conversation, Turn
from warm import Command


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_uniconv().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    for number in range(30):
        text = f"# Chapter {number}\n\nThe tower number {number} was built in {1800 + number}.\n"
        (folder / f"chapter-{number}.md").write_text(text)
    return folder


@pytest.fixture(scope="module")
def index(model: Path, documents: Path) -> Path:
    out = documents.parent / "tower-index"
    assert run("index", documents, "--out", out, "--model", model) == 0
    return out


def test_index_again_encodes_nothing(
    index: Path, model: Path, documents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("index", documents, "--out", index, "--model", model) == 0
    assert "30 passages, 0 of them encoded now" in capsys.readouterr().out


def test_an_index_of_fewer_bits_is_used_without_options(
    documents: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, options = tmp_path / "small", ("--vectors", "binary", "--dimensions", "12")
    assert run("index", documents, "--out", out, "--model", model, *options) == 0
    assert Index.open(out).kept == {"dimensions": 12, "storage": "binary"}
    assert run("index", documents, "--out", out, "--model", model) == 0
    assert "0 of them encoded now" in capsys.readouterr().out
    assert Index.open(out).kept
    assert run("search", out, "tower 7", "--retriever", "dense", "--k", "3") == 0
    assert "was built in" in capsys.readouterr().out
    assert run("index", "--out", out, "--merge", *options) == 2
    assert "--dimensions was decided when" in capsys.readouterr().err


def test_search_prints_the_passages(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("search", index, "tower 1807", "--retriever", "bm25", "--k", "3") == 0
    printed = capsys.readouterr().out
    assert "[1] Chapter 7" in printed
    assert "built in 1807" in printed


def test_chat_answers_keeps_and_forgets(
    index: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = ConversationalSearch(
        UniConv.from_pretrained(model, device="cpu"),
        Index.open(index),
        SearchSettings(max_new_tokens=8),
    )
    saved = tmp_path / "talk.jsonl"
    lines = iter(
        [
            "/sources",
            "When was tower 3 built?",
            "",
            "And tower 4?",
            "/sources",
            f"/save {saved}",
            f"/save {saved}",
            "/save",
            "/unknown",
            "/help",
            "/reset",
            f"/save {saved}",
            "/quit",
        ]
    )
    assert hold_conversation(search, lambda: next(lines)) is None  # forgotten by /reset
    talks = list(read_conversations(saved))
    assert [talk.id for talk in talks] == ["chat-1", "chat-2"]
    assert [turn.query for turn in talks[0].turns] == ["When was tower 3 built?", "And tower 4?"]
    assert all(turn.response is not None for turn in talks[0].turns)
    printed = capsys.readouterr().out
    for expected in ("Nothing has been asked", "was built in", "Name a file", "no /unknown"):
        assert expected in printed


def test_chat_ends_with_its_input(index: Path, model: Path) -> None:
    done = Command(["uniconv", "chat", index], text="When?\n").finish(120)
    assert done.returncode == 0, done.stderr
    assert "retrieved" in done.stdout
    assert "Traceback" not in done.stderr


def test_calibrate_keeps_the_threshold_with_the_model(
    index: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    passages = [Index.open(index).search_text([f"tower {n}"], 1)[0][0].passage for n in range(30)]
    talks = [
        Conversation(f"c{n}", (Turn(f"tower {n}?", positives=(passage.id,)),))
        for n, passage in enumerate(passages)
    ]
    write_conversations(tmp_path / "dev.jsonl", talks)
    assert run("calibrate", index, tmp_path / "dev.jsonl") == 0
    printed = capsys.readouterr().out
    kept = json.loads((model / "uniconv.json").read_text())["settings"]["threshold"]
    assert f"threshold {kept:.2f} from 30 turns" in printed
    assert isinstance(kept, float)
    write_conversations(tmp_path / "few.jsonl", talks[:3])
    others = ["--unanswerable", tmp_path / "few.jsonl"]
    assert run("calibrate", index, tmp_path / "dev.jsonl", *others, "--false-declines", "0") == 0
    assert "Of the unanswerable turns it declines 0.0%." in capsys.readouterr().out
    assert run("calibrate", index, tmp_path / "few.jsonl") == 2


def test_mine_fills_in_negatives(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = Index.open(index)
    (gold,) = opened.search_text(["tower 1807"], 1)
    talk = Conversation("c", (Turn("tower number 7?", positives=(gold[0].passage.id,)),))
    write_conversations(tmp_path / "talks.jsonl", [talk])
    paths = ["--conversations", tmp_path / "talks.jsonl", "--out", tmp_path / "mined.jsonl"]
    # All chapters differ in two words only.
    assert run("mine", *paths, "--index", index, "--overlap", "1.1") == 0
    assert "1 of 1 turns have positives; 8 negatives" in capsys.readouterr().out
    (mined,) = read_conversations(tmp_path / "mined.jsonl")
    assert len(mined.turns[0].negatives) == 8
    assert all(opened.passage(id) for id in mined.turns[0].negatives)
    assert run("mine", *paths, "--index", index) == 2


def test_distil_demands_a_teacher_and_trains_with_it(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turn = Turn("who built the tower?", "a family", positives=("p1",))
    write_conversations(tmp_path / "talks.jsonl", [Conversation("a", (turn,))])
    (tmp_path / "corpus.jsonl").write_text('{"_id": "p1", "text": "A family built it."}\n')
    config = tmp_path / "distil.yaml"
    config.write_text(f"""
output: {tmp_path / "run"}
model: {{path: {model}, conversation_tokens: 64, passage_tokens: 32, response_tokens: 16}}
data:
  train: [{{conversations: {tmp_path / "talks.jsonl"}, corpora: {tmp_path / "corpus.jsonl"}}}]
optimisation: {{steps: 1}}
objectives: {{retrieval: 0, generation: 0, alpha: 0, embeddings: 1}}
""")
    assert run("distil", config) == 2
    assert "distillation: is missing; name a teacher" in capsys.readouterr().err
    assert run("distil", config, "--set", f"distillation={{teacher: {model}}}") == 0
    assert (tmp_path / "run" / "model" / "adapter_config.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "no-such-folder", "x"], "no index here"),
        (["index", "no-such-folder", "--out", "out", "--model", "MODEL"], "no-such-folder"),
        (["index", ".", "--out", "out", "--model", "no-such-model"], "no causal language model"),
        (["train", "no-such.yaml"], "no-such.yaml"),
        (["data", "convert", "no-such-set", ".", "--out", "out"], "unknown data set"),
    ],
)
def test_mistakes_get_one_sentence(
    arguments: list[str],
    message: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(model) if argument == "MODEL" else argument for argument in arguments]
    assert run(*given) == 2
    error = capsys.readouterr().err
    assert error.startswith("uniconv: ")
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out" / "index.json").exists()


def test_the_catalogue_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "list") == 0
    assert "topiocqa" in capsys.readouterr().out


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['uniconv', '--help']\n"
        "from uniconv.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'faiss' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "index" in done.stdout


def test_serve_tells_mistakes_in_a_sentence(
    index: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("serve", tmp_path / "none") == 2
    assert "there is no index here" in capsys.readouterr().err
    tokens = ("--token-file", tmp_path / "none")
    assert run("serve", index, "--model", model, *tokens) == 2
    assert "the tokens can't be read" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "uniconv.serving.run", raising=False)
    assert run("serve", index) == 2
    assert "serving needs the package uvicorn: pip install 'uniconv[serve]'" in (
        capsys.readouterr().err
    )
