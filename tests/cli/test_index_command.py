from __future__ import annotations

import time
from pathlib import Path

import pytest

from command import run
from tiny import tiny_uniconv
from uniconv.retrieval import workers
from uniconv.retrieval.sharing import encode_share


@pytest.fixture
def command(tmp_path, capsys):
    """Runs ``uniconv index`` on some documents; gives its exit status and what it printed."""
    tiny_uniconv().save_pretrained(tmp_path / "model")
    (tmp_path / "documents").mkdir()
    for number in range(5):
        (tmp_path / "documents" / f"{number}.md").write_text(f"The tower number {number} is old.")

    def index(*arguments: str | Path) -> tuple[int, str]:
        options = ("--out", tmp_path / "index", "--model", tmp_path / "model")
        status = run("index", *options, *arguments)
        printed = capsys.readouterr()
        return status, printed.out if status == 0 else printed.err

    return index


def test_jobs_prepare_share_and_merge(command, tmp_path):
    documents = tmp_path / "documents"
    assert "5 passages, 5 of them to be encoded in 1 shards" in command(documents, "--prepare")[1]
    status, problem = command("--merge")
    assert (status, "1 of 1 shards are missing" in problem) == (2, True)
    assert "5 passages in 1 shards are done" in command("--shard", "0/2")[1]
    assert "0 passages in 0 shards are done" in command(documents, "--shard", "1/2")[1]
    assert "5 passages, 5 of them encoded now" in command("--merge")[1]
    for again in ("--prepare", "--shard=0/2", "--processes=2"):
        assert command(documents, again) == (0, "nothing has changed\n")
    assert "5 passages, 0 of them encoded now" in command(documents)[1]


def test_the_time_of_several_processes_is_counted(command, tmp_path, monkeypatch):
    now = time.monotonic

    def encode_for_an_hour(out, load, processes):
        encode_share(out, load(), 0, 1)
        monkeypatch.setattr(time, "monotonic", lambda: now() + 3600)

    monkeypatch.setattr(workers, "encode_in_processes", encode_for_an_hour)
    assert "5 of them encoded now, in 360" in command(tmp_path / "documents", "--processes=2")[1]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--shard", "2"), "--shard 2: must be i/n, such as 0/16"),
        (("--shard", "0/2"), "nothing is prepared here"),
        (("documents", "--shard", "2/2"), "there is no share 2/2"),
        (("--shard", "0/2", "--merge"), "--shard and --merge can't go together"),
        (("--prepare",), "name the folders and files to index"),
        ((), "name the folders and files to index"),
        (("--merge", "--out", "m.yaml"), "m.yaml: --merge makes an index folder, so name that"),
    ],
)
def test_mistakes(command, arguments, problem):
    status, said = command(*arguments)
    assert status == 2
    assert problem in said
