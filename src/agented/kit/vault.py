"""Small secrets at rest: AES-256-GCM with a key that only this user can read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from agented.kit.errors import Invalid, Refused, Unavailable
from agented.kit.files import locked, write_atomic

_FORMAT = "v1"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_MASK = "[secret]"
_SHORTEST_MASKED = 8


class Keyring(Protocol):
    """The operating system's secret store."""

    def read(self, name: str) -> str | None: ...
    def write(self, name: str, value: str) -> None: ...


class Vault:
    """Seals and opens text for one owner; what was sealed for one owner does not open for another."""

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            raise Invalid(f"The vault's key has {len(key)} bytes instead of {_KEY_BYTES}.", field="key")
        self._key = key
        self.key_id = hashlib.sha256(b"agented key id" + key).hexdigest()[:8]

    def seal(self, text: str, owner: str) -> str:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + AESGCM(self._key).encrypt(nonce, text.encode(), self._bound(owner))
        return f"{_FORMAT}.{self.key_id}.{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, sealed: str, owner: str) -> str:
        """Raises Unavailable when another key sealed it, or when it was changed or moved to another owner."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        head, _, body = sealed.rpartition(".")
        if head != f"{_FORMAT}.{self.key_id}":
            raise Unavailable(
                "A stored secret was sealed with another key.",
                code="key_mismatch",
                hint="Put back the `key` file that belongs to this database, or enter the secret again.",
            )
        try:
            raw = base64.urlsafe_b64decode(body)
            return AESGCM(self._key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], self._bound(owner)).decode()
        except (ValueError, InvalidTag) as error:
            raise Unavailable(
                "A stored secret was changed and does not open.", code="secret_damaged", hint="Enter the secret again."
            ) from error

    def _bound(self, owner: str) -> bytes:
        return f"{_FORMAT}.{self.key_id}.{owner}".encode()


def derive(key: bytes, purpose: str) -> bytes:
    """A key for another purpose that tells nothing of the first."""
    return hmac.digest(key, f"agented {purpose}".encode(), "sha256")


def load_key(folder: Path, keyring: Keyring | None = None) -> bytes:
    """The key of a data folder, made at the first call: in the keyring if one is given, else in the file `key`.

    Raises Refused when others could read the file or write the folder, Invalid when it does not hold a key.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _check_safe(folder, 0o022, 0o755)
    path = folder / "key"
    with locked(folder / ".key.lock"):
        if path.exists() or keyring is None:
            return _key_of_file(path)
        return _key_of_keyring(keyring, f"key of {folder}")


def _key_of_file(path: Path) -> bytes:
    if not path.exists():
        write_atomic(path, base64.urlsafe_b64encode(os.urandom(_KEY_BYTES)) + b"\n", mode=0o600)
    _check_safe(path, 0o077, 0o600)
    return _decode(path.read_bytes(), str(path))


def _key_of_keyring(keyring: Keyring, name: str) -> bytes:
    kept = keyring.read(name)
    if kept is None:
        kept = base64.urlsafe_b64encode(os.urandom(_KEY_BYTES)).decode()
        keyring.write(name, kept)
    return _decode(kept.encode(), "the keyring")


def _decode(text: bytes, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), altchars=b"-_", validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise Invalid(
            f"There is no key in {where}.",
            code="key_damaged",
            field="key",
            hint="Put it back from a backup; without it the stored secrets do not open.",
        )
    return key


def _check_safe(path: Path, forbidden: int, wanted: int) -> None:
    """The key must be readable by its owner alone; in its folder nobody else may put another in its place."""
    actual = stat.S_IMODE(path.stat().st_mode)
    if actual & forbidden:
        raise Refused(
            f"Other users can reach {path} (mode {actual:04o}).",
            code="unsafe_permissions",
            hint=f"chmod {wanted:o} {path}",
        )


def mask(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets. Words too short to be a secret are left as they are."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST_MASKED:
            text = text.replace(secret, _MASK)
    return text
