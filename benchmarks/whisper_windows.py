"""Compare Whisper's encoder on clips as long as they are with clips padded to 30 s: clips a second.

    python benchmarks/whisper_windows.py WHISPER_FOLDER AUDIO... [--clips 64] [--rounds 3] [--device cpu]

AUDIO: files, or folders of them. Both ways compute the same clips in the same batches; rounds alternate, the median
counts. The script prints a table and a line of JSON.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch

from common import make_parser, print_result, resolve_device


def read(paths: list[Path], number: int) -> list[torch.Tensor]:
    """Return the first clips in the files and folders, (samples,) each, from the longest to the shortest."""
    from melt_ser.audio.decode import read_audio
    from melt_ser.audio.waveform import prepare_waveform

    files = [file for path in paths for file in (sorted(path.rglob("*.wav")) if path.is_dir() else [path])]
    waveforms = [prepare_waveform(torch.from_numpy(read_audio(file)), False) for file in files[:number]]
    return sorted(waveforms, key=len, reverse=True)


@torch.inference_mode()
def seconds_of(folder: str, clips: list[torch.Tensor], pad: bool, batch_size: int, device: str) -> float:
    """Return the seconds of one pass over all clips."""
    from melt_ser.audio.waveform import pad_together
    from melt_ser.config import BackboneConfig
    from melt_ser.models.families import load_backbone

    config = BackboneConfig(family="whisper", checkpoint=folder, pad_to_window=pad)
    backbone = load_backbone(config, 0).to(device).eval()
    batches = [pad_together(clips[first : first + batch_size]) for first in range(0, len(clips), batch_size)]
    backbone(batches[-1][0].to(device), batches[-1][1])  # the first pass allocates
    started = time.perf_counter()
    for audio, lengths in batches:
        backbone(audio.to(device), lengths).last_hidden_state.sum().item()
    return time.perf_counter() - started


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("audio", type=Path, nargs="+")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args()
    device = resolve_device(options.device)
    clips = read(options.audio, options.clips)
    taken: dict[str, list[float]] = {"sliced": [], "padded": []}
    for _ in range(options.rounds):
        for name, times in taken.items():
            times.append(seconds_of(options.checkpoint, clips, name == "padded", options.batch_size, device))
    rates = {name: len(clips) / sorted(times)[len(times) // 2] for name, times in taken.items()}
    rows = [{"system": name, "clips_per_second": round(rate, 1)} for name, rate in rates.items()]
    mean_seconds = sum(map(len, clips)) / len(clips) / 16000
    print_result(
        *("whisper_windows", device, rows),
        clips=len(clips),
        mean_seconds=round(mean_seconds, 2),
        ratio=round(rates["sliced"] / rates["padded"], 1),
    )


if __name__ == "__main__":
    main()
