"""Facts on the model: its nodes with the edges between them, operators and costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qengine.analysis.inspection import Inspection, NodeInfo, TensorInfo
from qengine.html_report.facts import ModelFacts, NodeFacts
from qengine.html_report.gather.subject import Subject
from qengine.model.digest import graph_digest
from qengine.model.graph import Graph


def model_facts(subject: Subject, tensors: Mapping[str, int]) -> ModelFacts:
    """Return the facts on a model.

    Parameters
    ----------
    subject
        The model.
    tensors
        Place of each tensor in fixed point in `Report.tensors`.
    """
    found = subject.inspection
    return ModelFacts(
        name=subject.name,
        digest=graph_digest(subject.graph),
        graph_name=found.name,
        opsets=dict(found.opsets),
        inputs=tuple(map(_described, found.inputs)),
        outputs=tuple(map(_described, found.outputs)),
        parameters=found.parameters,
        parameter_bytes=found.parameter_bytes,
        macs=found.macs,
        operators=tuple((_operator(one), one.kind, one.count, one.macs) for one in found.operators),
        nodes=tuple(_Nodes(subject.graph, found, tensors).facts()),
    )


def _described(tensor: TensorInfo) -> str:
    return f"{tensor.name}: {tensor.dtype or 'unknown type'} {shape_text(tensor.shape) or 'of unknown shape'}"


def _operator(one: object) -> str:
    domain, operator = getattr(one, "domain", ""), getattr(one, "operator", "")
    return f"{domain}.{operator}" if domain else operator


def shape_text(shape: tuple[object, ...] | None) -> str:
    """Return a shape as text, such as 1x3x28x28; "?" for an open length, "" for an unknown shape."""
    if shape is None:
        return ""
    return "x".join("?" if one is None else str(one) for one in shape) if shape else "scalar"


@dataclass
class _Nodes:
    """The inputs and nodes of a graph, numbered in the order of a run."""

    graph: Graph
    found: Inspection
    tensors: Mapping[str, int]

    def facts(self) -> list[NodeFacts]:
        shapes = {one.name: one.shape for one in self.found.tensors}
        top = [one for one in self.found.nodes if not one.within]
        inner = [one for one in self.found.nodes if one.within]
        places: dict[str, int] = {}
        facts: list[NodeFacts] = []
        for value in self.graph.inputs:
            places[value.name] = len(facts)
            shape, tensor = shape_text(shapes.get(value.name)), self.tensors.get(value.name)
            facts.append(NodeFacts(value.name, "input", "input", "", (value.name,), shape, None, (), tensor))
        for node, info in zip(self.graph.nodes, top, strict=True):
            sources = tuple(dict.fromkeys(places[name] for name in node.reads if name in places))
            shape = shape_text(shapes.get(info.outputs[0])) if info.outputs else ""
            places.update({name: len(facts) for name in info.outputs})
            facts.append(self._node(info, shape, sources))
        facts = self._joined(facts)
        return [*facts, *(self._node(one, "", ()) for one in inner)]

    def _node(self, info: NodeInfo, shape: str, sources: tuple[int, ...]) -> NodeFacts:
        tensor = next((self.tensors[name] for name in info.outputs if name in self.tensors), None)
        return NodeFacts(
            info.name, _operator(info), str(info.kind), info.within, info.outputs, shape, info.macs, sources, tensor
        )

    def _joined(self, facts: list[NodeFacts]) -> list[NodeFacts]:
        """Return the nodes, those that are computed as a part of the next one with the tensor of that one."""
        readers: dict[int, list[int]] = {}
        for i, one in enumerate(facts):
            for source in one.sources:
                readers.setdefault(source, []).append(i)
        found = list(facts)
        for i in reversed(range(len(found))):
            one = found[i]
            if one.tensor is None and one.kind not in ("input", "shape", "unused") and len(readers.get(i, [])) == 1:
                following = found[readers[i][0]]
                if following.tensor is not None and len(following.sources) == 1:
                    found[i] = _with_tensor(one, following.tensor)
        return found


def _with_tensor(one: NodeFacts, tensor: int) -> NodeFacts:
    return NodeFacts(**{**vars(one), "tensor": tensor})
