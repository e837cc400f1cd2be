import pytest
from small_run import SMALL


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """A folder for runs that many tests look at, and what each of them printed, by its name."""
    return tmp_path_factory.mktemp("kept"), {}


@pytest.fixture
def run_once(kept, run_script):
    """(name, script, *arguments) -> the work dir of a run on two devices that nothing disturbs,
    and what it printed. The first test that wants it makes it; none may change it."""
    folder, printed = kept

    def run(name, script, *arguments):
        workdir = folder / name
        if name not in printed:
            done = run_script(script, *arguments, "--workdir", workdir, devices=2)
            assert done.returncode == 0, done.stderr
            printed[name] = done.stdout
        return workdir, printed[name]

    return run


@pytest.fixture
def undisturbed(run_once):
    """The work dir of three epochs of `small_run`'s networks that nothing disturbed."""
    workdir, _ = run_once("straight", "mnist_gan.py", *SMALL, "--epochs", 3)
    return workdir
