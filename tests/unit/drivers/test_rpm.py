# SPDX-License-Identifier: Apache-2.0
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.drivers.package_manager import rpm
from amphora.drivers.package_manager.rpm import RpmPackageManager, parse_query
from amphora.errors import CommandTimeout, DriverUnavailable, OperationFailed
from amphora.system.command import OUTPUT_LIMIT, CommandResult, CommandRunner

WORDS = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1)


class AnsweringRunner(CommandRunner):
    """Says what rpm would say, once it may."""

    def __init__(self, output="installed\t1\thaproxy\t2.8-1\n", status=0):
        self.output, self.status, self.runs = output, status, []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def run(self, argv, *, timeout, namespace="", environment=None):
        self.runs.append(tuple(argv))
        if not self.may_answer.wait(timeout):
            raise CommandTimeout(argv, timeout)
        return CommandResult(tuple(argv), self.status, self.output)


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "rpmdb.sqlite"
    path.write_text("one")
    os.utime(path, (1, 1))
    return path


@given(st.dictionaries(WORDS, WORDS))
def test_what_rpm_lists_is_read_between_warnings(versions):
    lines = [f"installed\t7\t{name}\t{version}" for name, version in versions.items()]
    output = "\n".join(["warning: installed is a word", *lines, "error: x\ty\tz", ""])
    assert dict(parse_query(output)) == versions


@given(st.text())
def test_no_output_makes_the_parser_fail(output):
    assert all(name and version is not None for name, version in parse_query("installed\t" + output))


def test_of_a_package_installed_twice_the_later_installation_counts():
    output = "installed\t200\tkernel\t6.2-1\ninstalled\t30\tkernel\t6.1-1\n"
    assert dict(parse_query(output)) == {"kernel": "6.2-1"}


def test_the_first_directory_with_a_database_is_asked(database, tmp_path):
    runner = AnsweringRunner()
    RpmPackageManager(runner, [tmp_path / "none", tmp_path]).installed_versions(["haproxy"])
    assert runner.runs[0][:3] == ("rpm", "--dbpath", str(tmp_path))


def test_callers_at_once_share_one_run(database, tmp_path):
    runner = AnsweringRunner()
    runner.may_answer.clear()
    manager = RpmPackageManager(runner, [tmp_path])
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(manager.installed_versions, ["haproxy"]) for _ in range(8)]
        runner.may_answer.set()
        assert all(answer.result(10) == {"haproxy": "2.8-1"} for answer in answers)
    assert len(runner.runs) == 1


@pytest.mark.parametrize("name", ["rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages", "Packages.db"])
def test_a_change_of_any_file_is_followed(name, database, tmp_path):
    runner = AnsweringRunner()
    manager = RpmPackageManager(runner, [tmp_path])
    manager.installed_versions([])
    (tmp_path / name).write_text("another size")
    runner.output = "installed\t1\thaproxy\t2.9-1\n"
    assert manager.installed_versions(["haproxy"]) == {"haproxy": "2.9-1"}
    manager.installed_versions([])
    assert len(runner.runs) == 2


def test_an_empty_log_beside_the_database_is_no_change(database, tmp_path):
    runner = AnsweringRunner()
    manager = RpmPackageManager(runner, [tmp_path])
    manager.installed_versions([])
    (tmp_path / "rpmdb.sqlite-wal").touch()
    manager.installed_versions([])
    assert len(runner.runs) == 1


def test_a_failure_is_remembered_until_the_database_changes(database, tmp_path):
    runner = AnsweringRunner("error: cannot open Packages database\n", status=1)
    manager = RpmPackageManager(runner, [tmp_path])
    for _ in range(3):
        with pytest.raises(OperationFailed, match="cannot open Packages database"):
            manager.installed_versions(["haproxy"])
    assert len(runner.runs) == 1
    runner.output, runner.status = "installed\t1\thaproxy\t2.8-1\n", 0
    database.write_text("repaired")
    assert manager.installed_versions(["haproxy"]) == {"haproxy": "2.8-1"}


def test_a_failure_is_tried_again_after_a_while(database, tmp_path, monkeypatch):
    monkeypatch.setattr(rpm, "_RETRY_AFTER", -1.0)
    runner = AnsweringRunner("", status=1)
    manager = RpmPackageManager(runner, [tmp_path])
    with pytest.raises(OperationFailed, match="exit status 1"):
        manager.installed_versions(["haproxy"])
    runner.output, runner.status = "installed\t1\thaproxy\t2.8-1\n", 0
    assert manager.installed_versions(["haproxy"]) == {"haproxy": "2.8-1"}


def test_a_list_that_may_be_cut_off_is_no_answer(database, tmp_path):
    manager = RpmPackageManager(AnsweringRunner("x" * OUTPUT_LIMIT), [tmp_path])
    with pytest.raises(OperationFailed, match="more packages"):
        manager.installed_versions(["haproxy"])


def test_a_machine_without_rpm_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(rpm, "SEARCH_PATH", str(tmp_path))
    with pytest.raises(DriverUnavailable, match="command rpm is missing"):
        RpmPackageManager(AnsweringRunner(), [tmp_path]).check_available()


@pytest.mark.parametrize(
    ("output", "reason"), [("", "lists no package"), ("error: broken\n", "broken")], ids=["empty", "broken"]
)
def test_a_database_of_no_use_is_told(output, reason, database, tmp_path, monkeypatch):
    command = tmp_path / "rpm"
    command.touch(mode=0o755)
    monkeypatch.setattr(rpm, "SEARCH_PATH", str(tmp_path))
    manager = RpmPackageManager(AnsweringRunner(output, status=int(bool(output))), [tmp_path])
    with pytest.raises(DriverUnavailable, match=reason):
        manager.check_available()


def test_a_database_just_written_is_read_when_the_next_change_has_another_time(database, tmp_path):
    ages = []

    class DatingRunner(AnsweringRunner):
        def run(self, argv, **options):
            ages.append(time.time_ns() - database.stat().st_mtime_ns)
            return super().run(argv, **options)

    manager = RpmPackageManager(DatingRunner(), [tmp_path])
    for size in range(1, 6):
        database.write_text("x" * size)
        manager.installed_versions([])
    assert len(ages) == 5
    assert min(ages) > 10_000_000, "kernels date files in steps of up to 10 ms"
