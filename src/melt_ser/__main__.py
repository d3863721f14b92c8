"""`melt-ser <verb>`: the same verbs as `python -m melt_ser.<verb>`."""

from __future__ import annotations

import importlib
import sys

from melt_ser.cli.completion import print_completion
from melt_ser.cli.verb import run
from melt_ser.core.errors import SetupError, did_you_mean
from melt_ser.core.package import __version__

VERBS = {
    "train": "fine-tune a backbone on a corpus and evaluate it",
    "tune": "search the settings of a training on dev",
    "evaluate": "score a finished run on another corpus",
    "prepare": "verify a corpus and describe its content",
    "predict": "label audio files with a finished run",
    "serve": "answer over HTTP with a finished run, with a page",
    "push": "share the model of a finished run on the Hugging Face hub",
    "export": "write the model of a finished run as an ONNX file",
    "annotate": "label text with a language model",
    "report": "collect finished runs into tables and a page",
    "agreement": "compare sources of labels",
    "listen": "build, serve and score a blind listening test",
    "acoustics": "check described loudness and pitch against the audio",
    "info": "show what is installed, cached and ready",
}


def main() -> int:
    """Run the module of the verb that the first argument names."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        return run(print_verbs)
    if sys.argv[1] == "--version":
        return run(print_version)
    if sys.argv[1] == "--completion":
        return run(lambda: print_completion(VERBS, sys.argv[2:]))
    verb = sys.argv.pop(1)
    if verb not in VERBS:
        return run(lambda: refuse(verb))
    sys.argv[0] = f"melt-ser {verb}"
    code: int = importlib.import_module(f"melt_ser.{verb}").main()
    return code


def print_verbs() -> int:
    """Print the verbs with their purpose; return the code of a wrong usage if there is no argument."""
    print("usage: melt-ser <verb> … | --version | --completion bash|zsh|fish\n")
    for verb, purpose in VERBS.items():
        print(f"  {verb:<11}{purpose}")
    return 0 if len(sys.argv) > 1 else SetupError.exit_code


def print_version() -> int:
    """Print the version of melt_ser."""
    print(f"melt_ser {__version__}")
    return 0


def refuse(verb: str) -> int:
    """Raise SetupError with the nearest verb."""
    raise SetupError(f"There is no verb '{verb}'; {did_you_mean(verb, VERBS)}")


if __name__ == "__main__":
    sys.exit(main())
