"""Before its first step, a training imports only the modules that the step needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from small_runs import corpus, typed

# torch and transformers need these themselves; the model's own class of transformers brings scipy and jinja2.
NEEDED = "import torch, accelerate, safetensors.torch\nfrom transformers import HubertModel, Wav2Vec2FeatureExtractor\n"
AFTERWARDS = {"matplotlib", "sklearn", "scipy.optimize", "scipy.stats", "jinja2", "statsmodels", "melt_ser.reporting"}
NEVER = {"datasets", "audformat", "opensmile", "openai", "IPython", "requests", "melt_ser.label_study"}
NEVER |= {"tensorboard", "wandb", "mlflow", "trackio", "melt_ser.runs.trackers"}
FIRST_STEP = """
import json, sys
from melt_ser.models import classifier
def forward(*_, **__):
    print(json.dumps(sorted(sys.modules)))
    sys.stdout.flush()
    import os; os._exit(0)
classifier.SpeechClassifier.forward = forward
from melt_ser.train import main
main()
"""


def modules(code: str, *arguments: str) -> set[str]:
    """Run a program that prints its imported modules as its last line; return them."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_a_training_imports_little_before_its_first_step(tmp_path: Path) -> None:
    settings = typed(tmp_path / "runs", corpus(tmp_path / "c"))
    at_first_step = modules(FIRST_STEP, *settings)
    assert {"torch", "pandas", "melt_ser.training.fit"} <= at_first_step
    unavoidable = modules(NEEDED + "import json, sys; print(json.dumps(sorted(sys.modules)))")
    assert sorted((at_first_step - unavoidable) & (AFTERWARDS | NEVER)) == []
    assert "matplotlib" not in unavoidable and "sklearn" not in unavoidable  # otherwise this test shows nothing
