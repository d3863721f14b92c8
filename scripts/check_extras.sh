#!/usr/bin/env bash
# Install each extra of the package in an environment of its own, by uv, and run a test of its purpose:
#
#   scripts/check_extras.sh [EXTRA ...]      all of them without a name; "plain" is the package without an extra
#
# uv links the files of its cache, so ten environments take little more disk than one. PYTHON=3.13 chooses the Python.
set -euo pipefail
cd "$(dirname "$0")/.."
declare -A tests=(
    [plain]="tests/integration/test_train_probe.py -k plain_transformers_load"
    [tensorboard]="tests/integration/test_tracking.py -k settings_epochs_scores_figures_and_table"
    [wandb]="tests/integration/test_tracking.py -k settings_epochs_scores_figures_and_table"
    [mlflow]="tests/integration/test_tracking.py -k settings_epochs_scores_figures_and_table"
    [trackio]="tests/integration/test_tracking.py -k settings_epochs_scores_figures_and_table"
    [annotate]="tests/integration/annotate/test_annotate.py -k turns_lines_into_labels"
    [words]="tests/unit/annotation/test_filters.py -k few_words_counts_words"
    [asr]="tests/unit/evaluation/test_word_error.py"
    [audformat]="tests/unit/corpora/readers/test_audformat_database.py -k splits_come_from_the_tables"
    [audb]="tests/unit/corpora/download/test_audb.py"
    [mteb]="tests/unit/bridges/test_mteb.py"
    [tune]="tests/unit/tuning/test_tuning_study.py"
    [voice_activity]="tests/integration/test_predict_turns.py -k voice_activity"
    [onnx]="tests/integration/test_export_onnx.py"
    [serve]="tests/unit/serving"
    [listening]="tests/unit/label_study/test_preference.py -k finds_a_real_preference"
    [acoustics]="tests/integration/test_egemaps_run.py -k learns_the_tones"
    [joblib]="tests/integration/test_sweeps.py -k several_processes"
    [submitit]="tests/integration/test_sweeps.py -k several_processes"
    [ray]="tests/integration/test_sweeps.py -k several_processes"
    [docs]="tests/unit/test_site.py -k builds"
)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=()
for extra in "${@:-${!tests[@]}}"; do
    for name in $extra; do
        [ -n "${tests[$name]:-}" ] || { echo "error: no test is named here for the extra '$name'." >&2; exit 2; }
        package=$([ "$name" = plain ] && echo . || echo ".[$name]")
        python="$folder/$name/bin/python"
        uv venv --quiet ${PYTHON:+--python "$PYTHON"} "$folder/$name"
        uv pip install --quiet --python "$python" "$package" pytest pytest-timeout hypothesis
        # The junit file tells a test that was skipped, since its package is missing, from one that passed.
        # shellcheck disable=SC2086
        if OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 "$python" -m pytest -p no:cacheprovider --junitxml "$folder/$name.xml" \
            ${tests[$name]} > "$folder/$name.log" 2>&1 && grep -q '<testcase [^>]*/>' "$folder/$name.xml"; then
            echo "$name: $(tail -1 "$folder/$name.log")"
        else
            cat "$folder/$name.log"
            failed+=("$name")
        fi
        rm -rf "${folder:?}/$name"
    done
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
