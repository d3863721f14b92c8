#!/bin/sh
# The runs of docs/evidence.md: eGeMAPS, random weights, the students in the package and Whisper tiny.en; probe, frozen and
# fine-tuned; on EmoDB (leave one speaker out), on URDU (five folds of speakers), and across both. Needs the corpora under
# $MELT_SER_DATA (folders emodb, urdu).
#
#   scripts/evidence.sh                 all runs, the fast ones first; stopped, the same command goes on
#   scripts/evidence.sh probe recipes   some of: probe frozen recipes across students level padded finetuned
#
# OUT=<folder> for the runs (runs/evidence); WHISPER=<hub id or folder> (openai/whisper-tiny.en); PRECISION=bf16 for the
# fine-tuned ones, if the CPU has it (auto); PYTHON=<python> chooses one.
set -u
python=${PYTHON:-python3}
out=${OUT:-runs/evidence}
whisper="backbone=whisper_tiny backbone.checkpoint=${WHISPER:-openai/whisper-tiny.en} backbone.name=whisper_tiny_en"
emodb="dataset=emodb dataset.folds=leave_one_out dataset.fold=all"
urdu="dataset=urdu dataset.fold=all"
failed=0
"$python" -c 'import melt_ser' 2>/dev/null || { echo "error: $python has no melt_ser; set PYTHON=<one that has>." >&2; exit 2; }

train() {
    "$python" -m melt_ser.train "out=$out" "$@" || failed=1
}

probe() {
    for corpus in "$emodb" "$urdu"; do
        train backbone=egemaps trainer=probe trainer.method=linear_svm $corpus
        train backbone=egemaps trainer=probe $corpus
        for seed in 0 1 2; do
            train backbone=whisper_random trainer=probe $corpus "seed=$seed"
        done
        train $whisper trainer=probe $corpus
        train $whisper trainer=probe head.pooling=mean $corpus
        train $whisper trainer=probe head.layers=chosen $corpus
    done
}

frozen() {
    for corpus in "$emodb" "$urdu"; do
        for seed in 0 1 2; do
            train $whisper trainer=frozen $corpus "seed=$seed"
            train backbone=whisper_random trainer=frozen $corpus "seed=$seed"
        done
    done
}

recipes() { # from the recipe of version 1 to that of today, one step at a time
    constant="trainer.schedule=constant"
    for corpus in "$emodb" "$urdu"; do
        for steps in \
            "head=linear trainer.refit=false $constant" \
            "head=linear trainer.refit=false trainer.head_learning_rate=1e-2 $constant" \
            "head=linear trainer.refit=false trainer.head_learning_rate=1e-2 trainer.epochs=100 $constant" \
            "head=weighted trainer.refit=false $constant" \
            "head=weighted trainer.refit=false trainer.head_learning_rate=1e-2 trainer.epochs=100 $constant" \
            "head=weighted trainer.refit=false head.standardise=true $constant" \
            "head=weighted trainer.refit=false head.standardise=true head.pooling=statistics $constant" \
            "head=statistics head.dropout=0 trainer.refit=false head.pooling=mean $constant" \
            "head=statistics head.dropout=0 trainer.refit=false $constant" \
            "head=statistics head.dropout=0 $constant" \
            "head=statistics head.dropout=0 trainer.head_learning_rate=1e-2 $constant" \
            "head=statistics head.dropout=0 trainer.head_learning_rate=3e-4 trainer.epochs=100 $constant" \
            "head=statistics head.dropout=0.3 $constant" \
            "head=statistics head.dropout=0 trainer.weight_decay=1 trainer.optimiser=adamw trainer.schedule=cosine"; do
            train $whisper trainer=frozen $corpus $steps
        done
        for model in "$whisper" "backbone=wavlm_tiny" "backbone=wav2vec2_tiny"; do
            train $model trainer=frozen $corpus $constant
            for steps in "" "$constant" "trainer.weight_decay=0.03" "trainer.weight_decay=0.1"; do
                train $model trainer=frozen $corpus head.dropout=0 $steps
            done
        done
    done
}

