"""The wheel carries configuration, demo corpus and students, and works from any folder without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from checkout import CHECKOUT


def passes(module: str, *arguments: str) -> None:
    """Run a module of Python, as `make package` does."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_trains_from_any_folder(tmp_path: Path) -> None:
    passes("build", "--no-isolation", "--outdir", str(tmp_path), str(CHECKOUT))
    [wheel], [source] = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    passes("twine", "check", "--strict", str(wheel), str(source))
    passes("check_wheel_contents", "--config", str(CHECKOUT / "pyproject.toml"), str(wheel))
    names = zipfile.ZipFile(wheel).namelist()
    assert "melt_ser/conf/config.yaml" in names
    assert "melt_ser/py.typed" in names
    assert "melt_ser/demo/en/table.csv" in names
    assert "melt_ser/demo/de/table.csv" in names
    assert "melt_ser/students/wavlm_tiny/model.safetensors" in names

    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    site = next((environment / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    # The heavy packages come from this environment, by PYTHONPATH. Its .pth files then do not run: that of an
    # editable install would bring in the checkout.
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    python = environment / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "melt_ser.train", "trainer.epochs=1", f"out={tmp_path / 'runs'}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{packages}", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("result: ")
    where = [python, "-c", "import melt_ser; print(melt_ser.__file__)"]
    path = subprocess.run(
        where, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(site)}, cwd=tmp_path
    )
    assert path.stdout.startswith(str(environment))
