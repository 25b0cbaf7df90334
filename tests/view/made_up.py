"""The live view against a gateway that is made up, with 100,000 subscribers and everything wrong that can be."""
import re
import time

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

import answers

VIEWS = ["overview", "subscribers", "subscribers/1.1", "sas/ike", "sas/child", "bgp", "bgp/2001:db8:f1::ff", "mesh", "mesh/2001:db8:f2::1", "radius", "commits", "events"]
ATTACK = answers.ATTACK


def cells(page, label):
    return page.get_by_role("table", name=label).locator("tbody tr")


def events(world):
    session = {"ike_id": None, "listener": "secure", "outer": "198.51.100.7:4500", "seconds": 0, "in_octets": 0, "out_octets": 0}
    world.emit("session.up", id="1.0", user="alice", inner=["10.100.0.0", "2001:db8:100::/64"], reason=None, **session)
    world.emit("session.reject", id="1.9", user=ATTACK, inner=[], reason="wrong password", **session)
    world.emit("bgp.down", neighbour="2001:db8:f7::1", reason="hold timer expired")
    world.emit("config.commit", commit=47, author="local:root", comment=None)


def settled(page, view):
    """Waits until the view has its data."""
    what = {"overview": ".worker", "radius": ".server", "commits": ".commit", "events": ".brief li", "mesh": ".site"}
    expect(page.locator(what.get(view.split("/")[0], "tbody tr")).first).to_be_visible()
    if "/" in view and not view.startswith("sas"):
        expect(page.locator(".details dd, .about dd").first).to_be_visible()


def test_login(v):
    page = v.open()
    expect(page.get_by_label("Access token")).to_be_focused()
    v.shot("login")
    for _ in range(5):
        page.fill("#token", "swgw_wrong")
        page.press("#token", "Enter")
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


def test_overview(v):
    page = v.open(token="swgw_read", scheme="dark")
    events(v.world)
    expect(page.locator(".tile", has_text="Sessions")).to_contain_text("100,000")
    expect(page.locator(".tile", has_text="Received")).to_contain_text(re.compile(r"[0-9.]+ [GM]bit/s"))
    expect(page.locator(".worker")).to_have_count(3)
    expect(page.locator(".worker").first).to_contain_text("86 %")
    # What ends here on purpose is in the table, but is no loss.
    expect(cells(page, "Drops by reason").first).to_contain_text("rate_down")
    expect(page.get_by_role("table", name="Drops by reason")).to_contain_text("consumed")
    expect(page.locator("figure", has=page.get_by_role("img", name=re.compile("^Drops"))).locator(".legend")).not_to_contain_text("consumed")
    watch = page.locator(".watch")
    for text in ["Listener guest admits anybody", "Listener old allows weak algorithms", "sha1, modp1024", "one key for everybody", "Softwire to porto is down", "BGP neighbour porto is down",
                 "RADIUS server far does not answer", "1 softwire in the clear", "Forwarding table full", "Commit 47 waits", "Draining", "key 1 is shorter", "worker 7 does not poll"]:
        expect(watch).to_contain_text(text)
    expect(watch.locator("li").first).to_contain_text("alarm")
    expect(page.locator(".brief li")).to_have_count(4)
    # The plots show the colors of their series.
    page.wait_for_function("document.querySelectorAll('.legend')[0].textContent.includes('bit/s')")
    throughput = page.get_by_role("img", name=re.compile("^Throughput: received [0-9.]+ [GM]bit/s, sent"))
    expect(throughput).to_be_visible()
    assert painted(page, "--in") > 50 and painted(page, "--out") > 50
    page.get_by_role("button", name="pps").click()
    expect(page.locator(".legend").first).to_contain_text(re.compile("[0-9.]+ [Mk]pps"))
    throughput = page.locator("canvas").first
    throughput.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".legend .when").first).to_have_text(re.compile("[0-9:]{8}"))
    v.shot("overview", full=True)


def painted(page, name):
    """Pixels of the first plot that have the color of that name, as it is or thinned over the ground."""
    return page.evaluate("""(name) => {
      const canvas = document.querySelector("canvas"), pen = canvas.getContext("2d");
      const probe = document.createElement("canvas").getContext("2d");
      probe.fillStyle = getComputedStyle(canvas).getPropertyValue(name).trim();
      probe.fillRect(0, 0, 1, 1);
      const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
      const all = pen.getImageData(0, 0, canvas.width, canvas.height).data;
      let n = 0;
      for (let i = 0; i < all.length; i += 4) if (Math.abs(all[i] - r) + Math.abs(all[i + 1] - g) + Math.abs(all[i + 2] - b) < 60 && all[i + 3] > 100) n += 1;
      return n;
    }""", name)


