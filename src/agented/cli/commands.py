"""All commands. Only click is imported at the start: what a command needs comes when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from agented.kit.web import Role
    from agented.settings import Settings

_DATA = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="Data folder (AGENTED_DATA; default: per user)."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="agented", message="%(version)s")
def program() -> None:
    """Run AI coding CLIs as bots: started by events, watched live, never losing work."""


def run_program() -> None:
    """Errors of ours end with their message, their hint, and their own exit code."""
    from agented.kit.errors import AgentedError

    try:
        program.main(prog_name="agented", standalone_mode=False)
    except AgentedError as error:
        click.echo(f"agented: {error.message}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)


def _settings(**flags: Any) -> Settings:
    from agented.settings import load_settings

    return load_settings(**flags)


@program.command()
@_DATA
@click.option("--host", help="Address to listen on (127.0.0.1).")
@click.option("--port", type=int, help="Port to listen on (20000); 0 picks a free one.")
def serve(data: Path | None, host: str | None, port: int | None) -> None:
    """Serve the web app and the API, and run what is queued."""
    from agented.cli.serving import serve as serve_now

    serve_now(_settings(data=data, host=host, port=port))


@program.command()
@click.argument("prompt")
@click.option("--backend", "-b", required=True, help="Name of the AI CLI to run.")
@click.option("--project", "-p", default=".", show_default=True, help="Path of a git repository, or a project's id.")
@click.option("--permission", type=click.Choice(["read", "edit", "full"]), default="edit", show_default=True)
@click.option("--model", "-m", help="Model, as the CLI names it.")
@click.option("--account", help="Account to use, as `agented accounts` names it.")
@click.option("--ref", help="Branch, tag or commit to start from.")
@click.option("--key", help="The same key is the same execution.")
@_DATA
@_JSON
def run(
    prompt: str,
    backend: str,
    project: str,
    permission: str,
    model: str | None,
    account: str | None,
    ref: str | None,
    key: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Run PROMPT and show what happens; `-` reads the prompt from stdin. Exit code 0 only when it succeeded."""
    from agented.cli.running import run_prompt

    if prompt == "-":
        prompt = sys.stdin.read()
    wish = {
        "project": str(Path(project).absolute()) if not project.startswith("prj_") else project,
        "backend": backend,
        "prompt": prompt,
        "permission": permission,
        "model": model,
        "account": account,
        "ref": ref,
        "key": key,
    }
    sys.exit(run_prompt(_settings(data=data), wish, as_json=as_json))


@program.command()
@_DATA
@_JSON
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200))
@click.option("--state", help="States, separated by commas.")
def executions(data: Path | None, as_json: bool, limit: int, state: str | None) -> None:
    """List executions, newest first."""
    from agented.cli.looking import list_executions

    list_executions(_settings(data=data), limit=limit, state=state, as_json=as_json)


@program.command()
@click.argument("execution")
@click.option("--follow", "-f", is_flag=True, help="Go on until the execution ends.")
@_DATA
def logs(execution: str, follow: bool, data: Path | None) -> None:
    """Print what EXECUTION printed."""
    from agented.cli.looking import print_log

    print_log(_settings(data=data), execution, follow=follow)


@program.command()
@click.argument("execution")
@click.option("--reason", help="Why; kept with the execution.")
@_DATA
def cancel(execution: str, reason: str | None, data: Path | None) -> None:
    """Stop EXECUTION; returns when its processes are gone."""
    from agented.cli.looking import cancel_execution

    cancel_execution(_settings(data=data), execution, reason)


@program.command()
@_DATA
@_JSON
def doctor(data: Path | None, as_json: bool) -> None:
    """Check this machine: what is found, what is missing, and the exact next act."""
    from agented.cli.doctor import examine

    sys.exit(examine(_settings(data=data), as_json=as_json))


@program.command()
@click.option("--role", type=click.Choice(["viewer", "operator", "admin"]), default="operator", show_default=True)
@click.option("--name", help="What the token is for. Runs of tokens with one name share one turn in the queue.")
@_DATA
def token(role: Role, name: str | None, data: Path | None) -> None:
    """Print a new API token; it is shown only now."""
    from secrets import token_hex

    from agented.cli.access import new_token

    click.echo(new_token(_settings(data=data), name=name or f"token {token_hex(3)}", role=role))


