"""Imports go downwards and in no circle, and nothing outside a system's folder names the system."""

import ast
import graphlib
from pathlib import Path

import pytest

from jaxgan.systems import registry

REPOSITORY = Path(__file__).parent.parent
# The parts of the package, lowest first. A part imports those of the lines below it.
LAYERS = (
    {
        *{"checks", "files", "memory", "options", "weights"},
        *{"latents", "augmentation", "schedules"},
    },
    {"game", "losses", "layers", "data"},
    {"training", "metrics"},
    {"run"},
    {"systems"},
    {"sampling", "trained"},
    {"playground", "interactive"},
)
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
FAMILY = "jaxgan.systems.latent"
# The systems that build on another one, and that one.
BUILDS_ON = {"jaxgan.systems.age_cgan": "jaxgan.systems.dcgan"}
FORBIDDEN = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc"}

# Who may name a system: by file, the systems.
MAY_NAME = {
    "jaxgan/sampling.py": {"mlp_gan"},  # The chapter's generator is the default of `sample`.
    "experiments/mnist_gan.py": {"mlp_gan"},
    "experiments/dcgan.py": {"dcgan"},
    "experiments/pix2pix.py": {"pix2pix"},
    "experiments/stargan.py": {"stargan"},
    "experiments/age_cgan.py": {"age_cgan"},
    "experiments/stylegan2.py": {"stylegan2"},
    "experiments/style_mix.py": {"stylegan2"},
    "experiments/project.py": {"stylegan2"},
    "experiments/directions.py": {"stylegan2"},
    "experiments/biggan.py": {"biggan"},
    "experiments/age.py": {"age_cgan"},
    "experiments/evaluate_ageing.py": {"age_cgan"},
    "experiments/train_recogniser.py": {"age_cgan"},
    "jaxgan/systems/age_cgan/config.py": {"dcgan"},
    "jaxgan/systems/age_cgan/networks.py": {"dcgan"},
    # The weights that ship with the package, and the table of the recipes.
    "experiments/export_pretrained.py": {"mlp_gan", "stargan"},
    "experiments/recipes.py": {"mlp_gan"},
}
# The page of the networks that ship with the package is made by a function of this name.
OF_PACKAGE = "of_package"
# Tables of times of the package's systems.
BENCHMARKS = "experiments/benchmarks/"


def module_name(path):
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


PATHS = {
    folder: sorted((REPOSITORY / folder).rglob("*.py")) for folder in ("jaxgan", "experiments")
}
MODULES = {module_name(path): ast.parse(path.read_bytes()) for path in PATHS["jaxgan"]}
# The public names of the package and the module that each comes from.
PUBLIC = {
    alias.name: f"jaxgan.{node.module}"
    for node in ast.parse((REPOSITORY / "jaxgan" / "__init__.pyi").read_bytes()).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}


