"""Training: many steps in one compiled call, on all devices, for one seed or several at once."""

from jaxgan.training.devices import on_host, replicate, select_devices, unreplicate
from jaxgan.training.examples import Schedule, schedule
from jaxgan.training.loop import train, train_seeds

__all__ = [
    "Schedule",
    "on_host",
    "replicate",
    "schedule",
    "select_devices",
    "train",
    "train_seeds",
    "unreplicate",
]
