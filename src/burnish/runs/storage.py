"""Files that are there whole or not at all, and one clear error when the disk refuses."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from burnish.errors import ModelError, RunError

_DISK = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EFBIG: "a file grew over the allowed size; raise the limit (ulimit -f) and run the same command again",
    errno.EROFS: "the file system is read-only; choose a folder you can write to with --out",
    errno.EACCES: "permission denied; choose a folder you can write to with --out",
    errno.EPERM: "permission denied; choose a folder you can write to with --out",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another folder with --out",
}
_SAID = {"No space left": errno.ENOSPC, "disk is full": errno.ENOSPC, "File too large": errno.EFBIG}


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn what the disk says (full, read-only, forbidden) into one `RunError` that names the place and the fix."""
    try:
        yield
    except (OSError, sqlite3.OperationalError, RuntimeError, ModelError) as error:
        number = getattr(error, "errno", None)
        number = number or next((n for said, n in _SAID.items() if said in str(error)), None)
        if isinstance(error, RunError) or number not in _DISK:
            raise
        raise RunError(f"cannot write to {getattr(error, 'filename', None) or place}: {_DISK[number]}") from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        RunError: it cannot be made here.
    """
    with disk_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise RunError(f"{folder} is a file, not a folder; choose another folder with --out") from error
        except FileNotFoundError as error:  # file systems that hold no folders of ours, such as /proc
            raise RunError(f"cannot make {folder} here; choose another folder with --out") from error


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Flush every file below a folder, then the folders."""
    for root, _, names in os.walk(folder):
        for name in names:
            handle = os.open(os.path.join(root, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(Path(root))


def write_json(path: Path, data: Any) -> None:
    """Write JSON by rename: readers see the old file or the new one, never half."""
    text = json.dumps(data, indent=2, ensure_ascii=False, sort_keys=False, allow_nan=True)
    draft = path.with_name(path.name + ".draft")
    with disk_errors(path):
        with open(draft, "w", encoding="utf-8") as out:
            out.write(text + "\n")
            out.flush()
            os.fsync(out.fileno())
        os.replace(draft, path)
        sync_folder(path.parent)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        RunError: the file is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(
            f"{path} is not valid JSON ({error}); restore it or remove the step's folder to redo it"
        ) from error


def publish(draft: Path, target: Path) -> None:
    """Make a finished folder appear under its name, by one rename after everything in it has reached the disk."""
    with disk_errors(target):
        sync_tree(draft)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(draft, target)
        sync_folder(target.parent)


def remove(folder: Path) -> None:
    """Remove a folder if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


class Lock:
    """A run folder's lock; it dies with its holder, however that dies (flock on an open file)."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".lock"
        make_folder(folder)
        with disk_errors(self.path):
            self.file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115 (held for the life of the run)
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.seek(0)
            holder = self.file.read().strip() or "unknown"
            self.file.close()
            raise RunError(
                f"{folder} is in use by process {holder}; wait for it, stop it, or choose another --out"
            ) from error
        self.file.truncate(0)
        self.file.write(str(os.getpid()))
        self.file.flush()

    def release(self) -> None:
        """Let go of the folder."""
        self.file.close()
