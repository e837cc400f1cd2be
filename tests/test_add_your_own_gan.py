"""The new system of jaxgan/systems/README.md: as it stands, in under 60 lines, finds all modes."""

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "jaxgan" / "systems" / "README.md"


def test_the_ring_of_gaussians(tmp_path):
    block = re.search(r"<!-- ring -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)[1]
    assert len(block.splitlines()) < 60
    (tmp_path / "ring.py").write_text(block)
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "ring.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    modes, near = re.fullmatch(
        r"(\d) of 8 modes, (\d+)% of the samples near one\n", done.stdout
    ).groups()
    assert int(modes) == 8 and int(near) >= 75, done.stdout
