from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from agented.kit.errors import AgentedError
from agented.projects.api import ProjectsApi, build_router
from agented.projects.kept import measure
from agented.projects.sync import Syncing
from tests.rooms.projects.conftest import House


def make_api(house: House) -> ProjectsApi:
    return ProjectsApi(
        db=house.db,
        git=house.git,
        folder=house.data,
        clock=house.clock,
        workspaces=house.workspaces,
        syncing=Syncing(house.db, house.git, house.clock, interval_s=1800, parallel=4, spread=lambda _low, _high: 1.0),
        is_over=lambda execution_id: execution_id in house.over,
    )


@pytest.fixture
def client(house: House) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(build_router(make_api(house)))

    @app.exception_handler(AgentedError)
    def explain(_request: Request, error: AgentedError) -> JSONResponse:
        return JSONResponse({"code": error.code, "field": error.field, "hint": error.hint}, error.status)

    with TestClient(app) as client:
        yield client


def test_a_project_is_added_read_listed_and_forgotten(client: TestClient, house: House) -> None:
    added = client.post("/api/projects", json={"path": str(house.repo.path)})
    assert added.status_code == 201
    project = added.json()
    assert project == {
        "id": project["id"],
        "name": "tea",
        "path": str(house.repo.path),
        "url": None,
        "default_branch": "trunk",
        "remote": None,
        "web_url": None,
        "created_at": "2026-01-01T00:00:00Z",
        "last_used_at": None,
        "open_worktrees": 0,
        "syncing": False,
        "sync": None,
    }
    assert client.get(f"/api/projects/{project['id']}").json() == project
    assert client.get("/api/projects").json() == {"items": [project], "next_cursor": None}
    refs = client.get(f"/api/projects/{project['id']}/refs").json()
    assert [(ref["name"], ref["kind"]) for ref in refs["items"]] == [("trunk", "branch")]
    assert client.delete(f"/api/projects/{project['id']}").status_code == 204
    assert client.get(f"/api/projects/{project['id']}").status_code == 404
    assert client.delete(f"/api/projects/{project['id']}").status_code == 404


def test_pages_follow_each_other_newest_first(client: TestClient, house: House) -> None:
    first = client.post("/api/projects/sample").json()
    second = client.post("/api/projects", json={"path": str(house.repo.path)}).json()
    third = client.post("/api/projects", json={"url": str(house.repo.path), "name": "clone"}).json()
    page = client.get("/api/projects", params={"limit": 2}).json()
    assert [item["id"] for item in page["items"]] == [third["id"], second["id"]]
    rest = client.get("/api/projects", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [item["id"] for item in rest["items"]] == [first["id"]]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["x", "e30", "bnVsbA", "eyJpZCI6MX0"])
def test_a_cursor_of_somebody_else_is_refused(client: TestClient, cursor: str) -> None:
    refused = client.get("/api/projects", params={"cursor": cursor})
    assert (refused.status_code, refused.json()["field"]) == (422, "cursor")