across() {
    for corpora in "dataset=emodb dataset.folds=leave_one_out" "dataset=urdu"; do
        for model in "backbone=egemaps trainer=probe trainer.method=linear_svm" "$whisper trainer=probe" "$whisper trainer=frozen"; do
            train $model $corpora dataset.fold=all labels=four "eval.corpora=[emodb,urdu]"
        done
    done
}

students() { # the four in the package, and random weights in their shape
    for corpus in "$emodb" "$urdu"; do
        for student in wav2vec2_tiny hubert_tiny wavlm_tiny data2vec_tiny; do
            train "backbone=$student" trainer=probe $corpus
            for seed in 0 1 2; do
                train "backbone=$student" backbone.init=random trainer=probe $corpus "seed=$seed"
                train "backbone=$student" trainer=frozen $corpus "seed=$seed"
            done
        done
    done
}

level() { # what the level of a clip tells, and URDU with all clips at one level, in $OUT.one_level
    "$python" scripts/clip_level.py emodb "$MELT_SER_DATA/emodb" --folds leave_one_out || failed=1
    "$python" scripts/clip_level.py urdu "$MELT_SER_DATA/urdu" --out "$out.one_level/urdu" || failed=1
    runs_of_level
    runs=$out out=$out.one_level
    runs_of_level "dataset.root=$out/urdu"
    out=$runs
}

runs_of_level() {
    for seed in 0 1 2; do
        train backbone=whisper_random trainer=probe $urdu "seed=$seed" "$@"
        train $whisper trainer=frozen $urdu "seed=$seed" "$@"
    done
    for model in "backbone=egemaps trainer.method=linear_svm" "$whisper" "$whisper head.layers=0" "$whisper head.layers=1" \
        "$whisper head.layers=2" "$whisper head.layers=3" "backbone=wav2vec2_tiny" "backbone=hubert_tiny" "backbone=wavlm_tiny" \
        "backbone=data2vec_tiny"; do
        train $model trainer=probe $urdu "$@"
    done
}

padded() { # clips padded to 30 s, as in transformers, beside clips as long as they are; dev chooses C, or it is fixed
    for strengths in "" "trainer.inverse_regularisation=[0.01]" "trainer.inverse_regularisation=[0.1]"; do
        train $whisper trainer=probe $emodb $strengths
        train $whisper trainer=probe $emodb $strengths backbone.pad_to_window=true
    done
    for seed in 0 1 2; do
        train $whisper trainer=frozen_constant $emodb head.dropout=0 backbone.pad_to_window=true "seed=$seed"
    done
}

finetuned() {
    for corpus in "$emodb" "$urdu"; do
        for seed in 0 1 2; do
            for model in "backbone=wav2vec2_tiny" "backbone=hubert_tiny" "backbone=wavlm_tiny" \
                "backbone=data2vec_tiny head=statistics trainer.backbone_learning_rate=5e-5" \
                "$whisper" "$whisper trainer=lora" "$whisper trainer=lora trainer.lora_rank=14 trainer.lora_alpha=28"; do
                train $model $corpus "trainer.precision=${PRECISION:-auto}" "seed=$seed"
            done
        done
        for model in "backbone=wavlm_tiny backbone.init=random" "backbone=whisper_random" "$whisper trainer=top_layers" \
            "backbone=wavlm_tiny trainer=top_layers" "backbone=hubert_tiny trainer=top_layers"; do
            train $model $corpus "trainer.precision=${PRECISION:-auto}"
        done
    done
}

[ $# -gt 0 ] || set -- probe frozen recipes across students level padded finetuned
for name in "$@"; do
    case $name in
        probe | frozen | recipes | across | students | level | padded | finetuned) "$name" ;;
        *) echo "error: there is no part '$name'; name some of probe frozen recipes across students level padded finetuned." >&2; exit 2 ;;
    esac
done
exit $failed
