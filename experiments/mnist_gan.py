"""Trains the textbook GAN (Goodfellow et al. 2014) on MNIST, on every device there is.

python experiments/mnist_gan.py --devices all
"""

import signal
import sys


def main() -> None:
    # Before training begins there is nothing to save: Ctrl-C ends it as SIGTERM does, at once and
    # without a traceback, from the first import on.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from jaxgan.run import flags
    from jaxgan.run.experiment import Experiment, RunFailed
    from jaxgan.systems.mlp_gan.config import MLPGANConfig

    with flags.user_errors(), flags.failures(RunFailed):
        config = flags.parse(MLPGANConfig, sys.argv[1:], description=__doc__)
        experiment = Experiment(config)
    with flags.failures(RunFailed):
        experiment.run()


if __name__ == "__main__":
    main()
