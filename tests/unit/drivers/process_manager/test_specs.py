# SPDX-License-Identifier: Apache-2.0

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.drivers.process_manager.specs import check_spec, from_document, is_service_name, to_document
from amphora.errors import ServiceError
from amphora.models import Readiness, RestartPolicy, ServiceSpec

SPEC = ServiceSpec("web", "A service", ("/bin/web",))
text = st.text(st.characters(exclude_categories=("Cs",)))
seconds = st.floats(0, 1e6)

specs = st.builds(
    ServiceSpec,
    name=text,
    description=text,
    argv=st.lists(text).map(tuple),
    check_argv=st.lists(text).map(tuple),
    reload_signal=st.sampled_from(signal.Signals),
    pid_file=st.none() | st.just(Path("/run/x.pid")),
    namespace=text,
    environment=st.dictionaries(text, text),
    restart=st.builds(RestartPolicy, st.booleans(), seconds, seconds),
    readiness=st.sampled_from(Readiness),
    start_timeout=seconds,
    stop_timeout=seconds,
)


@given(specs)
def test_document_gives_the_spec_back(spec):
    assert from_document(json.loads(json.dumps(to_document(spec)))) == spec


@pytest.mark.parametrize("name", ["a", "haproxy-4c3f.service", "_x", "A" * 100])
def test_names_that_are_accepted(name):
    assert is_service_name(name)
    check_spec(replace(SPEC, name=name))


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "ü", "a\n", "-x", "A" * 101])
def test_names_that_are_refused(name):
    assert not is_service_name(name)
    with pytest.raises(ServiceError, match="name of a service"):
        check_spec(replace(SPEC, name=name))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"argv": ()}, "absolute"),
        ({"argv": ("web",)}, "absolute"),
        ({"check_argv": ("web", "-c")}, "absolute"),
        ({"argv": ("/bin/web", "a\0b")}, "NUL"),
        ({"argv": ("/bin/web", "\udc80")}, "Unicode"),
        ({"environment": {"A B": "x"}}, "A B"),
        ({"environment": {"A": "x\x01"}}, "'A'"),
        ({"namespace": "../x"}, "namespace"),
        ({"readiness": Readiness.FORKING}, "pid file"),
        ({"pid_file": Path("relative")}, "pid file"),
        ({"pid_file": Path("/run/line\nbreak")}, "pid file"),
        ({"pid_file": Path("/run/continued\\")}, "pid file"),
    ],
)
def test_specs_that_are_refused(changes, reason):
    with pytest.raises(ServiceError, match=reason):
        check_spec(replace(SPEC, **changes))
