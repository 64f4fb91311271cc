from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor import git
from executor.git import Route


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://github.com/owner/name.git", "github.com", "owner/name"),
        ("https://git.example.org:8443/a/b", "git.example.org", "a/b"),
        ("ssh://git@git.example.org:2222/a/b.git", "git.example.org", "a/b"),
        ("git@github.com:owner/name.git", "github.com", "owner/name"),
        ("/srv/git/name.git", "", ""),
    ],
)
def test_addresses_are_read(url: str, host: str, path: str) -> None:
    where = git.remote(url)
    assert (where.url, where.host, where.path) == (url, host, path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "name",
        "./name",
        "-u/x",
        "--upload-pack=touch /tmp/x",
        "ext::sh -c true",
        "ext::sh",
        "https::x",
        "ssh://-oProxyCommand=x/y",
        "ssh://-x@host/y",
        "-oProxyCommand=x:y",
        "git@-oProxyCommand=x:y",
        "git@host:-x",
        "git@host:/-x",
        "http://example.org/x",
        "git://example.org/x",
        "file:///x",
        "https://example.org/x y",
        "https://example.org/x\ny",
        "https://example.org/",
        "https:///x",
        "https://example.org/x?token=s",
        "https://example.org/x#y",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        git.remote(url)


@pytest.mark.parametrize(
    "url", ["https://u:s3cret@h.org/x", "https://s3cret@h.org/x", "ssh://git:s3cret@h.org/x", "http://u:s3cret@h.org/x"]
)
def test_a_credential_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError) as refused:
        git.remote(url)
    assert "s3cret" not in str(refused.value)


def test_credentials_are_taken_out_of_what_git_says() -> None:
    said = "fatal: unable to access 'https://user:s3cret@example.org/x/': no"
    assert git.redact(said) == "fatal: unable to access 'https://***@example.org/x/': no"


def test_what_is_shown_cannot_drive_a_terminal() -> None:
    shown = git.printable("a\x1b[31mb\r\nc\td\x9b\u202ee\x00")
    assert shown == "a\ufffd[31mb\nc\td\ufffd\ufffde\ufffd"


@given(st.text(alphabet=st.sampled_from("ab./-~^:?*[\\@{ \x7f\n_é€HEADlock"), max_size=12))
def test_branch_names_are_judged_as_git_judges_them(name: str) -> None:
    known = subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"], check=False).returncode == 0
    if git.valid_branch(name):
        assert known
    elif known:
        assert name in ("@", "HEAD") or name.startswith("-")


@pytest.mark.parametrize("name", ["fix", "fix-the-test", "a.b_c", "0"])
def test_a_session_has_its_own_branch(name: str) -> None:
    assert git.branch_of(name) == f"rdev/{name}"


@pytest.mark.parametrize(
    "name", ["", "-x", "x-", "a/b", "..", "a..b", "x.lock", "X", "a b", "a\n", "é", "$(id)", "a" * 81, ".", ".x"]
)
def test_a_name_that_could_mean_more_is_no_session(name: str) -> None:
    with pytest.raises(ValueError):
        git.branch_of(name)


def test_protected_branches_are_matched_by_pattern() -> None:
    globs = ("main", "release*", "team/*")
    assert [b for b in ("main", "mainly", "release-1", "team/a/b", "rdev/main") if git.is_protected(b, globs)] == [
        "main",
        "release-1",
        "team/a/b",
    ]


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("git@github.com:o/n.git", "https://github.com/o/n/compare/main...rdev/fix?expand=1"),
        (
            "https://gitlab.example.org/g/s/n.git",
            "https://gitlab.example.org/g/s/n/-/merge_requests/new?merge_request%5Bsource_branch%5D=rdev%2Ffix"
            "&merge_request%5Btarget_branch%5D=main",
        ),
        ("https://bitbucket.org/o/n", "https://bitbucket.org/o/n/pull-requests/new?source=rdev%2Ffix&dest=main"),
        ("https://codeberg.org/o/n", "https://codeberg.org/o/n/compare/main...rdev/fix"),
        ("https://git.example.org/o/n", ""),
        ("/srv/git/n.git", ""),
    ],
)
def test_a_pull_request_has_a_page_where_the_host_is_known(url: str, page: str) -> None:
    assert git.pull_request_url(git.remote(url), "rdev/fix", "main") == page


