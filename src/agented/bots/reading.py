"""Reads what people write into a bot, part by part. Every refusal names the field and what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from agented.kit.errors import Invalid

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
SECRET = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,79}")
MOST = 50
_Enum = TypeVar("_Enum", bound=StrEnum)


def only(given: Mapping[str, Any], known: set[str], place: str) -> None:
    unknown = sorted(str(key) for key in given if key not in known)
    if unknown:
        raise Invalid(
            f"{unknown[0]!r} is not known here.",
            field=at(place, unknown[0]),
            hint="Known: " + ", ".join(sorted(known)) + ".",
        )


def at(place: str, key: str) -> str:
    return f"{place}.{key}".lstrip(".")


def mapping_of(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Invalid("This is a mapping of names to values.", field=place)
    return value


def texts_by_name(value: Any, place: str) -> Mapping[str, str]:
    given = mapping_of(value, place)
    if not all(isinstance(key, str) and isinstance(text, str) for key, text in given.items()):
        raise Invalid("These are texts by name.", field=place)
    return dict(given)


def text(given: Mapping[str, Any], key: str, longest: int, place: str = "") -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value.strip():
        raise Invalid(f"`{key}` is a text and must be there.", field=at(place, key))
    if len(value) > longest or "\0" in value:
        raise Invalid(f"`{key}` has at most {longest} characters, and no NUL.", field=at(place, key))
    return value


def optional(given: Mapping[str, Any], key: str, longest: int, place: str = "") -> str | None:
    return None if given.get(key) in (None, "") else text(given, key, longest, place)


def texts(given: Mapping[str, Any], key: str, place: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """A list of texts; one text alone is a list of one."""
    value = given.get(key)
    if value is None:
        return default
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or len(found) > MOST or not all(isinstance(one, str) and one for one in found):
        raise Invalid(f"This is a list of at most {MOST} texts.", field=at(place, key))
    return tuple(found)


def one_of(value: Any, kind: type[_Enum], place: str) -> _Enum:
    try:
        return kind(str(value))
    except ValueError:
        raise Invalid(f"There is no {str(value)[:60]!r} here.", field=place, hint=", ".join(kind)) from None


def flag(given: Mapping[str, Any], key: str, place: str, *, default: bool) -> bool:
    value = given.get(key, default)
    if not isinstance(value, bool):
        raise Invalid("This is true or false.", field=at(place, key))
    return value


def whole(value: Any, place: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Invalid(f"This is a whole number from {least} to {most}.", field=place)
    return value


def seconds(given: Mapping[str, Any], key: str, place: str) -> float | None:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 7 * 86_400:
        raise Invalid("Seconds, at most a week.", field=at(place, key))
    return float(value)


def dollars(given: Mapping[str, Any], key: str, place: str) -> Decimal | None:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Invalid("Dollars, such as 2.50.", field=at(place, key))
    try:
        usd = Decimal(str(value))
    except InvalidOperation:
        raise Invalid("Dollars, such as 2.50.", field=at(place, key)) from None
    if not usd.is_finite() or not 0 < usd <= 100_000:
        raise Invalid("Dollars, more than 0 and at most 100,000.", field=at(place, key))
    return usd


def trigger_name(given: Mapping[str, Any], place: str, default: str) -> str:
    name = str(given.get("name") or default)
    if not NAME.fullmatch(name):
        raise Invalid("A trigger's name has small letters, digits, dots and dashes.", field=at(place, "name"))
    return name


def fits(patterns: tuple[str, ...], *names: str) -> bool:
    """Whether one of a thing's names fits one of the globs; those with `!` before take away what others let in."""
    wanted = [one for one in patterns if not one.startswith("!")]
    refused = [one[1:] for one in patterns if one.startswith("!")]
    lets_in = not wanted or any(fnmatchcase(name, one) for one in wanted for name in names)
    return lets_in and not any(fnmatchcase(name, one) for one in refused for name in names)
