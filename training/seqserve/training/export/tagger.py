"""A tagger as a graph, and as a runner in torch.

Inputs ``tokens`` int32 (T, B), ``lengths`` int32 (B), ``word_bytes`` int32 (T, B, W), ``word_lengths`` int32 (T, B);
output ``scores`` float32 (T, B, L). Both directions start from zeros, so there are no states.
"""

from collections.abc import Mapping

import numpy as np
import torch
from onnx import TensorProto

from seqserve.training.export.graph import GraphBuilder, integers
from seqserve.training.export.model import ExportedModel, tensor_spec
from seqserve.training.networks import Tagger
from seqserve.training.runner import Array
from seqserve.training.tensors import long_tensor, tensor
from seqserve.v1 import manifest_pb2


def exported(network: Tagger) -> ExportedModel:
    """The graph of a tagger, and what the manifest says of its tensors."""
    build = GraphBuilder()
    tokens = build.input("tokens", TensorProto.INT32, ("T", "B"))
    lengths = build.input("lengths", TensorProto.INT32, ("B",))
    word_bytes = build.input("word_bytes", TensorProto.INT32, ("T", "B", "W"))
    word_lengths = build.input("word_lengths", TensorProto.INT32, ("T", "B"))
    spelled = _spell(build, network, tokens, word_bytes, word_lengths)
    embedded = build.lookup("embedding", network.embedding.weight, tokens)
    features = build.node("Concat", [embedded, spelled], "features", axis=2)
    hidden, _ = build.recurrent("layer", network.stack, features, lengths, carries_state=False)
    build.linear("scores", network.head, hidden)
    build.output("scores", TensorProto.FLOAT, ("T", "B", network.head.out_features))
    return ExportedModel(
        graph=build.serialized("tagger"),
        inputs=(
            tensor_spec("tokens", manifest_pb2.TENSOR_ROLE_TOKENS, ("T", "B")),
            tensor_spec("lengths", manifest_pb2.TENSOR_ROLE_LENGTHS, ("B",)),
            tensor_spec("word_bytes", manifest_pb2.TENSOR_ROLE_WORD_BYTES, ("T", "B", "W")),
            tensor_spec("word_lengths", manifest_pb2.TENSOR_ROLE_WORD_LENGTHS, ("T", "B")),
        ),
        outputs=(
            tensor_spec("scores", manifest_pb2.TENSOR_ROLE_LABEL_SCORES, ("T", "B", str(network.head.out_features))),
        ),
        states=(),
    )


def _spell(build: GraphBuilder, network: Tagger, tokens: str, word_bytes: str, word_lengths: str) -> str:
    """Spelling features (T, B, 2 H): all words of the batch as one batch of T * B byte sequences."""
    rows = build.node("Flatten", [word_bytes], "spelling.rows", axis=2)  # (T * B, W)
    turned = build.node("Transpose", [rows], "spelling.bytes", perm=[1, 0])
    lengths = build.node("Reshape", [word_lengths, build.constant("spelling.flat", integers([-1]))], "spelling.lengths")
    embedded = build.lookup("spelling.embedding", network.byte_embedding.weight, turned)
    _, finals = build.recurrent("spelling", network.speller, embedded, lengths, carries_state=False)
    last = build.node("Transpose", [finals[0]], "spelling.last", perm=[1, 0, 2])  # (T * B, 2, H)
    grid = build.node("Shape", [tokens], "spelling.grid")
    shape = build.node("Concat", [grid, build.constant("spelling.width", integers([-1]))], "spelling.shape", axis=0)
    return build.node("Reshape", [last, shape], "spelling", allowzero=0)


class TorchTagger:
    """A trained tagger as a runner: torch, in evaluation mode, without gradients."""

    def __init__(self, network: Tagger) -> None:
        self.network = network.eval()

    @torch.inference_mode()
    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """``scores``, as the graph gives them at steps that count."""
        tokens_TB, word_bytes_TBW = inputs["tokens"], inputs["word_bytes"]
        device = self.network.head.weight.device
        byte_lengths = np.maximum(inputs["word_lengths"].reshape(-1), 1)  # packing refuses the empty words of padding
        scores_TBL = self.network(
            tensor(tokens_TB, device),
            long_tensor(inputs["lengths"]),
            tensor(word_bytes_TBW.reshape(-1, word_bytes_TBW.shape[-1]), device),
            long_tensor(byte_lengths),
            torch.arange(tokens_TB.size, device=device).reshape(tokens_TB.shape),
        )
        return {"scores": scores_TBL.cpu().numpy()}
