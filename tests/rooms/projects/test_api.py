from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from agented.kit.errors import AgentedError
from agented.projects.api import ProjectsApi, build_router
from tests.rooms.projects.conftest import House


@pytest.fixture
def client(house: House) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(build_router(ProjectsApi(house.db, house.git, house.data, house.clock)))

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
        "created_at": "2026-01-01T00:00:00Z",
        "last_used_at": None,
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
    router = build_router(ProjectsApi(house.db, house.git, house.data, house.clock))
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
    }
