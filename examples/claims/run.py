"""Run the claims and write their page: ``python examples/claims/run.py [--only a,c] [--seeds N]``.

Every run is kept in `.cache/claims`, so that what was interrupted goes on where it stopped. Needs
matplotlib.
"""

import argparse
import importlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiment import ROOT, keep_compiled, show

CLAIMS = {
    "a": "a_step_size",
    "b": "b_weighting",
    "c": "c_no_trust_region",
    "d": "d_many_epochs",
    "e": "e_dropout",
    "f": "f_shared_network",
    "g": "g_kl_penalty",
    "h": "h_trpo_ppo",
}
"""In the order of the notes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(CLAIMS), help="letters, such as a,c")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "claims")
    asked = parser.parse_args()
    keep_compiled()
    asked.out.mkdir(parents=True, exist_ok=True)
    file = asked.out / "results.json"
    for letter in asked.only.split(","):
        began = time.perf_counter()
        print(f"claim {letter}", flush=True)
        claim = importlib.import_module(CLAIMS[letter])
        picture = f"{CLAIMS[letter]}.png"
        verdict = claim.run(asked.seeds, asked.out / picture)
        results = json.loads(file.read_text()) if file.exists() else {}
        results[letter] = {
            "title": claim.TITLE,
            "claim": claim.CLAIM,
            "rule": claim.RULE,
            "seeds": asked.seeds,
            "picture": picture,
            "held": all(verdict.parts),
        } | asdict(verdict)
        results = {name: results[name] for name in CLAIMS if name in results}
        file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
        page = asked.out.with_suffix(".md")
        page.write_text(write_page(results, asked.out.name))
        said = "held" if all(verdict.parts) else "did not hold"
        print(f"claim {letter} {said} ({time.perf_counter() - began:.0f} s): {verdict.summary}",
              flush=True)  # fmt: skip


def write_page(results: dict[str, Any], folder: str) -> str:
    """The page: what was claimed, the rule, what came out, with its picture."""
    template = (Path(__file__).parent / "page.md").read_text()
    lines = [
        f"| [{letter}](#{letter}) | {found['title']} | **{_held(found)}** |"
        for letter, found in results.items()
    ]
    parts = [_section(letter, found, folder) for letter, found in results.items()]
    return template.replace("{summary}", "\n".join(lines)).replace("{claims}", "\n".join(parts))


def _held(found: dict[str, Any]) -> str:
    return "held" if found["held"] else "did not hold"


def _parts(parts: list[bool]) -> str:
    """Which parts of the rule were met, where it has several."""
    if len(parts) == 1:
        return ""
    said = (f"part {i} {'met' if met else 'missed'}" for i, met in enumerate(parts, 1))
    return f" ({', '.join(said)})"


def _section(letter: str, found: dict[str, Any], folder: str) -> str:
    columns = list(found["table"][0])
    rows = [
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(show(row[name]) for name in columns) + " |" for row in found["table"]),
    ]
    return "\n\n".join((
        f'<a id="{letter}"></a>\n## {letter}. {found["title"]}',
        f"**The claim.** {found['claim']}",
        f"**The rule, fixed before the runs.** {found['rule']}",
        f"![{found['title']}]({folder}/{found['picture']})",
        f"**Result: {_held(found)}**{_parts(found['parts'])}. {found['summary']}",
        "\n".join(rows),
        f"*Settings:* {found['settings']} {found['seeds']} seeds.\n",
    ))  # fmt: skip


if __name__ == "__main__":
    main()