@program.command()
@_DATA
def link(data: Path | None) -> None:
    """Print a link that signs in once, within 15 minutes."""
    from agented.cli.access import new_link

    click.echo(new_link(_settings(data=data)))


@program.command()
def openapi() -> None:
    """Print the API's description (OpenAPI)."""
    from agented.cli.serving import print_openapi

    print_openapi()


@program.group()
def accounts() -> None:
    """The accounts that executions run as."""


@accounts.command("add")
@click.argument("name")
@click.option("--backend", "-b", required=True, help="Name of the AI CLI.")
@click.option(
    "--home", type=click.Path(path_type=Path, file_okay=False), help="The CLI's own home folder; a key needs none."
)
@click.option("--env", "env", multiple=True, metavar="KEY=VALUE", help="Extra environment; secrets are encrypted.")
@click.option("--program", "own_program", type=click.Path(path_type=Path), help="The CLI's program, if not on PATH.")
@_DATA
def add_account(
    name: str, backend: str, home: Path | None, env: tuple[str, ...], own_program: Path | None, data: Path | None
) -> None:
    """Add an account NAME: a CLI home of its own, or a key in its environment."""
    from agented.cli.access import add_account as add

    add(_settings(data=data), name=name, backend=backend, home=home, env=env, own_program=own_program)


@accounts.command("list")
@_DATA
@_JSON
def list_accounts(data: Path | None, as_json: bool) -> None:
    """List the added accounts."""
    from agented.cli.access import list_accounts as show

    show(_settings(data=data), as_json=as_json)


@accounts.command("show")
@click.argument("name")
@_DATA
@_JSON
def show_account(name: str, data: Path | None, as_json: bool) -> None:
    """Tell how an account stands and what is left of it. NAME may also be `BACKEND:default`, your own login."""
    from agented.cli.looking import show_account as show

    show(_settings(data=data), name, as_json=as_json)


@accounts.command("disable")
@click.argument("name")
@_DATA
def disable_account(name: str, data: Path | None) -> None:
    """Keep an account without using it."""
    from agented.cli.looking import change_account

    change_account(_settings(data=data), name, {"disabled": True}, "is switched off")


@accounts.command("enable")
@click.argument("name")
@_DATA
def enable_account(name: str, data: Path | None) -> None:
    """Use an account again."""
    from agented.cli.looking import change_account

    change_account(_settings(data=data), name, {"disabled": False}, "is used again")


@accounts.command("rename")
@click.argument("name")
@click.argument("new_name")
@_DATA
def rename_account(name: str, new_name: str, data: Path | None) -> None:
    """Give an account a new name."""
    from agented.cli.looking import change_account

    change_account(_settings(data=data), name, {"name": new_name}, f"is {new_name} now")


@accounts.command("lift")
@click.argument("name")
@_DATA
def lift_account(name: str, data: Path | None) -> None:
    """Use an account now that is held for a limit; who waits for it looks again."""
    from agented.cli.looking import lift_account as lift

    lift(_settings(data=data), name)


@accounts.command("remove")
@click.argument("name")
@_DATA
def remove_account(name: str, data: Path | None) -> None:
    """Forget an account; its CLI home stays as it is."""
    from agented.cli.access import remove_account as remove

    remove(_settings(data=data), name)


@program.command()
@click.option("--refresh", is_flag=True, help="Ask the CLIs and providers now, where they may be asked.")
@_DATA
@_JSON
def limits(refresh: bool, data: Path | None, as_json: bool) -> None:
    """Tell what is left of each account."""
    from agented.cli.looking import print_limits

    print_limits(_settings(data=data), refresh=refresh, as_json=as_json)


@program.group(invoke_without_command=True)
@_DATA
@_JSON
@click.option("--group", default="source,model,day", show_default=True, help="What to tell apart, by commas.")
@click.option("--since", help="First day, as YYYY-MM-DD.")
@click.option("--until", help="Last day.")
@click.pass_context
def costs(
    context: click.Context, data: Path | None, as_json: bool, group: str, since: str | None, until: str | None
) -> None:
    """What was spent, as the server counted it."""
    if context.invoked_subcommand is None:
        from agented.cli.spending import show

        show(_settings(data=data), group=group, since=since, until=until, as_json=as_json)


