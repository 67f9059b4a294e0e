"""Hears when session files change, so that what was said and spent is known soon and without looking at every file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

_FOLDERS_ANEW_MS = 60_000
_GATHER_MS = 1_000
_STEP_MS = 200
_REST_S = 2.0
_BEGUN_S = 1.0
_MOST_PATHS = 2_000


class Changes:
    """For one who reads the files: what has changed since it asked last."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._paths: set[str] | None = None
        self._lock = threading.Lock()

    def take(self) -> set[str] | None:
        """None where that is not known, and everything must be looked at."""
        with self._lock:
            paths, self._paths = self._paths, set()
            return paths

    def put(self, paths: Iterable[str]) -> None:
        with self._lock:
            if self._paths is not None:
                self._paths.update(paths)
                if len(self._paths) > _MOST_PATHS:
                    self._paths = None
        self._ring()

    def lose(self) -> None:
        """Something may have been missed."""
        with self._lock:
            self._paths = None
        self._ring()


@dataclass(slots=True, kw_only=True)
class Watching:
    """folders: in which session files are, at the time of asking; those that are not there yet are waited for."""

    folders: Callable[[], Iterable[Path]]
    readers: list[Changes] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def add(self, ring: Callable[[], None]) -> Changes:
        """For one more reader; `ring` is called from another thread when there is something to `take`."""
        changes = Changes(ring)
        self.readers.append(changes)
        return changes

    def run(self) -> None:
        """Until `stop`. Where folders cannot be watched, readers learn nothing here and go on looking by themselves."""
        while not self._stopping.is_set():
            folders = self._there()
            try:
                self._watch(folders)
            except (OSError, RuntimeError) as error:
                # As a rule the system watches no more folders for this user.
                log.info("session files are not watched: %s", error)
                self._lose()
                self._stopping.wait(_FOLDERS_ANEW_MS / 1000)

    def stop(self) -> None:
        self._stopping.set()

    def _there(self) -> list[Path]:
        return sorted({folder for folder in self.folders() if folder.is_dir()})

    def _watch(self, folders: list[Path]) -> None:
        """Until other folders are to be watched."""
        from watchfiles import watch

        if not folders:
            self._stopping.wait(_FOLDERS_ANEW_MS / 1000)
            return
        heard = watch(
            *folders,
            watch_filter=None,
            debounce=_GATHER_MS,
            step=_STEP_MS,
            stop_event=self._stopping,
            rust_timeout=_FOLDERS_ANEW_MS,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        # What changed before the watch has begun is found by looking once it has.
        begun = threading.Timer(_BEGUN_S, self._lose)
        begun.start()
        try:
            for changes in heard:
                if changes:
                    paths = {path for _, path in changes}
                    for reader in self.readers:
                        reader.put(paths)
                    self._stopping.wait(_REST_S)
                if self._there() != folders:
                    return
        finally:
            begun.cancel()

    def _lose(self) -> None:
        for reader in self.readers:
            reader.lose()
