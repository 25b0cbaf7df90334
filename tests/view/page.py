"""The page as a whole, against the made-up gateway: login, strangers' words, what goes wrong, keys, and everybody's eyes."""
import json
import pathlib
import re
import time
import urllib.error
import urllib.request

import jsonschema
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from answers import ATTACK
from common import cells, events, moments, samples, until

OPENAPI = pathlib.Path(__file__).resolve().parents[2] / "mgmt-api/openapi.json"
DOCUMENT = json.loads(OPENAPI.read_text())
BGP = ["[aria-label='BGP neighbours'] tbody tr", "[aria-label=Routes] tbody tr", "[aria-label='RPKI caches'] tbody tr"]
MESH = [".site", "[aria-label=Softwires] tbody tr", "[aria-label='BFD sessions'] tbody tr"]
# Views, and what is there once they have their data.
VIEWS = {
    "overview": [".worker", ".listener", ".brief time", ".watch a[href='#/mesh']", ".watch a[href='#/bgp']", "[aria-label='Drops by reason'] tbody tr"],
    "subscribers": ["[aria-label=Subscribers] tbody tr"],
    "subscribers/1.1": ["[aria-label=Subscribers] tbody tr", ".details dd", ".details .sa", "[aria-label='Traffic of the session'] td"],
    "sas/ike": ["[aria-label='IKE SAs'] tbody tr"],
    "sas/child": ["[aria-label='Child SAs'] tbody tr"],
    "bgp": BGP,
    "bgp/2001:db8:f1::ff": [*BGP, ".details dd"],
    "mesh": [*MESH, ".about dd"],
    "mesh/2001:db8:f2::1": [*MESH, ".site.chosen", ".about h3"],
    "radius": [".server", ".tile"],
    "commits": [".commit"],
    "events": [".brief time"],
}


def settled(page, view):
    """Waits until the view has its data."""
    for what in VIEWS[view]:
        expect(page.locator(f".view.{view.split('/')[0]}").locator(what).first).to_be_visible()


def test_login(v):
    page = v.open()
    expect(page.get_by_label("Access token")).to_be_focused()
    v.shot("login")
    for n in range(5):
        page.fill("#token", "swgw_wrong")
        page.press("#token", "Enter")
        until(lambda: v.world.refused > n)
        expect(page.get_by_role("alert")).to_contain_text("does not accept this token")
        page.wait_for_selector("button:enabled")
    page.press("#token", "Enter")
    expect(page.get_by_role("alert")).to_contain_text("Try again in 7s")
    page.fill("#token", "swgw_read")
    page.press("#token", "Enter")
    expect(page.locator("#who")).to_contain_text("wall · read")
    assert "swgw_read" not in page.url
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    page.reload()
    expect(page.locator("#who")).to_contain_text("wall · read")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Access token")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_token_that_ends_leads_back_to_the_login(v):
    page = v.open(token="swgw_read")
    v.world.broken = 401
    expect(page.get_by_label("Access token")).to_be_visible()
    expect(page.locator("#nav a")).to_have_count(0)


def test_a_restart_begins_the_history_anew(v):
    # It had run for longer than the page may take to look again: counters that it has by then are smaller ones.
    v.world.start -= 3600
    page = v.open(token="swgw_read")
    expect(page.locator(".worker")).to_have_count(3)
    v.world.start = restart = time.time()
    until(lambda: all(at > restart for at in moments(page)))
    until(lambda: len(samples(page)) > 1)
    assert min(sum(samples(page), [])) >= 0


def test_strangers_words_are_text(v):
    """A user whose name is markup that would run: in every view it is words, and nothing has run."""
    page = v.open(token="swgw_operate")
    events(v.world)
    for view, where in [("subscribers", "tbody"), ("subscribers/1.1", ".details h2"), ("sas/ike", "tbody"), ("commits", ".commits"), ("events", ".brief"), ("overview", ".brief")]:
        v.go(view)
        expect(page.locator(where).first).to_contain_text(ATTACK)
    v.go("subscribers/1.1")
    page.locator(".details").get_by_role("button", name="Disconnect").click()
    expect(page.get_by_role("dialog")).to_contain_text(f"Disconnect {ATTACK}?")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    v.go("bgp")
    expect(page.locator("tbody").first).to_contain_text("customer of <b>Oslo</b>")
    assert page.locator("img[src=x], td b").count() == 0
    assert page.evaluate("window.attacked") is None


