"""What can go wrong below the service, as types.

ExecutorError
├── BoxFailed           the box cannot run: the sentence says why and what to do
├── JobUnknown          boxrun has no such job
├── InputClosed         the job takes no more input
└── CommandFailed       a command of ours ended with a non-zero status
    └── RepositoryError git refused
"""


class ExecutorError(Exception):
    """The backend could not do what was asked."""


class BoxFailed(ExecutorError):
    """The box cannot run; the message is a sentence for the person who asked."""


class JobUnknown(ExecutorError):
    """boxrun knows no job of that id."""


class InputClosed(ExecutorError):
    """The job has ended or closed its input; the line was not delivered."""


class CommandFailed(ExecutorError):
    """A command of ours in the box ended with a non-zero exit code."""

    def __init__(self, what: str, code: int, stderr: str) -> None:
        super().__init__(f"{what}: exit code {code}: {stderr.strip()[-2000:]}")
        self.code = code
        self.stderr = stderr


class RepositoryError(CommandFailed):
    """git refused what was asked of a project's repository."""
