"""Read the copy of a run back with the own reader of its tracker."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

Points = dict[str, list[tuple[int, float]]]


class Seen(NamedTuple):
    """A tracker's copy of a run: one, or all that the project has.

    settings: by their full names, as text. points: by metric: epoch and value of each. figures: their names.
    table: the text of the table of evaluations. facts: the text of the facts and warnings.
    """

    name: str
    settings: dict[str, str]
    points: Points
    figures: set[str]
    table: str
    facts: str = ""

    def last(self, metric: str) -> float:
        return self.points[metric][-1][1]


def read(tracker: str, folder: Path, project: str) -> Seen:
    """Return the only copy that a tracker has of the run in a folder."""
    [copy] = READERS[tracker](folder, project)
    return copy


def tensorboard(folder: Path, project: str) -> list[Seen]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    texts = {
        name: events.Tensors(f"{name}/text_summary")[-1].tensor_proto.string_val[0].decode()
        for name in ("settings", "results", "facts")
        if f"{name}/text_summary" in tags["tensors"]
    }
    rows = [line.strip("| ").split(" | ") for line in texts["settings"].splitlines()[2:]]
    points = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in tags["scalars"]}
    figures = {name.removeprefix("figures/") for name in tags["images"]}
    assert all(events.Images(name)[0].encoded_image_string.startswith(b"\x89PNG") for name in tags["images"])
    results = texts.get("results", ""), texts.get("facts", "")
    return [Seen(folder.name, {row[0]: row[-1] for row in rows}, points, figures, *results)]


def mlflow(folder: Path, project: str) -> list[Seen]:
    import mlflow

    client = mlflow.MlflowClient()
    [experiment] = client.search_experiments(filter_string=f"name = '{project}'")
    copies = []
    for run in client.search_runs([experiment.experiment_id]):
        identifier = run.info.run_id
        histories = {name: client.get_metric_history(identifier, name) for name in run.data.metrics}
        points = {name: [(point.step, point.value) for point in history] for name, history in histories.items()}
        files = {file.path for place in ("", "figures") for file in client.list_artifacts(identifier, place)}
        figures = {Path(file).stem for file in files if file.startswith("figures/")}
        table = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/results.csv") if "results.csv" in files else ""
        assert "config.yaml" in files
        copies.append(Seen(run.info.run_name, run.data.params, points, figures, table, json.dumps(run.data.tags)))
    return copies


def trackio(folder: Path, project: str) -> list[Seen]:
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    copies = []
    for run in trackio.Api().runs(project):
        points, figures, tables = defaultdict(list), set(), {}
        for row in SQLiteStorage.get_logs(project, run.name, run_id=run.id):
            for name, value in row.items():
                kind = value.get("_type") if isinstance(value, dict) else None
                if kind == "trackio.image":
                    figures.add(name.removeprefix("figures/"))
                elif kind == "trackio.table":
                    tables[name] = json.dumps(value)
                elif isinstance(value, int | float) and name != "step":
                    points[name].append((row["step"], value))
        settings = {key: str(value) for key, value in run.config.items()}
        texts = tables.get("results", ""), tables.get("facts", "")
        copies.append(Seen(run.name, settings, dict(points), figures, *texts))
    return copies


def wandb(folder: Path, project: str) -> list[Seen]:
    """Offline, each command writes a folder of its own; those with the same identifier are one run."""
    from wandb.proto.wandb_internal_pb2 import Record

    copies: dict[str, Seen] = {}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for content in _log_records(path.read_bytes()):
            record = Record.FromString(content)
            if record.WhichOneof("record_type") == "run":
                run = record.run
                assert run.project == project
                seen = copies.setdefault(run.run_id, Seen(run.display_name, {}, {}, set(), ""))
                seen.settings.update({item.key: str(json.loads(item.value_json)) for item in run.config.update})
                copies[run.run_id] = seen = seen._replace(facts=seen.facts + run.notes)
            elif record.WhichOneof("record_type") == "config":
                seen.settings.update({item.key: str(json.loads(item.value_json)) for item in record.config.update})
            elif record.WhichOneof("record_type") == "history":
                items: dict[str, Any] = {}
                for item in record.history.item:  # the value of a figure comes in parts: figures/x and format
                    name, *part = item.nested_key or [item.key]
                    value = json.loads(item.value_json)
                    items[name] = {**items.get(name, {}), part[0]: value} if part else value
                copies[run.run_id] = seen = _with_row(seen, items)
    return list(copies.values())


def _with_row(seen: Seen, items: dict[str, Any]) -> Seen:
    """Return a copy of a run with a row of its history. wandb adds the last epoch to a row that has none."""
    table = seen.table
    for name, value in items.items():
        if isinstance(value, dict) and value["_type"].startswith("images"):
            seen.figures.add(name.removeprefix("figures/"))
        elif isinstance(value, dict):
            table = value["_type"]
        elif not name.startswith("_") and not name.endswith("/epoch") and name != "epoch":
            training = name.rpartition("/")[0]
            epoch = items.get(f"{training}/epoch" if training else "epoch", 0)
            seen.points.setdefault(name, []).append((epoch, value))
    return seen._replace(table=table)


def _log_records(content: bytes) -> list[bytes]:
    """Return the records of a file of wandb: LevelDB's log format, behind a head of seven bytes."""
    records, whole, place = [], b"", 7
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            records.append(whole)
            whole = b""
    return records


READERS = {"tensorboard": tensorboard, "mlflow": mlflow, "trackio": trackio, "wandb": wandb}
