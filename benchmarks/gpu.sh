#!/usr/bin/env bash
# Check and measure melt_ser on a GPU, in the order of worth: each part within its seconds, about ten minutes in all.
#
#     benchmarks/gpu.sh [FOLDER]        (default: build/gpu; PYTHON=<python>, by default that of .venv, or python)
#
# FOLDER gets a log of each part, rows.jsonl of the training steps, and gpu.json with the last line of each benchmark.
set -u
cd "$(dirname "$0")/.."
folder=${1:-build/gpu}
mkdir -p "$folder"
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python)}
export HF_HUB_OFFLINE=1
failed=0

part() { # part NAME SECONDS COMMAND...
  local name=$1 seconds=$2
  shift 2
  echo "== $name"
  timeout "$seconds" "$@" > "$folder/$name.log" 2>&1
  local code=$?
  [ $code -eq 0 ] || { failed=1; echo "$name ended with code $code; see $folder/$name.log"; }
  tail -n 3 "$folder/$name.log" | cut -c -300
}

if [ "${MELT_SER_GPU:-cuda}" = cuda ]; then
  "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())" || {
    echo "error: PyTorch finds no CUDA GPU here; install a CUDA build of torch, or set MELT_SER_GPU=cpu for a try." >&2
    exit 2
  }
  sizes=(--size base --batch-sizes 8 32 --device cuda)
  sample=(--full)
else
  sizes=(--size tiny --batch-sizes 4 --device cpu --clips 60 --batches 4)
  sample=(--sample 8 --no-memory)
fi
rm -f "$folder/rows.jsonl"

part graphs 120 "$python" -m pytest tests/integration/test_gpu.py -k graphs
part steps 200 "$python" benchmarks/gpu_step.py --families wav2vec2 wavlm "${sizes[@]}" --out "$folder/rows.jsonl"
part finetune 120 "$python" benchmarks/finetune.py --families wav2vec2 --rounds 1 "${sample[@]}" "${sizes[@]:0:6}"
part more_steps 120 "$python" benchmarks/gpu_step.py --families hubert data2vec "${sizes[@]}" --out "$folder/rows.jsonl"
part tests 240 "$python" -m pytest tests/integration/test_gpu.py -x
part inference 60 "$python" benchmarks/inference.py --rounds 1 --families wav2vec2 --size "${sizes[1]}" --clips 64

"$python" - "$folder" <<'PYTHON'
import json, sys
from pathlib import Path

folder, found = Path(sys.argv[1]), {}
for log in sorted(folder.glob("*.log")):
    lines = log.read_text(errors="replace").splitlines()
    try:
        found[log.stem] = json.loads(lines[-1])
    except (IndexError, ValueError):
        found[log.stem] = lines[-1:]
(folder / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
print(f"result: {folder / 'gpu.json'}")
PYTHON
exit $failed
