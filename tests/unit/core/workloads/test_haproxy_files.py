# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from amphora.core.workloads.haproxy_files import HaproxyDirectory
from amphora.errors import ConfigurationError

ID = "04bff5c3-5862-4a13-b9e3-9b440d0ed50a"


def test_only_directories_named_by_an_id_are_instances(tmp_path):
    for name in (ID, "services", "certs", ID.upper(), f"{ID}-old", "lvs"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "11111111-1111-4111-8111-111111111111").touch()
    assert [layout.id for layout in HaproxyDirectory(tmp_path).all()] == [ID]


def test_no_base_path_means_no_instances(tmp_path):
    assert HaproxyDirectory(tmp_path / "none").all() == []


def test_every_file_of_an_instance_is_in_its_directory():
    layout = HaproxyDirectory(Path("/base")).files(ID)
    paths = [
        getattr(layout, name)
        for name in dir(type(layout))
        if isinstance(getattr(type(layout), name), property)
        and name not in ("directory", "service_name", "sources", "exists", "transient", "named_socket")
        # These are other words for files that are there already.
        and name not in ("next_overlay", "argument")
    ]
    assert len(set(paths)) == len(paths) >= 9
    assert {path.parent for path in (*paths, *layout.transient)} == {layout.directory}


def test_prepare_makes_the_base_path_and_sweeps_it(short_dir):
    base = short_dir / "base"
    HaproxyDirectory(base).prepare()
    (base / ".amphora-tmp-0123").mkdir()
    HaproxyDirectory(base).prepare()
    assert list(base.iterdir()) == []


def test_a_base_path_too_long_for_sockets_is_refused_at_start(tmp_path):
    base = tmp_path / ("x" * 100)
    with pytest.raises(ConfigurationError, match="characters too long"):
        HaproxyDirectory(base).check_path()
