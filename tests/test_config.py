"""The configuration file: what is accepted, and how every mistake is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bot.config import Config, ConfigError, Project, Rights, default_state_dir, load, locate, parse, schema_json
from bot.config_summary import summary

RIGHTS = '\n[projects.demo.rights]\nadmin = ["local:0"]\n'
KEY = "sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789"


def written(directory: Path, text: str) -> Path:
    path = directory / "rdev.toml"
    path.write_text(text)
    return path


def accepted(directory: Path, text: str, **environ: str) -> Config:
    return load(written(directory, text), environ)


def refused(directory: Path, text: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(written(directory, text), environ)
    return str(caught.value)


def project(lines: str = "", rights: str = RIGHTS) -> str:
    url = "" if lines.startswith("url") else 'url = "https://example.org/a/b"\n'
    return f"[projects.demo]\n{url}{lines}\n{rights}"


def test_smallest_file_has_safe_defaults(tmp_path: Path) -> None:
    config = accepted(tmp_path, project())
    demo = config.projects["demo"]

    assert demo.push == "ask"
    assert demo.domains == ()
    assert demo.rights.run == ()
    assert "main" in demo.protected
    assert demo.limits.memory == 4 * 1024**3
    assert config.backend.private_networks == ()


def test_all_mistakes_are_told_at_once_each_with_its_place(tmp_path: Path) -> None:
    text = refused(
        tmp_path,
        """
        colour = "red"
        [limits]
        jobs = "many"
        queue = 0
        [model]
        auth = "apikey"
        [backend]
        private_networks = ["10.0.0.1/8"]
        [projects.demo]
        url = "https://example.org/a/b"
        memroy = "4GiB"
        budget_usd = -1
        rights = { run = ["discrod:1"], admin = ["local:0"] }
        """,
    )
    file = f"{tmp_path}/rdev.toml: "
    lines = text.splitlines()

    assert all(line.startswith(file) for line in lines)
    assert {line.removeprefix(file).split(":")[0] for line in lines} == {
        "colour",
        "limits.jobs",
        "limits.queue",
        "model.auth",
        "backend.private_networks[0]",
        "projects.demo.memroy",
        "projects.demo.budget_usd",
        "projects.demo.rights.run[0]",
    }
    assert 'limits.jobs: found "many"; allowed: a whole number' in text
    assert 'model.auth: found "apikey"; allowed: "api-key" or "oauth"; did you mean "api-key"?' in text
    assert 'did you mean "limits.memory"?' in text
    assert 'did you mean "10.0.0.0/8"?' in text
    assert 'did you mean "discord"?' in text


def test_syntax_error_has_line_and_column(tmp_path: Path) -> None:
    assert "rdev.toml:2:8: found a TOML syntax error" in refused(tmp_path, "[limits]\njobs = = 3\n")
    assert "rdev.toml:2:8: found a TOML syntax error" in refused(tmp_path, "[limits]\njobs = ")


def test_file_that_is_not_there_says_where_one_could_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file.*RDEV_CONFIG"):
        load(tmp_path / "none.toml", {})


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rdev.toml").write_bytes(b'state_dir = "\xff"')

    with pytest.raises(ConfigError, match="byte 13 that is not UTF-8"):
        load(tmp_path / "rdev.toml", {})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("limits.memory = 4", "a size such as"),
        ('limits.memory = "4GB"', "a size such as"),
        ('limits.memory = "0GiB"', "a size such as"),
        ('limits.memory = "100MiB"', "at least 512MiB"),
        ("limits.cpus = 0", "greater than 0"),
        ("limits.cpus = inf", "a finite number"),
        ("limits.minutes = 1.5", "a whole number"),
        ("quiet = 1", "true or false"),
        ('domains = "example.org"', "a list"),
        ('domains = ["*.example.org"]', 'did you mean ".example.org"'),
        ('domains = ["https://example.org/x"]', 'did you mean "example.org"'),
        ('domains = ["192.0.2.1"]', "a name, never an address"),
        ('domains = ["2130706433"]', "a name, never an address"),
        ('domains = ["0x7f.1"]', "a name, never an address"),
        ('domains = ["::1"]', "a name, never an address"),
        ('domains = ["[::1]:443"]', "a name, never an address"),
        ('domains = ["example.org:0"]', '"example.org:8443"'),
        ('domains = ["a b"]', '"example.org:8443"'),
        ('branch = "a..b"', "a branch name"),
        ('branch = "--upload-pack=x"', "a branch name"),
        ('protected = ["--all"]', "a branch or a pattern"),
        ('model = "--danger"', "one word"),
        ('effort = "lowest"', 'did you mean "low"'),
        ("ask_minutes = 0", "greater than or equal to 1"),
        ('url = "http://example.org/a"', "https://host/path"),
        ('url = "ext::sh -c id"', "https://host/path"),
        ('url = "--upload-pack=id"', "https://host/path"),
        ('url = "/no/such/directory"', "there is no directory"),
        ('deploy_key = "/etc/hostname"', "a deploy_key for an https url"),
        ('url = "git@example.org:a/b"', "private key file for this ssh url"),
        ('protected = ["*"]', "protects every session's branch"),
        ('protected = ["main", "rdev/*"]\npush = "auto"', "protects every session's branch"),
    ],
)
def test_impossible_value_is_refused_with_what_is_allowed(tmp_path: Path, line: str, reason: str) -> None:
    assert reason in refused(tmp_path, project(line))


@pytest.mark.parametrize(
    "line",
    [
        'limits.memory = "512MiB"',
        'limits.memory = "1TiB"',
        "limits.cpus = 1",
        'domains = ["example.org", ".example.org", "example.org:8443", "Example.ORG", "build"]',
        'branch = "feature/x_1"',
        'protected = ["rdev/keep-*"]\npush = "auto"',
        'protected = ["*"]\npush = "never"',
        'url = "."',
    ],
)
def test_possible_value_is_accepted(tmp_path: Path, line: str) -> None:
    assert accepted(tmp_path, project(line)).projects["demo"].url


def test_network_that_holds_the_metadata_address_is_refused(tmp_path: Path) -> None:
    for network in ("0.0.0.0/0", "169.254.169.254/32", "::/0", "fd00::/8"):
        assert "where clouds serve credentials" in refused(
            tmp_path, f'[backend]\nprivate_networks = ["{network}"]\n{project()}'
        )


def test_nobody_could_answer_is_refused(tmp_path: Path) -> None:
    text = refused(tmp_path, project('permissions = "ask"\npush = "never"', '[projects.demo.rights]\nrun = ["*"]'))

    assert "projects.demo.rights.approve: found an empty list" in text
    assert 'permissions = "ask"' in text
    assert accepted(tmp_path, project('push = "never"', "")).projects["demo"].rights == Rights()


def test_more_jobs_in_a_project_than_in_all_is_refused(tmp_path: Path) -> None:
    assert "at most limits.jobs, which is 4" in refused(
        tmp_path, f"[limits]\njobs = 4\njobs_per_project = 5\n{project()}"
    )
    assert accepted(tmp_path, f"[limits]\njobs = 4\n{project()}").limits.jobs_per_project == 4


def test_file_without_projects_is_refused(tmp_path: Path) -> None:
    assert "projects: found nothing; allowed: this key is required" in refused(tmp_path, "")
    assert "projects: found an empty table; allowed: at least one entry" in refused(tmp_path, "[projects]")


def test_project_id_is_checked(tmp_path: Path) -> None:
    assert 'projects."My Site": found "My Site"; allowed: an id of at most 39' in refused(
        tmp_path, '[projects."My Site"]\nurl = "https://example.org/a/b"\npush = "never"\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        f'[model]\nkey = "{KEY}"\n',
        f'[model]\nkey = {{ env = "{KEY}" }}\n',
        f'[model]\napi_key = "{KEY}"\n',
        f'[claude]\nmodel = "{KEY}"\n',
        f'state_dir = "{KEY}"\n',
        f'"{KEY}" = 1\n',
    ],
)
def test_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    said = refused(tmp_path, text + project())

    assert KEY not in said
    assert KEY[10:] not in said


def test_plain_words_in_the_place_of_a_secret_are_not_repeated(tmp_path: Path) -> None:
    said = refused(tmp_path, '[model]\nkey = "correct horse"\n' + project())

    assert "correct horse" not in said
    assert "secrets are never written in this file" in said


def test_password_in_a_url_is_refused_and_not_repeated(tmp_path: Path) -> None:
    said = refused(tmp_path, project('url = "https://ci:hunter2hunter2@example.org/a/b"'))

    assert "hunter2" not in said
    assert "projects.demo.url" in said


def test_secret_from_a_variable_is_never_printed(tmp_path: Path) -> None:
    config = accepted(tmp_path, '[model]\nkey = { env = "MODEL_KEY" }\n' + project(), MODEL_KEY=KEY + "\n")

    assert config.model.secret is not None
    assert config.model.secret.get_secret_value() == KEY
    for text in (repr(config), str(config.model), config.model_dump_json(), summary(config)):
        assert KEY not in text


def test_variable_that_is_not_set_is_missing_and_named(tmp_path: Path) -> None:
    config = accepted(tmp_path, project())

    assert config.model.secret is None
    assert "$ANTHROPIC_API_KEY: missing" in summary(config)
    assert "$ANTHROPIC_API_KEY: present" in summary(accepted(tmp_path, project(), ANTHROPIC_API_KEY=KEY))


def test_secret_with_a_line_break_is_refused_and_not_repeated(tmp_path: Path) -> None:
    said = refused(tmp_path, project(), ANTHROPIC_API_KEY="one two\nthree")

    assert "unprintable value in $ANTHROPIC_API_KEY" in said
    assert "three" not in said


def test_secret_comes_from_a_file_of_ones_own(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text(KEY + "\n")
    secret.chmod(0o600)
    config = accepted(tmp_path, '[model]\nkey = { file = "key" }\n' + project())

    assert config.model.secret is not None
    assert config.model.secret.get_secret_value() == KEY


def test_secret_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text(KEY)
    secret.chmod(0o644)
    said = refused(tmp_path, '[model]\nkey = { file = "key" }\n' + project())

    assert "mode 0644" in said
    assert f"chmod 600 {secret}" in said
    assert KEY not in said


def test_secret_needs_exactly_one_source(tmp_path: Path) -> None:
    assert "neither env nor file" in refused(tmp_path, "[model]\nkey = {}\n" + project())
    assert "both env and file" in refused(tmp_path, '[model]\nkey = {env = "A", file = "b"}\n' + project())


def test_deploy_key_must_be_there_and_private(tmp_path: Path) -> None:
    lines = 'url = "git@example.org:a/b.git"\ndeploy_key = "id"'
    assert "a private key file that exists" in refused(tmp_path, project(lines))
    key = tmp_path / "id"
    key.write_text("x")
    key.chmod(0o640)
    assert "mode 0640" in refused(tmp_path, project(lines))
    key.chmod(0o600)
    assert accepted(tmp_path, project(lines)).projects["demo"].deploy_key == key


def test_sandbox_is_never_shown_a_secret(tmp_path: Path) -> None:
    secret = tmp_path / "secrets" / "key"
    secret.parent.mkdir()
    secret.write_text(KEY)
    secret.chmod(0o600)
    (tmp_path / "alias").symlink_to("secrets")
    settings = f'state_dir = "state"\n[model]\nkey = {{ file = "secrets/key" }}\n{project()}[backend]\n'

    for shown in ("secrets", "secrets/key", "alias", ".", "/"):
        said = refused(tmp_path, f'{settings}readonly_paths = ["{shown}"]')
        assert "backend.readonly_paths[0]" in said
        assert "shows the sandbox model.key.file" in said
    assert "does not exist" in refused(tmp_path, f'{settings}readonly_paths = ["other"]')
    (tmp_path / "other").mkdir()
    assert accepted(tmp_path, f'{settings}readonly_paths = ["other"]').backend.readonly_paths


def test_sandbox_is_never_shown_the_state(tmp_path: Path) -> None:
    (tmp_path / "state" / "boxes").mkdir(parents=True)
    for shown in (".", "state", "state/boxes"):
        said = refused(tmp_path, f'state_dir = "state"\n{project()}[backend]\nreadonly_paths = ["{shown}"]')
        assert "shows the sandbox state_dir" in said


def test_model_key_does_not_travel_in_clear_text(tmp_path: Path) -> None:
    assert "http only for this machine itself" in refused(
        tmp_path, '[model]\nurl = "http://api.example.org"\n' + project()
    )
    assert accepted(tmp_path, '[model]\nurl = "http://127.0.0.1:8080"\n' + project()).model.url


def test_relative_paths_are_beside_the_file_and_tilde_is_home(tmp_path: Path) -> None:
    assert accepted(tmp_path, 'state_dir = "state"\n' + project()).state_dir == tmp_path / "state"
    assert accepted(tmp_path, 'state_dir = "~/s"\n' + project(), HOME="/home/x").state_dir == Path("/home/x/s")


def test_state_directory_follows_the_account(tmp_path: Path) -> None:
    environ = {"HOME": "/home/x", "XDG_STATE_HOME": "/x/state"}
    expected = "/var/lib/rdev" if os.geteuid() == 0 else "/x/state/rdev"

    assert accepted(tmp_path, project(), **environ).state_dir == Path(expected)
    assert default_state_dir(environ) == Path(expected)


def test_file_is_the_one_asked_for(tmp_path: Path) -> None:
    assert locate("a.toml", {"RDEV_CONFIG": "b.toml"}) == Path("a.toml")
    assert locate(None, {"RDEV_CONFIG": "b.toml"}) == Path("b.toml")


def test_configuration_does_not_change(tmp_path: Path) -> None:
    config = accepted(tmp_path, project())

    with pytest.raises(ValidationError, match="frozen"):
        config.projects["demo"].push = "auto"


def test_project_made_in_code_obeys_the_same_rules() -> None:
    assert Project(url="/srv/repo", rights=Rights(admin=("local:0",))).push == "ask"
    with pytest.raises(ValidationError):
        Project(url="/srv/repo")


def test_summary_says_what_would_run(tmp_path: Path) -> None:
    text = summary(accepted(tmp_path, project('push = "auto"\ndomains = ["example.org"]\nbudget_usd = 2')))

    for said in ("project demo", "auto", "example.org", "at most $2.00 a job", "never to main", "local:0", "4GiB"):
        assert said in text


def test_schema_describes_every_key() -> None:
    schema = json.loads(schema_json())
    tables = [schema, *schema["$defs"].values()]

    assert {"Project", "Rights", "JobLimits", "LocalBackend"} <= schema["$defs"].keys()
    assert all(table["additionalProperties"] is False for table in tables)
    assert schema["$defs"]["Project"]["properties"]["push"]["enum"] == ["auto", "ask", "never"]
    assert schema["$defs"]["JobLimits"]["properties"]["memory"]["type"] == "string"


NAMES = st.sampled_from(["model", "key", "env", "projects", "demo", "url", "rights", "limits", "memory", "hosts", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_whatever_is_written_is_refused_with_sentences(data: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(data, Path("/etc/rdev.toml"), {})

    assert caught.value.mistakes
    assert all(mistake.found and mistake.allowed for mistake in caught.value.mistakes)
