"""What also a single command needs: the settings, the database and its keys, without anything that runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING

from agented.accounts import register
from agented.accounts import store as account_store
from agented.accounts.lookout import Lookout
from agented.accounts.model import Account
from agented.backends.registry import Registry
from agented.kit.clock import SystemClock
from agented.kit.db import Database
from agented.kit.errors import Unavailable
from agented.kit.keychain import Keychain
from agented.kit.vault import Vault, load_key
from agented.migrations.upgrade import upgrade
from agented.settings import Settings
from agented.web.auth import create_link, create_token

if TYPE_CHECKING:
    from agented.kit.web import Role


VERSION = package_version("agented")


def prepare_folder(settings: Settings) -> None:
    """Makes the data folder, for its owner only. Raises Unavailable when that cannot be done."""
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = settings.data / f".writable-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise Unavailable(
            f"The data folder {settings.data} cannot be written: {error.strerror}.",
            code="data_folder_not_writable",
            hint="Choose another with --data, make it writable for this user, or free disk space.",
        ) from error


class Shelf:
    """What a data folder holds: database, key, accounts. Usable whether a server runs on it or not."""

    def __init__(self, settings: Settings) -> None:
        prepare_folder(settings)
        self.settings = settings
        self.clock = SystemClock()
        self.db = Database(settings.url)
        try:
            upgrade(self.db)
            self.key = load_key(settings.data)
        except BaseException:
            self.db.close()
            raise
        self.vault = Vault(self.key)
        self.registry = Registry()

    def close(self) -> None:
        self.db.close()

    def new_token(self, *, name: str, role: Role, lives_s: float | None = None) -> str:
        return create_token(self.db, self.clock, name, role, lives_s=lives_s)

    def new_link(self) -> str:
        return create_link(self.db, self.clock)

    def add_account(
        self, *, name: str, backend: str, home: Path | None, env: Mapping[str, str], program: Path | None
    ) -> Account:
        return register.add(
            self.db,
            self.vault,
            self.clock,
            self.registry.get,
            name=name,
            backend=backend,
            home=home,
            env=env,
            program=program,
        )

    def accounts(self) -> list[Account]:
        with self.db.read() as conn:
            return account_store.every(conn)

    def remove_account(self, name: str) -> None:
        register.remove(self.db, name)


def child_base(settings: Settings) -> dict[str, str]:
    """What every child's environment starts from: built from a list of names, never inherited."""
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(settings.home), **settings.base_env}


def look_around(shelf: Shelf) -> Lookout:
    env = child_base(shelf.settings)
    return Lookout(
        backends=shelf.registry.all,
        env=env,
        person_home=shelf.settings.home,
        secrets=Keychain(env),
        clock=shelf.clock,
    )
