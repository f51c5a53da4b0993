#!/usr/bin/env bash
# Two processes share the work, and the labels are those of one. On GPUs: recipes/accelerate/several_gpus.yaml.
source "$(dirname "$0")/start.sh"

export OMP_NUM_THREADS=1
launch="accelerate launch --config_file $here/../accelerate/cpu.yaml --main_process_port ${PORT:-29533} -m textlabel"
$launch fit films.csv --backbone "$backbone" --out model
$launch annotate corpus.csv --model model --out labeled
textlabel evaluate labeled --gold gold.csv
