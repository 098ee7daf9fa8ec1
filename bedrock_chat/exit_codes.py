"""The command's exit codes. `--help` and docs/terminal.md list the same ones."""

from enum import IntEnum


class ExitCode(IntEnum):
    """An exit code. At the prompt it is the last request's; a stopped answer counts as OK."""

    OK = 0
    ERROR = 1
    USAGE = 2
    CONNECTION_FAILED = 3
    NOT_AUTHENTICATED = 4
    INTERRUPTED = 130  # the shell's convention: 128 plus the signal's number, SIGINT
    BROKEN_PIPE = 141  # the same for SIGPIPE


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "the question was answered",
    ExitCode.ERROR: "the answer ended with an error",
    ExitCode.USAGE: "invalid arguments, or a question that is missing or too long",
    ExitCode.CONNECTION_FAILED: "cannot connect, or the connection was lost and not restored",
    ExitCode.NOT_AUTHENTICATED: "not authenticated: the signature or token is missing or invalid",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
    ExitCode.BROKEN_PIPE: "the reader of standard output closed it",
}
