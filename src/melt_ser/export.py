"""`python -m melt_ser.export RUN --format onnx [--dtype TYPE] [--fold K] [--out FOLDER]`: the model without torch."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from melt_ser.cli.verb import given_path, number, run, whole_number
from melt_ser.core.console import finish, say
from melt_ser.core.errors import SetupError

TYPES = ("float32", "float16", "int8")  # those of models/onnx_types.py, which is slow to import


def main(arguments: list[str] | None = None) -> int:
    """Write the file, check it against torch, and print the findings of the check; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="melt-ser export",
        description="Write the model of a finished run as an ONNX file that ONNX Runtime runs without torch and "
        "melt_ser: waveforms in, probabilities or attributes out. It is checked against torch first.",
    )
    parser.add_argument("run", type=given_path, help="folder of a finished run (or of one of its models)")
    parser.add_argument("--format", choices=("onnx",), default="onnx", help="of the file (default: onnx)")
    parser.add_argument(
        "--dtype",
        choices=TYPES,
        default="float32",
        help="of the encoder's numbers (default: float32)",
    )
    parser.add_argument("--fold", type=whole_number(0), help="the model of one fold (default: the mean of all)")
    parser.add_argument(
        "--out",
        type=given_path,
        metavar="FOLDER",
        help="a folder of its own (default: <run>/onnx/<dtype>, with the fold)",
    )
    parser.add_argument(
        "--clips",
        type=whole_number(1),
        default=100,
        help="compare so many clips of the run's test part, or of noise if the corpus is not at hand (default: 100)",
    )
    parser.add_argument(
        "--tolerance",
        type=number,
        help="the largest accepted difference from torch's of a probability, or of an attribute as a share of its "
        "scale (default: 1e-4, float16 1e-2; int8 any, attributes 0.1)",
    )
    parser.add_argument(
        "--family",
        metavar="MODULE",
        help="import this module of your own: the backbone.family of the run, if it is not one of melt_ser",
    )
    return run(lambda: export(parser.parse_args(arguments)))


def export(options: argparse.Namespace) -> int:
    """Export a run as the options say, and return the exit code."""
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise SetupError(f"export needs {' and '.join(missing)}: pip install 'melt-ser[onnx]'.")
    from melt_ser.runs.onnx_export import FILE, Wishes, default_folder, export_onnx

    wishes = Wishes(options.dtype, options.fold, options.clips, options.tolerance, options.family)
    folder = options.out or default_folder(options.run, wishes)
    found = export_onnx(options.run, folder, wishes)
    checked = f"{found.clips} {found.source}, alone and in batches:"
    if found.difference is not None:
        print(
            f"{checked} probabilities differ from torch's by up to {found.difference:.1e}, and {found.agreement:.1%} "
            "of the labels agree"
        )
    if found.of_scale is not None:
        print(f"{checked} attributes differ from torch's by up to {found.of_scale:.1e} of their scale")
    if found.ua is not None:
        before, after = found.ua
        print(f"UA on these clips: {before:.1%} with torch, {after:.1%} with the file")
    if found.ccc is not None:
        before, after = found.ccc
        print(f"CCC on these clips: {before:.3f} with torch, {after:.3f} with the file")
    if found.models > 1 and (found.ua or found.ccc):
        say(
            f"note: {found.models} models answer together, and each clip was in the training of all but one of them. "
            "So these figures compare the file with torch. How good the models are is in result.json."
        )
    finish(folder / FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
