"""The live view against a gateway that runs: what each view shows is what the API says.

API is where it is, TOKEN a token if one is needed. Nothing is changed.
"""
import json
import os
import re
import ssl
import urllib.request

from playwright.sync_api import expect

TOKEN = os.environ.get("TOKEN")


def ask(v, path):
    headers = {"authorization": f"Bearer {TOKEN}"} if TOKEN else {}
    insecure = ssl._create_unverified_context() if v.url.startswith("https") else None
    with urllib.request.urlopen(urllib.request.Request(v.url + "/api/v1" + path, headers=headers), timeout=10, context=insecure) as answer:
        return json.load(answer)


def rows(v, path):
    answer = ask(v, path)
    return answer if isinstance(answer, list) else answer.get("items", answer.get("routes", answer.get("commits")))


def opened(v, view):
    page = v.page or v.open(token=TOKEN)
    v.go(view)
    expect(page.locator("#state")).to_contain_text("live")
    return page


def lines(page, label):
    return page.get_by_role("table", name=label).locator("tbody tr")


def shows(page, label, found, text):
    expect(lines(page, label)).to_have_count(len(found))
    for row in found:
        expect(lines(page, label).filter(has_text=text(row)).first).to_be_visible()


def test_overview(v):
    page = opened(v, "overview")
    status = ask(v, "/status")
    expect(page.locator(".worker")).to_have_count(status["workers"])
    expect(page.locator(".tile", has_text="IKE SAs")).to_contain_text(f"{status['ike_sas']:,}")
    expect(page.locator(".tile", has=page.get_by_text("Received", exact=True))).to_contain_text(re.compile(r"[0-9.]+ [kMG]?bit/s"))
    for listener in status["listeners"]:
        expect(page.locator(".listeners")).to_contain_text(listener["name"])
    v.shot("real-overview", full=True)


def test_subscribers(v):
    page = opened(v, "subscribers")
    found = rows(v, "/subscribers?limit=50")
    shows(page, "Subscribers", found, lambda s: s["user"] or s["ike_id"] or "anonymous")
    v.shot("real-subscribers")
    for s in found[:1]:
        lines(page, "Subscribers").first.click()
        expect(page.locator(".details")).to_contain_text(s["acct_session_id"])
        v.shot("real-subscriber")
        page.keyboard.press("Escape")
        if s["user"]:
            page.get_by_label("Search subscribers").fill(s["user"])
            expect(lines(page, "Subscribers").first).to_contain_text(s["user"])


def test_security_associations(v):
    page = opened(v, "sas/ike")
    shows(page, "IKE SAs", rows(v, "/ike-sas?limit=50"), lambda sa: sa["remote_id"] or "unknown")
    v.shot("real-sas-ike")
    page = opened(v, "sas/child")
    shows(page, "Child SAs", rows(v, "/child-sas?limit=50"), lambda sa: sa["spi_in"])
    v.shot("real-sas-child")


def test_bgp_mesh_and_radius(v):
    page = opened(v, "bgp")
    shows(page, "BGP neighbours", rows(v, "/bgp/neighbours"), lambda n: n["address"])
    expect(page.get_by_role("alert")).to_have_count(0)
    v.shot("real-bgp")
    page = opened(v, "mesh")
    softwires = rows(v, "/softwires")
    shows(page, "Softwires", softwires, lambda s: s["remote"])
    expect(page.locator(".site")).to_have_count(min(36, len({s["remote"] for s in softwires})))
    v.shot("real-mesh")
    page = opened(v, "radius")
    expect(page.locator(".server")).to_have_count(len(ask(v, "/radius")["servers"]))
    v.shot("real-radius")


def test_commits_and_events(v):
    page = opened(v, "commits")
    commits = rows(v, "/config/commits?limit=20")
    expect(page.locator(".commit")).to_have_count(len(commits))
    if not commits:
        expect(page.get_by_text("has not been changed through the API")).to_be_visible()
    v.shot("real-commits")
    page = opened(v, "events")
    expect(page.get_by_text("listening")).to_be_visible()
    v.shot("real-events")


def test_the_page_comes_with_its_policy(v):
    insecure = ssl._create_unverified_context() if v.url.startswith("https") else None
    with urllib.request.urlopen(v.url + "/", timeout=10, context=insecure) as answer:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
