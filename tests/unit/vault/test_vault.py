"""Secrets at rest: sealed for one owner, with a key that others cannot read."""

from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agented.kit.errors import Invalid, Refused, Unavailable
from agented.kit.vault import Vault, derive, load_key, mask


class MemoryKeyring:
    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def read(self, name: str) -> str | None:
        return self.kept.get(name)

    def write(self, name: str, value: str) -> None:
        self.kept[name] = value


@given(st.text(), st.text())
def test_what_is_sealed_opens_for_its_owner(text: str, owner: str) -> None:
    vault = Vault(b"k" * 32)
    text, owner = (word.encode("utf-8", "replace").decode() for word in (text, owner))
    sealed = vault.seal(text, owner)
    assert vault.open(sealed, owner) == text
    assert sealed.isascii()


def test_the_same_text_is_never_sealed_alike() -> None:
    vault = Vault(b"k" * 32)
    assert vault.seal("x", "o") != vault.seal("x", "o")


def test_another_owner_another_key_and_a_changed_byte_do_not_open() -> None:
    vault = Vault(b"k" * 32)
    sealed = vault.seal("secret", "acc_1")
    with pytest.raises(Unavailable) as moved:
        vault.open(sealed, "acc_2")
    with pytest.raises(Unavailable) as foreign:
        Vault(b"z" * 32).open(sealed, "acc_1")
    assert (moved.value.code, foreign.value.code) == ("secret_damaged", "key_mismatch")
    raw = bytearray(base64.urlsafe_b64decode(sealed.rpartition(".")[2]))
    for position in range(len(raw)):
        raw[position] ^= 1
        with pytest.raises(Unavailable):
            vault.open(f"v1.{vault.key_id}.{base64.urlsafe_b64encode(raw).decode()}", "acc_1")
        raw[position] ^= 1


@pytest.mark.parametrize("junk", ["", ".", "v1", "v1.x.y", "v2.a.b", "not sealed at all"])
def test_junk_does_not_open(junk: str) -> None:
    with pytest.raises(Unavailable):
        Vault(b"k" * 32).open(junk, "o")
    vault = Vault(b"k" * 32)
    with pytest.raises(Unavailable):
        vault.open(f"v1.{vault.key_id}.{junk}", "o")


def test_a_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    key = load_key(folder)
    assert len(key) == 32
    assert load_key(folder) == key
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600


def test_many_starters_get_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: load_key(tmp_path / "data"), range(16)))
    assert len(keys) == 1


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    load_key(folder)
    (folder / "key").chmod(0o640)
    with pytest.raises(Refused) as file:
        load_key(folder)
    assert file.value.hint == f"chmod 600 {folder / 'key'}"
    (folder / "key").chmod(0o600)
    folder.chmod(0o755)
    assert len(load_key(folder)) == 32
    folder.chmod(0o775)
    with pytest.raises(Refused) as whole:
        load_key(folder)
    assert whole.value.hint == f"chmod 755 {folder}"


def test_a_damaged_key_is_not_replaced(tmp_path: Path) -> None:
    load_key(tmp_path / "data")
    (tmp_path / "data" / "key").write_bytes(b"short")
    with pytest.raises(Invalid):
        load_key(tmp_path / "data")
    assert (tmp_path / "data" / "key").read_bytes() == b"short"


def test_a_keyring_holds_the_key_unless_there_is_a_file(tmp_path: Path) -> None:
    ring = MemoryKeyring()
    key = load_key(tmp_path / "ring", ring)
    assert not (tmp_path / "ring" / "key").exists()
    assert load_key(tmp_path / "ring", ring) == key
    filed = load_key(tmp_path / "file")
    assert load_key(tmp_path / "file", ring) == filed


def test_derived_keys_differ_by_purpose() -> None:
    key = os.urandom(32)
    assert derive(key, "csrf") == derive(key, "csrf")
    assert len({key, derive(key, "csrf"), derive(key, "other")}) == 3


def test_secrets_are_masked_longest_first() -> None:
    assert mask("a secret-one-two b secret-one", ["secret-one", "secret-one-two"]) == "a [secret] b [secret]"
    assert mask("short abc", ["abc", ""]) == "short abc"
