"""`python tests/explore_picture.py <sweep>/explore.html docs/explore.webp`: the picture of docs/explore.md, drawn on as in the tests."""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from test_explore import CHROMIUM, SEVEN, sketch


def main(page: Path, target: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--enable-unsafe-swiftshader"])
        tab = browser.new_page(viewport={"width": 1400, "height": 860}, reduced_motion="reduce")
        tab.goto(page.resolve().as_uri())
        tab.wait_for_function("window.explorer?.runner?.encoders.size > 0")
        sketch(tab, SEVEN)
        tab.wait_for_timeout(500)
        picture = Image.open(io.BytesIO(tab.screenshot()))
        browser.close()
    picture.convert("RGB").save(target, quality=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
