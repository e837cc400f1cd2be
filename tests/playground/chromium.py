"""A headless Chromium to try pages in: its DevTools protocol over two pipes, and nothing else.

No WebDriver and no package is needed: `--remote-debugging-pipe` has the browser read commands from
file descriptor 3 and answer on 4, JSON with a zero byte after each.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 300  # A machine may be busy with other things.
KEYS = {
    "Enter": (13, "\r"),
    "Tab": (9, ""),
    " ": (32, " "),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
    "Home": (36, ""),
    "End": (35, ""),
}


def find() -> str | None:
    """The browser's program, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One page of a browser, driven by real clicks, strokes and keys.

    Attributes:
        problems: what the page has put on its console as an error or a warning, or thrown.
    """

    def __init__(self, to_browser: int, from_browser: int):
        self.problems: list[str] = []
        self._to, self._from = to_browser, from_browser
        self._received = b""
        self._number = 0
        self._loaded = False
        self._session: str | None = None
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        attached = self._send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._send(f"{domain}.enable")
        self.requests: list[str] = []

    def open(self, path: Path, *, width: int = 1200, height: int = 900, phone: bool = False):
        """Opens a file, and waits until all of it is loaded."""
        self._send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        self._send("Emulation.setTouchEmulationEnabled", enabled=phone)
        self._loaded = False
        self._send("Page.navigate", url=path.absolute().as_uri())
        deadline = time.monotonic() + SECONDS
        while not self._loaded:
            self._receive(deadline)

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, waited for if it is a promise."""
        result = self._send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise AssertionError(json.dumps(result["exceptionDetails"])[:2000])
        return result["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Waits until an expression is true."""
        deadline = time.monotonic() + SECONDS
        while not self.run(f"!!({expression})"):
            assert time.monotonic() < deadline, f"never true: {expression}; {self.problems}"
            time.sleep(0.02)

    def wait_for_problem(self) -> None:
        """Waits for what the page throws, which may come after what it shows, and takes it off."""
        deadline = time.monotonic() + SECONDS
        while not self.problems:
            self._receive(deadline)
        assert len(self.problems) == 1, self.problems
        self.problems.clear()

    def settle(self) -> None:
        """Waits until what is to be drawn at the next frame has been drawn."""
        self.run("new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")

    def text(self, selector: str) -> str:
        return self.run(f"document.querySelector({json.dumps(selector)}).textContent")

    def pixels(self, selector: str) -> list[int]:
        """The alpha of a canvas' pixels, which is its ink."""
        return self.run(
            f"(c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
            f".filter((_, i) => i % 4 === 3))(document.querySelector({json.dumps(selector)}))"
        )

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element, once it has been scrolled to."""
        return tuple(
            self.run(
                f"(e => {{ e.scrollIntoView({{block: 'center', behavior: 'instant'}}); "
                "const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })"
                f"(document.querySelector({json.dumps(selector)}))"
            )
        )

    def click(self, selector: str) -> None:
        left, top, width, height = self.box(selector)
        assert width and height, f"{selector} cannot be seen"
        self.stroke([(left + width / 2, top + height / 2)])
        self.settle()

    def draw(self, selector: str, points: list[tuple[float, float]]) -> None:
        """A stroke of the mouse through points of an element, (0, 0) to (1, 1)."""
        left, top, width, height = self.box(selector)
        self.stroke([(left + x * width, top + y * height) for x, y in points])
        self.settle()

    def stroke(self, points: list[tuple[float, float]]) -> None:
        def mouse(kind: str, x: float, y: float) -> None:
            self._send(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left",
                buttons=int(kind != "mouseReleased"),
                clickCount=1,
            )

        mouse("mousePressed", *points[0])
        for point in points[1:]:
            mouse("mouseMoved", *point)
        mouse("mouseReleased", *points[-1])

    def draw_by_finger(self, selector: str, points: list[tuple[float, float]]) -> None:
        left, top, width, height = self.box(selector)
        touches = [{"x": left + x * width, "y": top + y * height} for x, y in points]
        self._send("Input.dispatchTouchEvent", type="touchStart", touchPoints=touches[:1])
        for touch in touches[1:]:
            self._send("Input.dispatchTouchEvent", type="touchMove", touchPoints=[touch])
        self._send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.settle()

    def press(self, *keys: str) -> None:
        for key in keys:
            code, text = KEYS.get(key) or (ord(key.upper()), key)
            values = {"key": key, "windowsVirtualKeyCode": code}
            self._send("Input.dispatchKeyEvent", type="keyDown", text=text, **values)
            self._send("Input.dispatchKeyEvent", type="keyUp", **values)
        self.settle()

    def focus(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).focus({{focusVisible: true}})")
        self.settle()

    def screenshot(self, path: Path, clip: tuple[float, float, float, float] | None = None) -> None:
        """Writes a PNG of the whole page, or of (left, top, width, height) of it."""
        if clip is None:
            size = self._send("Page.getLayoutMetrics")["cssContentSize"]
            clip = (0, 0, size["width"], size["height"])
        shot = self._send(
            "Page.captureScreenshot",
            captureBeyondViewport=True,
            clip=dict(zip(("x", "y", "width", "height"), clip, strict=True)) | {"scale": 1},
        )
        path.write_bytes(base64.b64decode(shot["data"]))

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        deadline = time.monotonic() + SECONDS
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._received:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self._from], [], [], left)[0], "no answer in time"
            data = os.read(self._from, 1 << 20)
            assert data, "the browser has ended"
            self._received += data
        message, self._received = self._received.split(b"\0", 1)
        answer = json.loads(message)
        self._note(answer.get("method"), answer.get("params", {}))
        return answer

    def _note(self, event: str | None, values: dict[str, Any]) -> None:
        # What Chromium says of a canvas that a test reads again and again.
        if "willReadFrequently" in json.dumps(values):
            return
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(values)[:1000])
        elif event == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning"):
            self.problems.append(json.dumps(values["args"])[:1000])
        elif event == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.problems.append(json.dumps(values["entry"])[:1000])
        elif event == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"][:100])


@contextlib.contextmanager
def browser(program: str) -> Iterator[Page]:
    """A browser with one page, in English, which ends with the block."""
    commands, to_browser = os.pipe()
    from_browser, answers = os.pipe()

    def place_pipes() -> None:
        # By way of numbers that are neither, since the pipes may have got 3 and 4 themselves.
        read, written = os.dup2(commands, 103), os.dup2(answers, 104)
        os.dup2(read, 3)
        os.dup2(written, 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                program,
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",  # There is none for root; the page is our own.
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-extensions",
                "--disable-background-networking",
                # A second browser beside it must not slow the page's timers down.
                "--disable-background-timer-throttling",
                "--disable-backgrounding-occluded-windows",
                "--disable-renderer-backgrounding",
                "--no-first-run",
                "--lang=en-US",
                "--hide-scrollbars",
                f"--user-data-dir={profile}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=place_pipes,
            close_fds=False,
            env=os.environ | {"LANGUAGE": "en", "HOME": profile},
        )
        os.close(commands)
        os.close(answers)
        try:
            yield Page(to_browser, from_browser)
        finally:
            process.kill()
            process.wait()
            os.close(to_browser)
            os.close(from_browser)
