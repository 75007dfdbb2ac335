# SPDX-License-Identifier: Apache-2.0
"""Drivers that are broken in one named way each: the kit catches every one, and for that reason."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = pytest.mark.real_commands

PM, CERTS, PACKAGES, NET = "process_manager", "cert_store", "package_manager", "network"

#: Tests of each family that no driver here is broken for, unless its case says so.
SOUND = {
    PM: ["unknown_name_is_absent", "stop_may_be_repeated"],
    CERTS: ["haproxy_finds_the_file_under_its_name", "there_is_no_digest_of_what_is_not_there"],
    PACKAGES: ["no_names_give_no_versions", "the_answer_stays_the_same"],
    NET: ["forgotten_configuration_is_gone[v4]"],
}

#: Family, driver, the test that catches it, and what its reason says.
BROKEN = [
    (PM, "InstallRestarts", "install_again_changes_nothing", "was running as process .* and is running as"),
    (PM, "LosesStateOnRestart", "services_outlive_the_agent", "and is absent now"),
    (PM, "InstallsNonAtomically", "full_disk_leaves_the_former_spec", "is damaged"),
    (PM, "TrustsStalePid", "reused_process_id_is_not_taken_for_the_service", "another one by now"),
    (PM, "LiesOnStatus", "command_that_does_not_exist_does_not_start", "says running as .*must be stopped"),
    (PM, "LeaksDescriptor", "no_descriptor_stays_open", "3 services that came and went 3 desc.*/dev/null"),
    (PM, "LeavesFileBehind", "removed_service_leaves_no_trace", r"remove\(\) left .*\.removed"),
    (
        PM,
        "StartsBeforeReady",
        "start_returns_once_the_service_is_ready",
        "before the service had sent",
    ),
    (PM, "IgnoresStopTimeout", "service_that_ignores_sigterm_is_killed", r"with 1 s .* took 0.\d+ s"),
    (PM, "ReloadRestarts", "reload_keeps_the_process", "was running as process .* and is running as"),
    (PM, "ReloadsUnchecked", "refused_check_prevents_the_reload", "ServiceError was not raised"),
    (
        PM,
        "PrintsOldOutput",
        "output_is_what_was_printed_since_the_last_act",
        "since the reload, and that alone",
    ),
    (PM, "LeaksEnvironment", "environment_is_clean_and_verbatim", "own environment reaches"),
    (PM, "HandsArgumentsToShell", "arguments_arrive_verbatim", "Syntax error|Unterminated"),
    (CERTS, "FileModeTooOpen", "only_the_owner_can_read_it[umask-022]", "a.pem has mode 0644, not 0600"),
    (CERTS, "DigestOfText", "bytes_are_stored_as_they_came[newline]", "is not the MD5 of the bytes"),
    (CERTS, "PutsNonAtomically", "full_disk_leaves_the_former_file", "left b'' of the former file"),
    (
        CERTS,
        "DeleteSaysYes",
        "delete_tells_whether_it_was_there_and_may_be_repeated",
        "not there says it",
    ),
    (CERTS, "DeletesOfOthers", "delete_all_leaves_other_instances_alone", "changed the files of another"),
    (CERTS, "KeepsKeysOnDisk", "keys_are_kept_in_memory", "which is on a disk"),
    (CERTS, "Forgets", "a_new_agent_finds_what_is_stored", "gone when the agent restarts"),
    (
        PACKAGES,
        "ForksPerRequest",
        "no_process_is_started_for_each_request",
        "started a process",
    ),
    (PACKAGES, "InventsPackages", "others_are_left_out", "no-such-package"),
    (NET, "ActivatesByHalves", "refused_configuration_changes_nothing[v4]", "refused changed what ip shows"),
    (NET, "ForgetsAtBoot", "stored_configuration_outlives_a_reboot[v4]", "gone after a reboot"),
    (
        NET,
        "TouchesManagement",
        "other_links_of_the_agent_are_left_alone[v4]",
        "changed the management",
    ),
    (NET, "DeactivatesNothing", "deactivated_interface_is_gone_and_can_come_back[v4]", "left the interface"),
    (
        NET,
        "DifferencesHeal",
        "what_is_stored_and_not_active_is_a_missing_link[v4]",
        "activated what it should only report",
    ),
    (NET, "ActivationStores", "activation_stores_nothing[v4]", "as only persist"),
]


@pytest.fixture(scope="module")
def reports(conformance, request):
    """What the command found out about each driver that is asked for, two of them at a time."""

    def report_on(family, driver, test, reason):
        chosen = [f"--test=test_{each}" for each in (test, *SOUND[family])]
        return json.loads(conformance(family, driver, "--json", *chosen, status=1).stdout)

    wanted = [item.callspec.params for item in request.session.items if item.path == request.path]
    with ThreadPoolExecutor(2) as pool:
        yield {params["driver"]: pool.submit(report_on, **params) for params in wanted}


@pytest.mark.parametrize(("family", "driver", "test", "reason"), BROKEN, ids=[case[1] for case in BROKEN])
def test_is_caught_by_the_test_of_its_own_promise(reports, family, driver, test, reason):
    report = reports[driver].result()
    assert [failure["test"] for failure in report["failed"]] == [f"test_{test}"], report
    assert re.search(reason, report["failed"][0]["reason"]), report
    assert {f"test_{sound}" for sound in SOUND[family]} <= set(report["passed"])
    assert (report["distribution"], report["version"]) == ("broken-drivers", "1.3")
