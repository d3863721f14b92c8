"""The command line: what is typed wrong is one line with the valid choices, and nothing heavy is imported for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from melt_ser.cli.compose import load_config, load_dataset
from melt_ser.runs.identity import identity


def run(*arguments: str, module: str = "train", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A verb as a user starts it."""
    command = [sys.executable, "-m", f"melt_ser.{module}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("trainer.epochz=3", "There is no key 'epochz' in 'trainer'; did you mean 'epochs'?"),
        ("backbone=wavlmm", "There is no backbone 'wavlmm'; did you mean 'wavlm'?"),
        ("logger=mlfow", "There is no logger 'mlfow'; did you mean 'mlflow'?"),
        ("logger=[wandb,mlfow]", "There is no logger 'mlfow'; did you mean 'mlflow'?"),
        ("logger=csv", "There is no logger 'csv'; choose from: mlflow, nothing, tensorboard, trackio, wandb."),
        ("bakbone=wavlm", "There is no key 'bakbone'; did you mean 'backbone'?"),
        ("trainer.optimiser=adamx", "trainer.optimiser cannot be 'adamx'; did you mean 'adam'?"),
        ("trainer.epochs=many", "trainer.epochs: Value 'many' of type 'str' could not be converted to Integer."),
        ("experiment=nothing", "There is no experiment 'nothing'; choose from: cross_corpus, emo_superb, emobox_i"),
        ("trainer.batch_size=0", "trainer.batch_size is at least 1, not 0."),
        (
            "trainer.crop_places=1",
            "trainer.crop_places is at least 2 or null, not 1.",
        ),
        ("trainer.batch_seconds=0.5", "trainer.batch_seconds is a number from 1 up or null, not 0.5."),
        ("cache.max_gib=-1", "cache.max_gib is a number from 0 up, not -1.0."),
        ("trainer.freeze=all", "trainer.freeze is nothing, convolution, everything or a number of layers, not 'all'."),
        ("out=runs/müller", "out: the value needs quotes: 'out=\"runs/müller\"'."),
        ("dataset.root=a=b", "dataset.root: the value needs quotes: 'dataset.root=\"a=b\"'."),
        ("eval.corpora=[a b=c]", "eval.corpora: parts of the value need quotes: 'eval.corpora=[\"a b=c\"]'."),
        ("eval.corpora=[a=b", "eval.corpora: [a=b cannot be read; close each bracket and quote"),
        ("eval.corpora=a,b", "eval.corpora has a comma: write 'eval.corpora=[a,b]' for one, or add --multirun"),
        ("out=a,b", "out has a comma: write 'out=\"a,b\"' for one, or add --multirun to run each."),
        ("runs/one", "runs/one is no setting; write it as <key>=<value>."),
        ("--config-dir=/nope", "--config-dir /nope is no folder; correct the path."),
        ("=3", "=3 is no setting; write it as <key>=<value>."),
        (
            "eval.corpora=emodb",
            "eval.corpora is a list: give it in brackets, within the shell's quotes: 'eval.corpora=",
        ),
        ("dataset.fold=2", "dataset.fold=2 needs folds, and 'demo' uses the release's own split"),
    ],
)
def test_a_mistake_is_one_line_with_the_fix(typed: str, sentence: str, tmp_path: Path) -> None:
    done = run(typed, f"out={tmp_path}")
    assert done.returncode == 2
    *progress, error = done.stderr.splitlines()  # a slow machine shows the progress of the verification
    assert error.startswith(f"error: {sentence}")
    assert all(line.startswith("verifying audio") for line in progress)
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Off", 'dataset.label_map has a key that YAML reads as false, not as text; put it in quotes, as in "no".'),
        ("1.0", 'dataset.label_map has a key that YAML reads as 1.0, not as text; put it in quotes, as in "1.0".'),
        ("~", 'label_map has a key that YAML reads as null, not as text; put it in quotes, as in "null".'),
    ],
)
def test_a_label_that_yaml_does_not_read_as_text_is_named(written: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text(f"defaults: [csv]\nname: mine\nlabel_map: {{{written}: sad}}\n")
    done = run("--config-dir", str(tmp_path), "dataset=mine", module="prepare")
    assert (done.returncode, done.stderr) == (2, f"error: {said}\n")


def test_a_run_that_is_not_given_is_told() -> None:
    done = run("dataset=emodb", module="evaluate")
    assert (done.returncode, done.stderr) == (2, "error: run has to be given: run=<value>.\n")


def test_what_the_grammar_refuses_can_be_quoted(tmp_path: Path) -> None:
    done = run(f"out='{tmp_path}/m=ü (1)'", "backbone=nothing")
    assert done.stderr.startswith("error: There is no backbone 'nothing'")


def test_a_missing_corpus_names_the_fix(tmp_path: Path) -> None:
    done = run("dataset=emodb", cwd=tmp_path)
    assert done.returncode == 2
    assert "Corpus 'emodb' is not at data/emodb; give its folder with dataset.root=<folder>" in done.stderr


def test_a_missing_checkpoint_names_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    done = run("backbone=wavlm", f"out={tmp_path}")
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: The checkpoint microsoft/wavlm-base-plus")
    assert "backbone.checkpoint=<local folder>" in last
    assert "backbone=wavlm_tiny" in last


@pytest.mark.parametrize("arguments", [["--cfg", "job"], ["--help"], ["-h"], ["dataset=emodb", "--help"]])
@pytest.mark.parametrize("verb", ["train", "evaluate", "prepare"])
def test_configuration_and_help_need_nothing_heavy(verb: str, arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = [{verb!r}, *{arguments!r}]\n"
        f"from melt_ser.{verb} import main; code = main()\n"
        "heavy = {'torch', 'transformers', 'pandas', 'numpy', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(code or (3 if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--cfg" in arguments or "\n  dataset=aesdd, " in done.stdout


def test_what_needs_no_torch_imports_without_it() -> None:
    code = (
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'torch':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        "import melt_ser.corpora.labels, melt_ser.runs.folder, melt_ser.corpora.corpus, melt_ser.corpora.splits\n"
        "import melt_ser.corpora.readers.csv, melt_ser.corpora.readers.melt, melt_ser.corpora.readers.iemocap\n"
        "import melt_ser.corpora.readers.file_names, melt_ser.corpora.readers.crema_d\n"
        "import melt_ser.corpora.readers.msp_improv\n"
        "import melt_ser.evaluation.metrics, melt_ser.evaluation.scoring, melt_ser.runs.evaluations\n"
        "import melt_ser.evaluation.comparison, melt_ser.evaluation.summary\n"
        "import melt_ser.runs.figures, melt_ser.runs.table, melt_ser.reporting.preparation\n"
        "import melt_ser.report, melt_ser.annotate, melt_ser.annotation.job, melt_ser.annotation.batch\n"
        "import melt_ser.label_study.agreement, melt_ser.label_study.acoustics, melt_ser.label_study.preference\n"
        "import melt_ser.agreement, melt_ser.listen, melt_ser.acoustics\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_every_dataset_composes_with_every_label_space() -> None:
    from melt_ser.info import names

    for dataset in names("dataset"):
        for labels in names("labels"):
            assert load_config(f"dataset={dataset}", f"labels={labels}").labels.name == labels


def test_iemocap_asks_for_four_classes_and_can_be_overruled() -> None:
    assert load_config("dataset=iemocap").labels.name == "four"
    assert load_config("dataset=iemocap", "labels=native").labels.name == "native"
    assert load_dataset("urdu").name == "urdu"


def test_a_folder_of_ones_own_yaml_adds_backbone_and_corpus(tmp_path: Path) -> None:
    """What CONTRIBUTING shows: a fifth backbone and a CSV corpus need only YAML."""
    (tmp_path / "backbone").mkdir()
    (tmp_path / "dataset").mkdir()
    (tmp_path / "backbone" / "mine.yaml").write_text("name: mine\nfamily: hubert\ncheckpoint: /models/mine\n")
    (tmp_path / "dataset" / "ours.yaml").write_text("defaults: [csv]\nname: ours\ntable: ours.csv\nlanguage: fi\n")
    done = run("--config-dir", str(tmp_path), "backbone=mine", "dataset=ours", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "checkpoint: /models/mine" in done.stdout
    assert "table: ours.csv" in done.stdout
    assert "reader: csv" in done.stdout


def test_the_run_id_is_the_same_however_the_settings_were_typed() -> None:
    reference = identity(load_config())
    same = [
        ("seed=0", "trainer.epochs=12"),
        ("out=/elsewhere", "device=cpu", "trainer.workers=3", "eval.batch_size=1", "eval.corpora=[demo_de]"),
        ("trainer=finetune", "head=one_layer", "dataset.root=/data/demo"),
        ("labels.name=other",),
        ("cache.folder=/scratch", "cache.max_gib=1", "cache.audio=false", "cache.features=false"),
    ]
    for overrides in same:
        assert identity(load_config(*overrides)) == reference, overrides
    for override in ("seed=1", "trainer.epochs=21", "head=mlp", "backbone=hubert_tiny_random", "dataset.split_seed=1"):
        assert identity(load_config(override)) != reference, override
