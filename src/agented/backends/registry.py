"""Which backends there are. All of them, ours too, come through the entry-point group; none is named here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from agented.backends.contract import Backend
from agented.kit.errors import Invalid, NotFound

GROUP = "agented.backends"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A plug-in that was left out, and why."""

    name: str
    reason: str


class Registry:
    """The backends that are installed. They are imported when one is first asked for."""

    def __init__(self, find: Callable[[], Iterable[EntryPoint]] | None = None) -> None:
        self._find = find or _installed
        self._lock = threading.Lock()
        self._backends: Mapping[str, Backend] | None = None
        self._skipped: Sequence[Skipped] = ()

    def load(self) -> Mapping[str, Backend]:
        """Every backend by its name. The first call imports them; a broken one is skipped and never ends another."""
        with self._lock:
            if self._backends is None:
                self._backends, self._skipped = _load(self._find())
            return self._backends

    def all(self) -> Sequence[Backend]:
        return tuple(self.load().values())

    @property
    def skipped(self) -> Sequence[Skipped]:
        self.load()
        return self._skipped

    def get(self, name: str) -> Backend:
        """Raises NotFound with the names that are known."""
        backends = self.load()
        if name in backends:
            return backends[name]
        raise NotFound(f"There is no backend {name!r}.", code="backend_unknown", hint=self._known(), field="backend")

    def require(self, name: str) -> Backend:
        """For a name that stands in a request: raises Invalid with the names that are known."""
        try:
            return self.get(name)
        except NotFound as error:
            raise Invalid(error.message, code=error.code, hint=error.hint, field=error.field) from error

    def _known(self) -> str:
        names = ", ".join(sorted(self.load()))
        broken = "".join(f" {skipped.name} was left out: {skipped.reason}" for skipped in self._skipped)
        return f"Known: {names or 'none'}.{broken}"


def _installed() -> Iterable[EntryPoint]:
    return entry_points(group=GROUP)


def _load(found: Iterable[EntryPoint]) -> tuple[Mapping[str, Backend], Sequence[Skipped]]:
    backends: dict[str, Backend] = {}
    skipped: list[Skipped] = []
    for point in sorted(found, key=lambda point: (point.name, point.value)):
        backend = _import(point)
        if isinstance(backend, Skipped):
            skipped.append(backend)
        elif backend.name in backends:
            skipped.append(Skipped(point.name, f"another plug-in has given a backend {backend.name!r} already"))
        else:
            backends[backend.name] = backend
    return backends, skipped


def _import(point: EntryPoint) -> Backend | Skipped:
    try:
        backend = point.load()
    except Exception as error:  # noqa: BLE001 - a plug-in is code of strangers and may fail in any way
        return Skipped(point.name, f"{type(error).__name__}: {error}")
    if not isinstance(backend, Backend):
        return Skipped(point.name, f"{point.value} is no Backend")
    if backend.name != point.name:
        return Skipped(point.name, f"its backend calls itself {backend.name!r}")
    return backend
