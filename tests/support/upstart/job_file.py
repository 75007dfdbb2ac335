# SPDX-License-Identifier: Apache-2.0
"""Read upstart job files as init(5) describes them. Standard library only."""

from __future__ import annotations

import fnmatch
import re
import shlex
import signal
from dataclasses import dataclass, field

_BLANK = " \t\r"
_END_OF_SCRIPT = re.compile(r"[ \t]*end[ \t]+script[ \t]*(#.*)?")
_PROCESSES = ("pre-start", "post-start", "pre-stop", "post-stop")
# Stanzas that change nothing here, but that a job file may hold.
_REMARKS = ("description", "author", "version", "usage", "emits", "console", "export", "nice", "oom")


class JobSyntaxError(Exception):
    """The file is no job; init then knows no job of that name."""


@dataclass
class Process:
    """What to run for one step of a job: a command line, or a script for ``sh -e``."""

    text: str
    is_script: bool


@dataclass
class Job:
    """One job class."""

    name: str
    start_on: str = ""
    stop_on: str = ""
    task: bool = False
    instance: str = ""
    respawn: bool = False
    # Upstart's own defaults: 10 times in 5 seconds.
    respawn_limit: int = 10
    respawn_interval: int = 5
    normal_exit: list[int | str] = field(default_factory=list)
    kill_timeout: float = 5.0
    kill_signal: signal.Signals = signal.SIGTERM
    reload_signal: signal.Signals = signal.SIGHUP
    expect: str = ""
    directory: str = "/"
    umask: int = 0o022
    environment: list[str] = field(default_factory=list)
    limits: dict[str, tuple[int, int]] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)


def matches(condition: str, event: str, arguments: dict[str, str]) -> bool:
    """Whether an event meets a ``start on`` or ``stop on`` condition; ``or`` is the only operator read."""
    return any(_matches_one(part.split(), event, arguments) for part in re.split(r"\s+or\s+", condition))


def _matches_one(words: list[str], event: str, arguments: dict[str, str]) -> bool:
    if not words or words[0] != event:
        return False
    values = list(arguments.values())
    for position, word in enumerate(words[1:]):
        name, assigned, pattern = word.partition("=")
        if assigned:
            value = arguments.get(name)
        else:
            value, pattern = (values[position] if position < len(values) else None), word
        if value is None or not fnmatch.fnmatchcase(value, pattern):
            return False
    return True


def parse_job(name: str, text: str, override: str = "") -> Job:
    """Return the job of a file and its override, which is read after it.

    :raises JobSyntaxError: init would not take it.
    """
    job = Job(name)
    for part in (text, override):
        _Parser(job, part).parse()
    return job


