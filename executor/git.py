"""What is said to git and what git says, as pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from urllib.parse import quote, urlsplit

ORIGIN = "refs/remotes/origin/"
_SESSION = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,78}[a-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_SCP = re.compile(r"(?:([A-Za-z0-9_][A-Za-z0-9._-]*)@)?([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?):(?!/?-)([^:].*)")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_STAT = re.compile(r" *\d+ files? changed(, \d+ insertions?\(\+\))?(, \d+ deletions?\(-\))?")
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|^[./-]|[./]$|\.lock(?:/|$)")
# Control characters, and the marks that reorder text so that it reads as something else.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_PUSH_WORDS = ("origin", "HEAD", "-u", "--set-upstream", "-f", "--force", "--force-with-lease")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a project's repository is: an https or ssh address, or a path on the machine (no host)."""

    url: str
    host: str = ""
    path: str = ""


class Route(StrEnum):
    """What a `/git` command needs besides being run in the sandbox."""

    PLAIN = "plain"
    FETCH = "fetch"
    """The guarded repository fetches first; the sandbox cannot."""
    PUSH = "push"
    """The guarded repository pushes; nothing runs in the sandbox."""


@dataclass(frozen=True, slots=True)
class GitCommand:
    """A `/git` command: its route, and what to run as a job (empty for a push)."""

    route: Route
    argv: tuple[str, ...] = ()


def branch_of(session: str) -> str:
    """The branch of a session; ValueError for a name that could mean more than a name to git or a path."""
    if not _SESSION.fullmatch(session) or ".." in session or session.endswith(".lock"):
        raise ValueError(f"{session[:80]!r} cannot name a session: use lower-case letters, digits, dots and dashes")
    return f"rdev/{session}"


def valid_branch(name: str) -> bool:
    """Whether git allows the name for a branch (as `git check-ref-format --branch`)."""
    return bool(name) and name not in ("@", "HEAD") and len(name) <= 240 and not _BAD_REF.search(name)


def is_commit(text: str) -> bool:
    """Whether the text is a full object name."""
    return bool(_COMMIT.fullmatch(text))


def is_protected(branch: str, globs: Iterable[str]) -> bool:
    """Whether a branch matches one of the project's protected patterns."""
    return any(fnmatchcase(branch, glob) for glob in globs)


def remote(url: str) -> Remote:
    """Read a project's address; ValueError with a sentence where it is none that is accepted."""
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("a repository's address has no spaces or control characters")
    if url.startswith("/"):
        return Remote(url)
    if "::" not in url and url.partition(":")[0] in ("https", "ssh") and "://" in url:
        return _split(url)
    scp = _SCP.fullmatch(url)
    if scp and "://" not in url:
        return Remote(url, scp[2].lower(), _bare(scp[3]))
    raise ValueError(
        f"{redact(url)[:200]!r} is no repository address: use https://host/path, ssh://git@host/path, "
        "git@host:path or an absolute path"
    )


def _split(url: str) -> Remote:
    parts = urlsplit(url)
    if parts.password is not None or (parts.scheme == "https" and parts.username is not None):
        raise ValueError("a repository's address must not contain a user name, password or token; use a deploy key")
    if not _HOST.fullmatch(parts.hostname or "") or (parts.username or "").startswith("-"):
        raise ValueError(f"{redact(url)[:200]!r} has no proper host name")
    if parts.query or parts.fragment or len(parts.path) < 2:
        raise ValueError(f"{redact(parts.netloc)[:200]!r} needs a path to the repository, without ? and #")
    return Remote(url, parts.hostname or "", _bare(parts.path))


def _bare(path: str) -> str:
    return path.strip("/").removesuffix(".git")


def redact(text: str) -> str:
    """The text without the credentials of any URL in it."""
    return _CREDENTIALS.sub("***@", text)


def printable(text: str) -> str:
    """The text without credentials, terminal controls and marks that change the direction of reading."""
    return _UNPRINTABLE.sub("\ufffd", redact(text).replace("\r\n", "\n"))


def one_line(text: str, width: int = 200) -> str:
    """The first line that says something, of at most so many characters."""
    line = next((line.strip() for line in printable(text).splitlines() if line.strip()), "")
    return line if len(line) <= width else line[: width - 1] + "…"


def message(prompt: str, trailers: Mapping[str, str]) -> str:
    """A commit message: the prompt's first line, and who and what it came from."""
    subject = one_line(prompt, 72) or "Changes of a turn"
    return "\n".join([subject, "", *(f"{key}: {one_line(value)}" for key, value in trailers.items())])


