# SPDX-License-Identifier: Apache-2.0
"""What haproxy's own check and our pre-flight together say of a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from amphora.core.workloads.haproxy_files import HaproxyFiles
from amphora.errors import CommandTimeout, InvalidConfiguration, OperationFailed
from amphora.haproxy.preflight.findings import Finding, Severity, refusing_upload
from amphora.haproxy.program import CHECK_TIMEOUT, HaproxyProgram

#: Where a file is known to be bad, haproxy is not given time to hang over it.
_HASTY_CHECK_TIMEOUT = 5.0


def check_staged(
    program: HaproxyProgram,
    own_files: HaproxyFiles,
    namespace: str,
    local_peer: str,
    findings: Sequence[Finding],
) -> str:
    """Let haproxy check what is staged, and return its output.

    haproxy is the judge of its files, but a bad one: it names them poorly, and waits for ever on some.

    :param findings: of the pre-flight.
    :raises InvalidConfiguration: haproxy's output, and what was found of the files.
    """
    names: Mapping[str, str] = {
        str(own_files.staged): own_files.stored.name,
        str(own_files.staged_overlay): own_files.overlay.name,
    }
    found = _listed(own_files, refusing_upload(findings))
    try:
        return program.check(
            (own_files.staged_overlay, own_files.staged),
            namespace=namespace,
            timeout=_HASTY_CHECK_TIMEOUT if found else CHECK_TIMEOUT,
            names=names,
            local_peer=local_peer,
        )
    except InvalidConfiguration as error:
        raise InvalidConfiguration("\n".join((error.details, *found))) from error
    except CommandTimeout as error:
        if found:
            raise InvalidConfiguration("\n".join(found)) from error
        raise


def refuse_start(own_files: HaproxyFiles, findings: Sequence[Finding]) -> None:
    """Return if nothing was found that would keep a checked configuration from running now.

    :raises OperationFailed: names line, subject and reason of each.
    """
    # Of its files haproxy's own check is the better judge, and it has just passed them.
    against = [each for each in findings if each.severity is Severity.REFUSES_START]
    if against:
        raise OperationFailed("\n".join(_listed(own_files, against)))


def _listed(own_files: HaproxyFiles, findings: Iterable[Finding]) -> list[str]:
    return [f"[{own_files.stored.name}] {finding}" for finding in findings]
