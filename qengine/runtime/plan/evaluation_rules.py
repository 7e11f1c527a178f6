"""Rules in fixed point of nodes that an evaluator computes: which of them apply in a run."""

from collections.abc import Container
from dataclasses import replace

from qengine.model.eager import single_node
from qengine.model.eager.attention_rule import AttentionRule
from qengine.model.ops.operator import Role, find
from qengine.model.steps import Evaluation, Picking, picks_codes
from qengine.runtime.plan.plan import FixedPointSettings


def with_rule(evaluation: Evaluation, fixed: FixedPointSettings, constants: Container[str]) -> Evaluation:
    """Return an evaluation with the rule by which it computes codes, if it has one and all of it has formats.

    Parameters
    ----------
    evaluation
        The evaluation, without a rule.
    fixed
        Settings of the run.
    constants
        Names of the constants; a constant bias needs no format.
    """
    node = evaluation.node
    if find(node).picks(node):
        return replace(evaluation, rule=Picking) if picks_codes(evaluation) else evaluation
    rule = single_node.rule_of(node)
    if rule is AttentionRule:
        is_left = "softmax" in fixed.rules.islands or not AttentionRule.serves(evaluation)
        return evaluation if is_left else replace(evaluation, rule=rule, rule_kind="softmax")
    if rule is None or not node.hidden or "recurrent" in fixed.rules.islands:
        return evaluation
    biases = {name for name, role in find(node).roles(node) if role is Role.BIAS and name in constants}
    inputs = [t for name, t in zip(node.inputs, evaluation.inputs, strict=True) if t and name not in biases]
    named = [t for t in evaluation.outputs if t.name]
    if any(t.is_float and t.format is None for t in (*inputs, *named)):
        return evaluation
    hidden = tuple(fmt for name in node.hidden if (fmt := fixed.formats.activation(name)) is not None)
    if len(hidden) < len(node.hidden):
        return evaluation
    return replace(evaluation, rule=rule, hidden=hidden, rule_kind="recurrent")