def test_a_calm_gateway_has_nothing_to_look_at(v):
    v.world.calm = True
    page = v.open(token="swgw_read")
    expect(page.locator(".worker")).to_have_count(3)
    expect(page.locator(".watch")).to_have_text(re.compile("Nothing to look at"))


def test_a_restart_begins_the_history_anew(v):
    page = v.open(token="swgw_read")
    samples = "import('/view/live.js').then(({ live }) => live.samples.map((s) => [s.received.bits, s.sent.bits, s.lost]).flat())"
    expect(page.locator(".worker")).to_have_count(3)
    v.world.start = time.time()
    page.wait_for_function(f"{samples}.then((all) => all.length === 0)")
    page.wait_for_function(f"{samples}.then((all) => all.length > 0)")
    assert min(page.evaluate(samples)) >= 0


def test_subscribers_are_paged_and_searched(v):
    page = v.open("/#/subscribers", token="swgw_read")
    rows = cells(page, "Subscribers")
    where = page.locator(".pager .where")
    expect(rows).to_have_count(50)
    expect(where).to_have_text("1 – 50 of 100,000")
    expect(page.get_by_role("button", name="Previous")).to_be_disabled()
    v.shot("subscribers")
    page.get_by_role("button", name="Next").click()
    expect(where).to_have_text("51 – 100 of 100,000")
    expect(rows.first).to_contain_text("user000050@example.net")
    page.get_by_role("button", name="Previous").click()
    expect(where).to_have_text("1 – 50 of 100,000")
    search = page.get_by_label("Search subscribers")
    # Far back in the list: the gateway looks at 20,000 rows at a time.
    search.fill("user099990@example.net")
    expect(where).to_have_text("1 – 1 found among 100,000")
    expect(rows).to_contain_text("user099990@example.net")
    assert "q=user099990%40example.net" in page.url
    search.fill("10.100.3.232")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("user001000@example.net")
    search.fill("")
    page.get_by_label("Any state").select_option("authorizing")
    expect(where).to_have_text("1 – 50 found among 100,000")
    expect(rows.nth(49)).to_contain_text("user004997@example.net")
    page.get_by_role("button", name="Next").click()
    expect(rows.first).to_contain_text("user005097@example.net")
    page.reload()
    expect(where).to_have_text("1 – 50 found among 100,000")
    expect(page.get_by_label("Any state")).to_have_value("authorizing")
    page.get_by_label("Search subscribers").fill("nobody")
    expect(page.locator(".list .note")).to_contain_text("No subscriber matches.")
    expect(where).to_have_text("none found among 100,000")
    page.get_by_label("Search subscribers").fill("1.7")
    expect(page.locator(".details h2")).to_have_text("user000007@example.net")


def test_a_subscriber_in_detail(v):
    page = v.open("/#/subscribers", token="swgw_read", scheme="dark")
    cells(page, "Subscribers").first.click()
    details = page.locator(".details")
    expect(details.locator("h2")).to_have_text("alice")
    for text in ["10.100.0.0", "192.168.7.0/24", "50.0 Mbit/s", "residential", "RADIUS", "IKEv2 SA", "Session time left"]:
        expect(details).to_contain_text(text)
    expect(details.locator(".legend")).to_contain_text(re.compile("from it [0-9.]+ [Mk]bit/s"))
    expect(page.get_by_role("button", name="Disconnect")).to_have_count(0)
    expect(cells(page, "Subscribers").first).to_have_attribute("aria-current", "true")
    v.shot("subscriber")
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    v.go("subscribers/9.9")
    expect(details).to_contain_text("There is no session 9.9 any more.")