@pytest.mark.parametrize("body", [{}, {"path": "/x", "url": "https://host/x"}])
def test_either_a_path_or_an_address_is_asked_for(client: TestClient, body: dict[str, str]) -> None:
    refused = client.post("/api/projects", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")


def test_a_wrong_address_names_its_field_and_says_what_to_do(client: TestClient) -> None:
    refused = client.post("/api/projects", json={"url": "ext::sh"})
    assert (refused.status_code, refused.json()["field"]) == (422, "url")
    assert refused.json()["hint"]


def test_the_sample_is_the_same_each_time(client: TestClient) -> None:
    made = [client.post("/api/projects/sample") for _ in range(2)]
    assert {answer.status_code for answer in made} == {201}
    assert made[0].json() == made[1].json()


def test_a_project_with_open_workspaces_is_not_forgotten(client: TestClient, house: House) -> None:
    workspace = house.open()
    assert client.delete(f"/api/projects/{workspace.project_id}").status_code == 409


def test_each_route_says_who_may_call_it(house: House) -> None:
    router = build_router(make_api(house))
    roles = {
        (method, route.path): (route.openapi_extra or {}).get("x-role")
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert roles == {
        ("GET", "/api/projects"): "viewer",
        ("POST", "/api/projects"): "admin",
        ("POST", "/api/projects/sample"): "operator",
        ("GET", "/api/projects/{project_id}"): "viewer",
        ("GET", "/api/projects/{project_id}/refs"): "viewer",
        ("DELETE", "/api/projects/{project_id}"): "admin",
        ("POST", "/api/projects/{project_id}/sync"): "operator",
        ("GET", "/api/projects/{project_id}/worktrees"): "viewer",
        ("POST", "/api/projects/{project_id}/worktrees/{execution_id}/remove"): "admin",
    }


def test_a_sync_is_asked_for_and_kept(client: TestClient, house: House) -> None:
    project = client.post("/api/projects", json={"path": str(house.repo.path)}).json()
    answer = client.post(f"/api/projects/{project['id']}/sync").json()
    assert (answer["state"], answer["at"], answer["next_at"]) == (
        "no_remote",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:30:00Z",
    )
    assert client.get(f"/api/projects/{project['id']}").json()["sync"] == answer
    assert client.post("/api/projects/prj_none/sync").status_code == 404


def test_worktrees_are_listed_with_their_size(client: TestClient, house: House) -> None:
    workspace = house.open()
    project = f"/api/projects/{workspace.project_id}"
    house.repo.write("large.bin", b"x" * 100_000, folder=workspace.path)
    (workspace.path / "link").symlink_to("/usr")
    found = client.get(f"{project}/worktrees").json()
    assert found["snapshots"] == 0
    [item] = found["items"]
    assert (item["execution_id"], item["branch"], item["state"]) == (workspace.execution_id, workspace.branch, "open")
    assert 100_000 < item["size"] < 102_000
    assert (item["size_partial"], item["unsaved"], item["missing"]) == (False, None, False)
    assert client.get(project).json()["open_worktrees"] == 1
    house.workspaces.close(workspace)
    assert client.get(f"{project}/worktrees").json() == {"items": [], "snapshots": 1}


def test_a_kept_folder_is_saved_whole_before_it_is_removed(client: TestClient, house: House, tmp_path: Path) -> None:
    workspace = house.open()
    worktrees = f"/api/projects/{workspace.project_id}/worktrees"
    nested = workspace.path / "vendor" / "inner"
    nested.mkdir(parents=True)
    house.repo.git("init", "-q", "-b", "inner", cwd=nested)
    house.repo.write("inner.txt", "committed\n", folder=nested)
    house.repo.commit("inner", folder=nested)
    house.repo.write("inner.txt", "not committed\n", folder=nested)
    house.repo.write("outer.txt", "outer\n", folder=workspace.path)
    assert house.workspaces.close(workspace).kept_path == workspace.path
    [item] = client.get(worktrees).json()["items"]
    assert (item["state"], item["unsaved"], item["path"]) == ("kept", True, str(workspace.path))
    # What the person deletes since the close stays behind the snapshot.
    (workspace.path / "outer.txt").unlink()
    remove = f"{worktrees}/{workspace.execution_id}/remove"
    assert client.post(remove).json()["code"] == "worktree_in_use"
    house.over.add(workspace.execution_id)
    removed = client.post(remove).json()
    assert removed["outcome"] == "removed"
    assert removed["snapshot_ref"] == f"refs/agented/snapshots/{workspace.execution_id}"
    assert not workspace.path.exists()
    head = removed["head"]
    packed = tmp_path / "inner.tar"
    packed.write_bytes(
        subprocess.run(
            ["git", "cat-file", "blob", f"{head}:vendor/inner.repository.tar"],
            cwd=house.repo.path,
            env=dict(house.repo.env),
            capture_output=True,
            check=True,
        ).stdout
    )
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "back", filter="fully_trusted")
    back = tmp_path / "back" / "inner"
    assert (back / "inner.txt").read_text() == "not committed\n"
    assert house.repo.git("show", "HEAD:inner.txt", cwd=back) == "committed"
    assert house.repo.show(f"{head}^2", "outer.txt") == "outer"
    assert client.get(worktrees).json() == {"items": [], "snapshots": 1}
    assert client.post(remove).json()["code"] == "nothing_kept"


def test_a_kept_folder_that_is_gone_is_taken_from_the_list(client: TestClient, house: House) -> None:
    workspace = house.open()
    (workspace.path / ".git").unlink()
    house.repo.git("init", "-q", cwd=workspace.path)
    house.repo.write("x", "x\n", folder=workspace.path)
    house.repo.commit("another history", folder=workspace.path)
    house.workspaces.close(workspace)
    shutil.rmtree(workspace.path)
    worktrees = f"/api/projects/{workspace.project_id}/worktrees"
    assert client.get(worktrees).json()["items"][0]["missing"] is True
    house.over.add(workspace.execution_id)
    assert client.post(f"{worktrees}/{workspace.execution_id}/remove").json()["outcome"] == "was_gone"
    assert client.get(worktrees).json()["items"] == []


def test_a_git_folder_in_the_place_of_ours_is_saved_too(client: TestClient, house: House) -> None:
    workspace = house.open()
    (workspace.path / ".git").unlink()
    house.repo.git("init", "-q", cwd=workspace.path)
    house.repo.commit("another history", folder=workspace.path)
    house.workspaces.close(workspace)
    house.over.add(workspace.execution_id)
    url = f"/api/projects/{workspace.project_id}/worktrees/{workspace.execution_id}/remove"
    head = client.post(url).json()["head"]
    assert "git.repository.tar" in house.repo.git("ls-tree", "--name-only", head).split()


def test_worktrees_of_another_project_are_not_removed(client: TestClient, house: House) -> None:
    workspace = house.open()
    other = client.post("/api/projects/sample").json()["id"]
    house.over.add(workspace.execution_id)
    assert client.post(f"/api/projects/{other}/worktrees/{workspace.execution_id}/remove").status_code == 404
    mine = f"/api/projects/{workspace.project_id}/worktrees/{workspace.execution_id}/remove"
    assert client.post(mine).json()["code"] == "nothing_kept"
    assert workspace.path.exists()


def test_a_size_that_takes_too_long_is_told_in_part(house: House) -> None:
    for number in range(20):
        house.repo.write(f"many/{number}", "x")
    assert measure(house.repo.path / "many").bytes == 20
    assert measure(house.repo.path / "many", most_entries=5).partial


@pytest.mark.parametrize(
    ("url", "name", "web_url"),
    [
        ("https://github.com/pat/tea.git", "github.com/pat/tea", "https://github.com/pat/tea"),
        (
            "https://git.example.com:8443/pat/tea",
            "git.example.com:8443/pat/tea",
            "https://git.example.com:8443/pat/tea",
        ),
        ("https://pat:t0ken@git.example.com/pat/tea/", "git.example.com/pat/tea", "https://git.example.com/pat/tea"),
        ("git@github.example.com:pat/tea.git", "github.example.com/pat/tea", "https://github.example.com/pat/tea"),
        ("ssh://git@host.example:2222/a/b/c.git", "host.example/a/b/c", "https://host.example/a/b/c"),
        ("ssh://git@ssh.github.com:443/pat/tea.git", "github.com/pat/tea", "https://github.com/pat/tea"),
        ("/srv/git/tea.git", None, None),
        ("file:///srv/git/tea.git", None, None),
        ("http://host.example/pat/tea", None, None),
        ("https://host.example/tea", None, None),
        ("git@host.example:tea.git", None, None),
        ("https://host.example/../tea", None, None),
        ("https://host.example/pat/<script>", None, None),
    ],
)
def test_the_page_of_a_remote(
    client: TestClient, house: House, url: str, name: str | None, web_url: str | None
) -> None:
    project = client.post("/api/projects", json={"path": str(house.repo.path)}).json()["id"]
    house.repo.git("remote", "add", "origin", url)
    now = client.get(f"/api/projects/{project}").json()
    assert (now["remote"], now["web_url"]) == (name, web_url)
