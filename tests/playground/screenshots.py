"""Pictures of a whole playground for people to look at, wide and on a phone, in both languages.

python tests/playground/screenshots.py runs/mnist_gan/playground.html pictures/
"""

import sys
from pathlib import Path

import chromium

SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 360, "height": 740}}
# A seven, as somebody draws it.
STROKES = ([(0.25, 0.2), (0.5, 0.19), (0.75, 0.2), (0.62, 0.45), (0.45, 0.85)],)


def main() -> None:
    if len(sys.argv) != 3 or not Path(sys.argv[1]).is_file():
        sys.exit(f"give a playground.html and a folder for the pictures\n\n{__doc__}")
    program = chromium.find()
    if program is None:
        sys.exit(f"there is no browser: install one of {', '.join(chromium.NAMES)}")
    page_file, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with chromium.browser(program) as page:
        for name, size in SIZES.items():
            for language in ("en", "vi"):
                page.open(page_file, phone=name == "phone", **size)
                page.wait_for("document.body.classList.contains('ready')")
                page.click(f"[data-language={language}]")
                page.click("#teaser-tell")
                for stroke in STROKES:
                    page.draw("#pad", stroke)
                page.click("#say-real")
                page.wait_for("document.querySelector('#crowd svg')")
                page.run("scrollTo({top: 0, behavior: 'instant'})")
                page.settle()
                path = folder / f"{name}_{language}.png"
                page.screenshot(path)
                print(path)
        print("\n".join(page.problems) or "no problem on the console")


if __name__ == "__main__":
    main()
