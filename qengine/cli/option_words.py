"""The words that each option takes, where they are few and known, for the completion of command lines."""

from collections.abc import Mapping

from qengine.analysis.bench.rivals import NAMES
from qengine.analysis.inspection.costs import all_costs
from qengine.data.channels import LAYOUTS
from qengine.data.preprocessing import CONVERSIONS
from qengine.data.zoo import ENTRIES
from qengine.deploy.vectors.text_files import SUFFIXES
from qengine.kernels.isa import BEST_FIRST, REFERENCE
from qengine.metrics.declaration import all_metrics
from qengine.model.steps import ISLANDS
from qengine.qformat import Overflow, Rounding
from qengine.quantization.calibration import Method
from qengine.quantization.correction.recipe import recipe_words
from qengine.targets import names


def words_of_options() -> Mapping[str, list[str]]:
    """Return the words by the name of an option, after that of a command where it differs; of arguments by metavar."""
    return {
        "MODEL": list(ENTRIES),
        "--data": list(ENTRIES),
        "--rounding": [str(one) for one in Rounding],
        "--overflow": [str(one) for one in Overflow],
        "--target": list(names()),
        "--targets": ["all", *names()],
        "sweep --target": ["all", *names()],
        "--method": [str(one) for one in Method],
        "--metric": [str(one) for one in all_metrics()],
        "--cost": [str(one) for one in all_costs()],
        "--recipe": recipe_words(),
        "--islands": list(ISLANDS),
        "--isa": [*(isa.name for isa in BEST_FIRST), REFERENCE],
        "--layout": list(LAYOUTS),
        "--convert": list(CONVERSIONS),
        "--vs": list(NAMES),
        "--plot": ["all"],
        "--group": ["auto"],
        "--output-bits": ["auto", "8", "16"],
        "sweep --per-channel": ["off", "on", "both"],
        "quantize --as": ["qdq", "qonnx"],
        "export vectors --as": list(SUFFIXES),
        "--element-order": ["nchw", "nhwc", "nchwc4", "nchwc16"],
        "compare --element-order": ["auto", "nchw", "nhwc", "nchw16c"],
        "--first-lane": ["low", "high"],
        "--scheduler": ["local"],
        "--bits": ["8", "16"],
        "--threads": ["1"],
    }
