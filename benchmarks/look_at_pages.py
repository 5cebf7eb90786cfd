"""Open a page of `klamp compare`, or a board, in headless Chromium, and look for what is wrong.

    pip install playwright && playwright install chromium
    python benchmarks/look_at_pages.py compare.html [--pictures DIR] [--chromium PROGRAM]
    python benchmarks/look_at_pages.py http://127.0.0.1:8765/

At 1280 and 390 pixels, light and dark, as it opens and with everything unfolded and switched:
console errors, requests beyond the page's own address, a page wider than the screen (tables that
scroll by themselves apart), texts that are cut off, texts of a plot that leave it or lie on one
another, and whether the plots are there without a script.
"""

import argparse
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from playwright.sync_api import Browser, sync_playwright

WRONG = """() => {
  const wrong = [], width = document.documentElement.clientWidth;
  const hidden = e => e.closest("details:not([open])") && !e.closest("summary");
  if (document.documentElement.scrollWidth > width) wrong.push("the page scrolls sideways");
  for (const e of document.querySelectorAll("body *")) {
    const box = e.getBoundingClientRect(), text = (e.textContent || "").slice(0, 40);
    if (hidden(e) || !box.width) continue;
    const scrolls = e.closest(".wide")?.scrollWidth > e.closest(".wide")?.clientWidth;
    if (box.right > width + 1 && !scrolls) wrong.push(`beyond the screen: ${e.tagName} ${text}`);
    const alone = !e.closest("svg") && !e.children.length;
    if (alone && getComputedStyle(e).display != "inline" && e.scrollWidth > e.clientWidth + 1)
      wrong.push(`cut off: ${e.tagName} ${text}`);
  }
  for (const plot of document.querySelectorAll("svg.plot")) {
    const frame = plot.getBoundingClientRect();
    if (!frame.width) continue;
    const texts = [...plot.querySelectorAll("text")].map(
      t => [t.textContent, t.getBoundingClientRect()]);
    texts.forEach(([name, a], place) => {
      if (a.left < frame.left - .5 || a.right > frame.right + .5 || a.top < frame.top - .5 ||
          a.bottom > frame.bottom + .5) wrong.push(`leaves its plot: ${name}`);
      for (const [other, b] of texts.slice(place + 1))
        if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
            Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2)
          wrong.push(`on one another: ${name} | ${other}`);
    });
  }
  return wrong;
}"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--chromium")
    given = parser.parse_args()
    url = given.page if "://" in given.page else Path(given.page).resolve().as_uri()
    found = 0
    with sync_playwright() as drive:
        browser = drive.chromium.launch(
            executable_path=given.chromium, args=["--no-sandbox"] if given.chromium else []
        )
        for scheme in ("light", "dark"):
            for width, height in ((1280, 900), (390, 844)):
                wrong = look(browser, url, scheme, width, height, given.pictures)
                print(f"{scheme}, {width} pixels: {len(wrong)} wrong", *wrong[:20], sep="\n  ")
                found += len(wrong)
    return int(found > 0)


def look(
    browser: Browser, url: str, scheme: Any, width: int, height: int, pictures: Path | None
) -> list[str]:
    """All that is wrong at one size and in one scheme."""
    size: Any = {"width": width, "height": height}
    page = browser.new_page(viewport=size, color_scheme=scheme)
    wrong: list[str] = []
    own = {url, urljoin(url, "main")} if url.startswith("http") else {url}
    page.on("console", lambda said: wrong.append(f"console: {said.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on(
        "request",
        lambda made: (
            wrong.append(f"request: {made.url}")
            if made.url not in own and not made.url.startswith("data:")
            else None
        ),
    )
    page.goto(url)
    page.wait_for_timeout(1500)
    wrong += page.evaluate(WRONG)
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(pictures / f"{scheme}-{width}.png"), full_page=True)
    plot = page.locator("svg.plot:visible").first
    plot.scroll_into_view_if_needed()
    plot.hover()
    if not page.locator("#values").inner_text():
        wrong.append("nothing is shown under the pointer")
    page.mouse.move(0, 0)
    page.check("#by-time")
    page.check("#single")
    for summary in page.locator("summary").all():
        summary.click()
    wrong += [f"unfolded: {each}" for each in page.evaluate(WRONG)]
    page.close()
    without = browser.new_page(viewport=size, java_script_enabled=False)
    without.goto(url)
    if not without.locator("svg.plot:visible").count():
        wrong.append("no plot without a script")
    without.close()
    return wrong


if __name__ == "__main__":
    raise SystemExit(main())
