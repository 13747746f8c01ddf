"""`python docs/explore_screenshot.py <sweep>/explore.html docs/explore.webp`: the picture of docs/explore.md, by Playwright."""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SEVEN = [(0.25, 0.22), (0.5, 0.2), (0.75, 0.22), (0.68, 0.4), (0.58, 0.6), (0.48, 0.82)]  # of the canvas


def main(page: Path, target: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--enable-unsafe-swiftshader"])
        tab = browser.new_page(viewport={"width": 1400, "height": 860}, reduced_motion="reduce")
        tab.goto(page.resolve().as_uri())
        tab.wait_for_function("window.explorer?.runner?.encoders.size > 0")
        box = tab.locator("#canvas").bounding_box()
        assert box is not None
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in SEVEN]
        tab.mouse.move(*places[0])
        tab.mouse.down()
        for place in places[1:]:
            tab.mouse.move(*place, steps=8)
        tab.mouse.up()
        tab.wait_for_function("explorer.drawn && !explorer.runner.frame")
        tab.wait_for_timeout(500)
        picture = Image.open(io.BytesIO(tab.screenshot()))
        browser.close()
    picture.convert("RGB").save(target, quality=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
