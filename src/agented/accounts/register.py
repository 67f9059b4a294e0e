"""Adding and forgetting accounts. What is added is checked now, so that no run fails of it later."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from agented.accounts import store
from agented.accounts.model import DEFAULT_ID, Account, EnvEntry, is_secret_name
from agented.backends.contract import Backend
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Conflict, Invalid, NotFound
from agented.kit.ids import new_id
from agented.kit.vault import Vault

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,59}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_MAX_ENV = 50
_MAX_VALUE = 32 * 1024

# Each of these makes a program load or run something else than itself, or is ours to set.
_LOADING = re.compile(
    r"PATH|ENV|IFS|SHELLOPTS|BASHOPTS|BASH_.*|PROMPT_COMMAND|LD_.*|DYLD_.*|PYTHON.*|NODE_OPTIONS|NODE_PATH|"
    r"PERL5(LIB|OPT|DB)|RUBY(LIB|OPT)|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|JDK_JAVA_OPTIONS|GIT_(?!AUTHOR|COMMITTER).*|AGENTED_.*",
    re.IGNORECASE,
)


def add(
    db: Database,
    vault: Vault,
    clock: Clock,
    backend_named: Callable[[str], Backend],
    *,
    name: str,
    backend: str,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
    program: Path | None = None,
) -> Account:
    """Adds an account and makes its home if it is not there. Raises Invalid naming the field, or Conflict.

    backend_named: gives the backend of a name, or raises NotFound. The answer holds no values of secrets.
    """
    _check_name(name)
    try:
        backend_named(backend)
    except NotFound as error:
        raise Invalid(error.message, field="backend", hint=error.hint) from error
    if home is None and not env and program is None:
        raise Invalid(
            "An account needs a home, an environment or a program of its own.",
            field="home",
            hint="Without any it is the login that is there already.",
        )
    account = Account(
        id=new_id("acc"),
        name=name,
        backend=backend,
        home=None if home is None else _checked_home(home),
        env=tuple(_checked_env(env or {})),
        program=None if program is None else _checked_program(program),
        created_at=clock.now(),
    )
    with db.write() as conn:
        if store.find(conn, name) is not None:
            raise Conflict(f"There is an account {name} already.", code="name_taken", field="name")
        if account.home is not None:
            _make_home(account.home)
        store.add(conn, vault, account)
        kept = store.find(conn, account.id)
    assert kept is not None
    return kept


def change(db: Database, id_or_name: str, *, name: str | None = None, disabled: bool | None = None) -> Account:
    """Renames an account, or switches it off and on. Raises NotFound, Invalid or Conflict."""
    with db.write() as conn:
        account = store.find(conn, id_or_name)
        if account is None:
            raise NotFound(f"There is no account {id_or_name[:80]!r}.", hint="`agented accounts list` shows them.")
        if name is not None and name != account.name:
            _check_name(name)
            if store.find(conn, name) is not None:
                raise Conflict(f"There is an account {name} already.", code="name_taken", field="name")
            store.change(conn, account.id, name=name)
        if disabled is not None:
            store.change(conn, account.id, disabled=disabled)
        kept = store.find(conn, account.id)
    assert kept is not None
    return kept


def remove(db: Database, id_or_name: str) -> None:
    """Forgets an account. Its home and everything in it stays."""
    with db.write() as conn:
        account = store.find(conn, id_or_name)
        if account is None:
            raise NotFound(f"There is no account {id_or_name[:80]!r}.", hint="`agented accounts list` shows them.")
        store.remove(conn, account.id)
        store.drop_limits(conn, account.key)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name != name.strip():
        raise Invalid(
            "An account's name has 1 to 60 letters, digits, spaces and . _ @ + -, and starts with a letter or digit.",
            field="name",
        )
    if name.casefold() == DEFAULT_ID or name.casefold().startswith("acc_"):
        raise Invalid(f"The name {name} has a meaning already.", field="name", hint="Choose another one.")


def _checked_home(home: Path) -> Path:
    if not home.is_absolute() or "\0" in str(home):
        raise Invalid("The home must be an absolute path.", field="home")
    home = Path(os.path.normpath(home))
    if home.exists() and not home.is_dir():
        raise Invalid(f"{home} is not a folder.", field="home")
    return home


def _make_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, mode=0o700, exist_ok=True)
    except OSError as error:
        raise Invalid(
            f"{home} cannot be made: {error.strerror}.", field="home", hint="Make the folder, or choose another one."
        ) from error
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        raise Invalid(f"{home} cannot be read and written by this user.", field="home")


def _checked_env(env: Mapping[str, str]) -> list[EnvEntry]:
    if len(env) > _MAX_ENV:
        raise Invalid(f"An account has at most {_MAX_ENV} variables.", field="env")
    entries = []
    for name, value in env.items():
        field = f"env.{name[:100]}"
        if not _ENV_NAME.fullmatch(name):
            raise Invalid(
                f"{name[:100]!r} is not a name of a variable.", field="env", hint="Use letters, digits and underscores."
            )
        if _LOADING.fullmatch(name):
            raise Invalid(
                f"The variable {name} is not for accounts: it changes what a CLI and its tools load.",
                field=field,
                hint="Set it in a script of your own and give the script as the account's program.",
            )
        if "\0" in value or len(value) > _MAX_VALUE:
            raise Invalid(f"The value of {name} is longer than {_MAX_VALUE} or holds a zero byte.", field=field)
        entries.append(EnvEntry(name, value, is_secret_name(name)))
    return entries


def _checked_program(program: Path) -> str:
    if not program.is_absolute():
        raise Invalid("The program must be an absolute path.", field="program")
    if not program.is_file():
        raise Invalid(f"There is no program {program}.", field="program")
    if not os.access(program, os.X_OK):
        raise Invalid(f"{program} is not executable.", field="program", hint=f"chmod +x {program}")
    return str(program)