def test_the_policy_holds(v):
    """Whatever a mistake in the page would do: no markup from text, nothing inline, nothing from elsewhere."""
    page = v.open(token="swgw_read")
    broken = page.evaluate("""async () => {
      const broken = [];
      document.addEventListener("securitypolicyviolation", (event) => broken.push(event.effectiveDirective));
      const tried = (f) => { try { f(); return "done"; } catch (error) { return error.name; } };
      const results = [
        tried(() => { document.createElement("p").innerHTML = "<b>x</b>"; }),
        tried(() => new DOMParser().parseFromString("<b>x</b>", "text/html")),
        tried(() => { document.createElement("script").src = "/view/app.js"; }),
      ];
      const image = document.createElement("img");
      const gone = new Promise((next) => { image.onerror = next; });
      image.src = "http://192.0.2.1/x.png";
      document.body.append(image);
      await gone;
      results.push(await fetch("http://192.0.2.1/").then(() => "done", (error) => error.name));
      const end = Date.now() + 60000;
      while (Date.now() < end && new Set(broken).size < 3) await new Promise((next) => setTimeout(next, 10));
      return [results, broken];
    }""")
    # What the browser complained of comes before this.
    with page.expect_console_message(lambda message: message.text == "that was all"):
        page.evaluate("console.info('that was all')")
    v.complaints.clear()
    assert broken[0] == ["TypeError"] * 4, broken
    assert {"img-src", "connect-src", "require-trusted-types-for"} <= set(broken[1]), broken


def test_no_answer_is_said_and_got_over(v):
    page = v.open(token="swgw_read")
    expect(page.locator(".worker")).to_have_count(3)
    v.world.broken = 503
    expect(page.locator("#state")).to_contain_text(re.compile("shutting down since [0-9:]{8}"))
    expect(page.locator("body")).to_have_class(re.compile("stale"))
    v.shot("no-answer")
    v.world.broken = None
    expect(page.locator("#state")).to_contain_text("live")
    expect(page.locator("body")).not_to_have_class(re.compile("stale"))


def test_what_a_gateway_does_not_offer_is_said(v):
    v.world.missing = {"events", "drain", "config", "bgp", "softwires", "radius", "bfd", "whoami"}
    page = v.open(token="swgw_admin")
    expect(page.locator("#who")).to_contain_text("read")
    expect(page.locator(".worker")).to_have_count(3)
    for view in ["bgp", "mesh", "radius", "commits"]:
        v.go(view)
        expect(page.locator(f".view.{view}").get_by_role("alert").first).to_contain_text("This gateway does not offer this.")


def test_a_gateway_without_anybody(v):
    v.world.empty = True
    page = v.open(token="swgw_read")
    said = {"subscribers": "No subscriber matches.", "sas/ike": "No IKE SA matches.", "sas/child": "No child SA matches.", "bgp": "No BGP neighbours.", "mesh": "No softwires", "radius": "No RADIUS servers",
            "commits": "has not been changed through the API", "events": "Nothing has happened", "overview": "an AFBR only"}
    for view, text in said.items():
        v.go(view)
        expect(page.get_by_text(text).first).to_be_visible()
    v.go("mesh")
    expect(page.get_by_text("No softwires").first).to_be_visible()
    v.shot("empty-mesh")
    for view in ["overview", "events"]:
        v.go(view)
        expect(page.locator(f".view.{view} .brief .note")).to_contain_text("Nothing has happened")
        wrong = violations(page, view)
        assert not wrong, "\n".join(wrong)


