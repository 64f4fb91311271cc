"""The tables of the configuration file, as frozen models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from bot import config_rules as rules
from bot.config_chat import Discord, Slack
from bot.config_errors import Mistake, refuse
from bot.config_secrets import GROUP_AND_OTHERS, Secret, private_file
from bot.config_section import Section, read_as
from bot.config_values import (
    ActorPattern,
    Address,
    ApiUrl,
    Branch,
    BranchPattern,
    Domain,
    ExistingPath,
    FilePath,
    List,
    Memory,
    Network,
    Program,
    ProjectId,
    RemoteUrl,
    Size,
    StateDir,
    Words,
    surroundings,
)

Effort = Literal["", "low", "medium", "high", "xhigh", "max"]


class ModelApi(Section):
    """Where the model is, and the key that the proxy adds to each request."""

    url: ApiUrl = "https://api.anthropic.com"
    """The Messages API, without a path."""
    key: Secret = read_as({"env": "ANTHROPIC_API_KEY"})
    """Where the key is; it stays outside the sandbox."""
    auth: Literal["api-key", "oauth"] = "api-key"
    """How the key is sent: as x-api-key, or as a bearer token of a subscription."""

    @property
    def secret(self) -> SecretStr | None:
        """The key itself; None when its variable is not set."""
        return self.key.value


class Claude(Section):
    """The Claude Code CLI of the sandbox."""

    path: FilePath | None = None
    """The program; by default the pinned one that was installed with rdev."""
    model: Words = ""
    """The model where neither the session nor the project names one; empty for the CLI's own choice."""
    effort: Effort = ""
    """The effort where neither the session nor the project names one."""
    max_retries: Annotated[int, Field(ge=0, le=50)] | None = None
    """How often a failed request to the model is repeated; by default 10 times, about three minutes."""


class LocalBackend(Section):
    """Sandboxes on this machine."""

    type: Literal["local"] = "local"
    bwrap: Program = "bwrap"
    """The bubblewrap program, a name on PATH or a path."""
    squid: Program = "squid"
    """The squid program, a name on PATH or in /usr/sbin, or a path."""
    private_networks: List[Network] = ()
    """Private networks that allowed names may resolve into; all are refused otherwise."""
    hosts: dict[Domain, Address] = read_as({})
    """Names that the proxy resolves itself."""
    readonly_paths: List[ExistingPath] = ()
    """More of this machine that the sandbox may read."""


class ServiceLimits(Section):
    """How much runs at once."""

    jobs: Annotated[int, Field(ge=1, le=4096)] = 16
    """Jobs of all projects that run at once; more wait."""
    jobs_per_project: Annotated[int, Field(ge=1, le=254)] = 8
    """Jobs of one project that run at once."""
    queue: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Jobs that may wait; one more is refused."""

    @field_validator("jobs_per_project")
    @classmethod
    def _fits(cls, value: int, info: ValidationInfo) -> int:
        # The default follows a smaller `jobs` by itself; only a number somebody wrote can contradict it.
        jobs: int = info.data.get("jobs", value)
        if value > jobs and value != cls.model_fields["jobs_per_project"].default:
            refuse([Mistake("", str(value), f"at most limits.jobs, which is {jobs}")])
        return min(value, jobs)


class Retention(Section):
    """How long things are kept; the audit log is kept for ever."""

    events_days: Annotated[int, Field(ge=1, le=36_500)] = 90
    """Days after its end that a job's events are kept."""


class JobLimits(Section):
    """What one job may use."""

    cpus: Annotated[float, Field(gt=0, le=1024)] = 2.0
    memory: Memory = read_as("4GiB")
    """At least 512MiB: one Claude process takes 300 MB to 1.2 GB."""
    processes: Annotated[int, Field(ge=32, le=65536)] = 512
    file_size: Size = read_as("2GiB")
    """The largest file a job may write."""
    minutes: Annotated[int, Field(ge=1, le=14_400)] = 240
    journal: Size = read_as("1GiB")
    """Output after which the job is stopped."""


