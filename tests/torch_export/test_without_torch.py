import subprocess
import sys
from pathlib import Path

from .exports import GOLDEN


def _without_torch(code):
    lines = ["import sys", "sys.modules['torch'] = None", *code]
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parent.parent,
        check=False,
    )


def test_without_torch_the_error_says_what_to_install():
    done = _without_torch(["import qengine.torch_export"])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "qengine.errors.QEngineError: exporting needs torch: pip install 'qengine[torch]'"
    )


def test_goldens_are_read_without_torch():
    path = str(GOLDEN / "srcnn_seed.npz")
    done = _without_torch(
        ["import qengine", "from qengine.data.golden import read_golden", f"print(list(read_golden({path!r})[0]))"]
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "['input', 'factor']\n", "")
