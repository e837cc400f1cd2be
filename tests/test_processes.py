import threading

import pytest

from jaxgan import processes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("127.0.0.1:1", None, 0), "wants the number of processes"),
        (("127.0.0.1:1", 2, None), "wants the number of processes"),
        (("127.0.0.1:1", 2, 2), "process id 2 is not in 0..1"),
        (("auto", 2, 0), "counted by JAX"),
        (("host", 2, 0), "must be 'auto' or HOST:PORT, not 'host'"),
        (("host:", 2, 0), "must be 'auto' or HOST:PORT"),
        ((":1234", 2, 0), "must be 'auto' or HOST:PORT"),
        (("host:http", 2, 0), "must be 'auto' or HOST:PORT"),
        (("host:65536", 2, 0), "must be 'auto' or HOST:PORT"),
    ],
)
def test_join_refuses_half_a_cluster(arguments, message):
    with pytest.raises(ValueError, match=message):
        processes.join(*arguments)


def test_within_waits_for_what_ends_and_not_for_what_hangs():
    done = []
    assert processes.within(60, lambda: done.append(True)) and done
    released = threading.Event()
    assert not processes.within(0.01, released.wait)
    released.set()


def test_a_process_alone_agrees_with_itself_and_leaves_by_its_code():
    processes.check_same({"--epochs": 1})
    assert processes.is_any(True) and not processes.is_any(False)
    with pytest.raises(SystemExit) as ended:
        processes.leave(3, together=True)
    assert ended.value.code == 3
