"""The main program of a script that trains a system: it reads the flags and trains the run."""

import signal
import sys

from jaxgan.run import streams


def train(config_class: str, description: str) -> None:
    """Trains the run that the command line asks for.

    A user's mistake ends the program with one line and exit code 2. A run that cannot continue
    ends it with one line and exit code 1.

    Args:
        config_class: "module:Class" of the system's settings, a `RunConfig`.
        description: what the script does, for --help.
    """
    # Before training there is nothing to save, so Ctrl-C ends the program at once and without a
    # traceback, as SIGTERM does. The slow imports come after this line for the same reason.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    streams.make_lasting()
    import dataclasses
    import pkgutil

    from jaxgan.run import compilation_cache, flags
    from jaxgan.run.experiment import Experiment, RunFailed, use_multi_output_fusion

    with flags.user_errors():
        settings = pkgutil.resolve_name(config_class)
        config = flags.parse(settings, sys.argv[1:], description=description)
    use_multi_output_fusion(config)
    with compilation_cache.in_use():
        with flags.user_errors(), flags.failures(RunFailed):
            experiment = Experiment(dataclasses.replace(config, script=sys.argv[0]))
        with flags.failures(RunFailed):
            experiment.run()
