"""What the command's exit status means. `--help` and docs/terminal.md tell the same."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit status; at a prompt, its last request's, where one that was stopped is FINE."""

    FINE = 0
    ERROR = 1
    USAGE = 2
    LOST = 3
    REFUSED = 4
    INTERRUPTED = 130  # as a shell says it: 128 and the number of the signal, SIGINT
    UNREAD = 141  # the same with SIGPIPE


MEANINGS: dict[Exit, str] = {
    Exit.FINE: "answered",
    Exit.ERROR: "the answer ended in an error",
    Exit.USAGE: "the arguments make no sense, or there is no question, or one that is too long",
    Exit.LOST: "cannot connect, or the connection was lost for good",
    Exit.REFUSED: "not let in: a wrong signature or token, or none",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
    Exit.UNREAD: "whoever read the output has left",
}
