"""Image data sets as NumPy arrays, loaded by name with `load`.

MNIST and toon faces ship with the package, a folder or a .zip holds the user's own, and TensorFlow
Datasets has the others.
"""

from jaxgan.data.dataset import LABEL as LABEL
from jaxgan.data.dataset import Attribute as Attribute
from jaxgan.data.dataset import Dataset as Dataset
from jaxgan.data.edits import TrueEdits as TrueEdits
from jaxgan.data.edits import true_edits as true_edits
from jaxgan.data.embedded import EMBEDDED_SETS as EMBEDDED_SETS
from jaxgan.data.fitting import fit as fit
from jaxgan.data.loading import load as load