def identity(author: str) -> tuple[str, str]:
    """Name and address for git, of `Name <address>` or of an actor such as `discord:123456`."""
    name, _, address = one_line(author).removesuffix(">").partition(" <")
    clean = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "unknown"
    return name or "unknown", address or f"{clean}@users.rdev.invalid"


def job_id(text: str) -> str:
    """The text, where it can be a job's id; else ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", text):
        raise ValueError(f"{text[:80]!r} is no job id")
    return text


def pull_request_url(where: Remote, branch: str, base: str) -> str:
    """A page that opens a pull request for a pushed branch; empty where the host's pages are not known."""
    page, head, into = f"https://{where.host}/{quote(where.path)}", quote(branch), quote(base)
    match where.host.split("."):
        case ["github", "com"]:
            return f"{page}/compare/{into}...{head}?expand=1"
        case ["gitlab", *_]:
            fields = f"merge_request%5Bsource_branch%5D={quote(branch, safe='')}"
            return f"{page}/-/merge_requests/new?{fields}&merge_request%5Btarget_branch%5D={quote(base, safe='')}"
        case ["bitbucket", "org"]:
            return f"{page}/pull-requests/new?source={quote(branch, safe='')}&dest={quote(base, safe='')}"
        case ["codeberg", "org"] | ["gitea", *_]:
            return f"{page}/compare/{into}...{head}"
        case _:
            return ""


def parse_refs(lines: Iterable[str]) -> dict[str, str]:
    """`<object name> <ref>` lines as ref → object name; whatever else is passed over."""
    refs = {}
    for text in lines:
        name, _, ref = text.partition(" ")
        if is_commit(name) and ref and not _BAD_REF.search(ref):
            refs[ref] = name
    return refs


def parse_stat(text: str) -> str:
    """git's short diff stat; empty when the text is anything else."""
    return text.strip() if _STAT.fullmatch(text) else ""


def default_branch(wanted: str, head: str, branches: Mapping[str, str]) -> str:
    """The branch sessions start from: the project's, the remote's HEAD, or the likeliest; empty in an empty repository.

    Raises ValueError with a sentence where the remote does not have the wanted one.
    """
    if wanted:
        if wanted not in branches and branches:
            there = ", ".join(sorted(branches)[:8])
            raise ValueError(f"the repository has no branch {wanted!r}; it has {printable(there)}")
        return wanted if branches else ""
    for name in (head, "main", "master", *sorted(branches)[:1]):
        if name in branches:
            return name
    return ""


def plan(args: Sequence[str], session: str) -> GitCommand:
    """How to carry out `/git ARGS` in a session; ValueError with a sentence for what no session may do."""
    branch = branch_of(session)
    match list(args):
        case ["push", *rest]:
            for word in rest:
                if word not in (*_PUSH_WORDS, branch):
                    raise ValueError(f"push takes the session's branch {branch} to the remote and nothing else")
            return GitCommand(Route.PUSH)
        case ["fetch", *_]:
            news = ("log", "--oneline", "--max-count=20", "HEAD..refs/remotes/origin/HEAD")
            return GitCommand(Route.FETCH, _argv(news))
        case ["pull", *rest]:
            return GitCommand(Route.FETCH, _argv(_pull(rest)))
        case _:
            return GitCommand(Route.PLAIN, _argv(args))


def _argv(args: Sequence[str]) -> tuple[str, ...]:
    # Nobody sits before an editor or a pager: the message git proposes is taken as it is.
    return ("git", "--no-pager", "-c", "core.editor=true", *args)


def _pull(args: Sequence[str]) -> list[str]:
    options = [word for word in args if word.startswith("-")]
    names = [word for word in args if not word.startswith("-")]
    if len(names) > 2 or names[:1] not in ([], ["origin"]) or not all(valid_branch(n) for n in names):
        raise ValueError("pull takes origin and one branch: /git … pull [--rebase] [origin [branch]]")
    source = f"refs/remotes/origin/{names[1] if len(names) == 2 else 'HEAD'}"
    if {"--rebase", "-r"} & set(options):
        return ["rebase", source]
    unknown = set(options) - {"--ff", "--no-ff", "--ff-only", "--no-rebase", "--no-edit"}
    if unknown:
        raise ValueError(f"pull knows --rebase, --ff-only, --ff and --no-ff here, not {min(unknown)[:80]}")
    return ["merge", "--no-edit", *(o for o in options if o.startswith(("--ff", "--no-ff"))), source]
