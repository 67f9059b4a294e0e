"""Transcripts over HTTP: searched, read, removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from agented.kit import loose
from agented.kit.clock import from_micros
from agented.kit.errors import Invalid, NotFound
from agented.kit.web import Caller, Cursor, Limit, Page, current_caller, decode_cursor, encode_cursor, role
from agented.transcripts.keeping import Transcripts, read_words
from agented.transcripts.model import Hit, Item, Risk, Transcript, Wanted

_MOST_HITS = 3
_MOST_CHARS = 4_000_000
CallerNow = Annotated[Caller, Depends(current_caller)]


@dataclass(frozen=True, slots=True)
class TranscriptsApi:
    transcripts: Transcripts


class HitOut(BaseModel):
    seq: int = Field(description="Its place in the transcript, from 1.")
    at: str
    kind: str
    snippet: str
    marks: list[list[int]] = Field(description="Where the words stand in the snippet: first, behind the last.")


class TranscriptOut(BaseModel):
    id: int
    source: str
    session: str
    account: str
    title: str
    model: str
    workdir: str
    project: str | None
    execution: str | None = Field(description="The run it belongs to; null for a person's session.")
    began_at: str
    last_at: str
    items: int
    size_bytes: int
    hits: int = 0
    found: list[HitOut] = []


class RiskOut(BaseModel):
    source: str
    account: str
    sessions: int
    days: float = Field(description="So long the CLI keeps a session.")
    first_at: str


class StandingOut(BaseModel):
    keep: bool
    days: int = Field(description="After as many days a transcript is let go; 0 for never.")
    transcripts: int
    items: int
    size_bytes: int
    collected_at: str | None
    at_risk: list[RiskOut] = Field(description="Sessions that are not kept and that their CLI will soon delete.")


class TranscriptItems(BaseModel):
    items: list[dict[str, Any]] = Field(description="In the words of a run's events, and `asked` for what was asked.")
    last_seq: int


class TranscriptsCollected(BaseModel):
    files: int = Field(description="Session files in which something was new.")


def build_router(ports: TranscriptsApi) -> APIRouter:
    router = APIRouter(prefix="/api/transcripts", tags=["transcripts"])
    transcripts = ports.transcripts

    @router.get("", openapi_extra=role("viewer"))
    def list_transcripts(
        caller: CallerNow,
        q: Annotated[str, Query(max_length=300, description='Words and "phrases" that are all said together.')] = "",
        source: Annotated[str | None, Query(max_length=60)] = None,
        account: Annotated[str | None, Query(max_length=120)] = None,
        project: Annotated[str | None, Query(max_length=40)] = None,
        of: Annotated[str | None, Query(pattern="^(people|runs)$", description="Whose sessions.")] = None,
        session: Annotated[str | None, Query(max_length=200, description="With source: this session alone.")] = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> Page[TranscriptOut]:
        """The newest first; with `q` those in which it was said, and where. Who only views sees those of runs."""
        if session is not None:
            if source is None:
                raise Invalid("Sessions are named within their CLI.", field="source", hint="Give source as well.")
            return Page(items=[_out(_seen(transcripts.of_session(source, session), caller))])
        words = read_words(q)
        of_runs = None if of is None else of == "runs"
        if not caller.may("operator"):
            of_runs = True
        wanted = Wanted(words=words, source=source, account=account, project=project, of_runs=of_runs)
        before = None if cursor is None else decode_cursor(cursor)
        place = None if before is None else (_whole(before["last"]), _whole(before["id"]))
        rows = transcripts.page(wanted, place, limit + 1, _MOST_HITS)
        items = [_out(one, hits, found) for one, hits, found in rows[:limit]]
        last = rows[limit - 1][0] if len(rows) > limit else None
        more = None if last is None else encode_cursor({"last": last.last, "id": last.id})
        return Page(items=items, next_cursor=more)

    @router.get("/standing", openapi_extra=role("viewer"))
    def get_transcripts_standing() -> StandingOut:
        """How much is kept, and what is about to be lost."""
        count, said, size = transcripts.totals()
        at = transcripts.collected_at
        return StandingOut(
            keep=transcripts.keep,
            days=transcripts.days,
            transcripts=count,
            items=said,
            size_bytes=size,
            collected_at=None if at is None else at.isoformat(),
            at_risk=[_risk(risk) for risk in transcripts.risks()],
        )

    @router.post("/collect", openapi_extra=role("operator"))
    def collect_transcripts() -> TranscriptsCollected:
        """Reads what is new in the session files now."""
        if not transcripts.keep:
            raise Invalid("Transcripts are not kept.", field="keep_transcripts", hint="Set it to true and restart.")
        return TranscriptsCollected(files=transcripts.collect())

    @router.get("/{transcript_id}", openapi_extra=role("viewer"))
    def get_transcript(transcript_id: int, caller: CallerNow) -> TranscriptOut:
        return _out(_seen(transcripts.get(transcript_id), caller))

    @router.get("/{transcript_id}/items", openapi_extra=role("viewer"))
    def get_transcript_items(
        transcript_id: int,
        caller: CallerNow,
        after: Annotated[int, Query(ge=0, le=100_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=5000)] = 2000,
    ) -> TranscriptItems:
        last = _seen(transcripts.get(transcript_id), caller).items
        return TranscriptItems(
            items=[_event(item) for item in transcripts.items(transcript_id, after, limit, _MOST_CHARS)], last_seq=last
        )

    @router.delete("/{transcript_id}", status_code=204, openapi_extra=role("admin"))
    def delete_transcript(transcript_id: int) -> None:
        """For good: it is not collected again. The CLI's own file stays as it is."""
        transcripts.remove(transcript_id)

    return router


