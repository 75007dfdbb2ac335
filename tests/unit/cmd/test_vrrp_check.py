# SPDX-License-Identifier: Apache-2.0
import socket
import threading

from amphora.cmd import vrrp_check


def serve_once(path, answer):
    """Answer one connection and return what it said."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    said = []

    def run():
        with listener, listener.accept()[0] as connection:
            said.append(connection.recv(100))
            connection.sendall(answer)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, said


def test_it_is_well_when_every_socket_answers(short_dir):
    served = [serve_once(short_dir / name, b"# pxname\n") for name in "ab"]
    assert vrrp_check.main([str(short_dir / "a"), str(short_dir / "b")]) == 0
    for thread, said in served:
        thread.join()
        assert said == [b"show stat -1 -1 -1\n"]


def test_one_that_is_silent_or_missing_is_enough(short_dir, capsys):
    thread, _ = serve_once(short_dir / "a", b"")
    assert vrrp_check.main([str(short_dir / "a")]) == 1
    thread.join()
    assert vrrp_check.main([str(short_dir / "none")]) == 1
    assert "none does not exist" in capsys.readouterr().err


def test_nothing_to_ask_is_well():
    assert vrrp_check.main([]) == 0
