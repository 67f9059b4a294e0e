"""What a bot promises: the result that must be there at the end, or the run has failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agented.bots import reading
from agented.kit.errors import Invalid
from agented.projects.checks import check_ref


class Kind(StrEnum):
    COMMENT = "comment"
    """One comment on the pull request or issue, updated by later runs."""
    REVIEW = "review"
    """The same, and the findings as comments on their lines."""
    PULL_REQUEST = "pull_request"
    BRANCH = "branch"
    """What was changed, pushed as a branch."""
    REPORT = "report"
    JSON = "json"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """optional: that it is not there is no failure. verdict: a review also approves or asks for changes. folder: in the
    project, where a copy of the report is put."""

    kind: Kind
    optional: bool = False
    schema: Mapping[str, Any] | None = None
    title: str | None = None
    base: str | None = None
    draft: bool = False
    verdict: bool = False
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class OnFailure:
    """comment: it says so where the event came from. pause_after: so many in a row pause the bot; 0 never."""

    comment: bool = False
    pause_after: int = 5


_FIELDS: Mapping[Kind, set[str]] = {
    Kind.REVIEW: {"verdict"},
    Kind.PULL_REQUEST: {"title", "base", "draft"},
    Kind.JSON: {"schema"},
    Kind.REPORT: {"schema", "folder"},
}


def read_results(value: Any, place: str = "result") -> tuple[Result, ...]:
    """A kind, a mapping with one, or a list of these. Raises Invalid that names the field."""
    if value is None:
        return (Result(kind=Kind.NOTHING),)
    if not isinstance(value, list):
        return (_read(value, place),)
    found = tuple(_read(one, f"{place}[{number}]") for number, one in enumerate(value))
    kinds = [one.kind for one in found]
    if not found or len(set(kinds)) < len(kinds):
        raise Invalid("Name each kind of result once.", field=place)
    return found


def _read(value: Any, place: str) -> Result:
    given = {"kind": value} if isinstance(value, str) else reading.mapping_of(value, place)
    kind = reading.one_of(given.get("kind"), Kind, reading.at(place, "kind"))
    reading.only(given, {"kind", "optional"} | _FIELDS.get(kind, set()), place)
    schema: Any = given.get("schema")
    if kind is Kind.JSON or schema is not None:
        check_schema(schema, f"{place}.schema")
    base = reading.optional(given, "base", 250, place)
    if base is not None:
        _check_branch(base, f"{place}.base")
    folder = reading.optional(given, "folder", 250, place)
    if folder is not None and (folder.startswith("/") or ".." in folder.split("/")):
        raise Invalid("This is a folder inside the project.", field=f"{place}.folder", hint="docs/reports")
    return Result(
        kind=kind,
        optional=reading.flag(given, "optional", place, default=False),
        schema=schema,
        title=reading.optional(given, "title", 200, place),
        base=base,
        draft=reading.flag(given, "draft", place, default=False),
        verdict=reading.flag(given, "verdict", place, default=False),
        folder=folder,
    )


def _check_branch(name: str, field: str) -> None:
    try:
        check_ref(name)
    except Invalid as error:
        raise Invalid(error.message, field=field, hint=error.hint) from None


def check_schema(schema: Any, field: str) -> None:
    """Raises Invalid for what is no JSON schema (draft 2020-12), or one that reaches for others."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    if not isinstance(schema, Mapping):
        raise Invalid("A JSON schema is a mapping.", field=field, hint="{type: object, required: [...]}")
    if _refers_out(schema):
        raise Invalid("The schema may only refer to its own parts.", field=field, hint="#/$defs/...")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise Invalid(f"This is no JSON schema: {error.message[:200]}", field=field) from None
    except RecursionError:
        raise Invalid("The schema is nested too deep.", field=field) from None


def _refers_out(schema: Any, depth: int = 0) -> bool:
    if depth > 60:
        return True
    if isinstance(schema, Mapping):
        target = schema.get("$ref")
        outside = isinstance(target, str) and not target.startswith("#")
        return outside or any(_refers_out(one, depth + 1) for one in schema.values())
    return isinstance(schema, list) and any(_refers_out(one, depth + 1) for one in schema)


def read_on_failure(value: Any) -> OnFailure:
    given = reading.mapping_of(value or {}, "on_failure")
    reading.only(given, {"comment", "pause_after"}, "on_failure")
    return OnFailure(
        reading.flag(given, "comment", "on_failure", default=False),
        reading.whole(given.get("pause_after", 5), "on_failure.pause_after", 0, 1000),
    )
