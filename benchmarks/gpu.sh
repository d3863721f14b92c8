#!/usr/bin/env bash
# Check and measure melt_ser on a GPU, in the order of worth, within ten minutes.
#
#     benchmarks/gpu.sh [FOLDER]        (default: build/gpu; PYTHON=<python>, by default that of .venv, or python)
#
# FOLDER gets a log of each part, rows.jsonl with a line for each training as soon as it is measured, and gpu.json with
# all rows and the last line of each log, written anew after each part. No part runs longer than its seconds, and none
# begins when the time is over: MELT_SER_GPU_SECONDS, 570 unless you set it. MELT_SER_GPU=cpu tries all parts on a CPU
# with small models.
set -u
cd "$(dirname "$0")/.."
folder=${1:-build/gpu}
mkdir -p "$folder"
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python)}
budget=${MELT_SER_GPU_SECONDS:-570}
export HF_HUB_OFFLINE=1 PYTHONPATH="$PWD/src:$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH}"
failed=0

summarise() {
  "$python" - "$folder" <<'PYTHON'
import json, sys
from pathlib import Path

folder, found = Path(sys.argv[1]), {}
rows = folder / "rows.jsonl"
found["rows"] = [json.loads(line) for line in rows.read_text().splitlines()] if rows.is_file() else []
for log in sorted(folder.glob("*.log")):
    lines = log.read_text(errors="replace").splitlines()
    try:
        found[log.stem] = json.loads(lines[-1])
    except (IndexError, ValueError):
        found[log.stem] = lines[-3:]
(folder / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
PYTHON
}

part() { # part NAME SECONDS COMMAND...
  local name=$1 seconds=$2 left=$((budget - SECONDS))
  shift 2
  if [ "$left" -lt 15 ]; then
    echo "== $name: left out, the time is over"
    return
  fi
  [ "$seconds" -lt "$left" ] || seconds=$left
  echo "== $name, at most $seconds s"
  timeout --kill-after=5 "$seconds" "$@" < /dev/null > "$folder/$name.log" 2>&1
  local code=$?
  [ $code -eq 0 ] || { failed=1; echo "$name ended with code $code (124: its time was over); see $folder/$name.log"; }
  tail -n 3 "$folder/$name.log" | cut -c -300
  summarise
}

if [ "${MELT_SER_GPU:-cuda}" = cuda ]; then
  "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())" || {
    echo "error: PyTorch finds no CUDA GPU here; install a CUDA build of torch, or set MELT_SER_GPU=cpu for a try." >&2
    exit 2
  }
  step=("$python" benchmarks/gpu_step.py --device cuda --out "$folder/rows.jsonl")
  base=(--size base)
  large=(--size large --clips 800 --batches 30)
  trainer=(--size base --batch-sizes 8 32 --device cuda --clips 800 --full)
  labels=(--size base --clips 512 --device cuda --overrides eval.batch_size=64)
else
  step=("$python" benchmarks/gpu_step.py --device cpu --out "$folder/rows.jsonl")
  base=(--size tiny --clips 48 --batches 3)
  large=(--size tiny --clips 48 --batches 3)
  trainer=(--size tiny --batch-sizes 4 --device cpu --clips 16 --sample 8 --no-memory)
  labels=(--size tiny --clips 8 --device cpu)
fi
rm -f "$folder"/*.log "$folder/rows.jsonl" "$folder/gpu.json"
gpu_tests=("$python" -m pytest -q -p no:cacheprovider tests/integration/test_gpu.py)

part graphs 90 "${gpu_tests[@]}" -k "graphs or auto"
part steps 120 "${step[@]}" "${base[@]}" --families wav2vec2
part trainer 100 "$python" benchmarks/finetune.py --families wav2vec2 --rounds 1 "${trainer[@]}"
part families 150 "${step[@]}" "${base[@]}" --families wavlm whisper hubert data2vec --graphs yes
part inference 60 "$python" benchmarks/inference.py --rounds 1 --families wav2vec2 "${labels[@]}"
part large 100 "${step[@]}" "${large[@]}" --families wav2vec2 wavlm whisper hubert data2vec --graphs yes
part tests 240 "${gpu_tests[@]}" -x -k "not graphs and not auto"

echo "result: $folder/gpu.json"
exit $failed
