"""What docs/export.md shows runs, in its order, as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import klamp

PAGE = Path(__file__).parent.parent / "docs" / "export.md"


def test_the_blocks_of_the_page_run(trained: klamp.Result, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "CartPole-v1-ppo-0").symlink_to(trained.folder)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 4
    script = "\n".join([*blocks, "assert action in (0, 1)", "assert set(outputs) > {'logits'}"])
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=200)
