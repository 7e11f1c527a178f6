"""The `onnx.backend` interface, which `onnx.backend.test` and other tools call; see `onnx.backend.base`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest import SkipTest

import onnx  # noqa: TID251 - the backend interface is onnx's own
from onnx.backend.base import Backend, BackendRep  # noqa: TID251 - as above

from qengine.errors import UnsupportedError
from qengine.runtime.session import InferenceSession


class QEngineBackendRep(BackendRep):
    """A model that is ready to run.

    Attributes
    ----------
    session : session that runs the model.
    """

    def __init__(self, session: InferenceSession) -> None:
        self.session = session

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Run the model, and return its outputs in order.

        Parameters
        ----------
        inputs
            Arrays for the inputs of the model, in order or by name; or one array for a single input.

        Raises
        ------
        unittest.SkipTest
            If qengine does not support the model.
        """
        names = [argument.name for argument in self.session.get_inputs()]
        optional = [argument.name for argument in self.session.get_overridable_initializers()]
        if not isinstance(inputs, dict):
            inputs = list(inputs) if isinstance(inputs, Sequence) else [inputs]
            inputs = dict(zip([*names, *optional], inputs, strict=False))
        try:
            return tuple(self.session.run(None, inputs, **kwargs))
        except UnsupportedError as error:
            raise SkipTest(str(error)) from error


class QEngineBackend(Backend):
    """ONNX backend on the CPU. Keywords are those of `InferenceSession`."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether the model can be prepared."""
        try:
            cls.prepare(model, device, **kwargs)
        except SkipTest:
            return False
        return True

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> QEngineBackendRep:
        """Return the model, ready to run.

        Raises
        ------
        unittest.SkipTest
            If qengine does not support the model or the device.
        """
        if not cls.supports_device(device):
            raise SkipTest(f"device {device} is not supported; use CPU")
        try:
            return QEngineBackendRep(InferenceSession(model, **kwargs))
        except UnsupportedError as error:
            raise SkipTest(str(error)) from error

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        """Prepare and run a model, and return its outputs."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any
    ) -> tuple[Any, ...]:
        """Run one node, of the newest opset or of `opset_version`, and return its outputs."""
        del outputs_info
        version = kwargs.pop("opset_version", onnx.defs.onnx_opset_version())
        arrays = dict(inputs) if isinstance(inputs, dict) else dict(zip(node.input, inputs, strict=False))
        declared = []
        for name, array in arrays.items():
            code = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            declared.append(onnx.helper.make_tensor_value_info(name, code, array.shape))
        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", declared, outputs)
        opsets = [onnx.helper.make_opsetid("", version)]
        return cls.run_model(onnx.helper.make_model(graph, opset_imports=opsets), arrays, device, **kwargs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether the device is the CPU."""
        return device.split(":")[0] == "CPU"


is_compatible = QEngineBackend.is_compatible
prepare = QEngineBackend.prepare
run_model = QEngineBackend.run_model
run_node = QEngineBackend.run_node
supports_device = QEngineBackend.supports_device
