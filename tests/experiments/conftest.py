import pytest
from small_run import flags


@pytest.fixture(scope="session")
def straight(tmp_path_factory):
    """Where the run of three epochs that nothing disturbs is, once a test has made it."""
    return tmp_path_factory.mktemp("straight") / "run"


@pytest.fixture
def undisturbed(straight, run_script):
    """The work dir of three epochs on two devices that nothing disturbed."""
    if not straight.exists():
        done = run_script("mnist_gan.py", *flags(straight, "--epochs", 3), devices=2)
        assert done.returncode == 0, done.stderr
    return straight
