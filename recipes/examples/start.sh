# What the examples share: a folder with the reviews in it, and the backbone.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
backbone=${BACKBONE:-all-MiniLM-L6-v2}
cd "${KEEP:-$(mktemp -d)}"
python "$here/reviews.py" . --rows "${ROWS:-600}"
trap 'echo; echo "everything is in $PWD"' EXIT