def _seen(one: Transcript, caller: Caller) -> Transcript:
    """A person's own sessions are not for those who only view."""
    if not one.execution and not caller.may("operator"):
        raise NotFound(f"There is no transcript {one.id} that you may read.")
    return one


def _out(one: Transcript, hits: int = 0, found: list[Hit] | None = None) -> TranscriptOut:
    return TranscriptOut(
        id=one.id,
        source=one.source,
        session=one.session,
        account=one.account,
        title=one.title,
        model=one.model,
        workdir=one.workdir,
        project=one.project or None,
        execution=one.execution or None,
        began_at=_time(one.began),
        last_at=_time(one.last),
        items=one.items,
        size_bytes=one.size,
        hits=hits,
        found=[
            HitOut(
                seq=hit.seq,
                at=_time(hit.at),
                kind=hit.kind,
                snippet=hit.snippet,
                marks=[list(mark) for mark in hit.marks],
            )
            for hit in found or ()
        ],
    )


def _risk(risk: Risk) -> RiskOut:
    return RiskOut(
        source=risk.source,
        account=risk.account,
        sessions=risk.sessions,
        days=risk.days,
        first_at=risk.first_at.isoformat(),
    )


def _event(item: Item) -> dict[str, Any]:
    about = {"seq": item.seq, "at": _time(item.at), "attempt": 1, "side": item.side}
    match item.kind:
        case "asked":
            return {**about, "type": "asked", "text": item.text}
        case "said" | "thinking":
            return {**about, "type": "said", "text": item.text, "thinking": item.kind == "thinking", "delta": False}
        case "called":
            given = loose.mapping(loose.read_json(item.text))
            kind = item.tool_kind or "other"
            return {
                **about,
                "type": "tool_called",
                "call_id": item.call,
                "tool": item.tool,
                "arguments": given,
                "kind": kind,
            }
        case "returned":
            return {**about, "type": "tool_returned", "call_id": item.call, "ok": item.ok, "output": item.text}
        case _:
            return {**about, "type": "notice", "text": item.text, "level": "error" if item.kind == "bad" else "info"}


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise Invalid("This is no place in the list.", field="cursor", hint="Take `next_cursor` of the page before.")
    return value


def _time(micros: int) -> str:
    return from_micros(micros).isoformat()
