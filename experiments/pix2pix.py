"""Learns to make images of images (Isola et al. 2016), from pairs, on every device there is.

python experiments/pix2pix.py --task edges2face
"""

import signal
import sys


def main() -> None:
    # Before training begins there is nothing to save: Ctrl-C ends it as SIGTERM does, at once and
    # without a traceback, from the first import on.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from jaxgan.run import flags
    from jaxgan.run.experiment import Experiment, RunFailed
    from jaxgan.systems.pix2pix.config import Pix2PixConfig

    with flags.user_errors(), flags.failures(RunFailed):
        config = flags.parse(Pix2PixConfig, sys.argv[1:], description=__doc__)
        experiment = Experiment(config)
    with flags.failures(RunFailed):
        experiment.run()


if __name__ == "__main__":
    main()
