"""Each view against the made-up gateway, where everything is wrong that can be."""
import re

from playwright.sync_api import expect

from common import cells, events, samples, toasts_stay, until


def test_overview(v):
    page = v.open(token="swgw_read", scheme="dark")
    events(v.world)
    expect(page.locator(".tile", has=page.get_by_text("Sessions", exact=True))).to_contain_text("100,000")
    expect(page.locator(".tile", has=page.get_by_text("Received", exact=True))).to_contain_text(re.compile(r"[0-9.]+ [GM]bit/s"))
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
    throughput = page.get_by_role("img", name=re.compile("^Throughput: received [0-9.]+ [GM]bit.s"))
    expect(throughput).to_be_visible()
    until(lambda: len(samples(page)) > 6)
    until(lambda: min(painted(page, name) for name in ("--in", "--out")) > 20)
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
    toasts_stay(page)
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


def test_security_associations(v):
    page = v.open("/#/sas", token="swgw_operate")
    toasts_stay(page)
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
    toasts_stay(page)
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
    until(lambda: not v.world.readers)
    # It has noticed, too, and does not call the old stream a live one any more.
    expect(page.get_by_text("listening")).to_be_hidden()
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