@costs.command("scan")
@click.option("--home", required=True, type=click.Path(path_type=Path, file_okay=False), help="A home folder.")
@click.option(
    "--data", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where to keep what is known."
)
@click.option(
    "--prices", type=click.Path(path_type=Path, dir_okay=False), help="Own prices, as LiteLLM's table has them."
)
@_JSON
def scan_costs(home: Path, data: Path, prices: Path | None, as_json: bool) -> None:
    """Count the session files of one home folder, without a server; the next time only what is new is read."""
    from agented.cli.spending import scan_home

    scan_home(home, data, prices, as_json=as_json)


@program.group()
def transcripts() -> None:
    """What was said in the sessions of the CLIs, yours and those of runs."""


@transcripts.command("search")
@click.argument("words", nargs=-1)
@click.option("--of", "whose", type=click.Choice(["people", "runs"]), help="Only sessions of people, or of runs.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200))
@_DATA
@_JSON
def search_transcripts(words: tuple[str, ...], whose: str | None, limit: int, data: Path | None, as_json: bool) -> None:
    """Sessions in which all WORDS were said at once, the newest first; without words, all sessions."""
    from agented.cli.telling import search

    search(_settings(data=data), words, whose=whose, limit=limit, as_json=as_json)


@transcripts.command("show")
@click.argument("number", type=int)
@_DATA
@_JSON
def show_transcript(number: int, data: Path | None, as_json: bool) -> None:
    """Print the transcript that a search told the NUMBER of."""
    from agented.cli.telling import show

    show(_settings(data=data), number, as_json=as_json)


@program.group()
def bots() -> None:
    """Bots: what runs, and when."""


@bots.command("apply")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--plan", "plan_only", is_flag=True, help="Only tell what would change.")
@_DATA
@_JSON
def apply_bots(files: tuple[Path, ...], plan_only: bool, data: Path | None, as_json: bool) -> None:
    """Make bots be as the YAML documents of FILES say; `-` reads stdin. All are checked before one is touched."""
    from agented.cli.bots import apply

    apply(_settings(data=data), files, plan_only=plan_only, as_json=as_json)


@bots.command("export")
@click.argument("names", nargs=-1)
@_DATA
def export_bots(names: tuple[str, ...], data: Path | None) -> None:
    """Print bots as YAML: those named, or all."""
    from agented.cli.bots import export

    export(_settings(data=data), names)


@bots.command("gallery")
@click.argument("name", required=False)
@_DATA
def show_gallery(name: str | None, data: Path | None) -> None:
    """List the ready-made bots, or print one as YAML for `agented bots apply`."""
    from agented.cli.bots import gallery

    gallery(_settings(data=data), name)


@bots.command("schema")
@_DATA
def show_schema(data: Path | None) -> None:
    """Print the JSON schema of a bot's document."""
    from agented.cli.bots import schema

    schema(_settings(data=data))


@bots.command("list")
@_DATA
@_JSON
def list_bots(data: Path | None, as_json: bool) -> None:
    """List the bots and the addresses of their webhooks."""
    from agented.cli.bots import show

    show(_settings(data=data), as_json=as_json)


@bots.command("run")
@click.argument("name")
@click.option("--input", "given", multiple=True, metavar="NAME=VALUE", help="What the prompt names as input.NAME.")
@click.option("--dry-run", is_flag=True, help="Only show what would be started.")
@_DATA
@_JSON
def run_bot(name: str, given: tuple[str, ...], dry_run: bool, data: Path | None, as_json: bool) -> None:
    """Start a bot by hand. Exit code 0 only when all it started succeeded."""
    from agented.cli.bots import start

    sys.exit(start(_settings(data=data), name, given, dry_run=dry_run, as_json=as_json))


@program.group()
def secrets() -> None:
    """Secrets that bots name, such as those that sign webhooks."""


@secrets.command("set")
@click.argument("name")
@_DATA
def set_secret(name: str, data: Path | None) -> None:
    """Keep a secret under NAME, encrypted. Its value is asked for, or read from stdin."""
    from agented.cli.bots import set_secret as keep

    value = click.prompt("Value", hide_input=True) if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
    keep(_settings(data=data), name, value)


@secrets.command("list")
@_DATA
def list_secrets(data: Path | None) -> None:
    """Names of the secrets; their values are never told again."""
    from agented.cli.bots import list_secrets as show

    show(_settings(data=data))


@secrets.command("remove")
@click.argument("name")
@_DATA
def remove_secret(name: str, data: Path | None) -> None:
    """Forget a secret."""
    from agented.cli.bots import remove_secret as forget

    forget(_settings(data=data), name)
