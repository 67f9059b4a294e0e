"""The rehearsal: a CLI of our own that does what its prompt says, for demos, docs and every test of the engine."""

from __future__ import annotations

from agented.backends.contract import Backend, Model, Models, VersionRange
from agented.backends.rehearsal.command import PROGRAM, build_command, default_home, home_env
from agented.backends.rehearsal.output import new_output

BACKEND = Backend(
    name="rehearsal",
    title="Rehearsal",
    program="rehearsal",
    builtin=PROGRAM,
    tested=VersionRange("0", "1000"),
    build_command=build_command,
    new_output=new_output,
    home_env=home_env,
    default_home=default_home,
    install_hint="Nothing to install: the rehearsal ships with Agented.",
    sign_in_hint="Nothing to do: the rehearsal needs no sign-in.",
    needs_login=False,
    can_resume=True,
    continue_prompt=None,
    models=Models(known=(Model("rehearsal", "Rehearsal"),)),
)
