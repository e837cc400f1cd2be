"""A script that trains a system: flags in, a run out."""

import signal
import sys


def train(config_class: str, description: str) -> None:
    """Trains what the command line asks for, from the first import to the last line.

    A user's mistake ends in one line and exit code 2, a run that cannot go on in one line and exit
    code 1.

    Args:
        config_class: "module:Class" of the system's settings, a `RunConfig`.
        description: what the script does, for --help.
    """
    # Before training begins there is nothing to save: Ctrl-C ends it as SIGTERM does, at once and
    # without a traceback, from the first import on.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    import dataclasses
    import pkgutil

    from jaxgan.run import flags
    from jaxgan.run.experiment import Experiment, RunFailed

    with flags.user_errors(), flags.failures(RunFailed):
        settings = pkgutil.resolve_name(config_class)
        config = flags.parse(settings, sys.argv[1:], description=description)
        experiment = Experiment(dataclasses.replace(config, script=sys.argv[0]))
    with flags.failures(RunFailed):
        experiment.run()
