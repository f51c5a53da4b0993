#!/usr/bin/env bash
# From a labeled corpus to a promise: people check rows drawn at random, label what the model may not, and the
# rest keeps the model's label. Here the answers are known, so nobody has to wait for people.
source "$(dirname "$0")/start.sh"

textlabel fit films.csv --backbone "$backbone" --out model
textlabel annotate corpus.csv --model model --out labeled

# how many answers will it take until at most 20 % of the labels are wrong?
textlabel plan labeled --max-error 0.2

# draw rows, without what the model said of them; people fill in the sheet, or answer on `textlabel review`
textlabel audit draw labeled --size "${AUDIT:-200}"
python "$here/answers.py" labeled/audit/sheet-1.csv gold.csv
textlabel audit import labeled labeled/audit/sheet-1.csv --reviewer Ann

# what can be promised, and which rows people must label for it
textlabel certify labeled --max-error 0.2
textlabel todo labeled
if [ "$(wc -l < labeled/audit/todo-1.csv)" -gt 1 ]; then # the model may label all of it
  python "$here/answers.py" labeled/audit/todo-1.csv gold.csv
  textlabel answers import labeled labeled/audit/todo-1.csv --reviewer Ann
fi

# the finished corpus: labels of people and of the model, with the certificate in its record
textlabel finish labeled --out finished
textlabel evaluate finished --gold gold.csv

# one page for whoever must accept the labels
textlabel report labeled
