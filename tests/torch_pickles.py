"""Files of PyTorch and of NVIDIA's code, made without either, for the tests of their reading."""

import contextlib
import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

BUFFERS = ("w_avg", "noise_const", "resample_filter")
_KINDS = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage"}


def _never(*arguments):
    raise AssertionError("what a file names was called")


def _stand_in(dotted, kind=None):
    module, _, name = dotted.rpartition(".")
    made = kind or types.FunctionType(_never.__code__, globals(), name)
    made.__module__, made.__qualname__, made.__name__ = module, name, name
    return made


class EasyDict(dict):
    """As the official code's dict: its arguments are such."""


_NAMES = {
    name: _stand_in(name, kind)
    for name, kind in {
        "torch_utils.persistence._reconstruct_persistent_obj": None,
        "torch._utils._rebuild_parameter": None,
        "torch._utils._rebuild_tensor_v2": None,
        "torch.storage._load_from_bytes": None,
        "dnnlib.util.EasyDict": EasyDict,
        "dnnlib.tflib.network.Network": type("Network", (), {}),
        **{f"torch.{kind}": type(kind, (), {}) for kind in _KINDS.values()},
    }.items()
}


@contextlib.contextmanager
def named():
    """The names of PyTorch and of the official code can be pickled, but not called."""
    with pytest.MonkeyPatch.context() as patch:
        for dotted, made in _NAMES.items():
            module, _, name = dotted.rpartition(".")
            parts = module.split(".")
            for end in range(1, len(parts) + 1):
                part = ".".join(parts[:end])
                if not isinstance(sys.modules.get(part), _Fake):
                    patch.setitem(sys.modules, part, _Fake(part))
            setattr(sys.modules[module], name, made)
        yield


class _Fake(types.ModuleType):
    pass


class Calls:
    """Is pickled as the call of a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def tensor(array, storage=None):
    """A tensor whose storage is a file of its own, as the official pickles have it."""
    array = np.asarray(array, order="C")
    storage = Calls(_NAMES["torch.storage._load_from_bytes"], storage or legacy(array))
    strides = tuple(step // array.itemsize for step in array.strides)
    return Calls(
        _NAMES["torch._utils._rebuild_tensor_v2"],
        *(storage, 0, array.shape, strides, False, OrderedDict()),
    )


def parameter(array):
    return Calls(_NAMES["torch._utils._rebuild_parameter"], tensor(array), True, OrderedDict())


class _Storages(pickle.Pickler):
    """Pickles arrays as `torch.save` does: by a name, with the numbers elsewhere."""

    def __init__(self, file, **options):
        super().__init__(file, **options)
        self.arrays, self.rest = {}, ()

    def persistent_id(self, value):
        if not isinstance(value, np.ndarray):
            return None
        key = str(len(self.arrays))
        self.arrays[key] = value
        kind = _NAMES[f"torch.{_KINDS[value.dtype.name]}"]
        return ("storage", kind, key, "cpu", value.size, *self.rest)


def legacy(held):
    """The bytes of `torch.save` in the older form. Tensors are those of `by_storage`."""
    file = io.BytesIO()
    with named():
        system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
        for value in (0x1950A86A20F9469CFC6C, 1001, system):
            pickle.dump(value, file, protocol=2)
        storages = _Storages(file, protocol=2)
        storages.rest = (None,)  # It is no part of another one.
        storages.dump(held)
        pickle.dump(list(storages.arrays), file, protocol=2)
    for array in storages.arrays.values():
        file.write(struct.pack("<q", array.size) + array.tobytes())
    return file.getvalue()


def archive(held):
    """The bytes of `torch.save` in the newer form. Tensors are those of `by_storage`."""
    content, file = io.BytesIO(), io.BytesIO()
    with named():
        storages = _Storages(content, protocol=2)
        storages.dump(held)
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("archive/data.pkl", content.getvalue())
        zipped.writestr("archive/byteorder", "little")
        zipped.writestr("archive/version", "3\n")
        for key, array in storages.arrays.items():
            zipped.writestr(f"archive/data/{key}", array.tobytes())
    return file.getvalue()


def by_storage(array):
    """A tensor of a file of `torch.save`."""
    array = np.asarray(array, order="C")
    strides = tuple(step // array.itemsize for step in array.strides)
    return Calls(
        _NAMES["torch._utils._rebuild_tensor_v2"],
        *(array, 0, array.shape, strides, False, OrderedDict()),
    )


def state_of(arrays):
    """A state dict as `torch.save` writes it."""
    return OrderedDict((key, by_storage(array)) for key, array in arrays.items())


def module(state, arguments=None, source="raise AssertionError('the source was run')\n"):
    """A module of the official code with all modules below it.

    Args:
        state: its state dict, of arrays.
        arguments: its constructor's.
        source: the text that the official code would run.
    """
    own, inner = {}, {}
    for key, array in state.items():
        first, dot, rest = key.partition(".")
        if dot:
            inner.setdefault(first, {})[rest] = array
        else:
            own[first] = array
    attributes = {
        "training": False,
        "_parameters": OrderedDict(
            (key, parameter(array)) for key, array in own.items() if key not in BUFFERS
        ),
        "_buffers": OrderedDict(
            (key, tensor(array)) for key, array in own.items() if key in BUFFERS
        ),
        "_non_persistent_buffers_set": set(),
        "_forward_hooks": OrderedDict(),
        "_modules": OrderedDict(
            (name, module(held, source=source)) for name, held in inner.items()
        ),
        "weight_gain": np.float64(0.5),
        "_init_args": (),
        "_init_kwargs": easy(arguments or {}),
    }
    attributes["_parameters"]["none"] = None
    meta = {
        "type": "class",
        "version": 6,
        "module_src": source,
        "class_name": "Layer",
        "state": attributes,
    }
    return Calls(_NAMES["torch_utils.persistence._reconstruct_persistent_obj"], meta)


def easy(arguments):
    return EasyDict(
        {key: easy(value) if isinstance(value, dict) else value for key, value in arguments.items()}
    )


def snapshot(states, arguments, protocol=4):
    """The bytes of a network pickle of the official code, of state dicts by their names."""
    held = {net: module(states[net], arguments[net]) for net in states}
    held |= {"training_set_kwargs": easy({"class_name": "a.B", "xflip": True})}
    held |= {"augment_pipe": None}
    with named():
        return pickle.dumps(held, protocol=protocol)


def of_tensorflow():
    """The beginning of a network pickle of the official TensorFlow code."""
    with named():
        network = _NAMES["dnnlib.tflib.network.Network"]()
        return pickle.dumps((network, network, network), protocol=4)
