"""The house itself: what must be absent is looked for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from agented.app.server import describe_api
from agented.migrations.upgrade import HEAD

ROOT = Path(__file__).parent.parent.parent
SOURCES = ROOT / "src" / "agented"
CLI_NAMES = re.compile(r"\b(claude|codex|gemini|opencode)\b", re.IGNORECASE)


def python_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "dist" not in path.parts)


def test_no_cli_is_named_outside_its_folder() -> None:
    named = [
        str(path.relative_to(ROOT))
        for path in python_files(SOURCES)
        if "backends" not in path.parts and CLI_NAMES.search(path.read_text())
    ]
    assert named == []


def test_the_web_app_names_no_cli() -> None:
    folder = ROOT / "frontend" / "src"
    named = [
        str(path.relative_to(ROOT))
        for path in folder.rglob("*")
        if path.suffix in (".ts", ".vue", ".css") and ".test." not in path.name and CLI_NAMES.search(path.read_text())
    ]
    assert named == []


def test_every_backend_comes_through_the_entry_points() -> None:
    folders = {path.name for path in (SOURCES / "backends").iterdir() if (path / "__init__.py").exists()}
    assert {entry.name for entry in entry_points(group="agented.backends")} == folders


@pytest.mark.parametrize(
    "pattern", [r"shell\s*=\s*True", r"\bos\.system\b", r"\bpkill\b", r"\bkillall\b", r"process_iter\(\[?.name"]
)
def test_no_shell_string_and_no_kill_by_name(pattern: str) -> None:
    found = [str(path) for path in python_files(SOURCES) if re.search(pattern, path.read_text())]
    assert found == []


def test_sql_stands_in_stores_alone() -> None:
    allowed = {"store.py", "db.py", "engine.py", "upgrade.py"}
    found = [
        str(path.relative_to(SOURCES))
        for path in python_files(SOURCES)
        if path.name not in allowed
        and "versions" not in path.parts
        and re.search(r"\bconn(ection)?\.execute\(|\bsa\.(select|insert|update|delete|text)\(", path.read_text())
    ]
    assert found == []


def test_the_web_framework_stands_in_api_files_and_the_web_room() -> None:
    found = [
        str(path.relative_to(SOURCES))
        for path in python_files(SOURCES)
        if path.name != "api.py"
        and path != SOURCES / "app" / "server.py"
        and "web" not in path.parts
        and path != SOURCES / "kit" / "web.py"
        and re.search(r"^\s*(from|import) (fastapi|starlette|uvicorn)\b", path.read_text(), re.MULTILINE)
    ]
    assert found == []


def test_the_newest_migration_is_the_head() -> None:
    scripts = sorted(path.name for path in (SOURCES / "migrations" / "versions").glob("[0-9]*.py"))
    assert scripts[-1].startswith(HEAD)


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; import agented.cli.commands; print(sorted(m.partition('.')[0] for m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={}).stdout
    for heavy in ("fastapi", "sqlalchemy", "dbos", "pydantic", "httpx2", "alembic", "cryptography"):
        assert f"'{heavy}'" not in loaded


def test_the_keeper_loads_little() -> None:
    code = (
        "import sys; before = set(sys.modules);"
        "path = sys.argv[1]; exec(compile(open(path).read(), path, 'exec'), {'__name__': 'keeper'});"
        "print(' '.join(sorted(set(sys.modules) - before)))"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(SOURCES / "executions" / "keeper.py")]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, env={}).stdout.split()
    assert not {"pathlib", "subprocess", "asyncio", "logging", "typing", "threading", "ctypes"} & set(loaded)


def test_reference_pages_say_what_the_code_says() -> None:
    script = ROOT / "scripts" / "reference.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, env={})
    assert done.returncode == 0, done.stdout


def test_the_web_app_knows_the_api_as_it_is() -> None:
    """Mend with `make openapi`."""
    assert json.loads((ROOT / "frontend" / "openapi.json").read_text()) == describe_api()
