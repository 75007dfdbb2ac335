# SPDX-License-Identifier: Apache-2.0
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.drivers.package_manager.dpkg import DpkgPackageManager, parse_status
from amphora.errors import DriverUnavailable, OperationFailed

STATUS = """\
Package: haproxy
Status: install ok installed
Version: 2.6.12-1+deb12u4
Description: fast load balancer
 Version: this line belongs to the description

Package: keepalived
Status: deinstall ok config-files
Version: 1:2.2.7-1

Package: openssl
Status: hold ok installed
Version: 3.0.19-1
"""


@pytest.fixture
def status_file(tmp_path):
    path = tmp_path / "status"
    path.write_text(STATUS)
    return path


def test_only_installed_packages_have_a_version(status_file):
    versions = DpkgPackageManager(status_file).installed_versions(
        ["haproxy", "keepalived", "openssl", "none"]
    )
    assert versions == {"haproxy": "2.6.12-1+deb12u4", "openssl": "3.0.19-1"}


def test_a_replaced_database_is_read_again(status_file, tmp_path):
    driver = DpkgPackageManager(status_file)
    assert driver.installed_versions(["haproxy"]) == {"haproxy": "2.6.12-1+deb12u4"}
    (tmp_path / "new").write_text(STATUS.replace("2.6.12", "2.8.16"))
    os.rename(tmp_path / "new", status_file)
    assert driver.installed_versions(["haproxy"]) == {"haproxy": "2.8.16-1+deb12u4"}


def test_an_unchanged_database_is_read_once(status_file, monkeypatch):
    driver = DpkgPackageManager(status_file)
    driver.installed_versions(["haproxy"])
    monkeypatch.setattr(type(status_file), "read_text", lambda *_a, **_k: pytest.fail("read again"))
    assert driver.installed_versions(["haproxy"])


def test_without_a_database_the_driver_is_unavailable(tmp_path):
    driver = DpkgPackageManager(tmp_path / "none")
    with pytest.raises(DriverUnavailable, match="no dpkg-based"):
        driver.check_available()
    with pytest.raises(OperationFailed, match="could not be read"):
        driver.installed_versions(["haproxy"])


@given(st.text())
def test_any_text_can_be_parsed(text):
    assert all(name and version for name, version in parse_status(text))


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9+.-]{1,20}", fullmatch=True),
        st.from_regex(r"[0-9][A-Za-z0-9.+~:-]{0,20}", fullmatch=True),
        max_size=20,
    )
)
def test_what_dpkg_writes_is_read_back(packages):
    text = "\n".join(
        f"Package: {name}\nStatus: install ok installed\nVersion: {version}\n"
        for name, version in packages.items()
    )
    assert dict(parse_status(text)) == packages


def test_dpkg_as_a_mere_tool_is_not_selected(tmp_path):
    status = tmp_path / "status"
    status.touch()
    with pytest.raises(DriverUnavailable, match="no installed package"):
        DpkgPackageManager(status).check_available()
