"""Whether a delivery meets a trigger: conditions over its facts. Pure.

A condition is `{path, op, value}`, `{all: [...]}`, `{any: [...]}` or `{not: ...}`; none at all is met by everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agented.kit.errors import Invalid

_DEEPEST = 12
_MOST = 200
_LONGEST_PATTERN = 1000
_PART = re.compile(r"([^.\[\]]+)|\[(\d{1,6})\]")
OPERATORS = ("equals", "not_equals", "contains", "starts_with", "ends_with", "matches", "in", "exists")
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Met:
    """why: the first condition that decided, for people."""

    met: bool
    why: str


def parse_path(path: str) -> tuple[str | int, ...]:
    """`a.b[0].c` as its steps. Raises Invalid."""
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        if steps and path[at] == ".":
            at += 1
        match = _PART.match(path, at)
        if match is None:
            break
        steps.append(match[1] if match[1] is not None else int(match[2]))
        at = match.end()
    if not steps or at < len(path) or path.endswith("."):
        raise Invalid(f"{path[:80]!r} is no path.", field="path", hint="Such as payload.items[0].name.")
    return tuple(steps)


def look_up(facts: Any, path: str) -> Any:
    """The value at a path, or None; `found` tells them apart."""
    value = _walk(facts, path)
    return None if value is _NOTHING else value


def found(facts: Any, path: str) -> bool:
    return _walk(facts, path) is not _NOTHING


def _walk(value: Any, path: str) -> Any:
    for step in parse_path(path):
        if isinstance(step, int) and isinstance(value, list) and step < len(value):
            value = value[step]
        elif isinstance(value, Mapping) and str(step) in value:
            value = value[str(step)]
        else:
            return _NOTHING
    return value


def check_condition(condition: Any, field: str = "match", depth: int = 0, count: list[int] | None = None) -> None:
    """Raises Invalid, with the place, for what is no condition."""
    seen = [0] if count is None else count
    seen[0] += 1
    if depth > _DEEPEST or seen[0] > _MOST:
        raise Invalid(f"Conditions are too many or too deep ({_MOST} and {_DEEPEST} at most).", field=field)
    if not isinstance(condition, Mapping):
        raise Invalid("A condition is a mapping.", field=field, hint="{path, op, value}, {all}, {any} or {not}.")
    keys = set(condition)
    for key in ("all", "any"):
        if keys == {key}:
            if not isinstance(condition[key], list) or not condition[key]:
                raise Invalid(f"`{key}` takes a list of conditions.", field=f"{field}.{key}")
            for number, inner in enumerate(condition[key]):
                check_condition(inner, f"{field}.{key}[{number}]", depth + 1, seen)
            return
    if keys == {"not"}:
        check_condition(condition["not"], f"{field}.not", depth + 1, seen)
        return
    _check_leaf(condition, field)


def _check_leaf(condition: Mapping[str, Any], field: str) -> None:
    unknown = set(condition) - {"path", "op", "value"}
    if unknown or not isinstance(condition.get("path"), str):
        raise Invalid("A condition has `path`, `op` and `value`.", field=field)
    parse_path(condition["path"])
    operator = condition.get("op", "equals")
    if operator not in OPERATORS:
        raise Invalid(f"There is no operator {operator!r}.", field=f"{field}.op", hint=", ".join(OPERATORS))
    value = condition.get("value")
    if operator == "in" and not isinstance(value, list):
        raise Invalid("`in` takes a list.", field=f"{field}.value")
    if operator in ("contains", "starts_with", "ends_with", "matches") and not isinstance(value, str):
        raise Invalid(f"`{operator}` takes a text.", field=f"{field}.value")
    if operator == "matches":
        compile_pattern(str(value), f"{field}.value")


def compile_pattern(pattern: str, field: str) -> Any:
    """In time that grows with the text alone (RE2), whatever the pattern. Raises Invalid."""
    import re2  # a server without such a condition need not load it

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        if len(pattern) > _LONGEST_PATTERN:
            raise re2.error("longer than 1000 characters")
        pattern.encode()
        return re2.compile(pattern, options=options)
    except UnicodeEncodeError:
        raise Invalid("The pattern holds half a character.", field=field, hint="A surrogate stands alone.") from None
    except re2.error as error:
        told = error.args[0] if error.args else ""
        reason = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
        raise Invalid(f"The pattern is not understood: {reason}", field=field, hint="RE2 syntax.") from None


def meet(condition: Mapping[str, Any] | None, facts: Mapping[str, Any]) -> Met:
    """Whether facts meet a condition that `check_condition` let pass."""
    if not condition:
        return Met(True, "Every delivery starts it.")
    if "all" in condition:
        for inner in condition["all"]:
            result = meet(inner, facts)
            if not result.met:
                return result
        return Met(True, "All conditions are met.")
    if "any" in condition:
        for inner in condition["any"]:
            result = meet(inner, facts)
            if result.met:
                return result
        return Met(False, "None of the conditions is met.")
    if "not" in condition:
        result = meet(condition["not"], facts)
        return Met(not result.met, f"Not: {result.why}")
    return _leaf(condition, facts)


def _leaf(condition: Mapping[str, Any], facts: Mapping[str, Any]) -> Met:
    path, operator, wanted = str(condition["path"]), condition.get("op", "equals"), condition.get("value")
    value = _walk(facts, path)
    if operator == "exists":
        there = value is not _NOTHING
        met = there if wanted in (None, True) else not there
        return Met(met, f"{path} is {'there' if there else 'missing'}.")
    if value is _NOTHING:
        return Met(operator == "not_equals", f"{path} is missing.")
    met = _holds(str(operator), value, wanted)
    return Met(met, f"{path} is {_brief(value)}{'' if met else f', not {operator} {_brief(wanted)}'}.")


def _holds(operator: str, value: Any, wanted: Any) -> bool:
    if operator == "equals":
        return bool(value == wanted and type(value) is type(wanted)) or _text(value) == _text(wanted)
    if operator == "not_equals":
        return not _holds("equals", value, wanted)
    if operator == "in":
        return any(_holds("equals", value, one) for one in wanted)
    if operator == "contains" and isinstance(value, list):
        return any(_holds("equals", one, wanted) for one in value)
    text = _text(value)
    if operator == "contains":
        return wanted in text
    if operator == "starts_with":
        return text.startswith(wanted)
    if operator == "ends_with":
        return text.endswith(wanted)
    # JSON can say half of a surrogate pair; RE2 knows only what UTF-8 can say.
    return compile_pattern(wanted, "match").search(text.encode("utf-8", "replace").decode()) is not None


def _text(value: Any) -> str:
    """As a form or a header would say it: they know only texts."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
