import errno

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jaxgan.run.events import EventFile


def shown(directory, name="loss"):
    events = EventAccumulator(str(directory))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_scalars_and_images_come_back(tmp_path):
    file = EventFile(tmp_path / "tensorboard", step=0)
    file.add_scalar("loss", 0.5, 5)
    file.add_scalar("loss", np.float32(0.25), 10)
    file.add_image("samples", np.zeros((4, 6, 1), np.uint8), 10)
    file.close()
    assert shown(tmp_path / "tensorboard") == [(5, 0.5), (10, 0.25)]
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (image,) = events.Images("samples")
    assert (image.step, image.width, image.height) == (10, 6, 4)


def test_what_is_flushed_can_be_read(tmp_path):
    file = EventFile(tmp_path, step=0)
    file.add_scalar("loss", 0.5, 5)
    file.flush()
    assert shown(tmp_path) == [(5, 0.5)]
    file.close()


def test_a_later_file_takes_the_place_of_later_steps(tmp_path):
    files = [EventFile(tmp_path, step) for step in (0, 10)]
    for step in (5, 10, 15):
        files[0].add_scalar("loss", 0.5, step)
    files[1].add_scalar("loss", 0.25, 15)
    for file in files:
        file.close()
    assert shown(tmp_path) == [(5, 0.5), (10, 0.5), (15, 0.25)]


def test_what_cannot_be_written_is_an_oserror_that_names_the_file_and_it_can_be_closed(
    tmp_path, no_file_above
):
    file = EventFile(tmp_path, step=0)
    file.flush()
    with no_file_above(100):
        with pytest.raises(OSError) as raised:
            for step in range(1000):
                file.add_scalar("loss", 0.5, step)
        assert raised.value.errno == errno.EFBIG
        assert raised.value.filename == str(file.path)
        with pytest.raises(OSError):
            file.close()
        file.close()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        EventFile(tmp_path / "file" / "tensorboard", step=0)
