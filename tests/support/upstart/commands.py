# SPDX-License-Identifier: Apache-2.0
"""The commands of initctl(8) with the words and exit statuses of upstart 1.13.2."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from instance import Instance

#: What a client prints and how it ends; made when it is sent, so that it tells the state of that moment.
Reply = Callable[[], dict[str, Any]]
Send = Callable[[float, Reply], None]

VERSION = "init (upstart 1.13.2)"

# initctl asks for the state in a second message after a job has been started.
_SECOND_LOOK = 0.02
_LINKS = ("start", "stop", "restart", "reload", "status")


class CommandError(Exception):
    """What is printed behind the name of the command; the exit status is 1."""


class Commands:
    """Carries out one command after the other.

    :param init: the emulator's ``Init``.
    """

    def __init__(self, init: Any) -> None:
        self._init = init

    def run(self, called: str, arguments: list[str], send: Send) -> None:
        """Carry out the command that was called by this name; ``send`` is called once, maybe later."""
        words = [word for word in arguments if not word.startswith("-")]
        options = {word for word in arguments if word.startswith("-")}
        try:
            verb = called if called in _LINKS else words.pop(0) if words else ""
            method = getattr(self, "_do_" + verb.replace("-", "_"), None)
            if method is None:
                raise CommandError(_hinted(called, f"invalid command: {verb}" if verb else "missing command"))
            if verb in _LINKS and not words:
                raise CommandError(_hinted(called, "missing job name"))
            method(words, bool(options & {"-n", "--no-wait"}), self._answering(called, send))
        except CommandError as error:
            text = str(error)
            send(0, lambda: _result(error=f"{called}: {text}"))

    def _answering(self, called: str, send: Send) -> Callable[..., None]:
        def answer(out: Callable[[], str] | str = "", *, error: str = "", delay: float = 0) -> None:
            prefixed = error and f"{called}: {error}"
            send(delay, lambda: _result(out() if callable(out) else out, prefixed))

        return answer

    def _do_version(self, _: list[str], __: bool, answer: Callable[..., None]) -> None:
        answer(VERSION)

    def _do_reload_configuration(self, _: list[str], __: bool, answer: Callable[..., None]) -> None:
        answer("")

    def _do_list(self, _: list[str], __: bool, answer: Callable[..., None]) -> None:
        lines = [instance.describe() for instance in self._init.instances.values()]
        busy = {name for name, _ in self._init.instances}
        lines += [f"{job.name} stop/waiting" for job in self._init.classes.all() if job.name not in busy]
        answer("\n".join(lines))

    def _do_emit(self, words: list[str], _: bool, answer: Callable[..., None]) -> None:
        if not words:
            raise CommandError("missing event name")
        self._init.emit(words[0], dict(word.partition("=")[::2] for word in words[1:]))
        answer("")

    def _do_show_config(self, words: list[str], _: bool, answer: Callable[..., None]) -> None:
        lines = []
        for name in words or [job.name for job in self._init.classes.all()]:
            job = self._job(name)
            lines.append(job.name)
            lines += [
                f"  {key} {value}"
                for key, value in (("start on", job.start_on), ("stop on", job.stop_on))
                if value
            ]
        answer("\n".join(lines))

    def _do_status(self, words: list[str], _: bool, answer: Callable[..., None]) -> None:
        job = self._job(words[0])
        key = (job.name, self._instance_name(job, words[1:]))
        answer(
            self._init.instances[key].describe()
            if key in self._init.instances
            else f"{job.name} stop/waiting"
        )

    def _do_start(self, words: list[str], no_wait: bool, answer: Callable[..., None]) -> None:
        job = self._job(words[0])
        name = self._instance_name(job, words[1:])
        running = self._init.instances.get((job.name, name))
        if running is not None and running.goal == "start":
            raise CommandError(f"Job is already running: {running.title}")
        done = self._waiter("Job failed to start", answer)
        instance = self._begin(job, name, words[1:], running, None if no_wait else done)
        if no_wait:
            answer(lambda: instance.describe())

    def _begin(self, job: Any, name: str, extra: list[str], running: Any, done: Any) -> Instance:
        # Somebody must wait before it begins, as it may fail at once.
        instance = running or self._init.prepare(job, name, extra)
        if done is not None:
            instance.waiting.append(lambda failed: done(instance, failed))
        instance.change_goal("start")
        return instance

    def _do_stop(self, words: list[str], no_wait: bool, answer: Callable[..., None]) -> None:
        instance = self._running(words)
        is_deleted = self._init.classes.get(instance.job.name) is None
        done = self._waiter("Job failed while stopping", answer, is_deleted)
        if not no_wait:
            instance.waiting.append(lambda failed: done(instance, failed))
        instance.change_goal("stop")
        if no_wait:
            answer(instance.describe())

    def _do_restart(self, words: list[str], no_wait: bool, answer: Callable[..., None]) -> None:
        instance = self._running(words)
        done = self._waiter("Job failed to restart", answer)
        # The same instance goes round, so what its file says by now does not matter.
        instance.change_goal("stop")
        if not no_wait:
            instance.waiting.append(lambda failed: done(instance, failed))
        instance.change_goal("start")
        if no_wait:
            answer(instance.describe())

    def _do_reload(self, words: list[str], _: bool, answer: Callable[..., None]) -> None:
        instance = self._running(words)
        if "main" in instance.pids:
            os.kill(instance.pids["main"], instance.job.reload_signal)
        answer("")

    def _waiter(
        self, failure: str, answer: Callable[..., None], is_deleted: bool = False
    ) -> Callable[[Instance, bool], None]:
        def done(instance: Instance, failed: bool) -> None:
            if failed:
                answer(error=failure)
            elif is_deleted:
                answer(
                    error='Method "GetAll" with signature "s" on interface '
                    '"org.freedesktop.DBus.Properties" doesn\'t exist'
                )
            else:
                answer(lambda: instance.describe(), delay=_SECOND_LOOK)

        return done

    def _running(self, words: list[str]) -> Instance:
        job = self._job(words[0])
        name = self._instance_name(job, words[1:])
        instance = self._init.instances.get((job.name, name))
        if instance is None or instance.goal == "stop":
            raise CommandError(f"Unknown instance: {name}")
        return instance  # type: ignore[no-any-return]

    def _job(self, name: str) -> Any:
        job = self._init.classes.get(name)
        # One that was deleted while it ran is known until it ends.
        running = [instance.job for key, instance in self._init.instances.items() if key[0] == name]
        if job is None and not running:
            raise CommandError(f"Unknown job: {name}")
        return job or running[0]

    def _instance_name(self, job: Any, extra: list[str]) -> str:
        if not job.instance.startswith("$"):
            return str(job.instance)
        variable = job.instance.removeprefix("$")
        given = dict(word.partition("=")[::2] for word in (*job.environment, *extra))
        if variable not in given:
            raise CommandError(f"Unknown parameter: {variable}")
        return given[variable]


def _hinted(called: str, problem: str) -> str:
    return f"{problem}\nTry `{called} --help' for more information."


def _result(out: str = "", error: str = "") -> dict[str, Any]:
    return {"out": out, "error": error, "status": 1 if error else 0}
