"""The event file in which TensorBoard finds the scalars and images of a run."""

import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import RecordWriter, summary
from tensorboardX.proto.event_pb2 import Event, SessionLog

from jaxgan.files.writing import naming

# TensorBoard knows event files by this beginning of their names.
PREFIX = "events.out.tfevents."


class EventFile:
    """An event file that is written in the caller's thread.

    TensorBoardX's own `SummaryWriter` writes in a thread of its own. That thread ends at the first
    error, and the run then waits for ever for room in the thread's queue.
    """

    def __init__(self, directory: Path, step: int):
        """Makes the file, and its directory if there is none.

        Args:
            directory: the directory. TensorBoard shows all event files in it as one run.
            step: the step that the run continues from. TensorBoard no longer shows the later steps
                of older files in the directory.

        Raises:
            OSError: the file cannot be written.
        """
        # The time alone, in seconds, would give a run that is resumed at once the name of its
        # older file.
        name = f"{PREFIX}{int(time.time())}.{socket.gethostname()}.step{step}"
        self.path = directory / name
        with naming(self.path):
            directory.mkdir(parents=True, exist_ok=True)
            self._records = RecordWriter(str(self.path))
        self._write(file_version="brain.Event:2")
        self._write(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Adds a number under a name.

        Raises:
            OSError: the file cannot be written.
        """
        self._write(step=step, summary=summary.scalar(name, value))

    def add_image(self, name: str, canvas: np.ndarray, step: int) -> None:
        """Adds an image, a uint8 [height, width, 1 or 3] array, under a name.

        Raises:
            OSError: the file cannot be written.
        """
        self._write(step=step, summary=summary.image(name, canvas, dataformats="HWC"))

    def flush(self) -> None:
        """Writes all that was added to the disk.

        Raises:
            OSError: the file cannot be written.
        """
        with naming(self.path):
            self._records.flush()

    def close(self) -> None:
        """Flushes and closes the file. The file is closed even if this raises.

        Raises:
            OSError: the file cannot be written.
        """
        with naming(self.path):
            self._records.close()

    def _write(self, **content: Any) -> None:
        with naming(self.path):
            event = Event(wall_time=time.time(), **content)
            self._records.write(event.SerializeToString())
