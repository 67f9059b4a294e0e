"""What a token costs: the table as it ships, names of models, long contexts, faster answers, a table of one's own."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from agented.costs import tables
from agented.costs.ledger import Counting, Days
from agented.costs.prices import PICO, SHIPPED, Price, load_prices, read_entry, to_dollars, to_pico
from agented.costs.store import OWN_SCHEMA

PRICES = load_prices()


def dollars(model: str, *tokens: int, fast: bool = False, provider: str = "") -> Decimal | None:
    counts = (*tokens, *(0,) * (5 - len(tokens)))
    cost, _ = Counting(PRICES, Days("UTC")).price(model, provider, fast, (counts[0], *counts[1:5]))  # type: ignore[arg-type]  # five of them
    return None if cost is None else to_dollars(cost)


def test_the_table_is_small_dated_and_says_whose_it_is() -> None:
    shipped = json.loads(SHIPPED.read_bytes())
    assert SHIPPED.stat().st_size < 300_000
    assert "MIT" in shipped["notice"]
    assert PRICES.version == shipped["version"]
    assert shipped["version"].startswith("litellm-1.")
    assert len(PRICES.date) == 10


@pytest.mark.parametrize(
    ("model", "tokens", "fast", "cost"),
    [
        ("claude-opus-4-5", (1000, 500, 30_000, 2000), False, "0.045"),
        ("claude-opus-4-5", (1000, 100, 30_000, 500, 1500), False, "0.040625"),
        ("claude-opus-5", (1000, 100, 30_000, 2000), True, "0.07"),
        ("gpt-5.3-codex", (7500, 950, 18_500), False, "0.0296625"),
        ("gemini-2.5-pro", (6050, 500, 4000), False, "0.0130625"),
        # Beyond 200,000 asked tokens, cached ones too, every token of the answer costs more.
        ("gemini-2.5-pro", (150_000, 1000, 50_000), False, "0.20375"),
        ("gemini-2.5-pro", (150_000, 1000, 50_001), False, "0.40250025"),
        ("gpt-5.5", (300_000, 1000), False, "3.045"),
    ],
)
def test_an_answer_costs_what_its_provider_asks(model: str, tokens: tuple[int, ...], fast: bool, cost: str) -> None:
    assert dollars(model, *tokens, fast=fast) == Decimal(cost)


def test_an_unknown_model_has_no_price_and_what_a_cli_said_itself_costs_nothing() -> None:
    assert dollars("house-model", 1000, 1000) is None
    assert dollars("claude-opus", 1000) is None, "no other version's price is taken"
    assert dollars("<synthetic>", 1000) == 0


def test_a_model_is_found_under_the_names_that_clis_give_it() -> None:
    plain = dollars("claude-sonnet-4-5", 1000)
    assert plain == Decimal("0.003")
    for name in (
        "claude-sonnet-4.5",
        "claude-sonnet-4-5-20250929",
        "anthropic/claude-sonnet-4-5",
        "claude-sonnet-4-5[1m]",
    ):
        assert dollars(name, 1000) == plain, name
    assert dollars("deepseek-chat", 1000, provider="deepseek") is not None


def test_each_kind_of_token_has_its_own_threshold_where_a_cache_may_last_an_hour() -> None:
    entry = {
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 2e-6,
        "input_cost_per_token_above_200k_tokens": 2e-6,
        "cache_creation_input_token_cost_above_1hr": 3e-6,
        "cache_read_input_token_cost": 1e-7,
    }
    price = read_entry(entry)
    assert price is not None
    assert Decimal(price.cost(250_000, 10, 250_000, 0, 0)) / PICO == Decimal("0.32502")
    assert price.hour == 3_000_000
    assert read_entry({**entry, "cache_creation_input_token_cost_above_1hr": None}) is not None


def test_without_a_price_for_the_cache_it_costs_as_input_does() -> None:
    price = read_entry({"input_cost_per_token": "0.000001", "output_cost_per_token": 0})
    assert price == Price(input=1_000_000, read=1_000_000, write=1_250_000, hour=2_000_000)
    for junk in ({}, {"input_cost_per_token": -1, "output_cost_per_token": 1}, {"input_cost_per_token": [1]}):
        assert read_entry(junk) is None


def test_money_is_exact() -> None:
    assert to_pico(0.1234) == 123_400_000_000
    assert to_pico("x") is None
    assert f"{to_dollars(123_400_000_001):f}" == "0.123400000001"
    assert f"{to_dollars(100 * PICO):f}" == "100"
    assert f"{to_dollars(0):f}" == "0"


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", '{"a": 1}', '{"a": {"input_cost_per_token": "x"}}'])
def test_an_own_file_that_is_no_table_changes_nothing(tmp_path: Path, text: str) -> None:
    own = tmp_path / "prices.json"
    own.write_text(text)
    assert load_prices(own).version == PRICES.version
    assert load_prices(tmp_path / "missing.json").version == PRICES.version


def test_the_own_file_of_a_scan_has_the_tables_of_the_server(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'server.db'}")
    wanted = [one for name, one in vars(tables).items() if name.startswith("cost_")]
    wanted[0].metadata.create_all(engine, tables=wanted)
    engine.dispose()
    with closing(sqlite3.connect(tmp_path / "own.db")) as own:
        own.executescript(OWN_SCHEMA)
    columns, indexes = [], []
    for name in ("server.db", "own.db"):
        with closing(sqlite3.connect(tmp_path / name)) as kept:
            names = [row[0] for row in kept.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
            columns.append({one: kept.execute(f"PRAGMA table_info({one})").fetchall() for one in names})
            indexes.append(
                {
                    one: sorted(row[1] for row in kept.execute(f"PRAGMA index_list({one})") if row[3] == "c")
                    for one in names
                }
            )
    assert columns[0] == columns[1]
    assert indexes[0] == indexes[1]
