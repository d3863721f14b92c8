"""`python -m melt_ser.serve RUN [--port 8000]`: label recordings over HTTP, with a page to record and drop files."""

from __future__ import annotations

import argparse
import sys

from melt_ser.cli.verb import given_path, positive_number, run, whole_number
from melt_ser.core.console import say
from melt_ser.core.errors import SetupError

LOCAL = ("127.0.0.1", "::1", "localhost")


def main(arguments: list[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="melt-ser serve", description="Label recordings over HTTP: a page, an interface for programs, a stream."
    )
    parser.add_argument("run", type=given_path, help="folder of a finished run, or hub:<owner>/<name>")
    parser.add_argument("--fold", type=whole_number(0), help="the model of one fold (default: the mean of all)")
    parser.add_argument("--family", metavar="MODULE", help="the backbone.family of the run, if it is your own module")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=whole_number(0), default=8000, help="(default: 8000; 0: any that is free)")
    parser.add_argument("--batch", type=whole_number(1), default=16, metavar="N", help="windows computed together (16)")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--megabytes", type=positive_number, default=50.0, help="of an upload (default: 50)")
    limits.add_argument("--seconds", type=positive_number, default=600.0, help="of audio in an upload (default: 600)")
    limits.add_argument(
        "--stream-seconds", type=positive_number, default=3600.0, help="of audio in a stream (default: 3600)"
    )
    limits.add_argument(
        "--requests", type=whole_number(1), default=32, help="labelled or waiting at once (default: 32)"
    )
    limits.add_argument(
        "--timeout",
        type=positive_number,
        default=60.0,
        help="seconds until an answer, or of silence on a stream (default: 60)",
    )
    return run(lambda: serve(parser.parse_args(arguments)))


def serve(options: argparse.Namespace) -> int:
    """Load the model and answer until a signal."""
    try:
        from melt_ser.serving import app as application
        from melt_ser.serving import server
    except ImportError as error:
        raise SetupError(f"serve needs more packages ({error.name}): pip install 'melt-ser[serve]'.") from None
    from melt_ser.runs.finished_run import load_model
    from melt_ser.serving.limits import Limits
    from melt_ser.serving.model_facts import model_facts

    limits = Limits(options.megabytes, options.seconds, options.stream_seconds, options.requests, options.timeout)
    listener = server.listen(options.host, options.port)
    with listener:
        model = load_model(options.run, options.fold, options.device, options.family)
        facts = model_facts(options.run, options.fold, model, limits)
        app = application.make_app(model, facts, limits, options.batch)
        print(server.address_of(listener), flush=True)
        if options.host not in LOCAL:
            say(f"note: whoever reaches {options.host} can use it; put a server with TLS and passwords before it.")
        say("stop with Ctrl-C")
        server.serve(app, listener)
    return 0


if __name__ == "__main__":
    sys.exit(main())
