"""The files of an interchange folder, as ``uniconv data convert`` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uniconv.data.lines import read_object
from uniconv.data.records import Record
from uniconv.errors import DataError

_JSONL = (".jsonl", ".jsonl.gz")
_NO_SPLITS = ("corpus", "queries")


@dataclass(frozen=True, slots=True)
class Folder:
    """Conversations by split and what lies beside them.

    ``qrels`` are judgements by their name: those of a split have its name. ``about`` is
    ``dataset.json``, which a complete conversion ends with.
    """

    path: Path
    splits: Mapping[str, Path]
    corpus: Path | None
    qrels: Mapping[str, Path]
    references: Mapping[str, Path]
    about: Record | None

    @classmethod
    def open(cls, path: Path | str, corpus: Path | str | None = None) -> Folder:
        """Looks into a folder; a single file of conversations is a split of its name.

        Args:
            path: The folder, or a file of conversations.
            corpus: The corpus that its passages are in, where that lies elsewhere.

        Raises:
            DataError: there are no conversations, or no such corpus.
        """
        path = Path(path)
        splits, qrels, references = {}, {}, {}
        files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
        for file in files:
            name = next((file.name[: -len(end)] for end in _JSONL if file.name.endswith(end)), None)
            if name and name.endswith(".references"):
                references[name.removesuffix(".references")] = file
            elif name and name not in _NO_SPLITS and not name.startswith("."):
                splits[name] = file
            elif file.name.endswith(".qrels.tsv"):
                qrels[file.name.removesuffix(".qrels.tsv")] = file
        if not splits:
            problem = "no conversations here (*.jsonl); expected what `uniconv data convert` writes"
            raise DataError(path, None, problem)
        about = path / "dataset.json"
        told = read_object(about) if about.is_file() else None
        return cls(path, splits, _corpus(path, told, corpus), qrels, references, told)

    @property
    def training(self) -> Mapping[str, Path]:
        """The splits to train on, by their names."""
        return {name: path for name, path in self.splits.items() if name.startswith("train")}


def _corpus(path: Path, about: Record | None, named: Path | str | None) -> Path | None:
    """The corpus that was named, the folder's own, or the shared one of which it tells."""
    if named is not None:
        if not Path(named).is_file():
            raise DataError(named, None, "there is no such corpus; expected a corpus.jsonl")
        return Path(named)
    own = [path / f"corpus{end}" for end in _JSONL]
    shared = about.optional_text("corpus") if about else None
    places = [*own, path / shared] if shared else own
    return next((place for place in places if place.is_file()), None)