class Rights(Section):
    """Who may do what, as actors or patterns of actors; nobody who is not named."""

    view: List[ActorPattern] = ()
    """See sessions, output and diffs."""
    run: List[ActorPattern] = ()
    """Start, continue and stop work; includes view."""
    approve: List[ActorPattern] = ()
    """Answer what Claude or the fence asks: permissions, domains, pushes; includes view."""
    admin: List[ActorPattern] = ()
    """Everything, purge and the audit log included."""


class Project(Section):
    """A repository that a team registered."""

    url: RemoteUrl
    """https or ssh URL of the repository, or its path on this machine."""
    branch: Branch = ""
    """Where sessions branch off; by default the remote's own branch."""
    deploy_key: FilePath | None = None
    """Private key for an ssh url; it stays outside the sandbox."""
    known_hosts: FilePath | None = None
    """The ssh server's public keys, as ssh keeps them."""
    domains: List[Domain] = ()
    """What jobs may reach; whatever may be reached can be sent anything."""
    permissions: Literal["bypass", "ask"] = "bypass"
    """Whether Claude uses tools freely inside the sandbox or asks for each."""
    push: Literal["auto", "ask", "never"] = "ask"
    """Whether a session's branch goes to the remote after a turn."""
    protected: List[BranchPattern] = ("main", "master", "release*", "develop")
    """Branches, as patterns, that are never pushed to."""
    budget_usd: Annotated[float, Field(gt=0)] | None = None
    """What one job may cost."""
    model: Words = ""
    effort: Effort = ""
    quiet: bool = False
    """Whether threads show results without the steps that led there."""
    ask_minutes: Annotated[int, Field(ge=1, le=525_600)] = 1440
    """How long an ask stays open; one that expired was not approved."""
    limits: JobLimits = JobLimits()
    rights: Rights = Rights()

    @field_validator("deploy_key")
    @classmethod
    def _key_fits(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if "url" in info.data:
            refuse(rules.key_without_ssh(info.data["url"], value))
        if value is not None and surroundings(info):
            private_file(value, GROUP_AND_OTHERS, "a private key file")
        return value

    @field_validator("known_hosts")
    @classmethod
    def _hosts_exist(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and surroundings(info):
            private_file(value, 0, "a known_hosts file")
        return value

    @field_validator("protected")
    @classmethod
    def _something_to_push(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        refuse(rules.unpushable(info.data.get("push", "never"), value))
        return value

    @field_validator("rights")
    @classmethod
    def _somebody_answers(cls, value: Rights, info: ValidationInfo) -> Rights:
        asking = [f'{key} = "ask"' for key in ("permissions", "push") if info.data.get(key) == "ask"]
        refuse(rules.unanswerable(asking, (*value.approve, *value.admin)))
        return value


class Config(Section):
    """The whole file."""

    state_dir: StateDir = read_as(None)
    """Where everything that must survive is kept; by default /var/lib/rdev, or below the user's own state directory."""
    model: ModelApi = read_as({})
    claude: Claude = Claude()
    backend: LocalBackend = LocalBackend()
    limits: ServiceLimits = ServiceLimits()
    retention: Retention = Retention()
    discord: Discord | None = None
    slack: Slack | None = None
    projects: Annotated[dict[ProjectId, Project], Field(min_length=1)]
    """The repositories, by id: lower-case letters, digits and dashes."""

    @field_validator("projects")
    @classmethod
    def _nothing_exposed(cls, value: dict[str, Project], info: ValidationInfo) -> dict[str, Project]:
        if surroundings(info) and {"state_dir", "model", "backend"} <= info.data.keys():
            secrets = [("state_dir", info.data["state_dir"])]
            if info.data["model"].key.file:
                secrets.append(("model.key.file", info.data["model"].key.file))
            if (chat := info.data.get("discord")) is not None and chat.token.file:
                secrets.append(("discord.token.file", chat.token.file))
            if (workspace := info.data.get("slack")) is not None:
                secrets += [("slack", secret.file) for secret in workspace.secrets() if secret.file]
            secrets += [(f"projects.{name}.deploy_key", p.deploy_key) for name, p in value.items() if p.deploy_key]
            refuse(rules.exposed(info.data["backend"].readonly_paths, secrets), below=False)
        return value
