"""view.py [TEST...] - the live view in headless Chromium; see run.sh.

A test is a function `test_*` of page.py or views.py, or of real.py when API names a gateway. It is given a `Visit`: a browser context
of its own, whose page must neither write errors to the console nor break its policy, and a screenshot if it fails.
"""
import contextlib
import os
import pathlib
import re
import sys
import time
import traceback

from playwright.sync_api import expect, sync_playwright

import mock

HERE = pathlib.Path(__file__).parent
OUT = HERE / "out"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
# Milliseconds: how long a failure takes, and no more than that. A machine may have other work.
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)
# The browser says so itself when an answer is an error; what the page makes of it is what is tested.
EXPECTED = re.compile(r"Failed to load resource|net::ERR_")


class Visit:
    """A page in a browser context of its own, and what it has complained of."""

    def __init__(self, browser, url, world=None, name=""):
        self.browser, self.url, self.world, self.name = browser, url, world, name
        self.complaints = []
        self.contexts = []
        self.page = None

    def open(self, path="", token=None, scheme="light", size=(1440, 900)):
        """Opens the page, and logs in if a token is given. The time zone is UTC."""
        width, height = size
        context = self.browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height}, timezone_id="UTC",
                                           locale="en-GB", ignore_https_errors=True, reduced_motion="reduce")
        self.contexts.append(context)
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("console", lambda m: m.type == "error" and not EXPECTED.search(m.text) and self.complaints.append(f"console: {m.text}"))
        self.page.on("request", lambda r: not r.url.startswith((self.url, "data:", "blob:")) and self.complaints.append(f"asks {r.url}"))
        self.page.goto(self.url + path)
        if token:
            self.page.fill("#token", token)
            self.page.press("#token", "Enter")
            expect(self.page.locator("#state")).to_contain_text("live")
        return self.page

    def go(self, where):
        self.page.goto(f"{self.url}/#/{where}")
        return self.page

    def shot(self, name, full=False):
        self.page.screenshot(path=OUT / f"{name}.png", full_page=full)

    def close(self):
        for context in self.contexts:
            context.close()


def attempt(browser, name, test, start):
    """Runs one test; a screenshot is taken of where it failed."""
    with contextlib.ExitStack() as stack:
        url, world, stop = start()
        stack.callback(stop)
        visit = Visit(browser, url, world, name)
        stack.callback(visit.close)
        try:
            test(visit)
            assert not visit.complaints, visit.complaints
        except Exception:
            with contextlib.suppress(Exception):
                visit.shot(f"failed-{name}")
            raise


def run(browser, tests, start):
    """Runs them all; returns what went wrong, by the test's name."""
    failures = {}
    for name, test in tests:
        began = time.monotonic()
        try:
            attempt(browser, name, test, start)
        except Exception as error:
            failures[name] = error
            traceback.print_exc(limit=-4)
        result = "FAILED" if name in failures else "ok"
        print(f"[view] {result} {name.replace('_', ' ')} ({time.monotonic() - began:.1f} s)", flush=True)
    return failures


def brief(error):
    """Where a test failed and with what, in three lines at most: lines of the tests, and the error without what Playwright adds to it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if pathlib.Path(f.filename).parent == HERE and f.filename != __file__]
    said = re.split("\nCall log:|\nAria snapshot:", str(error))[0].split("\n")
    reason = "; ".join(line.strip() for line in said if line.strip())
    return [f"{pathlib.Path(f.filename).name}:{f.lineno}: {f.line}"[:300] for f in frames[-2:]] + [f"{type(error).__name__}: {reason}"[:500]]


def summary(tests, failures):
    for name, error in failures.items():
        print(f"FAIL {name.replace('_', ' ')}", *brief(error), sep="\n     | ")
    print(f"{len(tests) - len(failures)} passed, {len(failures)} failed", flush=True)


def main(wanted):
    OUT.mkdir(exist_ok=True)
    if api := os.environ.get("API"):
        import real
        modules = [real]
        start = lambda: (*real_address(api), lambda: None)
    else:
        import page
        import views
        modules = [page, views]

        def start():
            world, url, stop = mock.serve()
            return url, world, stop
    named = [(name, f) for module in modules for name, f in vars(module).items() if name.startswith("test_")]
    tests = [(name[5:], f) for name, f in named if not wanted or any(word in name for word in wanted)]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, timeout=PATIENCE, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            failures = run(browser, tests, start)
        finally:
            browser.close()
    summary(tests, failures)
    return 1 if failures or not tests else 0


def real_address(api):
    """A URL that a browser can open, for an API on TCP or on a unix socket; and no world."""
    if not api.startswith("unix:"):
        return api.rstrip("/"), None
    import tunnel
    return f"http://127.0.0.1:{tunnel.to_socket(api[5:])}", None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
