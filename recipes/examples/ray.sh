#!/usr/bin/env bash
# A corpus is labeled in shards by the actors of a Ray cluster; a node that is lost loses nothing. Here the cluster
# is started on this machine and goes with the command; of your own give --ray-address HOST:PORT.
# Needs: pip install 'textlabel[ray]'
source "$(dirname "$0")/start.sh"

# fitting takes one machine
textlabel fit films.csv --backbone "$backbone" --out model

# one actor; --actors 8 --gpus-per-actor 1 on a cluster of eight GPUs. The labels are the same to the last bit
textlabel annotate corpus.csv --model model --engine ray --actors 1 --out labeled
textlabel evaluate labeled --gold gold.csv
