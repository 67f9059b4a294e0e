from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agented.kit.errors import Invalid
from agented.projects.checks import check_ref, check_url, is_local


@pytest.mark.parametrize(
    "ref",
    [
        "main",
        "HEAD",
        "v1.0",
        "feature/x-y_z",
        "dependabot/npm_and_yarn/@types/node-1.2",
        "größe",
        "0123abc",
        "refs/pull/5/head",
        "issue#12",
        "a@b",
        "a.lock.b",
        "x" * 250,
    ],
)
def test_usual_refs_pass(ref: str) -> None:
    assert check_ref(ref) == ref


@pytest.mark.parametrize("ref", ["-", "a b", "a\tb", "a\x7f", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "a.", "ß" * 126])
def test_what_git_refuses_or_reads_otherwise_is_refused(ref: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_ref(ref)
    assert (caught.value.field, bool(caught.value.hint)) == ("ref", True)


@given(st.text(max_size=300))
def test_a_ref_that_passes_is_one_word_of_one_line(ref: str) -> None:
    try:
        check_ref(ref)
    except Invalid:
        return
    assert ref
    assert ref.encode()
    assert ref[0] != "-"
    assert not set(ref) & set(" \n\r\t\0~^:?*[\\$`;|&<>()\"'")
    assert ref.split() == [ref]


@pytest.mark.parametrize(
    "url",
    [
        "https://host.example/a/b.git",
        "https://host.example:8443/b",
        "https://[::1]/b",
        "ssh://git@host.example:22/a/b",
        "ssh://host.example/b",
        "git@host.example:a/b.git",
        "host.example:b",
        "/srv/git/b",
        "/srv/with space/b",
        "file:///srv/git/b",
    ],
)
def test_usual_addresses_pass(url: str) -> None:
    assert check_url(url) == url
    assert is_local(url) is url.startswith(("/", "file:"))


@given(st.one_of(st.text(max_size=80), st.from_regex(r"(https|ssh|ext|file)(:|::|://)[-@:/a-z\[\]%]{0,30}\Z")))
def test_an_address_that_passes_is_of_a_known_kind(url: str) -> None:
    try:
        check_url(url)
    except Invalid as error:
        assert error.field == "url"
        return
    assert not url.startswith("-")
    assert "::" not in url.split("/", 1)[0].split("[", 1)[0]
    assert "\n" not in url
    assert url.startswith(("https://", "ssh://", "/", "file:///")) or ":" in url