def test_refs_of_strangers_are_read_or_passed_over() -> None:
    name = "0123456789" * 4
    lines = [
        f"{name} refs/heads/a",
        f"{name} refs/heads/a b",
        "xyz refs/heads/c",
        f"{name}",
        "",
        f"{name} -x",
        "\x1b[0m",
    ]
    assert git.parse_refs(lines) == {"refs/heads/a": name}


def test_only_gits_own_stat_is_a_stat() -> None:
    assert git.parse_stat(" 2 files changed, 1 insertion(+), 3 deletions(-)").startswith("2 files")
    assert git.parse_stat(" 1 file changed, 0 insertions(+), 0 deletions(-)")
    assert git.parse_stat("2 files changed\x1b[2J") == ""


def test_the_base_is_the_projects_or_the_remotes_or_the_likeliest() -> None:
    there = dict.fromkeys(("develop", "main", "trunk"), "x")
    assert git.default_branch("develop", "trunk", there) == "develop"
    assert git.default_branch("", "trunk", there) == "trunk"
    assert git.default_branch("", "gone", there) == "main"
    assert git.default_branch("", "", {"only": "x"}) == "only"
    assert git.default_branch("main", "main", {}) == ""
    with pytest.raises(ValueError, match=r"no branch 'dev'; it has develop, main, trunk"):
        git.default_branch("dev", "main", there)


def test_a_message_is_the_prompts_first_line_and_says_who_and_what() -> None:
    said = git.message("\n  fix\x1b it \nmore", {"Rdev-Actor": "slack:T/U\nRdev-Job: forged", "Rdev-Job": "j1"})
    assert said == "fix\ufffd it\n\nRdev-Actor: slack:T/U\nRdev-Job: j1"
    assert git.message(" ", {}).startswith("Changes")
    assert len(git.message("x" * 500, {}).splitlines()[0]) == 72


def test_an_author_is_a_person_or_an_actor() -> None:
    assert git.identity("Ann <ann@example.org>") == ("Ann", "ann@example.org")
    assert git.identity("slack:T1/U2") == ("slack:T1/U2", "slack-T1-U2@users.rdev.invalid")
    assert git.identity("") == ("unknown", "unknown@users.rdev.invalid")


def test_push_is_ours_and_goes_nowhere_else() -> None:
    for args in (["push"], ["push", "origin", "rdev/fix"], ["push", "-u", "origin", "HEAD"], ["push", "--force"]):
        assert git.plan(args, "fix") == git.GitCommand(Route.PUSH)
    for args in (["push", "origin", "main"], ["push", "--tags"], ["push", "origin", ":main"], ["push", "elsewhere"]):
        with pytest.raises(ValueError, match="rdev/fix"):
            git.plan(args, "fix")


def test_fetch_and_pull_use_what_the_guarded_repository_fetched() -> None:
    assert git.plan(["fetch", "--all"], "fix").route is Route.FETCH
    assert git.plan(["pull"], "fix").argv[-3:] == ("merge", "--no-edit", "refs/remotes/origin/HEAD")
    assert git.plan(["pull", "--rebase", "origin", "dev"], "fix").argv[-2:] == ("rebase", "refs/remotes/origin/dev")
    assert "--ff-only" in git.plan(["pull", "--ff-only"], "fix").argv
    for args in (["pull", "elsewhere"], ["pull", "origin", "a..b"], ["pull", "origin", "a", "b"], ["pull", "-sours"]):
        with pytest.raises(ValueError):
            git.plan(args, "fix")


def test_the_rest_runs_in_the_sandbox_as_it_is() -> None:
    command = git.plan(["log", "-1", "--format=%s"], "fix")
    assert command.route is Route.PLAIN
    assert command.argv[0] == "git"
    assert command.argv[-3:] == ("log", "-1", "--format=%s")
