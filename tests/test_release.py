"""What `make release` looks at: a wheel and an sdist of this tree, tried elsewhere."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def release() -> Any:
    spec = importlib.util.spec_from_file_location("release", ROOT / "tools" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_must_be_in_the_changelog(
    release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "version", lambda: "99.0.0")
    assert "no section for 99.0.0" in release.ready()[-1]


@pytest.mark.slow
def test_wheel_and_sdist_hold_what_they_should_and_run_elsewhere(
    release: Any, tmp_path: Path
) -> None:
    """Built by pip from the tree: the sdist first, the wheel from what it holds."""
    build = (
        "import sys, hatchling.build as b; b.build_sdist(sys.argv[1]); b.build_wheel(sys.argv[1])"
    )
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tmp_path / "tools")]
    subprocess.run([*pip, "hatchling"], check=True)
    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        cwd=ROOT,
        check=True,
        env={"PYTHONPATH": str(tmp_path / "tools"), "PATH": ""},
    )
    assert release.contents(tmp_path) == []
    # What is installed here serves there, too; but not klamp, which a checkout's .pth leads to.
    shared = [place for place in sys.path if place.endswith("site-packages")]
    assert release.try_elsewhere(tmp_path, shared) == []
