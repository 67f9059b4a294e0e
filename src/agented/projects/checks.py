"""Words from outside that become arguments of git: refs and addresses. What is refused here never reaches git."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from agented.kit.errors import Invalid

LONGEST_REF = 250
LONGEST_URL = 2000

# git allows what a shell would act upon ($ ; | …). No shell of ours ever sees a ref, but a branch name travels on into
# prompts and into the tools of CLIs, so such names end here.
_NOT_IN_A_REF = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff~^:?*\[\\$`;|&<>()\"']")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]")
_HELPER = re.compile(r"[^/\[]*::")
_SCP = re.compile(r"(?:(?P<user>[^@:/]+)@)?(?P<host>[^@:/\[\]]+):(?P<path>.+)\Z")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)\Z")


def check_ref(name: str) -> str:
    """The name itself when it can be that of a branch, tag or commit (the rules of `git check-ref-format`, and more).

    Raises Invalid that names the field `ref`.
    """
    if not name:
        raise _bad_ref("The ref is empty.")
    if len(name.encode("utf-8", "replace")) > LONGEST_REF:
        raise _bad_ref(f"The ref is longer than {LONGEST_REF} bytes.")
    if name.startswith("-"):
        raise _bad_ref("A ref cannot begin with a dash.")
    found = _NOT_IN_A_REF.search(name)
    if found:
        raise _bad_ref(f"A ref cannot hold the character {found.group()!a}.")
    if name.split() != [name]:
        raise _bad_ref("A ref cannot hold white space.")
    if ".." in name or "@{" in name or name == "@":
        raise _bad_ref("A ref cannot be `@` or hold `..` or `@{`.")
    for part in name.split("/"):
        if not part or part.startswith(".") or part.endswith((".lock", ".")):
            raise _bad_ref("A part of a ref cannot be empty, begin or end with a dot, or end with `.lock`.")
    return name


def _bad_ref(message: str) -> Invalid:
    return Invalid(message, field="ref", hint="Name a branch, a tag or a commit of the project.")


def check_url(url: str) -> str:
    """The address itself when git may clone from it: https, ssh, `user@host:path`, or a folder of this machine.

    Raises Invalid that names the field `url`.
    """
    if not url or len(url) > LONGEST_URL:
        raise _bad_url(f"An address has 1 to {LONGEST_URL} characters.")
    if _CONTROL.search(url.replace(" ", "") if is_local(url) else url):
        raise _bad_url("An address cannot hold spaces or control characters.")
    if url.startswith("-"):
        raise _bad_url("An address cannot begin with a dash.")
    if _HELPER.match(url):
        raise _bad_url("Addresses that name a remote helper (`ext::…`) are refused: they can run commands.")
    if is_local(url):
        _check_local(url)
    elif "://" in url:
        _check_address(url)
    else:
        _check_scp(url)
    return url


def check_origin(url: str) -> str:
    """The same for the address of a repository of the person's, where a name or token before an https host is theirs.

    It is used, but neither stored nor shown: `without_user` makes what may be.
    """
    check_url(without_user(url))
    return url


def without_user(url: str) -> str:
    """An https address without a name, password or token in it."""
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() != "https":
        return url
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def is_local(url: str) -> bool:
    """Whether the address is a folder of this machine."""
    return url.startswith(("/", "file://"))


def is_of_this_machine(url: str) -> bool:
    """Whether an http address is answered by this machine itself (RFC 6761): nobody on the way can listen."""
    host = (urlsplit(url).hostname or "") if url.startswith("http://") else ""
    return host in ("localhost", "127.0.0.1") or host.endswith(".localhost")


def _check_local(url: str) -> None:
    if url.startswith("file://") and not url.startswith("file:///"):
        raise _bad_url("A file address names no host: file:///path.")


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _bad_url("The address cannot be read.") from None
    if parts.scheme not in ("https", "ssh") and not is_of_this_machine(url):
        raise _bad_url(f"Addresses that begin with {parts.scheme}:// are refused.")
    if not _HOST.match(host) or port == 0:
        raise _bad_url("The host in the address is not a host's name.")
    _check_user(parts)
    if parts.path.strip("/") == "":
        raise _bad_url("The address names no repository.")


def _check_user(parts: SplitResult) -> None:
    if parts.password is not None or (parts.scheme != "ssh" and parts.username is not None):
        raise Invalid(
            "An address cannot hold a user's name, password or token: it is stored and shown.",
            field="url",
            hint="Leave out what stands before the @ and use git's credential helper or an SSH key.",
        )
    if parts.username is not None and not _USER.match(parts.username):
        raise _bad_url("The user in the address is not a user's name.")


def _check_scp(url: str) -> None:
    match = _SCP.match(url)
    if match is None:
        raise _bad_url("That is not an address of a repository.")
    if not _HOST.match(match["host"]) or (match["user"] is not None and not _USER.match(match["user"])):
        raise _bad_url("The user or host in the address is not a name.")
    if match["path"].startswith("-"):
        raise _bad_url("A path cannot begin with a dash.")


def _bad_url(message: str) -> Invalid:
    return Invalid(message, field="url", hint="Use https://host/path, ssh://user@host/path or user@host:path.")
