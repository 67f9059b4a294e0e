"""Accounts: checked when they are added, secrets sealed in the database, chosen by id or name."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from agented.accounts import choice, register, store
from agented.accounts.login import child_env, read_login, secrets_of
from agented.accounts.model import Account, default_account, is_secret_name
from agented.kit.clock import SetClock
from agented.kit.db import Database
from agented.kit.errors import Conflict, Invalid, NotFound, Unavailable
from agented.kit.vault import Vault
from tests.rooms.accounts.conftest import BACKEND, NoKeychain, backend_named, other_backend

SECRET = "sk-very-secret-value"


@pytest.fixture
def add(db: Database, vault: Vault, clock: SetClock) -> Any:
    def now(name: str = "work", backend: str = "trained", **more: Any) -> Account:
        return register.add(db, vault, clock, backend_named, name=name, backend=backend, **more)

    return now


def chosen(db: Database, vault: Vault, clock: SetClock, account: str | None, backend: str = "trained") -> Account:
    with db.read() as conn:
        return choice.choose(conn, vault, clock, backend, account)


def test_an_account_is_found_by_id_and_by_name(
    db: Database, vault: Vault, clock: SetClock, add: Any, tmp_path: Path
) -> None:
    made = add(home=tmp_path / "a" / "home", env={"COLOUR": "blue", "API_KEY": SECRET})
    by_id, by_name = chosen(db, vault, clock, made.id), chosen(db, vault, clock, "work")
    assert by_id == by_name
    assert by_id.home == tmp_path / "a" / "home"
    assert [(e.name, e.value, e.secret) for e in by_id.env] == [("COLOUR", "blue", False), ("API_KEY", SECRET, True)]
    assert stat.S_IMODE((tmp_path / "a" / "home").stat().st_mode) == 0o700


def test_a_home_that_is_there_keeps_its_mode(add: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    add(home=home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o755


def test_secrets_are_neither_listed_nor_stored_in_clear(db: Database, add: Any, tmp_path: Path) -> None:
    made = add(env={"API_KEY": SECRET})
    assert made.env[0].value is None
    with db.read() as conn:
        listed = store.every(conn)
        kept = str(conn.execute(store.accounts.select()).one().env)
    assert listed == [made]
    assert SECRET not in kept
    assert SECRET not in repr(listed)


def test_a_sealed_secret_does_not_move_to_another_name(db: Database, vault: Vault, clock: SetClock, add: Any) -> None:
    made = add(env={"API_KEY": SECRET})
    with db.write() as conn:
        env = conn.execute(store.accounts.select()).one().env
        conn.execute(store.accounts.update().values(env=[{**env[0], "name": "OTHER_KEY"}]))
    with pytest.raises(Unavailable):
        chosen(db, vault, clock, made.id)


def test_another_key_does_not_open_but_still_lists(db: Database, clock: SetClock, add: Any) -> None:
    made = add(env={"API_KEY": SECRET})
    with pytest.raises(Unavailable) as error:
        chosen(db, Vault(b"z" * 32), clock, made.id)
    assert error.value.code == "key_mismatch"
    with db.read() as conn:
        assert len(store.every(conn)) == 1


def test_without_an_account_the_persons_own_login_is_used(db: Database, vault: Vault, clock: SetClock) -> None:
    for word in (None, "default"):
        account = chosen(db, vault, clock, word)
        assert (account.id, account.is_default, account.home) == ("default", True, None)


def test_a_wrong_choice_is_told(db: Database, vault: Vault, clock: SetClock, add: Any) -> None:
    add(env={"A": "b"})
    with pytest.raises(NotFound):
        chosen(db, vault, clock, "nobody")
    with pytest.raises(Invalid) as error:
        chosen(db, vault, clock, "work", backend="other")
    assert error.value.field == "account"
    with db.read() as conn, pytest.raises(NotFound):
        choice.check(conn, "trained", "nobody")


def test_a_name_is_given_once(add: Any, tmp_path: Path) -> None:
    add(env={"A": "b"})
    with pytest.raises(Conflict) as error:
        add(home=tmp_path / "not-made")
    assert error.value.field == "name"
    assert not (tmp_path / "not-made").exists()


@pytest.mark.parametrize("name", ["", " x", "x ", "-x", "a/b", "a\nb", "default", "Default", "acc_01", "x" * 61])
def test_bad_names_are_refused(add: Any, name: str) -> None:
    with pytest.raises(Invalid) as error:
        add(name=name, env={"A": "b"})
    assert error.value.field == "name"


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "LD_PRELOAD",
        "DYLD_INSERT_LIBRARIES",
        "PYTHONPATH",
        "NODE_OPTIONS",
        "node_options",
        "BASH_ENV",
        "GIT_SSH_COMMAND",
        "AGENTED_ATTEMPT",
    ],
)
def test_variables_that_load_code_are_refused(add: Any, name: str) -> None:
    with pytest.raises(Invalid) as error:
        add(env={name: "x"})
    assert error.value.field == f"env.{name}"
    assert error.value.hint


@pytest.mark.parametrize("name", ["HOME", "HTTPS_PROXY", "GIT_AUTHOR_NAME", "ANY_BASE_URL"])
def test_ordinary_variables_are_allowed(add: Any, name: str) -> None:
    assert add(env={name: "x"}).env[0].name == name


@pytest.mark.parametrize("env", [{"a-b": "x"}, {"": "x"}, {"1A": "x"}, {"A": "x\0y"}, {"A": "x" * 40_000}])
def test_malformed_variables_are_refused(add: Any, env: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        add(env=env)


def test_wrong_fields_are_named(add: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wrong: dict[str, dict[str, Any]] = {
        "backend": {"backend": "nobody", "env": {"A": "b"}},
        "home": {"home": Path("relative")},
        "program": {"program": tmp_path / "file"},
    }
    for field, wish in wrong.items():
        with pytest.raises(Invalid) as error:
            add(**wish)
        assert error.value.field == field
    for home in (None, tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(Invalid) as error:
            add(home=home)
        assert error.value.field == "home"


def test_a_forgotten_account_leaves_its_home(db: Database, add: Any, tmp_path: Path) -> None:
    made = add(home=tmp_path / "home")
    register.remove(db, "work")
    assert (tmp_path / "home").is_dir()
    with pytest.raises(NotFound):
        register.remove(db, made.id)


def test_the_login_is_read_from_the_accounts_own_home(
    db: Database, vault: Vault, clock: SetClock, add: Any, tmp_path: Path
) -> None:
    person = tmp_path / "person"
    (person / ".trained").mkdir(parents=True)
    (person / ".trained" / "token").write_text("persons-token")
    made = add(home=tmp_path / "home")
    account = chosen(db, vault, clock, made.id)
    assert read_login(BACKEND, account, person, NoKeychain()) is None
    (tmp_path / "home" / "token").write_text("accounts-token")
    own = read_login(BACKEND, account, person, NoKeychain())
    default = read_login(BACKEND, default_account("trained", clock.now()), person, NoKeychain())
    assert own is not None and own.token == "accounts-token"
    assert default is not None and default.token == "persons-token"
    assert read_login(other_backend(), account, person, NoKeychain()) is None


def test_an_account_with_a_home_folder_of_its_own_has_the_login_there(
    db: Database, vault: Vault, clock: SetClock, add: Any, tmp_path: Path
) -> None:
    (tmp_path / ".trained").mkdir()
    (tmp_path / ".trained" / "token").write_text("token-below-home")
    account = chosen(db, vault, clock, add(env={"HOME": str(tmp_path)}).id)
    login = read_login(BACKEND, account, tmp_path / "person", NoKeychain())
    assert login is not None and login.token == "token-below-home"


def test_a_child_gets_home_and_variables_and_all_secrets_are_masked(
    db: Database, vault: Vault, clock: SetClock, add: Any, tmp_path: Path
) -> None:
    made = add(home=tmp_path / "home", env={"API_TOKEN": SECRET, "COLOUR": "blue"})
    (tmp_path / "home" / "token").write_text("accounts-token")
    account = chosen(db, vault, clock, made.id)
    assert child_env(BACKEND, account) == {
        "TRAINED_HOME": str(tmp_path / "home"),
        "API_TOKEN": SECRET,
        "COLOUR": "blue",
    }
    login = read_login(BACKEND, account, tmp_path, NoKeychain())
    assert secrets_of(account, login) == (SECRET, "accounts-token", "refresh-secret-1")
    assert child_env(BACKEND, default_account("trained", clock.now())) == {}


def test_names_of_secrets_are_known() -> None:
    for name in ("OPENAI_API_KEY", "token", "MY_PASSWORD", "AUTH_HEADER", "CREDENTIALS_FILE", "CLIENT_SECRET"):
        assert is_secret_name(name)
    assert not is_secret_name("COLOUR")
