"""What is offered of a sign-in's terminal: an address that is safe to open, and the code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agented.accounts.signing_in.seen import is_offered, shown

LONG = "https://auth.example.test/oauth/authorize?state=" + "0123456789" * 20


def test_an_address_is_found_as_text_and_as_a_link() -> None:
    assert shown(f"\x1b[94mvisit: {LONG}\x1b[39m\r\n> ".encode(), 80).url == LONG
    link = b"\x1b]8;;https://a.example.test/login?x=1\x07click here\x1b]8;;\x07\r\n"
    assert shown(link, 80).url == "https://a.example.test/login?x=1"


def test_an_address_that_was_broken_at_the_edge_is_whole_again() -> None:
    edge = 60
    lines = [LONG[at : at + edge] for at in range(0, len(LONG), edge)]
    assert shown(("Open:\r\n" + "\r\n".join(lines) + "\r\n\r\nthen go on\r\n").encode(), edge).url == LONG
    framed = [f"│ {line} │" for line in (*lines[:-1], lines[-1].ljust(edge))]
    assert shown("\r\n".join([*framed, "╰────╯", ""]).encode(), edge + 4).url == LONG


def test_what_follows_an_address_is_not_taken_for_a_part_of_it() -> None:
    assert shown(b"go to https://example.test/device.\r\nWaiting\r\n", 80).url == "https://example.test/device"


def test_the_address_that_is_for_signing_in_goes_before_others() -> None:
    text = b"https://example.test/device\r\nTerms: https://example.test/docs/terms\r\n"
    assert shown(text, 80).url == "https://example.test/device"


@pytest.mark.parametrize(
    "address",
    [
        "http://example.test/login",
        "https://user:word@example.test/login",
        "https://user@example.test/login",
        "https://127.0.0.1/login",
        "https://localhost:1455/login",
        "https://[::1]/login",
        "https://exаmple.test/login",
        "https://example.test/a\x1b[0mb",
        "https://example.test/\u202egnp.login",
        "https://",
        "https://example.test:99999999/login",
        "javascript:alert(1)",
        "https://example.test/" + "x" * 5000,
    ],
)
def test_what_is_no_safe_address_is_not_offered(address: str) -> None:
    assert not is_offered(address)
    found = shown(f"open {address} now\r\n".encode(), 80).url
    assert found is None or (is_offered(found) and found in "https://example.test/ab")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (
            "Enter this one-time code\r\n   \x1b[94mABCD-1234X\x1b[0m\r\n",
            "ABCD-1234X",
        ),
        ("Your code: WDJBMJHT\r\n", "WDJBMJHT"),
        ("Paste code here > \r\n", None),
        ("code https://example.test/ABCD-EFGH\r\n", None),
        ("the id is 0A1B-22CC-44DD of the code\r\n", None),
        ("ABCD-EFGH\r\n", None),
    ],
)
def test_the_code_is_found(text: str, code: str | None) -> None:
    assert shown(text.encode(), 80).code == code


@given(st.one_of(st.binary(max_size=400), st.text("\x1b]8;h tps:/\\\x07[C1│.\r\n", max_size=400).map(str.encode)))
def test_nothing_that_is_printed_is_a_fault(output: bytes) -> None:
    found = shown(output, 20)
    assert found.url is None or is_offered(found.url)
