"""Bots as YAML: what people write and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from agented.kit.errors import Invalid

_MOST_BYTES = 4 * 1024 * 1024


def read_yaml(text: str, field: str = "yaml") -> list[Any]:
    """The documents of a text. Raises Invalid that says where it is broken."""
    if len(text) > _MOST_BYTES:
        raise Invalid("The YAML is larger than 4 MiB.", field=field)
    try:
        return [document for document in yaml.safe_load_all(text) if document is not None]
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Invalid(f"This is no YAML: {' '.join(str(error).split())[:300]}", field=field) from None


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as people write them."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def write_yaml(documents: Sequence[Any]) -> str:
    return str(yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))
