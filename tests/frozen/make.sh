#!/usr/bin/env bash
# Make the frozen studies again, in the repository's root: tests/frozen/make.sh [METHOD...]
# Real runs; with several trials at once a seed does not give the same rows twice, so the expected numbers are then
# computed again too: python tests/frozen/expect.py
set -euo pipefail
cd "$(dirname "$0")/../.."
for method in "${@:-tpe random}"; do
  for seed in 0 1 2; do
    for each in $method; do
      study=tests/frozen/$each-$seed
      [ -e "$study" ] && { echo "$study is there; remove it first" >&2; exit 2; }
      # Seeds of retraining follow the study's; ten apart, no two studies share one.
      python -m catdog_ray.tune --config tests/frozen/frozen.yaml --search "$each" --seed "$((10 * seed))" --name "$each-$seed"
      # Only rows and facts are kept.
      rm -rf "$study"/{model.keras,model.json,curves.png,optuna-journal.log,.lock,.machine.json,ray}
    done
  done
done
