"""Whether the server lives, whether it can work, and its measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from agented.kit.errors import AgentedError, Unavailable
from agented.kit.web import role

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

Probe = Callable[[], None]
"""Raises an AgentedError or an OSError when the part does not work."""


class Alive(BaseModel):
    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"
    checks: list[str]


def build_router(probes: Mapping[str, Probe], measure: Callable[[], CollectorRegistry] | None) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/health/liveness", openapi_extra=role("open"))
    async def liveness() -> Alive:
        """Answers as long as the process can answer; it asks for nothing else, not even a thread."""
        return Alive()

    @router.get("/health/readiness", openapi_extra=role("open"))
    def readiness() -> Ready:
        """503 with the names of the parts that do not work."""
        failing = [name for name, probe in probes.items() if not _works(probe)]
        if failing:
            raise Unavailable(
                f"Not ready: {', '.join(failing)}.", code="not_ready", hint="`agented doctor` says what to do."
            )
        return Ready(checks=list(probes))

    @router.get("/metrics", response_class=Response, openapi_extra=role("viewer"))
    def metrics() -> Response:
        """Measurements in the text format of Prometheus."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        body = b"" if measure is None else generate_latest(measure())
        return Response(body, media_type=CONTENT_TYPE_LATEST)

    return router


def _works(probe: Probe) -> bool:
    try:
        probe()
    except (AgentedError, OSError):
        return False
    return True
