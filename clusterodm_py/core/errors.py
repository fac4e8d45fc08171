"""The errors of the house. `str(error)` is fit for any user: no secret, no path of ours.

    ClusterError
    ├── Refused            the request cannot be granted; nothing was changed or lost
    │   ├── BadRequest     malformed or out of range
    │   ├── LimitReached   images, concurrent tasks, flood, disk
    │   └── UnknownTask    no such task, or not the caller's
    ├── NodeTrouble        a node did not do as asked
    │   ├── Unreachable    no answer: it may or may not have acted
    │   └── NodeRefused    it answered with an error: it did not act
    └── StoreTrouble
        ├── AlreadyThere   the id is taken
        └── Stale          somebody else changed the record first; read again and decide again

Faces choose how each goes on the wire (NodeODM errors are HTTP 200, contract §1.0).
"""

from __future__ import annotations


class ClusterError(Exception):
    """Root of everything we raise on purpose."""


class Refused(ClusterError):
    """The request cannot be granted; the text tells the client why."""


class BadRequest(Refused):
    """Malformed input."""


class LimitReached(Refused):
    """A limit of the token, or of this machine, forbids it for now."""


class UnknownTask(Refused):
    """No such task for this caller."""


class NodeTrouble(ClusterError):
    """A node did not do what was asked of it."""


class Unreachable(NodeTrouble):
    """The connection failed or broke, so whether the node acted is not known."""


class NodeRefused(NodeTrouble):
    """The node answered, with an error: it did not act."""


class StoreTrouble(ClusterError):
    """A record could not be changed."""


class AlreadyThere(StoreTrouble):
    """The id is taken."""


class Stale(StoreTrouble):
    """The record is gone or was changed since it was read."""
