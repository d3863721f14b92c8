#!/bin/sh
# The table of the MELT paper: GPT-4o's labels against MELD's, four backbones, six test corpora (conf/experiment/melt_table.yaml
# says what follows the paper and where it is silent). Needs the releases under $MELT_SER_DATA (folders melt, melt_human,
# tess, ravdess, crema_d, iemocap; melt_human may be a link to melt), the checkpoints, and should have a GPU.
#
#   scripts/reproduce_melt_table.sh --dry-run [KEY=VALUE ...]   every run, whether it is finished, its time, what is lacking
#   scripts/reproduce_melt_table.sh [KEY=VALUE ...]             run what is not finished; stopped, the same command goes on
#   scripts/reproduce_melt_table.sh --text ...                  the rows "text alone" (experiment=melt_text), likewise
#
# Settings are train's: out=FOLDER, seed=0,1,2, backbone=wavlm, hydra/launcher=joblib, ...; PYTHON=<python> chooses one.
set -eu
python=${PYTHON:-python3}
"$python" -c 'import melt_ser' 2>/dev/null || { echo "error: $python has no melt_ser; set PYTHON=<one that has>." >&2; exit 2; }
experiment=melt_table
if [ "${1:-}" = --text ]; then
    experiment=melt_text
    shift
fi
if [ "${1:-}" = --dry-run ]; then
    shift
    exec "$python" "$(dirname "$0")/plan.py" "experiment=$experiment" "$@"
fi
exec "$python" -m melt_ser.train "experiment=$experiment" "$@"