def for_types_alone(tree):
    """The nodes that only a type checker reads."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for body in node.body
        for inner in ast.walk(body)
    }


def imported(tree):
    """The modules of the package that some code imports, wherever in it, also by public names."""
    found, skipped = set(), for_types_alone(tree)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("jaxgan.")}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import: {ast.unparse(node)}"
            for alias in node.names:
                found |= resolved(node.module, alias.name)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "jaxgan":
            found |= resolved("jaxgan", node.attr)
    return found


def resolved(module, name):
    """The module of the package that `from module import name` reads."""
    if module.partition(".")[0] != "jaxgan":
        return set()
    if f"{module}.{name}" in MODULES:
        return {f"{module}.{name}"}
    if module == "jaxgan":
        return {PUBLIC[name]} if name in PUBLIC else set()
    return {module}


def part(module):
    return module.split(".")[1] if "." in module else None


IMPORTS = {name: imported(tree) for name, tree in MODULES.items()}


def test_every_part_of_the_package_has_its_layer():
    assert {part(name) for name in MODULES} - {None} == RANK.keys()


@pytest.mark.parametrize(
    "rank", range(len(LAYERS)), ids=lambda rank: "-".join(sorted(LAYERS[rank]))
)
def test_imports_go_downwards(rank):
    upwards = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if part(name) in LAYERS[rank] and part(other) != part(name)
        # The lowest parts may build on each other.
        if RANK[part(other)] >= max(rank, 1)
    ]
    assert not upwards


def test_no_imports_go_in_a_circle():
    graphlib.TopologicalSorter(IMPORTS).prepare()  # Its error names the circle.


def test_a_system_imports_no_other_but_its_family():
    wrong = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        if (own := folder_of_system(name))
        for other in others
        if folder_of_system(other) not in (None, own, FAMILY, BUILDS_ON.get(own))
    ]
    assert not wrong


def folder_of_system(module):
    """Such as "jaxgan.systems.dcgan"; None of what is in no system's folder."""
    parts = module.split(".")
    folder = ".".join(parts[:3])
    is_system = parts[:2] == ["jaxgan", "systems"] and len(parts) > 2
    return folder if is_system and (REPOSITORY / folder.replace(".", "/")).is_dir() else None


def test_the_package_imports_no_script():
    scripts = {path.stem for path in PATHS["experiments"]} | {"experiments", "tests"}
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            assert not {each.partition(".")[0] for each in names} & scripts, name


@pytest.mark.parametrize(
    "path", [*PATHS["jaxgan"], *PATHS["experiments"]], ids=lambda path: str(path.name)
)
def test_no_file_is_named_for_nothing(path):
    names = path.relative_to(REPOSITORY).with_suffix("").parts
    assert not FORBIDDEN & {word for name in names for word in name.split("_")}


def is_for(skipped, used, node):
    """Whether some code is an import whose names only the skipped code uses."""
    if not isinstance(node, ast.ImportFrom):
        return False
    names = {alias.asname or alias.name for alias in node.names}
    in_skipped = {each.id for each in skipped if isinstance(each, ast.Name)}
    return names <= in_skipped - used


def names_of_system(tree, system, settings):
    """Where some code names a system or its settings: as a name, in an import, in a string."""
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == OF_PACKAGE
        for inner in ast.walk(node)
    }
    # A docstring may point at an example.
    skipped |= {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    used = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node not in skipped
    }
    words = {system, settings}
    for node in ast.walk(tree):
        if node in skipped or is_for(skipped, used, node):
            continue
        match node:
            case ast.ImportFrom(module=str(module)):
                said = [*module.split("."), *(alias.name for alias in node.names)]
            case ast.Import():
                said = [word for alias in node.names for word in alias.name.split(".")]
            case ast.Name(id=word) | ast.Attribute(attr=word):
                said = [word]
            case ast.Constant(value=str(text)):
                is_path = f"systems.{system}" in text or f"systems/{system}" in text
                said = [system] if is_path else [text]
            case _:
                said = []
        if words & set(said):
            yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("system", registry.names())
def test_nothing_outside_its_folder_names_a_system(system):
    settings = registry.find(system).__name__
    named = []
    for path in [*PATHS["jaxgan"], *PATHS["experiments"]]:
        where = str(path.relative_to(REPOSITORY))
        if where.startswith((f"jaxgan/systems/{system}/", BENCHMARKS)):
            continue
        if system not in MAY_NAME.get(where, ()):
            tree = ast.parse(path.read_bytes())
            named += [f"{where}, {found}" for found in names_of_system(tree, system, settings)]
    assert not named


def test_who_may_name_a_system_does():
    """Else the list of exceptions would be longer than it need be."""
    for where, systems in MAY_NAME.items():
        tree = ast.parse((REPOSITORY / where).read_bytes())
        for system in systems:
            settings = registry.find(system).__name__
            assert any(names_of_system(tree, system, settings)), where
