#!/bin/sh
# Fail if the committed code of the contracts is not what the .proto files generate. PYTHON as in generate.sh.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r generate.sh seqserve "$work"
"$work/generate.sh"
if ! diff -r -x __pycache__ seqserve "$work/seqserve"; then
    echo "the generated code differs from the contracts: run 'make proto' and commit the result" >&2
    exit 1
fi
