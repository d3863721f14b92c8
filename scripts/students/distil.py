"""Train a small encoder, the student, to give the hidden states of a pretrained one, the teacher, on unlabelled speech.

    python scripts/students/distil.py wav2vec2 --speech SPEECH --teacher openai/whisper-tiny.en --out STUDENT

SPEECH is the folder of gather_speech.py. Any encoder with 50 frames a second can teach. Stopped, the same command goes
on from its last checkpoint. The student is a transformers checkpoint in float16, with the settings in distil.json.

The loss is that of DistilHuBERT (Chang et al., ICASSP 2022): from the student's last layer, one linear map for each
layer of the teacher; the L1 distance plus minus the log sigmoid of the cosine similarity, over frames. The teacher's
states are normalised over features first, so that no layer and no feature dominates.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from chunks import BATCH_SECONDS, Speech, Targets, batch_of, teach
from shapes import FAMILIES, SHAPE
from torch import Tensor, nn

from melt_ser.audio.augment import Augmentation
from melt_ser.config import AugmentConfig, BackboneConfig
from melt_ser.core import files
from melt_ser.core.memory import keep_freed_memory
from melt_ser.data.batches import ShuffledBatches
from melt_ser.models.checkpoint_config import family_of
from melt_ser.models.checkpoint_files import weights_digest
from melt_ser.models.families import load_backbone


class Student(nn.Module):
    """An encoder with one linear map for each layer of the teacher."""

    def __init__(self, family: str, layers: int, features: int, seed: int) -> None:
        super().__init__()
        self.backbone = load_backbone(BackboneConfig(family=family, architecture=SHAPE), seed)
        torch.manual_seed(seed)
        self.maps = nn.Linear(self.backbone.hidden_size, layers * features)

    def forward(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the guesses of all layers, (batch, frames, layers * features), and the frame mask."""
        output = self.backbone(audio, lengths)
        return self.maps(output.last_hidden_state), output.frame_mask


def start_from(folder: Path, backbone: nn.Module) -> None:
    """Copy the weights of a student that have the name and the shape of a weight of `backbone`; say how many do."""
    family = family_of(json.loads((folder / "config.json").read_text())["model_type"])
    assert family in FAMILIES
    theirs = load_backbone(BackboneConfig(family=family, checkpoint=str(folder)), 0).state_dict()
    ours = backbone.state_dict()
    same = {name: tensor for name, tensor in theirs.items() if name in ours and tensor.shape == ours[name].shape}
    backbone.load_state_dict(same, strict=False)
    print(f"{len(same)} of {len(ours)} weights and buffers are those of {folder}", flush=True)


@torch.no_grad()
def fit_maps(student: Student, speech: Speech, targets: Targets, seed: int, steps: int = 40) -> None:
    """Fit the linear maps of a student that has learnt before, by least squares on the chunks of some steps.

    By gradients they take some 200 steps, in which the student is pulled away from the weights that it began with.
    """
    maps, width = student.maps, student.maps.in_features + 1  # the last column is for the bias
    products = torch.zeros(width, width, dtype=torch.float64)
    answers = torch.zeros(width, maps.out_features, dtype=torch.float64)
    student.eval()
    for rows in rows_of_steps(speech, seed, 0, steps):
        audio, lengths = batch_of(map(speech.chunk, rows), do_normalize=True)
        output = student.backbone(audio, lengths)
        states, last = common_frames(output.last_hidden_state, output.frame_mask, targets, rows)
        last = nn.functional.pad(last, (0, 1), value=1.0).double()
        products += last.T @ last
        answers += last.T @ states.flatten(1).double()
    solved = torch.linalg.lstsq(products + 1e-3 * torch.eye(width), answers).solution
    maps.weight.copy_(solved[:-1].T)
    maps.bias.copy_(solved[-1])


def common_frames(own: Tensor, frame_mask: Tensor, targets: Targets, rows: list[int]) -> tuple[Tensor, Tensor]:
    """Return the frames that teacher and student have; the teacher may have one more at the end of a chunk.

    own: (batch, frames, any features) of the student. The teacher's states, (frames, layers, features), are normalised.
    """
    counts = np.minimum(np.diff(targets.starts)[rows], frame_mask.sum(dim=1).numpy())
    known = [targets.states[targets.starts[row] :][:count] for row, count in zip(rows, counts, strict=True)]
    states = torch.from_numpy(np.concatenate(known)).float()
    states = nn.functional.layer_norm(states, states.shape[-1:])
    return states, torch.cat([frames[:count] for frames, count in zip(own.float(), counts, strict=True)])


