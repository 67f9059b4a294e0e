"""The command line: what people and scripts type."""


def main() -> None:
    """The `agented` program."""
    from agented.cli.commands import run_program

    run_program()
