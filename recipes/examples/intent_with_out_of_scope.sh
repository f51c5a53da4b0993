#!/usr/bin/env bash
# What does a customer want? Six intents are known, and a third of the requests is about something else. A model
# that must choose among six is sure of some of those, too; so each row also gets a distance from what was learned
# (`ood_score`), and what lies further off than 95 % of the known requests is flagged instead of labeled.
source "$(dirname "$0")/start.sh"
python "$here/intents.py" . --rows "${ROWS:-600}"

# learn the intents, here from made-up wordings
textlabel fit intents.csv --backbone "$backbone" --out model

# of requests that do belong to an intent 5 % may be flagged by mistake; that is measured on rows like the labeled
# ones, so where customers use other words, label some of theirs
textlabel annotate requests.csv --model model --out-of-scope-rate 0.05 --out labeled --format csv

# labels of the requests that do belong to an intent
textlabel evaluate labeled --gold gold-intents.csv

# and how many were flagged, of those that do belong to one and of those that do not
python - <<'PYTHON'
import csv
rows = list(csv.DictReader(open("labeled/annotations.csv")))
for name, alien in (("of an intent", False), ("of none", True)):
    decisions = [row["decision"] for row in rows if (row["meant"] == "out of scope") == alien]
    print(f"{name}: {decisions.count('out_of_scope') / max(len(decisions), 1):.0%} flagged")
PYTHON
