#!/usr/bin/env bash
# The labeled rows may not leave their place: only the model travels, and goes on with texts alone.
source "$(dirname "$0")/start.sh"

# there: --forget-rows keeps nothing in the model from which training rows could be read
textlabel fit films.csv --backbone "$backbone" --out there --forget-rows

# here: no labeled row is read, only the new texts; recipes for this are `tent` and `shot`
textlabel adapt there --unlabeled corpus.csv --recipe "${RECIPE:-tent}" --out here

# did it help? It need not: without labels nobody can tell beforehand, so compare on a few
for model in there here; do
  textlabel annotate corpus.csv --model $model --out labeled-$model
  textlabel evaluate labeled-$model --gold gold.csv
done
