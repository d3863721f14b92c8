"""Export the model of a run as an ONNX file, checked against torch before it takes its place.

    <run>/onnx/<type>/          or <run>/onnx/<type>_fold<k>/ for the model of one fold
        model.onnx              the graph with its metadata; weights over 2 GiB are in model.onnx.data
        run_onnx.py             how to use it, without melt_ser

The metadata are texts: `classes` (a JSON list in the order of the probabilities), `attributes` (a JSON object with the
lowest and highest value of each), `sampling_rate` (Hz), `longest_seconds` of a clip, `number_type`, `opset`, `model`
(the folder's name, which is the run id), `digest` of the weights, and `melt_ser` (its version).
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from melt_ser.audio import SAMPLE_RATE
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.files import replacing_folder
from melt_ser.core.package import __version__
from melt_ser.evaluation.labelling import LONGEST_SECONDS, Model
from melt_ser.models.hub_model import is_on_hub
from melt_ser.models.onnx_graph import OPSET, write_onnx
from melt_ser.models.onnx_types import convert
from melt_ser.runs import run_onnx
from melt_ser.runs.finished_run import load_model
from melt_ser.runs.onnx_check import Check, check, clips_of

FILE, SCRIPT = "model.onnx", "run_onnx.py"
TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "int8": 1.0}
"""The largest difference of a probability from torch's that is accepted; int8 is judged by its labels and its UA."""
OF_SCALE = {**TOLERANCES, "int8": 0.1}
"""The largest difference of an attribute that is accepted, as a share of its scale."""


@dataclass(frozen=True)
class Wishes:
    """The options of `export`: see there."""

    number_type: str
    fold: int | None = None
    clips: int = 100
    tolerance: float | None = None
    family: str | None = None


def default_folder(run: Path, wishes: Wishes) -> Path:
    """Return the folder that an export is written to if the user names none; SetupError for a model of the hub."""
    if is_on_hub(run):
        raise SetupError(f"{run} is not on this machine; name a folder for the file with --out.")
    suffix = "" if wishes.fold is None else f"_fold{wishes.fold}"
    return run / "onnx" / f"{wishes.number_type}{suffix}"


def export_onnx(run: Path, folder: Path, wishes: Wishes) -> Check:
    """Write the folder of an export, whole or not at all, and return the findings of its check.

    Raises SetupError if there is no such run or fold, if its model cannot be a graph, or if the folder holds other
    files; InputError if the answers of the file differ by more than the tolerance.
    """
    _refuse_other_files(folder)
    model = load_model(run, wishes.fold, "cpu", wishes.family)
    _refuse_measured(run, model)
    with replacing_folder(folder) as temporary:
        with tempfile.TemporaryDirectory(dir=temporary) as scratch:
            graph = Path(scratch) / FILE
            write_onnx(model.classifiers, graph)
            convert(graph, temporary / FILE, wishes.number_type, _metadata(run, model, wishes))
        shutil.copyfile(run_onnx.__file__, temporary / SCRIPT)
        found = check(temporary / FILE, model, clips_of(run, wishes.fold, wishes.clips))
        _refuse_different(found, wishes)
    return found


def _refuse_different(found: Check, wishes: Wishes) -> None:
    """Raise InputError if the answers of the file differ from torch's by more than is accepted."""
    for difference, accepted, what, of_scale in (
        (found.difference, TOLERANCES, "probabilities", ""),
        (found.of_scale, OF_SCALE, "attributes", " of the scale"),
    ):
        if difference is None:
            continue
        if math.isnan(difference):
            raise InputError(
                f"No file was left: the {wishes.number_type} file answers NaN, since its numbers overflow; use float32."
            )
        tolerance = accepted[wishes.number_type] if wishes.tolerance is None else wishes.tolerance
        if difference > tolerance:
            raise InputError(
                f"No file was left: on {found.clips} {found.source} the {what} of the {wishes.number_type} file differ "
                f"from torch's by up to {difference:.2g}{of_scale}, and {tolerance:g} is accepted; if the larger "
                f"difference is fine for you, give --tolerance {2 * difference:.1g}."
            )


def _metadata(run: Path, model: Model, wishes: Wishes) -> dict[str, str]:
    return {
        "classes": json.dumps(model.classes, ensure_ascii=False),
        "attributes": json.dumps(model.classifiers[0].outputs.scales, ensure_ascii=False),
        "sampling_rate": str(SAMPLE_RATE),
        "longest_seconds": f"{LONGEST_SECONDS:g}",
        "number_type": wishes.number_type,
        "opset": str(OPSET),
        "model": run.resolve().name,
        "digest": model.digest(),
        "melt_ser": __version__,
    }


def _refuse_measured(run: Path, model: Model) -> None:
    backbone = model.classifiers[0].backbone
    if not backbone.has_frames:
        raise SetupError(
            f"{run} has backbone.family={backbone.family}, whose features are measured by a library and are no graph; "
            "use predict, or export a run of another backbone."
        )


def _refuse_other_files(folder: Path) -> None:
    """Raise SetupError if a folder has files that the export would remove."""
    present = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in present if name not in (FILE, f"{FILE}.data", SCRIPT)]
    if others:
        raise SetupError(f"--out {folder} has other files, such as {others[0]}; name a folder of its own.")
