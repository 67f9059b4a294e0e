"""Passwords: Argon2id, at a cost that is the same for names that do not exist."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from agented.kit.errors import Invalid

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MIN_LENGTH = 8
MAX_LENGTH = 500

# One hash takes 64 MiB: a flood of logins must not take all memory.
_turns = threading.BoundedSemaphore(2)

# Of a random password that nobody knows; a test holds its cost equal to that of new hashes.
NOBODYS_HASH = "$argon2id$v=19$m=65536,t=3,p=4$CldRyFrQDJGx3QWCe1wX5g$AnufdO2ZlBjtOrmqzeUrBpqR4L4qHbUVuH8CoVPlU4o"


def hash_password(password: str) -> str:
    """Raises Invalid for a password that is too short or too long."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise Invalid(f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters.", field="new")
    with _turns:
        return _hasher().hash(password)


def verify(password_hash: str | None, password: str) -> bool:
    """False after the same time when there is no hash to compare with."""
    from argon2.exceptions import InvalidHashError, VerificationError

    if len(password) > MAX_LENGTH:
        return False
    with _turns:
        try:
            matches = _hasher().verify(password_hash or NOBODYS_HASH, password)
        except (VerificationError, InvalidHashError):
            return False
    return matches and password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Whether a new hash of the same password would cost more."""
    return _hasher().check_needs_rehash(password_hash)


def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()
