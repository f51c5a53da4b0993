#!/usr/bin/env bash
# Several processes share the work, and the labels are those of one. Here two of a processor; on a machine with
# GPUs one each, by the same commands with another file:
#
#   accelerate launch --config_file recipes/accelerate/several_gpus.yaml -m textlabel fit ...
source "$(dirname "$0")/start.sh"

export OMP_NUM_THREADS=1 # threads of two processes would be in each other's way
launch="accelerate launch --config_file $here/../accelerate/cpu.yaml --main_process_port ${PORT:-29533} -m textlabel"

# `-m textlabel` takes the place of the command `textlabel`; only the first process writes
$launch fit films.csv --backbone "$backbone" --out model
$launch annotate corpus.csv --model model --out labeled
textlabel evaluate labeled --gold gold.csv
