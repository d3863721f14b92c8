"""Verbs as shells, scripts and odd machines start them: for each case a line of bash, its exit code and its last words.

Each line runs in a folder that `inputs` wrote. `melt` is `python -m melt_ser`, and `nobody` the same for a user without
a home folder. The table in docs/trust.md lists the kinds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import soundfile

import small_runs

SMALL = " ".join(small_runs.SMALL)
CORPUS = "dataset=csv dataset.root=corpus dataset.table=table.csv"
VERBS = {
    "train": f"train {SMALL} {CORPUS} out=runs",  # is finished already
    "evaluate": f"evaluate run=run dataset.name=other device=cpu {CORPUS.replace('=corpus', '=other')}",
    "prepare": f"prepare {CORPUS}",
    "predict": "predict run corpus/wav/s0_0.wav --device cpu",
    "annotate": "annotate lines.csv --out labels.csv --dry-run",
    "report": "report runs",
    "agreement": "agreement pairs.csv --keys utterance",
    "listen": "listen score key.json answers",
    "acoustics": "acoustics voices/labels.csv --root voices",
    "info": "info",
}
NEW = VERBS["train"].replace("out=runs", "out=new")
HELP = (
    "",
    "--help",
    "train --help",
    "train --cfg job",
    "predict --help",
    "agreement --help",
    "listen build --help",
    "info --help",
)
QUICK = ("prepare", "annotate", "report", "agreement", "listen")  # verbs without torch

CANNOT = "error: cannot write to standard output: "
FULL = CANNOT + "No space left on device; free space there, or send it elsewhere."
CLOSED = CANNOT + "it is closed; send it elsewhere."
DELETED = "error: The current folder was deleted; change to another (cd) and start again."
HOMELESS = "error: ~/.cache: there is no home folder for ~; set HOME, or MELT_SER_CACHE for the cache."


class Case(NamedTuple):
    """A line of bash, its exit codes, the last line on standard error (None: any but an error), a file that it made."""

    kind: str
    shell: str
    codes: tuple[int, ...] = (0,)
    says: str | None = None
    makes: str | None = None


def _cases() -> list[Case]:
    cases = []
    cases += [Case("full output", f"melt {line} >/dev/full", (2,), FULL) for line in (*VERBS.values(), *HELP)]
    for line in (*(VERBS[verb] for verb in ("train", *QUICK)), *HELP):
        cases.append(Case("closed output", f"melt {line} >&-", (2,), CLOSED))
    for line in (*(VERBS[verb] for verb in QUICK), "train --help", "train --cfg job"):
        cases.append(Case("the reader leaves", f"melt {line} | head -1", (0, 141)))
    agreement, train = VERBS["agreement"], VERBS["train"]
    cases += [
        Case("full messages", f"melt {agreement} 2>/dev/full"),
        Case("full messages", f"melt {agreement} --out a.md 2>/dev/full", (2,), "", "a.md"),
        Case("full messages", "melt report runs --out r.html 2>/dev/full", (2,), "", "r.html"),
        Case("full messages", "melt agreement nothing.csv 2>/dev/full", (2,), ""),
        Case("full messages", f"melt {train} 2>/dev/full", (2,), ""),
        Case("closed messages", f"melt {agreement} --out a.md 2>&-", (0,), "", "a.md"),
        Case("closed messages", "melt agreement nothing.csv 2>&-", (2,), ""),
        Case("closed messages", "melt agreement --nothing 2>&-", (2,), ""),
        Case("closed messages", f"melt {train} 2>&-", (0,), ""),
        Case("closed input", f"melt {agreement} <&-"),
        Case("closed input", f"melt {VERBS['annotate']} <&-"),
        Case(
            "closed input",
            "melt predict run - <&-",
            (2,),
            "error: Standard input names no file; give a path on each line.",
        ),
        Case("all closed", f"melt {agreement} --out a.md <&- >&- 2>&-", (0,), "", "a.md"),
        Case("all closed", f"melt {agreement} <&- >&- 2>&-", (2,), ""),
    ]
    homeless = "unset HOME MELT_SER_CACHE;"
    cases += [
        Case("no home folder", f"{homeless} nobody {VERBS['prepare']}", (2,), HOMELESS),
        Case("no home folder", f"{homeless} nobody {NEW}", (2,), HOMELESS),
        Case("no home folder", f"{homeless} XDG_CACHE_HOME=$PWD/c nobody {VERBS['prepare']}", (0,), None, "c/melt_ser"),
        Case("no home folder", f"unset HOME; MELT_SER_CACHE=c nobody {VERBS['prepare']}", (0,), None, "c"),
        *(Case("no home folder", f"{homeless} nobody {VERBS[verb]}") for verb in ("report", "agreement", "annotate")),
        Case("no home folder", f"{homeless} nobody {VERBS['predict']}"),
        Case("no home folder", f"{homeless} nobody train --help"),
        Case(
            "no home folder",
            """melt prepare dataset=csv "dataset.root='~nobody-of-this-name/x'" dataset.table=table.csv""",
            (2,),
            "error: ~nobody-of-this-name/x: there is no home folder for ~nobody-of-this-name; give the whole path.",
        ),
    ]
    for setting in ("XDG_CACHE_HOME=/proc", "XDG_CACHE_HOME=relative", "MELT_SER_CACHE=/proc", "HOME=/proc"):
        cases.append(
            Case("odd cache", f"unset MELT_SER_CACHE; export HOME=$PWD/home; {setting} melt {VERBS['prepare']}")
        )
    for setting in ("TMPDIR=/missing", "TMPDIR=/proc"):
        cases.append(Case("no temporary folder", f"{setting} melt {VERBS['report']} --out r.html", makes="r.html"))
    for setting in ("TERM=", "TERM=nonsense", "COLUMNS=0", "COLUMNS=-3", "COLUMNS=many", "COLUMNS=1", "LINES=0"):
        cases.append(Case("odd terminal", f"{setting} melt {VERBS['prepare']}"))
    for setting in ("LC_ALL=C", "LC_ALL=POSIX PYTHONCOERCECLOCALE=0 PYTHONUTF8=0", "PYTHONIOENCODING=ascii"):
        cases += [Case("ASCII", f"{setting} melt {VERBS[verb]}") for verb in ("prepare", "report", "agreement")]
        cases.append(Case("ASCII", f"{setting} melt train --help"))
    for line in ("--help", "train --help", "report $OLDPWD/runs --out r.html", "predict $OLDPWD/run $OLDPWD/corpus"):
        cases.append(Case("deleted folder", f"mkdir gone && cd gone && rmdir ../gone && melt {line}", (2,), DELETED))
    return cases


CASES = _cases()


class Stop(NamedTuple):
    """A verb that is stopped at a point (see pausing.py), its last words, and what it may not have made (a pattern)."""

    verb: str
    line: str
    point: str
    makes: str
    says: str = "stopped."


GOES_ON = "stopped; the same command goes on from the finished part."
ANSWERED = "stopped; the same command goes on from what is answered."
COMBINE = "annotate rated.csv rated.csv --combine --out both.csv"
BUILD = "listen build voices/labels.csv --root voices --out test --clips 3 --checks 1"
STOPS = [
    Stop("train", NEW, "result.json", "new/*/*/*/result.json", GOES_ON),
    Stop("evaluate", VERBS["evaluate"], "result.json", "new", GOES_ON),
    Stop("prepare", VERBS["prepare"], "report.json", "cache/corpora/*/*", GOES_ON),
    Stop("predict", VERBS["predict"], "audio", "new"),
    Stop("annotate", COMBINE, "both.csv", "both.csv", ANSWERED),
    Stop("report", "report runs --out r.html", "r.html", "r.html"),
    Stop("agreement", f"{VERBS['agreement']} --out a.md", "a.md", "a.md"),
    Stop("listen", BUILD, "test", "test"),
    Stop("acoustics", f"{VERBS['acoustics']} --out v.md", "v.md", "v.md"),
]


def inputs(folder: Path) -> None:
    """Write the inputs of every verb: corpora, a finished run, labels, lines, voices, and a listening test."""
    small_runs.train(folder / "runs", small_runs.corpus(folder / "corpus"))
    small_runs.corpus(folder / "other", seed=1)
    (folder / "run").symlink_to(next(folder.glob("runs/*/*/*/result.json")).parent.relative_to(folder))
    pairs = {"label": ["anger", "joy", "sadness", "fear"] * 10, "llm_label": ["anger", "joy", "fear", "fear"] * 10}
    pd.DataFrame({"utterance": [f"u{n}" for n in range(40)], **pairs}).to_csv(folder / "pairs.csv", index=False)
    lines = pd.DataFrame({"utterance": [f"u{n}" for n in range(12)], "text": "A line.", "speaker": "Ross"})
    lines = lines.assign(dialogue="scene", position=range(12))
    lines.to_csv(folder / "lines.csv", index=False)
    lines.assign(llm_label="joy").to_csv(folder / "rated.csv", index=False)
    _voices(folder / "voices")
    _listening_test(folder)


def _voices(folder: Path) -> None:
    """Write ten tones of rising loudness, described truly, with two labels each."""
    folder.mkdir()
    time = np.arange(8000) / 16_000
    for number in range(10):
        soundfile.write(folder / f"{number}.wav", 0.002 * 1.8**number * np.sin(2 * np.pi * 150 * time), 16_000)
    rows = {"audio": [f"{n}.wav" for n in range(10)], "loudness": ["low"] * 3 + ["mid"] * 4 + ["high"] * 3}
    table = pd.DataFrame({"utterance": rows["audio"], **rows, "label": "joy", "llm_label": "fear"})
    table.to_csv(folder / "labels.csv", index=False)


def _listening_test(folder: Path) -> None:
    pair = {"labels": ["joy", "fear"], "check": None, "first": "joy", "second": "fear"}
    items = [{"id": f"i{number}", **pair} for number in range(8)]
    key = {"schema_version": 1, "study": "s1", "sources": {"first": "human", "second": "machine"}, "items": items}
    (folder / "key.json").write_text(json.dumps(key))
    (folder / "answers").mkdir()
    for rater, chosen in (("ann", "joy"), ("ben", "fear")):
        given = [{"item": item["id"], "chosen": chosen, "side": "left", "plays": 1, "seconds": 2.0} for item in items]
        content = {"schema_version": 1, "study": "s1", "rater": rater, "items": len(items), "answers": given}
        (folder / "answers" / f"{rater}.json").write_text(json.dumps(content))