def test_keys(v):
    page = v.open(token="swgw_read")
    page.keyboard.press("2")
    expect(page.get_by_role("heading", level=1)).to_have_text("Subscribers")
    rows = cells(page, "Subscribers")
    expect(rows).to_have_count(50)
    page.keyboard.press("j")
    expect(rows.first).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    expect(rows.nth(2)).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.locator(".details h2")).to_have_text(ATTACK)
    page.keyboard.press("Escape")
    expect(page.locator(".details")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type("8")
    expect(page.get_by_label("Search subscribers")).to_have_value("8")
    page.keyboard.press("Escape")
    page.keyboard.press("5")
    expect(page.get_by_role("heading", level=1)).to_have_text("Mesh")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("wall screen")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("w")
    expect(page.locator("#nav")).to_be_hidden()
    page.keyboard.press("w")
    expect(page.locator("#nav")).to_be_visible()
    page.reload()
    expect(page.locator(".site").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_focus_survives_a_refresh(v):
    page = v.open("/#/subscribers", token="swgw_read")
    row = cells(page, "Subscribers").nth(3)
    row.focus()
    before = row.locator("td").last.inner_text()
    expect(row.locator("td").last).not_to_have_text(before)
    expect(row).to_be_focused()


def violations(page, view):
    """What axe has to say of the view, as lines."""
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).response["violations"]
    return [f"{view}: {one['id']}: {node['html'][:160]} {node['failureSummary'][:300]}" for one in found for node in one["nodes"][:2]]


def accessible(v, scheme, size, name):
    # A few rows: what is wrong with one is wrong with all.
    v.world.many = 6
    v.world.subscribers = v.world.subscribers[:6]
    page = v.open(token="swgw_operate", scheme=scheme, size=size)
    events(v.world)
    wrong = []
    for view in VIEWS:
        v.go(view)
        settled(page, view)
        wrong += violations(page, view)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        wrong += [f"{view}: {wide} pixels too wide"] if wide > 0 else []
        v.shot(f"{name}-{view.replace('/', '-').replace(':', '')}")
    assert not wrong, "\n".join(wrong)


def test_accessible_light(v):
    accessible(v, "light", (1440, 900), "light")


def test_accessible_dark(v):
    accessible(v, "dark", (1440, 900), "dark")


def test_accessible_on_a_phone(v):
    accessible(v, "dark", (360, 740), "phone")


def test_fits_a_wall_screen(v):
    page = v.open(token="swgw_read", scheme="dark", size=(3840, 2160))
    events(v.world)
    page.keyboard.press("w")
    expect(page.locator(".worker")).to_have_count(3)
    expect(page.locator(".brief li")).to_have_count(4)
    assert page.evaluate("parseFloat(getComputedStyle(document.documentElement).fontSize)") >= 24
    v.shot("wall")


def test_numbers_and_times(v):
    page = v.open(token="swgw_read")
    got = page.evaluate("""import("/view/format.js").then((f) => [
      f.bits(0), f.bits(999), f.bits(999.6), f.bits(12345678), f.bits(1e10), f.bits(7.6e15), f.packets(61.84), f.octets(1), f.count(1234567), f.count(null),
      f.duration(0), f.duration(65), f.duration(3 * 3600 + 61), f.duration(90061), f.duration(null), f.percent(0.004), f.percent(1), f.clock("2020-01-02T03:04:05Z"), f.clock("nonsense"), f.plural(1, "route"),
    ])""")
    assert got == ["0 bit/s", "999 bit/s", "1.00 kbit/s", "12.3 Mbit/s", "10.0 Gbit/s", "7.60 Pbit/s", "61.8 pps", "1 B", "1,234,567", "–",
                   "0s", "1m 05s", "3h 01m", "1d 01h", "–", "0.4 %", "100 %", "2020-01-02 03:04:05", "nonsense", "1 route"], got


def differences(name, operation, body):
    """Where an answer is not as mgmt-api/openapi.json says; None if it says nothing of one."""
    schema = operation.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return None
    validator = jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]})
    return [f"{name}: {error.json_path}: {error.message[:200]}" for error in list(validator.iter_errors(body))[:3]]


def test_the_made_up_gateway_speaks_as_the_api_is_documented(v):
    """What the page is tested with has the shapes of mgmt-api/openapi.json."""
    ids = {"id": "1.0", "address": "192.0.2.200"}
    wrong, compared = [], 0
    for path, item in DOCUMENT["paths"].items():
        url = v.url + re.sub(r"{(\w+)}", lambda name: ids.get(name[1], "1"), path if path.startswith("/api/v1") else f"/api/v1{path}")
        if differences(path, item, None) is None:
            continue
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers={"authorization": "Bearer swgw_read"})) as answer:
                body = json.load(answer)
        except urllib.error.HTTPError:
            continue
        compared += 1
        wrong += differences(path, item, body)
    assert compared >= 12, compared
    assert not wrong, "\n".join(wrong)


def test_so_do_the_documents_that_swctl_is_tested_with(_):
    """Files are named after the paths that they are answers of."""
    paths = {path.removeprefix("/api/v1/").replace("/", "-"): item for path, item in DOCUMENT["paths"].items()}
    files = sorted((OPENAPI.parent / "swctl/tests/cli/documents").glob("*.json"))
    found = {file.stem: differences(file.stem, paths.get(file.stem, {}), json.loads(file.read_text())) for file in files}
    assert len(found) >= 18, found.keys()
    wrong = [f"{name}: the document knows no such answer" for name, lines in found.items() if lines is None]
    wrong += [line for lines in found.values() for line in lines or []]
    assert not wrong, "\n".join(wrong)