def test_disconnect_takes_the_role_operate_and_a_confirmation(v):
    page = v.open("/#/subscribers/1.0", token="swgw_operate")
    button = page.locator(".details").get_by_role("button", name="Disconnect")
    button.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Disconnect alice?")
    v.shot("disconnect")
    dialog.get_by_role("button", name="Cancel").click()
    assert v.world.actions == []
    button.click()
    dialog.get_by_role("button", name="Disconnect").click()
    expect(page.locator(".toast")).to_contain_text("alice is being disconnected")
    expect(page.locator(".details")).to_contain_text("any more")
    assert v.world.actions == ["DELETE /subscribers/1.0"]


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
      await new Promise((next) => setTimeout(next, 100));
      return [results, broken];
    }""")
    v.complaints.clear()
    assert broken[0] == ["TypeError"] * 4, broken
    assert {"img-src", "connect-src", "require-trusted-types-for"} <= set(broken[1]), broken


def test_security_associations(v):
    page = v.open("/#/sas", token="swgw_operate")
    rows = cells(page, "IKE SAs")
    expect(rows).to_have_count(50)
    old = rows.filter(has_text="user000005")
    for text in ["IKEv1", "weak: sha1", "weak: modp1024", "shared secret"]:
        expect(old).to_contain_text(text)
    v.shot("sas-ike")
    page.get_by_label("Search SAs").fill("user000017@example.net")
    expect(rows).to_have_count(1)
    rows.first.click()
    page.get_by_role("button", name="Rekey").click()
    page.get_by_role("dialog").get_by_role("button", name="Rekey").click()
    expect(page.locator(".toast")).to_contain_text("Rekeying")
    page.get_by_role("link", name="Its child SAs").click()
    child = cells(page, "Child SAs")
    expect(child).to_have_count(1)
    child.first.click()
    page.get_by_role("button", name="Rekey").click()
    page.get_by_role("dialog").get_by_role("button", name="Rekey").click()
    expect(page.locator(".toast")).to_have_count(2)
    assert v.world.actions == ["POST /ike-sas/18/rekey", "POST /child-sas/c0001111/rekey"], v.world.actions
    v.go("sas/child")
    expect(child.nth(4)).to_contain_text("4")
    expect(child.nth(4).locator(".badge.bad")).to_have_attribute("title", "3 replayed, 1 with a wrong ICV")
    v.shot("sas-child")


def test_bgp(v):
    page = v.open("/#/bgp", token="swgw_read")
    rows = cells(page, "BGP neighbours")
    expect(rows).to_have_count(4)
    for i, text in enumerate(["Established", "Established", "Active", "disabled"]):
        expect(rows.nth(i)).to_contain_text(text)
    routes = cells(page, "Routes")
    expect(routes.first).to_contain_text("10.0.0.0/24")
    expect(routes.nth(1)).to_contain_text("AS_PATH length")
    expect(page.locator(".pager .where")).to_have_text("1 – 50")
    page.get_by_role("button", name="Next").click()
    expect(routes.first).to_contain_text("10.50.0.0/24")
    page.get_by_label("Prefix or address").fill("10.77.1.1")
    page.get_by_role("button", name="Look up").click()
    expect(routes).to_have_count(1)
    expect(routes).to_contain_text("softwire to 2001:db8:f7::1")
    v.shot("bgp", full=True)
    page.get_by_label("Prefix or address").fill("2001:db8::/32")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No route matches.")).to_be_visible()
    page.get_by_label("Prefix or address").fill("")
    rows.first.click()
    expect(page.locator(".details")).to_contain_text("TCP-AO by core (key 4)")
    page.get_by_role("button", name="Its routes").click()
    expect(page.get_by_label("Table")).to_have_value("in 2001:db8:f1::ff")
    expect(routes.first).to_contain_text("10.0.0.0/24")
    expect(cells(page, "RPKI caches")).to_contain_text("412,020")
    v.shot("bgp-neighbour")


def test_mesh(v):
    page = v.open("/#/mesh", token="swgw_operate", scheme="dark")
    expect(page.locator(".site")).to_have_count(8)
    expect(page.locator(".wire")).to_have_count(10)
    expect(page.locator(".wire.down")).to_have_count(1)
    expect(page.locator(".wire.clear")).to_have_count(1)
    expect(page.locator(".wire.up .rate").first).to_contain_text(re.compile("↓ [0-9.]+ [GMk]bit/s"))
    expect(page.get_by_role("button", name="porto: 0 of 1 softwires up")).to_be_visible()
    expect(cells(page, "Softwires")).to_have_count(10)
    v.shot("mesh")
    page.get_by_role("button", name=re.compile("^east")).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=re.compile("^east"))).to_have_attribute("aria-pressed", "true")
    expect(cells(page, "Softwires")).to_have_count(2)
    expect(page.get_by_role("button", name=re.compile("^east"))).to_be_focused()
    expect(page.locator(".about")).to_contain_text("aes128gmac")
    page.locator(".about").get_by_role("button", name="Rekey").nth(1).click()
    page.get_by_role("dialog").get_by_role("button", name="Rekey").click()
    expect(page.locator(".toast")).to_contain_text("Rekeying")
    assert v.world.actions == ["POST /softwires/2/rekey"]
    v.shot("mesh-chosen")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator(".site")).to_have_count(8)
    page.wait_for_function("document.querySelector('.picture svg').clientWidth < 390")
    v.shot("mesh-phone")
    expect(cells(page, "BFD sessions")).to_have_count(2)


def test_radius(v):
    page = v.open("/#/radius", token="swgw_read")
    expect(page.locator(".server")).to_have_count(3)
    expect(page.get_by_label("far, authentication")).to_contain_text("dead")
    expect(page.locator(".tile", has_text="Records pending")).to_contain_text("17")
    expect(page.get_by_text("replayed")).to_be_visible()
    v.shot("radius")


def test_commits(v):
    page = v.open("/#/commits", token="swgw_read")
    commits = page.locator(".commit")
    expect(commits).to_have_count(20)
    first = commits.first
    expect(first).to_contain_text("#47")
    expect(first).to_contain_text("pending")
    expect(first.locator(".change")).to_have_count(3)
    expect(first.locator(".plus").nth(1)).to_contain_text('"description": "porto"')
    expect(first.locator(".minus").nth(1)).to_contain_text("true")
    v.shot("commits")
    page.get_by_role("button", name="Older commits").click()
    expect(commits).to_have_count(40)
    page.get_by_role("button", name="Older commits").click()
    expect(commits).to_have_count(47)
    expect(page.get_by_role("button", name="Older commits")).to_be_hidden()
    commits.nth(30).locator("summary").click()
    expect(commits.nth(30).locator(".path").first).to_be_visible()


def test_events_come_live_and_the_stream_is_taken_up_again(v):
    page = v.open("/#/events", token="swgw_read")
    expect(page.get_by_text("listening")).to_be_visible()
    events(v.world)
    lines = page.locator(".brief li")
    expect(lines).to_have_count(4)
    expect(lines.first).to_contain_text("config.commit")
    page.get_by_role("button", name="session", exact=True).click()
    expect(lines).to_have_count(2)
    page.get_by_role("button", name="session", exact=True).click()
    page.get_by_label("Search events").fill("HOLD TIMER")
    expect(lines).to_have_count(1)
    page.get_by_label("Search events").fill("")
    page.get_by_role("button", name="Pause").click()
    v.world.emit("session.down", user="alice", reason="idle")
    expect(page.get_by_text("paused, 1 event since")).to_be_visible()
    expect(lines).to_have_count(4)
    page.get_by_role("button", name="Pause").click()
    expect(lines).to_have_count(5)
    v.world.broken = 503
    expect(page.locator("#state")).to_contain_text("shutting down")
    while v.world.readers:
        time.sleep(0.05)
    # What the page missed is counted by the number of what comes next.
    v.world.emit("drain.start", mode="refuse")
    v.world.emit("drain.done", mode="refuse")
    v.world.broken = None
    expect(page.get_by_text("listening")).to_be_visible()
    v.world.emit("config.confirm", commit=48, author="local:root")
    expect(lines).to_have_count(7)
    expect(lines.nth(1)).to_contain_text("2 events missed")
    v.world.emit("lagged", lost=12)
    expect(lines.first).to_contain_text("12 events missed")
    v.shot("events")


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
        expect(page.get_by_role("alert").first).to_contain_text("This gateway does not offer this.")


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
    before = row.locator("td").nth(6).inner_text()
    expect(row.locator("td").nth(6)).not_to_have_text(before)
    expect(row).to_be_focused()


def accessible(v, scheme, size, name):
    page = v.open(token="swgw_operate", scheme=scheme, size=size)
    events(v.world)
    wrong = []
    for view in VIEWS:
        v.go(view)
        settled(page, view)
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).response["violations"]
        wrong += [f"{view}: {one['id']}: {node['html'][:160]} {node['failureSummary'][:300]}" for one in found for node in one["nodes"][:2]]
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
