"""ONNX Runtime: inference of the model as an ONNX graph, with all of its optimisations."""

from __future__ import annotations

from typing import Any

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .models import IMAGE, Conv, Flatten, Linear, MaxPool, Model, ReLU
from .serve import Call, Library, serve

OPSET = 17
IR_VERSION = 8


def graph_of(model: Model, start: list[Any]) -> bytes:
    """The model in ONNX's format."""
    nodes, constants, name = [], [], "x"
    given = iter(start)
    for layer in model:
        inputs, attributes = [name], {}
        if isinstance(layer, Conv | Linear):
            for array in (next(given), next(given)):
                constants.append(numpy_helper.from_array(array, f"p{len(constants)}"))
                inputs.append(constants[-1].name)
        match layer:
            case Conv():
                kind, attributes = "Conv", {"pads": [layer.padding] * 4}
            case Linear():
                kind, attributes = "Gemm", {"transB": 1}
            case ReLU():
                kind = "Relu"
            case MaxPool():
                kind, attributes = "MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}
            case Flatten():
                kind = "Flatten"
        name = f"y{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *IMAGE])
    y = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "model", [x], [y], constants)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION).SerializeToString()


class OnnxRuntime(Library):
    """One session a model."""

    def __init__(self, threads: int) -> None:
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1
        self.options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL

    def version(self) -> str:
        """The version."""
        return f"ONNX Runtime {onnxruntime.__version__}"

    def inference(self, model: Model, start: list[Any], images: Any) -> Call:
        """Run the session."""
        session = onnxruntime.InferenceSession(graph_of(model, start), self.options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"x": images})


if __name__ == "__main__":
    serve(lambda arguments: OnnxRuntime(int(arguments[0])))
