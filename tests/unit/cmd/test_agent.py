# SPDX-License-Identifier: Apache-2.0
"""What the command says when it cannot start; the rest needs a process and is tested with one."""

import pytest

from amphora.cmd import agent


def test_a_missing_file_is_one_sentence_and_status_2(capsys, tmp_path):
    assert agent.main(["--config-file", str(tmp_path / "none.conf")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("amphora-agent: ")
    assert captured.err.count("\n") == 1


def test_a_wrong_option_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        agent.main(["--nonsense"])
    assert caught.value.code == 2
    assert "--nonsense" in capsys.readouterr().err
