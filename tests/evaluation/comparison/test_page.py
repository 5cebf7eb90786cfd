"""The page: one file that asks for nothing, with names as text and not as markup."""

import hashlib
import re
from base64 import b64encode
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from run_folders import KEYS, learning, line, run, seeds

from klamp.evaluation.comparison.groups import grouped
from klamp.evaluation.comparison.page import About, main_part, page, policy
from klamp.evaluation.comparison.reading import read_runs

ABOUT = About("klamp compare", "klamp compare 'runs/<b>'", "1 May 2026", "0.1.0")


def page_of(*folders: Path, about: About = ABOUT) -> str:
    runs, notes = read_runs(list(folders))
    return page(about, main_part(grouped(runs), notes, None))


def body_of(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text[text.index("<body") : text.index("</html>")])


def test_the_page_says_what_was_compared(tmp_path: Path) -> None:
    text = page_of(
        seeds(tmp_path / "a", [1.0, 2.0], clip=0.2),
        seeds(tmp_path / "b", [3.0, 4.0], clip=0.1, nothing=None),
        tmp_path / "nowhere",
    )
    for part in (
        "klamp compare &#x27;runs/&lt;b&gt;&#x27;", "1 May 2026", "klamp 0.1.0",
        "there is no such folder", "ppo, clip=0.2", "too few", "seed-1", "none", "δ",
        "What differs", "All settings", "lowest to the\nhighest seed",
    ):  # fmt: skip
        assert part in text
    cells = [cell.text for cell in body_of(text).iter("td")]
    # What differs, and all settings.
    assert cells.count("clip") == 2
    assert cells.count("nothing") == 1


def test_a_label_has_one_colour_on_the_whole_page(tmp_path: Path) -> None:
    text = page_of(
        seeds(tmp_path / "a", [1.0], env="A-v1", algo="trpo"),
        seeds(tmp_path / "b", [1.0], env="B-v1", algo="ppo"),
        seeds(tmp_path / "c", [1.0], env="B-v1", algo="trpo"),
    )
    found = re.findall(r'<g class="curve (c\d) d0" data-label="(\w+)"', text)
    assert set(found) == {("c0", "trpo"), ("c1", "ppo")}


def test_it_asks_for_nothing_and_runs_its_own_script_alone(tmp_path: Path) -> None:
    text = page_of(seeds(tmp_path / "a", [1.0]))
    assert not re.search(r"""(src|href)=["'](?!data:)""", text)
    assert not re.search(r"url\(|@import", text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    for part in (script, style):
        sum_ = b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"'sha256-{sum_}'" in text
    assert "default-src 'none'" in policy(live=False)
    assert "connect-src" not in policy(live=False)
    assert " style=" not in text
    assert " on" not in re.sub(r">[^<]*<", "><", text[text.index("<body") :])


def test_a_name_of_a_stranger_is_no_markup_of_the_page(tmp_path: Path) -> None:
    hostile = "</td></title><script>alert(1)</script><img src='x' onerror=\"y\">&\x1b\ud800"
    plain = page_of(
        run(tmp_path / "plain", [line(step=1), line(step=2)]),
        run(tmp_path / "other", [line(step=1), line(step=2)], wrap="a"),
    )
    strange = page_of(
        run(tmp_path / "run", [line(step=1), line(step=2)], env=hostile, algo=hostile),
        run(
            tmp_path / "more", [line(step=1)], env=hostile, algo=hostile, seed=hostile,
            klamp_version=hostile, **{hostile: {hostile: hostile}},
        ),
        about=ABOUT._replace(command=f"klamp compare {hostile!a}"),
    )  # fmt: skip
    tags = [{each.tag for each in body_of(text).iter()} for text in (plain, strange)]
    assert tags[0] == tags[1]


def test_a_large_comparison_stays_below_two_megabytes(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    folders = [
        run(tmp_path / f"{group}-{seed}", learning(list(generator.normal(0, 9, 300))),
            seed=seed, clip=group)
        for group in range(12) for seed in range(5)
    ]  # fmt: skip
    size = len(page_of(*folders).encode())
    assert 500_000 < size < 2_000_000


@pytest.mark.parametrize("size", [1e100, -1e100, 1e20, 5e-324, 0.0])
def test_the_largest_and_the_smallest_numbers_are_drawn(size: float, tmp_path: Path) -> None:
    one = [line(step=step, **dict.fromkeys(KEYS, size)) for step in (10, 10, 10**12 - 1)]
    other = [line(step=step, **dict.fromkeys(KEYS, -size)) for step in (0, 11, 12)]
    text = page_of(run(tmp_path / "a", one), run(tmp_path / "b", other, seed=1))
    assert not re.search(r"\b(nan|inf)\b", text)


def test_nothing_to_show_is_a_page_too(tmp_path: Path) -> None:
    never = [line(step=n, **dict.fromkeys(KEYS)) for n in (1, 2)]
    text = page_of(run(tmp_path / "run", never, ended=False))
    assert "<svg" not in text
    assert "compared as far as they are" in text


def test_only_a_live_page_asks_a_board() -> None:
    live = page(ABOUT._replace(live=True), "")
    assert 'data-live="yes"' in live
    assert "connect-src 'self'" in live
    assert "data-live" not in page(ABOUT, "").split("<body")[1]
