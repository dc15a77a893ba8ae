"""What each command takes. Heavy imports happen inside, so that help and mistakes are quick."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional
from tyro.extras import SubcommandApp

from uniconv.cli.data_commands import data
from uniconv.cli.evaluate_commands import evaluate
from uniconv.cli.index_command import index
from uniconv.cli.study_commands import study
from uniconv.config import MiningConfig
from uniconv.errors import UniConvError
from uniconv.remote.settings import RemoteSettings
from uniconv.serving.settings import ServerSettings

if TYPE_CHECKING:
    from uniconv.model import UniConv
    from uniconv.retrieval.interface import Index

app = SubcommandApp()
app.command(index)


@app.command
def search(
    folder: Positional[Path],
    query: Positional[str],
    model: str | None = None,
    retriever: Literal["hybrid", "dense", "bm25"] = "hybrid",
    k: int = 10,
    filter: tuple[str, ...] = (),
) -> None:
    """Retrieve the passages of an index for a question.

    Args:
        folder: The index folder, or a Milvus configuration (.yaml).
        query: The question.
        model: Where the index's model is now, if it has moved.
        retriever: dense, bm25 or hybrid.
        k: How many passages.
        filter: Only passages whose metadata has this, as field=value; a field that is named again
            may have either value.
    """
    from uniconv.cli.terminal import print_passages
    from uniconv.retrieval.filters import parse_filters
    from uniconv.search import ConversationalSearch, SearchSettings
    from uniconv.types import Conversation

    filters = parse_filters(filter)
    settings = SearchSettings(retriever=retriever, retrieve=k, read=1, filters=filters)
    searching = ConversationalSearch(*_open(folder, model), settings)
    print_passages(searching.retrieve(Conversation.start(query)))


@app.command
def chat(
    folder: Positional[Path],
    remote: RemoteSettings,
    model: str | None = None,
    read: int = 3,
    quote: bool | None = None,
) -> None:
    """Hold a conversation with an index in the terminal.

    Args:
        folder: The index folder, or a Milvus configuration (.yaml).
        remote: Servers that run the model.
        model: Where the index's model is now, if it has moved.
        read: How many of the retrieved passages the model reads for an answer.
        quote: Whether answers are sentences of the passages, in place of the model's setting.
    """
    from uniconv.cli.searches import open_search
    from uniconv.cli.terminal import hold_conversation

    with open_search(folder, model, read, quote, remote) as searching:
        hold_conversation(searching)


@app.command
def serve(
    folder: Positional[Path],
    settings: ServerSettings,
    remote: RemoteSettings,
    model: str | None = None,
    read: int = 3,
    quote: bool | None = None,
) -> None:
    """Serve an index over HTTP: a chat page, and OpenAI's API (docs/serving.md).

    Args:
        folder: The index folder, or a Milvus configuration (.yaml).
        settings: What the server allows.
        remote: Servers that run the model.
        model: Where the index's model is now, if it has moved.
        read: How many of the retrieved passages the model reads for an answer.
        quote: Whether answers are sentences of the passages, in place of the model's setting.
    """
    try:
        from uniconv.serving.run import serve as run
    except ModuleNotFoundError as error:
        raise UniConvError(
            f"serving needs the package {error.name}: pip install 'uniconv[serve]'"
        ) from error
    from uniconv.cli.searches import open_search

    with open_search(folder, model, read, quote, remote, settings.cache_mb) as searching:
        run(searching, settings)


@app.command
def train(config: Positional[Path], set: tuple[str, ...] = (), plan: bool = False) -> None:
    """Train a model jointly for retrieval and response generation.

    Args:
        config: A YAML file (docs/training.md); runs again where an interrupted run stopped.
        set: Settings that override the file's, such as optimisation.steps=100.
        plan: Only read the data and print the mixture: what is used, how often, for what.
    """
    _train(config, set, plan)


@app.command
def distil(config: Positional[Path], set: tuple[str, ...] = (), plan: bool = False) -> None:
    """Train a model to do what a teacher does: its scores, embeddings, distributions or responses.

    Args:
        config: A YAML file as of train, with distillation.teacher; runs again where it stopped.
        set: Settings that override the file's, such as distillation.teacher=FOLDER.
        plan: Only read the data and print the mixture: what is used, how often, for what.
    """
    _train(config, set, plan, teacher=True)


@app.command
def mine(config: MiningConfig) -> None:
    """Find hard negatives for the turns of conversations."""
    from uniconv.retrieval.mining import mine as mine_negatives

    print(mine_negatives(config))


@app.command
def calibrate(
    folder: Positional[Path],
    conversations: Positional[Path],
    model: str | None = None,
    unanswerable: Path | None = None,
    false_declines: float = 0.1,
) -> None:
    """Find the confidence below which questions are declined, and keep it with the model.

    Args:
        folder: The index folder, or a Milvus configuration (.yaml).
        conversations: Conversations (JSONL) whose positives are in the index.
        model: Where the index's model is now, if it has moved.
        unanswerable: Conversations (JSONL) that the index has no answers to, to see how many turns
            are declined.
        false_declines: The share of answerable questions that may be declined.
    """
    from dataclasses import replace

    from uniconv.data.conversations import read_conversations
    from uniconv.evaluation.calibration import calibrate
    from uniconv.pretrained import resolve
    from uniconv.search import ConversationalSearch

    talks = list(read_conversations(conversations))
    elsewhere = list(read_conversations(unanswerable)) if unanswerable else []
    loaded, index = _open(folder, model)
    search = ConversationalSearch(loaded, index)
    found = calibrate(search, talks, unanswerable=elsewhere, false_declines=false_declines)
    loaded.settings = replace(loaded.settings, threshold=found.threshold)
    loaded.save_settings(resolve(loaded.name))
    others = ""
    if found.unanswerable is not None:
        others = f" Of the unanswerable turns it declines {found.unanswerable:.1%}."
    print(
        f"threshold {found.threshold:.2f} from {found.turns} turns: declines "
        f"{found.false_declines:.1%} of them, and {found.declines:.1%} of them when their "
        f"passages are taken away.{others} Kept in {resolve(loaded.name)}."
    )


@app.command
def mcp(
    folder: Positional[Path],
    remote: RemoteSettings,
    model: str | None = None,
    read: int = 3,
    quote: bool | None = None,
) -> None:
    """Serve an index to agents: an MCP server on standard input and output.

    Args:
        folder: The index folder, or a Milvus configuration (.yaml).
        remote: Servers that run the model.
        model: Where the index's model is now, if it has moved.
        read: How many of the retrieved passages the model reads for an answer.
        quote: Whether answers are sentences of the passages, in place of the model's setting.
    """
    from uniconv.cli.searches import open_search
    from uniconv.serving.mcp import create_server

    with open_search(folder, model, read, quote, remote) as searching:
        create_server(searching).run("stdio")


@app.command
def export(
    model: Positional[str],
    out: Path,
    to: Literal["merged", "sentence-transformers"] = "merged",
    dtype: Literal["stored", "float32", "bfloat16", "float16"] = "stored",
) -> None:
    """Write a model for other programs.

    Args:
        model: A UniConv checkpoint, an adapter, any causal LM, or "embedded".
        out: The folder to write; it must not exist.
        to: merged, for transformers, vLLM and llama.cpp, or sentence-transformers.
        dtype: The precision of the weights; stored keeps that of the model.
    """
    from uniconv.export import export as export_model

    export_model(model, out, to, dtype)
    loaders = {
        "merged": f'UniConv.from_pretrained("{out}")',
        "sentence-transformers": f'SentenceTransformer("{out}")',
    }
    print(f"Wrote {out}; load it with {loaders[to]}. docs/export.md tells how to serve it.")


app.command(evaluate, name="evaluate", help="Measure retrieval or responses.")
app.command(data, name="data", help="Get, convert, check and describe data sets.")
app.command(study, name="study", help="Experiments on the joint objective.")


def _train(config: Path, set: tuple[str, ...], plan: bool, *, teacher: bool = False) -> None:
    from uniconv.config import check_config, load_config
    from uniconv.errors import ConfigError

    settings = load_config(config, overrides=set)
    if teacher and settings.distillation is None:
        raise ConfigError(f"{config}: distillation: is missing; name a teacher (docs/training.md)")
    check_config(settings, str(config))  # before the seconds that the next imports take
    if plan:
        from uniconv.cli.mixture import print_plan
        from uniconv.training.plan import plan as plan_training

        print_plan(plan_training(settings))
        return
    from uniconv.training import train

    folder = train(settings)
    if os.environ.get("RANK", "0") == "0":
        print(folder)


def _open(folder: Path, model: str | None) -> tuple[UniConv, Index]:
    """An index and the model that made it."""
    from uniconv.retrieval.interface import Index

    opened = Index.open(folder)
    from uniconv.model import UniConv

    return UniConv.from_pretrained(model or opened.model_name), opened
