"""What a message costs by the price table: exact, in picodollars. An unknown model has no price; none is guessed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from agented.kit import loose

SHIPPED = Path(__file__).with_name("prices.json")
PICO = 10**12
"""Picodollars in a dollar: every price a token has is a whole number of them, and sums of them are exact."""

_THRESHOLD = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")
_DATED = re.compile(r"[-@]20\d{6}$")
_VERSION = re.compile(r"(-\d+)\.(\d+)")
_THOUSAND = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Picodollars a token. `above` is the number of tokens beyond which the second prices hold; 0 for never.

    whole: they then hold for the whole answer, counted by what was asked; else for those tokens of each kind that are
    beyond. fast: thousandths of the price that a faster answer costs.
    """

    input: int = 0
    output: int = 0
    read: int = 0
    write: int = 0
    hour: int = 0
    above: int = 0
    input2: int = 0
    output2: int = 0
    read2: int = 0
    write2: int = 0
    hour2: int = 0
    whole: int = 0
    fast: int = _THOUSAND

    def to_dict(self) -> dict[str, int]:
        """Only what differs from what it would be without it."""
        return {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}

    def cost(
        self, input: int, output: int, cache_read: int, cache_write: int, cache_write_1h: int, *, fast: bool = False
    ) -> int:
        """Picodollars of one answer."""
        if self.whole:
            if input + cache_read + cache_write + cache_write_1h > self.above:
                asked = (self.input2, self.output2, self.read2, self.write2, self.hour2)
            else:
                asked = (self.input, self.output, self.read, self.write, self.hour)
            counts = (input, output, cache_read, cache_write, cache_write_1h)
            total = sum(count * price for count, price in zip(counts, asked, strict=True))
            return total * self.fast // _THOUSAND if fast else total
        total = (
            self._of(input, self.input, self.input2)
            + self._of(output, self.output, self.output2)
            + self._of(cache_read, self.read, self.read2)
            + self._of(cache_write, self.write, self.write2)
            + self._of(cache_write_1h, self.hour, self.hour2)
        )
        return total * self.fast // _THOUSAND if fast else total

    def _of(self, tokens: int, price: int, beyond: int) -> int:
        over = tokens - self.above
        return tokens * price if not self.above or over <= 0 else self.above * price + over * beyond


def read_entry(entry: Mapping[str, Any]) -> Price | None:
    """A model's price out of an entry as LiteLLM's table has them (dollars a token); None when it has none."""
    first, output = _pico(entry.get("input_cost_per_token")), _pico(entry.get("output_cost_per_token"))
    if first is None or output is None:
        return None
    above = max((int(found[1]) for name in entry if (found := _THRESHOLD.fullmatch(name))), default=0) * _THOUSAND
    tier = f"_above_{above // _THOUSAND}k_tokens"

    def get(name: str, otherwise: int) -> int:
        value = _pico(entry.get(name))
        return otherwise if value is None else value

    second, cached = get(f"input_cost_per_token{tier}", first), "cache_read_input_token_cost"
    # Without a price of its own, what comes from a provider's cache is asked for as any other input.
    writes = _pico(entry.get("cache_creation_input_token_cost")) is not None
    read = get(cached, first // 10 if writes else first)
    write = get("cache_creation_input_token_cost", first * 5 // 4)
    hour = get("cache_creation_input_token_cost_above_1hr", first * 2)
    return Price(
        input=first,
        output=output,
        read=read,
        write=write,
        hour=hour,
        above=above,
        input2=second if above else 0,
        output2=get(f"output_cost_per_token{tier}", output) if above else 0,
        read2=get(f"{cached}{tier}", read) if above else 0,
        write2=get(f"cache_creation_input_token_cost{tier}", write) if above else 0,
        # Who offers an hour's cache asks more for what is beyond, the others for all of a long answer.
        whole=int(above > 0 and "cache_creation_input_token_cost_above_1hr" not in entry),
        hour2=get(f"cache_creation_input_token_cost_above_1hr{tier}", second * 2) if above else 0,
        fast=_fast(entry, first),
    )


def _fast(entry: Mapping[str, Any], base: int) -> int:
    told = _pico(loose.mapping(entry.get("provider_specific_entry")).get("fast"))
    if told:
        return told * _THOUSAND // PICO
    urgent = _pico(entry.get("input_cost_per_token_priority"))
    return urgent * _THOUSAND // base if urgent and base else _THOUSAND


def _pico(value: Any) -> int | None:
    amount = loose.number(value)
    if amount is None and isinstance(value, str):
        try:
            amount = float(value)
        except ValueError:
            return None
    if amount is None or not 0 <= amount < 1_000_000:
        return None
    return int(Decimal(repr(amount)) * PICO)


def to_pico(dollars: Any) -> int | None:
    """An amount of dollars that a CLI noted; None for what is no amount."""
    return _pico(dollars)


def to_dollars(pico: int) -> Decimal:
    """Exact, without trailing zeros."""
    whole = Decimal(pico).scaleb(-12).normalize()
    return whole if whole.as_tuple().exponent in (0, -1) or pico % PICO else whole.quantize(Decimal(1))


class Prices:
    """A price table. `version` and `date` tell which; what a person's own file says of a model wins."""

    def __init__(self, models: Mapping[str, Price | Mapping[str, int]], version: str, date: str) -> None:
        self._models = models
        self._found: dict[tuple[str, str], Price | None] = {}
        self.version = version
        self.date = date

    def find(self, model: str, provider: str = "") -> Price | None:
        """The price of a model as a CLI names it."""
        key = (model, provider)
        if key not in self._found:
            entry = next((self._models[name] for name in _names(model, provider) if name in self._models), None)
            self._found[key] = entry if entry is None or isinstance(entry, Price) else Price(**entry)
        return self._found[key]


def _names(model: str, provider: str) -> list[str]:
    """The names under which a table may have a model: as told, of its provider, without its date."""
    bare = model.removeprefix("models/").removesuffix("[1m]")
    plain = _VERSION.sub(r"\1-\2", bare)
    names = list(dict.fromkeys((model, bare, plain, _DATED.sub("", plain))))
    if provider:
        underscored = provider.replace("-", "_")
        names += [f"{maker}/{name}" for maker in dict.fromkeys((provider, underscored)) for name in names[:4]]
    head, _, tail = bare.partition("/")
    if tail and head in ("anthropic", "openai", "google", "vertex_ai"):
        names += [tail, _DATED.sub("", tail)]
    return names


def load_prices(own: Path | None = None) -> Prices:
    """The table that ships with us, with a person's own file on top.

    own: JSON as LiteLLM has it, `{"model": {"input_cost_per_token": 1e-6, ...}}`; ignored where it is not that.
    """
    shipped = json.loads(SHIPPED.read_bytes())
    models: dict[str, Price | Mapping[str, int]] = dict(shipped["models"])
    version, date = str(shipped["version"]), str(shipped["date"])
    if own is not None:
        text = loose.read_text(own)
        wishes = loose.mapping(loose.read_json(text))
        added = {name: price for name, entry in wishes.items() if (price := read_entry(loose.mapping(entry)))}
        if added:
            models.update(added)
            version += f"+{hashlib.sha256(text.encode()).hexdigest()[:8]}"
            date = max(date, datetime.fromtimestamp(own.stat().st_mtime, UTC).date().isoformat())
    return Prices(models, version, date)
