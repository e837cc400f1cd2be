"""TensorBoard's event file."""

import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import RecordWriter, summary
from tensorboardX.proto.event_pb2 import Event, SessionLog

from jaxgan.files import naming


class EventFile:
    """An event file, written by whoever calls.

    TensorBoardX's own `SummaryWriter` writes from a thread: if that cannot, it dies, and the run
    waits for ever for room in its queue.
    """

    def __init__(self, directory: Path, step: int):
        """Makes a file in a directory, which is made if need be.

        Args:
            directory: TensorBoard shows all event files in it as one run.
            step: what earlier files have of later steps is not shown any more.

        Raises:
            OSError: it cannot be written.
        """
        # The step keeps a run that is stopped and gone on with at once from writing over its own
        # file, which is named by the second.
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.step{step}"
        self.path = directory / name
        with naming(self.path):
            directory.mkdir(parents=True, exist_ok=True)
            self._records = RecordWriter(str(self.path))
        self._write(file_version="brain.Event:2")
        self._write(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Raises: OSError: it cannot be written."""
        self._write(step=step, summary=summary.scalar(name, value))

    def add_image(self, name: str, canvas: np.ndarray, step: int) -> None:
        """Adds a uint8 [height, width, 1 or 3] array. Raises: OSError: it cannot be written."""
        self._write(step=step, summary=summary.image(name, canvas, dataformats="HWC"))

    def flush(self) -> None:
        """Puts all on the disk.

        Raises:
            OSError: it cannot be written.
        """
        with naming(self.path):
            self._records.flush()

    def close(self) -> None:
        """Flushes and lets go of the file, also when it raises.

        Raises:
            OSError: it cannot be written.
        """
        with naming(self.path):
            self._records.close()

    def _write(self, **content: Any) -> None:
        with naming(self.path):
            event = Event(wall_time=time.time(), **content)
            self._records.write(event.SerializeToString())
