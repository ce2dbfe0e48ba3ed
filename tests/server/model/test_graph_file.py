"""A graph that keeps data in other files is recognized, wherever the tensor is."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

from seqserve.server.errors import BrokenServableError
from seqserve.server.model.graph_file import has_external_data
from seqserve.server.model.manifest import read_manifest
from seqserve.v1 import manifest_pb2 as pb
from tests.conftest import MadeRepository
from tests.servables import edit_manifest


def elsewhere(name: str) -> Any:
    """A tensor whose data is in another file."""
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def test_the_servables_of_the_tests_keep_all_in_one_file(made: MadeRepository) -> None:
    for folder in (made.lstm.folder, made.gru.folder, made.tagger.folder):
        assert not has_external_data((folder / "model.onnx").read_bytes())


@pytest.mark.parametrize("place", ["initializer", "constant", "subgraph", "function", "sparse"])
def test_external_data_is_found_wherever_it_is(place: str) -> None:
    graph = helper.make_graph([], "g", [], [])
    model = helper.make_model(graph)
    if place == "initializer":
        model.graph.initializer.append(elsewhere("w"))
    elif place == "sparse":
        model.graph.sparse_initializer.add().values.CopyFrom(elsewhere("w"))
    else:
        node = helper.make_node("Constant", [], ["c"], value=elsewhere("w"))
        if place == "constant":
            model.graph.node.append(node)
        elif place == "function":
            model.functions.add(name="f", domain="d").node.append(node)
        else:
            inner = helper.make_graph([node], "inner", [], [])
            model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))
    assert has_external_data(model.SerializeToString())


@pytest.mark.parametrize("data", [b"\xff" * 20, b"\x3a\x7f", b"\x3b", b"\x80"])
def test_what_is_no_message_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"wire type|ends after|does not end"):
        has_external_data(data)


def test_a_servable_with_external_data_is_refused(made: MadeRepository, root: Path) -> None:
    folder = Path(shutil.copytree(made.lstm.folder, root / "lm" / "1"))
    model = onnx.load(folder / "model.onnx")
    convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save_model(model, folder / "model.onnx")
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()

    def fit(manifest: pb.Manifest) -> None:
        manifest.graph.sha256 = manifest.parity.graph_sha256 = digest

    edit_manifest(folder, fit)
    with pytest.raises(BrokenServableError, match=r"model\.onnx keeps weights in other files"):
        read_manifest(folder)