def loss_of(guesses: Tensor, frame_mask: Tensor, targets: Targets, rows: list[int]) -> Tensor:
    """Return the mean loss over the frames that teacher and student have."""
    states, guessed = common_frames(guesses, frame_mask, targets, rows)
    guessed = guessed.view(states.shape)
    similarity = nn.functional.cosine_similarity(guessed, states, dim=-1)
    return (guessed - states).abs().mean() - nn.functional.logsigmoid(similarity).mean()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("family", choices=FAMILIES)
    options.add_argument("--speech", type=Path, required=True, help="folder of gather_speech.py")
    options.add_argument("--teacher", required=True, help="hub id or folder of the teacher")
    options.add_argument("--teacher-family", default="whisper")
    options.add_argument("--layers", type=int, nargs="+", default=[1, 2, 3], help="hidden states of the teacher")
    options.add_argument("--speeds", type=float, nargs="+", default=[1.0, 0.85], help="of the speech")
    options.add_argument("--out", type=Path, required=True, help="folder of the student")
    options.add_argument(
        "--work",
        type=Path,
        required=True,
        help="folder for the teacher's states: 420 MB for an hour of speech",
    )
    options.add_argument("--start", type=Path, help="folder of a student, of any family, to start from")
    options.add_argument(
        "--fit-maps", action="store_true", help="fit the maps to the teacher by least squares first, for --start"
    )
    options.add_argument("--steps", type=int, default=5000)
    options.add_argument("--learning-rate", type=float, default=3e-3)
    options.add_argument("--noise", type=float, default=0.5, help="share of chunks with white noise, 5 to 30 dB below")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument(
        "--precision", choices=("bf16", "fp32"), default="bf16", help="fp32 is faster on a CPU without AVX-512 or AMX"
    )
    options.add_argument("--save-every", type=int, default=200, help="steps between checkpoints")
    arguments = options.parse_args()
    keep_freed_memory()
    speech = Speech(arguments.speech, arguments.speeds)
    known = BackboneConfig(family=arguments.teacher_family, checkpoint=arguments.teacher)
    teacher = load_backbone(known, 0).eval()
    weights = weights_digest(known)
    targets = teach(teacher, weights, arguments.layers, speech, arguments.work, arguments.precision)
    student = Student(arguments.family, len(arguments.layers), teacher.hidden_size, arguments.seed)
    if arguments.start is not None:
        start_from(arguments.start, student.backbone)
    if arguments.fit_maps:
        fit_maps(student, speech, targets, arguments.seed)
    train(student, speech, targets, arguments)
    student.backbone.model.half()
    student.backbone.save(arguments.out)
    about = {name: value for name, value in vars(arguments).items() if not isinstance(value, Path)}
    about |= {
        "teacher": Path(arguments.teacher).name if Path(arguments.teacher).is_dir() else arguments.teacher,
        "teacher_weights": weights,
        "start": arguments.start and arguments.start.name,
        "hours": round(speech.hours, 2),
        "weights": sum(weight.numel() for weight in student.backbone.parameters()),
    }
    files.write_json(arguments.out / "distil.json", about)


def train(student: Student, speech: Speech, targets: Targets, arguments: argparse.Namespace) -> None:
    """Train with AdamW and a cosine schedule; go on from the checkpoint beside `arguments.out`, if there is one."""
    parameters = list(student.parameters())
    optimiser = torch.optim.AdamW(parameters, arguments.learning_rate, (0.9, 0.98), weight_decay=0.01, fused=True)
    checkpoint, first = arguments.out.with_name(f"{arguments.out.name}.checkpoint"), 0
    if checkpoint.is_file():
        stored = torch.load(checkpoint, weights_only=True)
        student.load_state_dict(stored["student"])
        optimiser.load_state_dict(stored["optimiser"])
        first = stored["step"]
    augment = Augmentation(AugmentConfig(noise_probability=arguments.noise, noise_snr_decibels=[5.0, 30.0]))
    total, since = 0.0, time.monotonic()
    student.train()
    for step, rows in enumerate(rows_of_steps(speech, arguments.seed, first, arguments.steps), first + 1):
        for group in optimiser.param_groups:
            cosine = 0.5 + 0.5 * math.cos(math.pi * (step - 1) / arguments.steps)
            group["lr"] = arguments.learning_rate * min(1.0, step / 200) * cosine
        generator = np.random.default_rng((arguments.seed, step, 1))
        audio, lengths = batch_of([augment(speech.chunk(row), generator) for row in rows], do_normalize=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.precision == "bf16"):
            guesses, frame_mask = student(audio, lengths)
        loss = loss_of(guesses, frame_mask, targets, rows)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        total += loss.item()
        if step % arguments.save_every == 0:
            stored = {"student": student.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing_file(checkpoint) as temporary:
                torch.save(stored, temporary)
            loss_now, seconds = total / arguments.save_every, (time.monotonic() - since) / arguments.save_every
            print(f"step {step}/{arguments.steps}, loss {loss_now:.4f}, {seconds:.2f} s a step", flush=True)
            total, since = 0.0, time.monotonic()
    checkpoint.unlink(missing_ok=True)


def rows_of_steps(speech: Speech, seed: int, first: int, last: int) -> Iterator[list[int]]:
    """Yield the chunks of each step from `first` to `last` - 1, counted from 0; an epoch has each chunk once."""
    chunks = max(1, round(BATCH_SECONDS / float(speech.seconds.mean())))
    batches = ShuffledBatches(speech.seconds, chunks, seed)
    steps = itertools.chain.from_iterable(map(batches.batches, itertools.count()))
    return itertools.islice(steps, first, last)


if __name__ == "__main__":
    main()
