"""Reports on the disk: each as Markdown for people and JSON for programs, by project and bot, with a history."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from agented.bots.words import Finding, count_severities, without_json
from agented.kit.errors import NotFound
from agented.kit.files import write_atomic
from agented.projects.model import Project


@dataclass(frozen=True, slots=True)
class Reports:
    """folder: where reports of all projects are kept."""

    folder: Path

    def keep(
        self,
        *,
        project: Project,
        bot: str,
        execution_id: str,
        at: datetime,
        words: str,
        findings: Sequence[Finding],
        folder: str | None,
    ) -> Mapping[str, Any]:
        """Writes a run's report; again for the same run it is the same file. folder: in the project, for a copy."""
        name = f"{at:%Y-%m-%d}-{execution_id.rpartition('_')[2].lower()}"
        markdown = (without_json(words) or words) + "\n"
        counts = count_severities(findings)
        machine = {"bot": bot, "project": project.name, "execution": execution_id, "at": at.isoformat()}
        data = json.dumps({**machine, "counts": counts, "findings": [asdict(one) for one in findings]}, indent=1)
        own = self.folder / project.id / bot
        self._write(own, name, markdown, data)
        evidence: dict[str, Any] = {"report": name, "counts": counts, "findings": len(findings)}
        if folder is not None:
            evidence["copy"] = self._copy(project, folder, name, markdown, data)
        return evidence

    def _copy(self, project: Project, folder: str, name: str, markdown: str, data: str) -> str | None:
        """Into the work tree of a project that has one; never through a link out of it."""
        top = project.path.resolve()
        target = (top / folder).resolve()
        if not (top / ".git").exists() or not target.is_relative_to(top) or target == top:
            return None
        self._write(target, name, markdown, data)
        return str(target / f"{name}.md")

    @staticmethod
    def _write(folder: Path, name: str, markdown: str, data: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / f"{name}.md", markdown.encode(), mode=0o644)
        write_atomic(folder / f"{name}.json", data.encode(), mode=0o644)

    def read(self, project_id: str, bot: str, name: str) -> tuple[str, Mapping[str, Any]]:
        """A report as Markdown, and its findings. Raises NotFound."""
        if not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,90}", part) for part in (project_id, bot, name)):
            raise NotFound("There is no such report.")
        path = self.folder / project_id / bot / f"{name}.md"
        try:
            return path.read_text(), json.loads(path.with_suffix(".json").read_text())
        except (OSError, ValueError):
            raise NotFound("The report's file is gone.") from None
