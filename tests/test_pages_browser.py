"""The pages in a real browser: submit, watch, open a trial, download; on a desk, a phone, at night.

Needs Chromium with its driver, and selenium. With NAS_PHOTOS each page's picture is kept in that
folder; with NAS_AXE, the path of axe-core's axe.min.js, each page's accessibility is checked.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from search_kit import write_inputs
from service_kit import ROOT, Server, run_search, run_taken, serving, take
from store_kit import ready

from nas.store import tokens

webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium with its driver")
SCREENS = {"desk": (1280, 900, "light"), "phone": (390, 844, "light"), "night": (1280, 900, "dark")}
RULES = "wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"
PATIENCE = 60.0
AXE = os.environ.get("NAS_AXE")


class Reader:
    """Somebody with a browser that has a screen."""

    def __init__(self, driver: Any, base: str) -> None:
        self.driver, self.base = driver, base

    def go(self, path: str) -> None:
        """Open a page."""
        self.driver.get(f"{self.base}{path}")

    def find(self, css: str) -> Any:
        """Return an element."""
        return self.driver.find_element("css selector", css)

    def run(self, script: str, *words: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script, *words)

    def wait(self, is_so: Callable[[], Any]) -> Any:
        """Wait until something is so, and return it."""
        end = time.monotonic() + PATIENCE
        while not (found := is_so()):
            assert time.monotonic() < end, self.text_of("body")
            time.sleep(0.1)
        return found

    def login(self, text: str) -> None:
        """Type a token and press Enter."""
        self.go("/")
        self.find("#token").send_keys(text, "\n")
        self.wait(lambda: "Log out" in self.text_of("body"))

    def text_of(self, css: str) -> str:
        """Return the text of a part of the page, which may be replaced while it is read."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText || ''", css))

    def screen(self, name: str) -> None:
        """Take another screen."""
        width, height, scheme = SCREENS[name]
        phone = {
            "width": width,
            "height": height,
            "deviceScaleFactor": 1,
            "mobile": name == "phone",
        }
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def photograph(self, name: str) -> None:
        """Keep a picture of the whole page where that is wanted."""
        if folder := os.environ.get("NAS_PHOTOS"):
            height = self.run("return document.documentElement.scrollHeight")
            clip = {
                "x": 0,
                "y": 0,
                "width": self.run("return innerWidth"),
                "height": height,
                "scale": 1,
            }
            shot = {"captureBeyondViewport": True, "clip": clip}
            taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", shot)
            import base64

            Path(folder, f"{name}.png").write_bytes(base64.b64decode(taken["data"]))

    def check(self) -> None:
        """Hold that the page is no wider than its screen, and that nothing has failed in it."""
        wide = self.run("return document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{self.driver.current_url} is {wide} pixels too wide"
        failed = [each for each in self.driver.get_log("browser") if each["level"] == "SEVERE"]
        known = ("401", "/nothing")  # the login page, the page of a problem
        assert [e for e in failed if not any(word in e["message"] for word in known)] == []

    def violations(self) -> list[tuple[str, str, Any]]:
        """Return what axe finds in the page."""
        self.run(Path(str(AXE)).read_text())
        found = self.driver.execute_async_script(
            "axe.run({runOnly: arguments[0]}).then(arguments[1])", RULES
        )
        return [
            (each["id"], each["help"], [node["html"][:200] for node in each["nodes"]])
            for each in found["violations"]
        ]


@contextmanager
def browser(server: Server, downloads: Path) -> Iterator[Reader]:
    """Start a browser whose downloads lie in a folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage",
                 "disable-background-networking", "disable-component-update"):  # fmt: skip
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        driver.set_script_timeout(PATIENCE)
        kept = {"behavior": "allow", "downloadPath": str(downloads)}
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", kept)
        yield Reader(driver, server.base)
    finally:
        driver.quit()


def test_a_search_goes_from_the_form_to_its_files_in_a_browser(tmp_path: Path) -> None:
    """Submit, watch it live without loading the page again, open a trial, download, upload.

    No page is wider than a phone, no script fails, axe finds nothing; by day and by night.
    """
    data, files = tmp_path / "data", tmp_path / "files"
    for folder in (data, files, out := tmp_path / "out"):
        folder.mkdir()
    write_inputs(data)
    with ready("sqlite", tmp_path) as url, serving(url, tmp_path, (data,)) as server:
        with server.store.write() as connection:
            _, text = tokens.create(connection, "Ada", ("read", "submit"))
        headers = {"Authorization": f"Bearer {text}"}
        with httpx.Client(base_url=server.base + ROOT, headers=headers, timeout=60) as api:
            first = run_search(server, api, out, study="first", epochs=3, trials=6)
        with browser(server, files) as reader:
            reader.screen("desk")
            reader.go("/")
            reader.photograph("login-desk")
            reader.login(text)
            found = submitted(reader)
            reader.run("window.isTheSame = true")
            taken = take(server)
            reader.wait(lambda: "running" in reader.text_of("#state"))
            run_taken(server, taken, tmp_path / "out")
            reader.wait(lambda: "succeeded" in reader.text_of("#state"))
            reader.wait(lambda: reader.text_of("#found"))
            assert reader.run("return window.isTheSame")
            reader.find("#trials tbody a").click()
            downloaded(reader, files)
            uploaded(reader, data / "tones.npz")
            compared = f"/compare?search={first}&search={found}"
            base = f"/searches/{first}"
            seen(reader, {
                "list": "/", "new": "/new", "data": "/data", "search": base,
                "trials": f"{base}/trials",
                "trial": f"{base}/trials/1", "compare": compared, "problem": "/nothing",
            })  # fmt: skip
            reader.find(".person button").click()
            reader.wait(lambda: "Type the token" in reader.text_of("main"))


def submitted(reader: Reader) -> str:
    """Fill the form in, see what it would be, submit it; return the search's id."""
    reader.go("/new")
    reader.find("#study").send_keys("by hand")
    reader.find("#data").send_keys("tones.npz")
    reader.find("#target_flops").send_keys("2M")
    reader.wait(lambda: "assignments" in reader.text_of("#preflight"))
    reader.wait(lambda: "%" in reader.text_of("#preflight"))
    reader.find("#trials").send_keys("3")
    reader.find("#trials").submit()
    reader.wait(lambda: "/searches/" in reader.driver.current_url)
    reader.wait(lambda: "queued" in reader.text_of("#state"))
    return str(reader.driver.current_url.rpartition("/")[2])


def downloaded(reader: Reader, files: Path) -> None:
    """Download a trial's code, and see it in the page."""
    reader.wait(lambda: "/trials/" in reader.driver.current_url)
    reader.wait(lambda: reader.text_of("main .links"))
    reader.find("main .links a").click()
    code = files / "model.py"
    reader.wait(code.exists)
    assert "(nn.Module)" in code.read_text()
    reader.run("document.querySelector('[data-load]').open = true")
    reader.wait(lambda: reader.text_of("details pre").startswith(code.read_text()[:40]))


def uploaded(reader: Reader, file: Path) -> None:
    """Send a file by the page's form, and see it listed."""
    reader.go("/data")
    reader.find("#file").send_keys(str(file))
    reader.find("form[enctype] button").click()
    reader.wait(lambda: f"Delete {file.name}" in reader.driver.page_source)


def seen(reader: Reader, pages: dict[str, str]) -> None:
    """Look at pages on each screen; axe finds nothing in them."""
    found: list[Any] = []
    for screen in SCREENS:
        reader.screen(screen)
        for name, path in pages.items():
            reader.go(path)
            if name == "new":
                reader.wait(lambda: "assignments" in reader.text_of("#preflight"))
                reader.run("document.querySelector('details').open = true")
            reader.check()
            reader.photograph(f"{name}-{screen}")
            if AXE and screen != "desk":
                found += [(name, screen, *each) for each in reader.violations()]
    assert found == []
