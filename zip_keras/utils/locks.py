"""A lock on a folder that is released when the process ends."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import sys
import time
from pathlib import Path

from zip_keras.errors import UserError

LOCK_FILE = ".lock"


class FolderLock:
    """An exclusive lock on a folder. It uses a lock on an open file, which the system releases when the process dies.

    The file `.lock` in the folder names the holder and is removed by `release`. Child processes that inherit
    `descriptor` hold the lock too.

    Args:
        folder: the folder; created by `acquire` if missing.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.descriptor: int | None = None

    def acquire(self) -> None:
        """Acquire the lock. Do nothing if this object holds it already.

        Raises:
            UserError: another process holds the lock (the message names it), or the folder cannot be written.
        """
        while self.descriptor is None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise UserError(f"{self.folder}: cannot be written: {error.strerror or error}") from None
            try:
                self._lock(descriptor)
            except BaseException:
                os.close(descriptor)
                raise

    def release(self) -> None:
        """Remove the file and release the lock. Do nothing if it is not held."""
        if self.descriptor is None:
            return
        with contextlib.suppress(OSError):
            (self.folder / LOCK_FILE).unlink()  # before the release: afterwards the file may belong to another process
        os.close(self.descriptor)
        self.descriptor = None

    def __enter__(self) -> int:
        """Acquire the lock and return its descriptor for child processes."""
        self.acquire()
        assert self.descriptor is not None
        return self.descriptor

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{self.folder}: in use by {_holder(descriptor)}; wait until it ends, stop it, or name another folder"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise UserError(f"{self.folder}: cannot be locked: {error.strerror}") from None
            print(
                f"{self.folder}: this file system has no locks; make sure that no other process writes here",
                file=sys.stderr,
            )
        if not self._is_current(descriptor):  # the last holder removed the file between opening and locking
            os.close(descriptor)
            return
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "start": time.strftime("%Y-%m-%d %H:%M:%S %z")}
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written: {error.strerror or error}") from None
        self.descriptor = descriptor

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.folder / LOCK_FILE))
        except FileNotFoundError:
            return False


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on {holder['host']}, started {holder['start']}, or by a process it left behind"
    except (OSError, ValueError, KeyError, TypeError):  # the holder has not written its entry yet
        return "another process"
