# SPDX-License-Identifier: Apache-2.0
"""Changes to tenants' certificates and to the agent's own files."""

from __future__ import annotations

import hashlib
import ssl

from tests.faults.matrix import Kind
from tests.faults.rig import version
from tests.faults.scenario import Scenario

CERTIFICATES, OWN = "certificate", "agent"
PUT, DELETE, REPLACE = "put", "delete", "replace"
NAME = "www.example.com.pem"
A, B = "A", "B"


def _idle(family, kind, before=""):
    return Kind(family, kind, before, runs_before=False, runs_after=False)


TENANT_KINDS = (_idle(CERTIFICATES, PUT), _idle(CERTIFICATES, PUT, "nothing"), _idle(CERTIFICATES, DELETE))
OWN_KINDS = (_idle(OWN, REPLACE, "certificate"), _idle(OWN, REPLACE, "configuration"))

_STATES = {PUT: ([A], [B]), f"{PUT} nothing": ([None], [B]), DELETE: ([A], [None])}


class CertificateScenario(Scenario):
    """A certificate of an instance of its own."""

    failure_stays = True

    def __init__(self, rig, kind):
        old, new = _STATES[f"{kind.kind} {kind.before}".strip()]
        self._identity = rig.new_id()
        super().__init__(rig, kind, f"{self._identity}-certificates", old, new)
        self._before = old[0]
        self._path = f"/v0.1/listeners/{self._identity}/certificates/{NAME}"
        names = {A: "a.pem", B: "b.pem"}
        self._material = {
            marker: rig.agent.pki.server("www.example.com", file_name=name).path.read_bytes()
            for marker, name in names.items()
        }

    def prepare(self):
        assert self.agent.upload(self._identity, version(self._identity, 1, A)).status == 201
        if self._before:
            assert self.agent.call("PUT", self._path, self._material[self._before]).status < 300

    def change(self):
        if self.kind == DELETE:
            return self.agent.call("DELETE", self._path)
        return self.agent.call("PUT", self._path, self._material[B])

    def state(self):
        """Return the version that is stored."""
        answer = self.agent.call("GET", self._path)
        if answer.status == 404:
            return None
        digests = {hashlib.md5(data).hexdigest(): marker for marker, data in self._material.items()}
        return digests.get(answer.json["md5sum"], answer.body)

    def incomplete(self):
        directory = self.rig.disk / "certs" / self._identity
        left = [path.name for path in directory.glob("*") if path.name != NAME]
        return [f"left behind: {left}"] if left else []

    def repeat(self):
        if self.kind == DELETE and self.state() is None:
            return ""
        return super().repeat()

    def clean(self):
        self.agent.call("DELETE", f"/v0.1/listeners/{self._identity}")


class OwnFileScenario(Scenario):
    """The agent's certificate, or its configuration file."""

    def __init__(self, rig, kind):
        self._is_certificate = kind.before == "certificate"
        super().__init__(rig, kind, f"agent-{kind.before}", [(A, A)], [(B, B)])
        if self._is_certificate:
            self._file = rig.certificate
            self._versions = {
                marker: rig.agent.pki.server("127.0.0.1", file_name=f"own-{marker}.pem").path.read_bytes()
                for marker in (A, B)
            }
        else:
            self._file = rig.agent.config_path
            text = self._file.read_text().replace("\n# B\n", "")
            self._versions = {A: text.encode(), B: f"{text}\n# B\n".encode()}

    def prepare(self):
        answer = self._put(A)
        assert answer.status < 300, answer.body

    def change(self):
        return self._put(B)

    def state(self):
        """Return the version in the file and the one in use."""
        stored = self._marker(self._file.read_bytes())
        if not self._is_certificate:
            # What is taken up of it is not to be seen from outside.
            return stored, stored
        pem = ssl.get_server_certificate(("127.0.0.1", self.agent.port), timeout=5).strip()
        in_use = next((marker for marker, data in self._versions.items() if pem in data.decode()), pem)
        return stored, in_use

    def incomplete(self):
        known = {"server.pem", "amphora-agent.conf"}
        left = [path.name for path in self._file.parent.iterdir() if path.name not in known]
        return [f"left behind: {left}"] if left else []

    def clean(self):
        self._put(A)

    def _marker(self, data):
        return next((marker for marker, known in self._versions.items() if known == data), "torn")

    def _put(self, marker):
        path = "/v0.1/certificate" if self._is_certificate else "/1.0/config"
        return self.agent.call("PUT", path, self._versions[marker])
