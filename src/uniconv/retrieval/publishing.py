"""Who may write to an index folder, and the one rename that makes a new version current."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from uniconv.errors import IndexFolderError
from uniconv.files import write_json
from uniconv.retrieval.index import FORMAT, POINTER, VERSIONS, current_version
from uniconv.retrieval.planning import BUILDING

LOCK = ".lock"


@contextmanager
def only_writer(folder: Path, *, wait: bool = False) -> Iterator[str | None]:
    """Holds the folder's lock, which the system frees if the process dies; makes the folder.

    Gives the current version's name, None where there is none yet. On a file system that several
    machines share the lock holds for all of them where the system has such locks (flock).

    Raises:
        IndexFolderError: another process holds the lock, unless ``wait``; ``folder`` is something
            else; or it can't be written.
    """
    ours = {POINTER, VERSIONS, BUILDING, LOCK}
    try:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
        if names and not names & ours:
            raise IndexFolderError(
                f"{folder}: holds other files and no index; choose an empty or new folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK, timeout=-1 if wait else 0):
            yield published(folder)
    except Timeout as error:
        raise IndexFolderError(
            f"{folder}: another process is updating this index; wait until it is done"
        ) from error
    except NotImplementedError as error:
        raise IndexFolderError(
            f"{folder}: this file system has no locks (flock), so that two processes could spoil "
            "the index; mount it with locks, or make the index elsewhere and move it"
        ) from error
    except OSError as error:
        raise IndexFolderError(
            f"{folder}: the index could not be written ({error.strerror or error}); what was "
            "there before is untouched"
        ) from error


def published(folder: Path) -> str | None:
    """The current version's name; None where nothing was published yet."""
    return current_version(folder) if (folder / POINTER).exists() else None


def publish(folder: Path, staging: Path) -> None:
    """Makes ``staging`` the current version; what it replaces is removed, and all that was built.

    Readers that have the old version open keep its files until they close them.
    """
    version = uuid4().hex[:16]
    (folder / VERSIONS).mkdir(exist_ok=True)
    staging.rename(folder / VERSIONS / version)
    write_json(folder / POINTER, {"format": FORMAT, "version": version})
    remove_versions(folder, keep=version)
    shutil.rmtree(folder / BUILDING, ignore_errors=True)


def remove_versions(folder: Path, keep: str | None) -> None:
    """Removes versions that were replaced or never published."""
    for version in (folder / VERSIONS).glob("*"):
        if version.name != keep:
            shutil.rmtree(version, ignore_errors=True)
