#!/bin/sh
# Generate the Python code of the contracts beside them. PYTHON needs the packages of the dependency group "proto".
set -eu
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python3}
PATH=$(dirname "$(command -v "$PYTHON")"):$PATH # the plugin protoc-gen-mypy_grpc lies beside it
rm -f seqserve/v1/*_pb2*.py seqserve/v1/*_pb2*.pyi
"$PYTHON" -m grpc_tools.protoc -I. --python_out=. --pyi_out=. seqserve/v1/*.proto
"$PYTHON" -m grpc_tools.protoc -I. --grpc_python_out=. --mypy_grpc_out=quiet,generate_concrete_servicer_stubs:. $(grep -l '^service ' seqserve/v1/*.proto)