class _Parser:
    def __init__(self, job: Job, text: str) -> None:
        self._job = job
        self._text = text
        self._position = 0

    def parse(self) -> None:
        while self._skip_to_stanza():
            stanza = self._word()
            if stanza in _PROCESSES:
                self._process(stanza, self._word())
            elif stanza in ("exec", "script"):
                self._process("main", stanza)
            else:
                self._stanza(stanza)

    def _stanza(self, stanza: str) -> None:
        reader = getattr(self, f"_read_{stanza.replace('-', '_')}", None)
        if stanza in _REMARKS:
            self._rest()
        elif reader is None:
            raise JobSyntaxError(f"Unknown stanza: {stanza}")
        else:
            reader(self._rest())

    def _read_start(self, rest: str) -> None:
        self._job.start_on = self._after("on", rest)

    def _read_stop(self, rest: str) -> None:
        self._job.stop_on = self._after("on", rest)

    def _read_manual(self, _: str) -> None:
        self._job.start_on = ""

    def _read_task(self, _: str) -> None:
        self._job.task = True

    def _read_instance(self, rest: str) -> None:
        self._job.instance = shlex.split(rest)[0]

    def _read_respawn(self, rest: str) -> None:
        self._job.respawn = True
        if not rest:
            return
        limit = self._after("limit", rest).split()
        if limit == ["unlimited"]:
            self._job.respawn_limit = 0
            return
        self._job.respawn_limit, self._job.respawn_interval = self._numbers(limit, 2)

    def _read_normal(self, rest: str) -> None:
        for word in self._after("exit", rest).split():
            self._job.normal_exit.append(int(word) if word.isdigit() else word.removeprefix("SIG"))

    def _read_kill(self, rest: str) -> None:
        what, _, value = rest.partition(" ")
        if what == "timeout":
            self._job.kill_timeout = self._numbers([value], 1)[0]
        else:
            self._job.kill_signal = self._signal(self._after("signal", rest))

    def _read_reload(self, rest: str) -> None:
        self._job.reload_signal = self._signal(self._after("signal", rest))

    def _read_expect(self, rest: str) -> None:
        if rest not in ("fork", "daemon", "stop", "none"):
            raise JobSyntaxError(f"Illegal expect: {rest}")
        self._job.expect = "" if rest == "none" else rest

    def _read_chdir(self, rest: str) -> None:
        self._job.directory = _token(rest, 0, "", dequote=True)[0]

    def _read_umask(self, rest: str) -> None:
        self._job.umask = int(rest, 8)

    def _read_env(self, rest: str) -> None:
        # A word that begins a comment or holds blanks must be quoted; what follows the word is dropped.
        self._job.environment.append(_token(rest, 0, _BLANK + "\n#", dequote=True)[0])

    def _read_limit(self, rest: str) -> None:
        what, _, values = rest.partition(" ")
        soft, hard = self._numbers(values.split(), 2)
        self._job.limits[what] = (soft, hard)

    def _process(self, process: str, kind: str) -> None:
        if kind == "exec":
            text = self._rest()
        elif kind == "script":
            self._rest()
            text = self._block()
        else:
            raise JobSyntaxError(f"Expected exec or script, not {kind!r}")
        if not text.strip():
            raise JobSyntaxError(f"{process} runs nothing")
        self._job.processes[process] = Process(text, kind == "script")

    def _block(self) -> str:
        lines = []
        while self._position < len(self._text):
            end = self._text.find("\n", self._position)
            end = len(self._text) if end < 0 else end
            line, self._position = self._text[self._position : end], end + 1
            if _END_OF_SCRIPT.fullmatch(line):
                return _dedent(lines)
            lines.append(line)
        raise JobSyntaxError("Unterminated block")

    def _skip_to_stanza(self) -> bool:
        while self._position < len(self._text):
            character = self._text[self._position]
            if character == "#":
                end = self._text.find("\n", self._position)
                self._position = len(self._text) if end < 0 else end
            elif character in _BLANK + "\n":
                self._position += 1
            else:
                return True
        return False

    def _word(self) -> str:
        word, self._position = _token(self._text, self._position, _BLANK + "\n#", dequote=True)
        while self._text[self._position : self._position + 1] in tuple(_BLANK):
            self._position += 1
        return word

    def _rest(self) -> str:
        """Return the rest of the line, quotes kept, without a comment."""
        rest, self._position = _token(self._text, self._position, "\n#", dequote=False)
        end = self._text.find("\n", self._position)
        self._position = len(self._text) if end < 0 else end + 1
        return rest.strip()

    def _after(self, word: str, rest: str) -> str:
        first, _, tail = rest.partition(" ")
        if first != word or not tail.strip():
            raise JobSyntaxError(f"Expected {word}")
        return tail.strip()

    def _numbers(self, words: list[str], count: int) -> list[int]:
        if len(words) != count or not all(word.isdigit() for word in words):
            raise JobSyntaxError(f"Expected {count} numbers")
        return [int(word) for word in words]

    def _signal(self, name: str) -> signal.Signals:
        try:
            return signal.Signals["SIG" + name.removeprefix("SIG")]
        except KeyError:
            raise JobSyntaxError(f"Illegal signal: {name}") from None


def _token(text: str, position: int, delimiters: str, *, dequote: bool) -> tuple[str, int]:
    """Return the text up to a delimiter outside quotes; a newline in quotes or escaped becomes a blank."""
    out: list[str] = []
    quote = ""
    while position < len(text):
        character = text[position]
        escaped = text[position + 1 : position + 2] if character == "\\" else ""
        if character == "\\" and not escaped:
            raise JobSyntaxError("Trailing slash")
        if escaped == "\n" or (quote and character == "\n"):
            _collapse(out)
            position += 1 + bool(escaped)
            while text[position : position + 1] in (" ", "\t"):
                position += 1
            continue
        if escaped:
            out.append(escaped if dequote else character + escaped)
        elif quote or character in "\"'":
            is_mark = character == quote or not quote
            quote = "" if character == quote else (quote or character)
            out.append("" if is_mark and dequote else character)
        elif character in delimiters:
            break
        else:
            out.append(character)
        position += 1 + bool(escaped)
    if quote:
        raise JobSyntaxError("Unterminated quoted string")
    return "".join(out), position


def _collapse(out: list[str]) -> None:
    while out and out[-1] in (" ", "\t"):
        out.pop()
    out.append(" ")


def _dedent(lines: list[str]) -> str:
    """Take away the blanks that all lines begin with, as init does with a block."""
    filled = [line for line in lines if line.strip()]
    common = min((len(line) - len(line.lstrip(" \t")) for line in filled), default=0)
    return "\n".join(line[common:] for line in lines) + "\n"
