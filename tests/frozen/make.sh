#!/usr/bin/env bash
# Make frozen studies again: tests/frozen/make.sh METHOD... (tpe, random, keras-tuner, keras-tuner-stock).
# Real runs; with several trials at once a seed does not give the same rows twice, so the expected numbers are then
# computed again too: python tests/frozen/expect.py > tests/frozen/expected.json
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python tests/frozen/pictures.py "$work/shapes.zip"
for method in "$@"; do
  for index in 0 1 2; do
    study=tests/frozen/$method-$index
    [ -e "$study" ] && { echo "$study is there; remove it first" >&2; exit 2; }
    # Retraining counts its seeds up from the study's: ten apart, no two studies share one.
    program=(tune --search "$method")
    [ "$method" = keras-tuner-stock ] && program=(baseline)
    python -m "catdog_ray.${program[0]}" "${program[@]:1}" --config tests/frozen/frozen.yaml --data "$work/shapes.zip" \
      --seed "$((10 * index))" --name "$method-$index" --set "data.cache_dir=$work/cache"
    # Only rows and facts are kept.
    rm -rf "$study"/{model.keras,model.json,curves.png,optuna-journal.log,.lock,.machine.json,ray}
  done
done
