#!/usr/bin/env bash
# Shards are made by a Ray cluster, here one that is started on this machine. Needs: pip install 'textlabel[ray]'
source "$(dirname "$0")/start.sh"

textlabel fit films.csv --backbone "$backbone" --out model
textlabel annotate corpus.csv --model model --engine ray --actors 1 --out labeled
textlabel evaluate labeled --gold gold.csv
