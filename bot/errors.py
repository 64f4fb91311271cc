"""Errors whose text is written for the person who asked.

UserError             shown as it is; everything else is ours and told as such
├── ConfigError       in bot.config: every mistake of the configuration at once
├── StoreUnavailable  the disk is full or the file locked; nothing was accepted
├── NameTaken         the project has a living session of that name
└── Forbidden         the actor has no right to this
AlreadyAccepted       the id was seen before; the command ran once
JobEnded              a terminal job takes no more events
Stale                 another reader was further; nothing was stored
ThreadGone            nobody can be shown anything there any more
"""


class UserError(Exception):
    """A mistake or a limit that the person can do something about."""


class StoreUnavailable(UserError):
    """The store cannot write; what was asked was not accepted."""


class NameTaken(UserError):
    """The project has a living session of that name."""


class Forbidden(UserError):
    """The actor has no right to this; the text says whom to ask."""


class AlreadyAccepted(Exception):
    """The command's id was accepted before."""


class JobEnded(Exception):
    """The job is in a terminal state and takes no more."""


class Stale(Exception):
    """The journal's offset in the store is not the one the events were read from."""


class ThreadGone(Exception):
    """The thread was deleted, or rdev may not write there any more."""
