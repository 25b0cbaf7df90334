"""What the tests against the made-up gateway share."""
import time

from answers import ATTACK


def cells(page, label):
    """Rows of the table of that name."""
    return page.get_by_role("table", name=label).locator("tbody tr")


def events(world):
    """A few things happen, one of them to a user whose name is markup; once the page hears of it, since nothing is told twice."""
    until(lambda: world.readers)
    session = {"ike_id": None, "listener": "secure", "outer": "198.51.100.7:4500", "seconds": 0, "in_octets": 0, "out_octets": 0}
    world.emit("session.up", id="1.0", user="alice", inner=["10.100.0.0", "2001:db8:100::/64"], reason=None, **session)
    world.emit("session.reject", id="1.9", user=ATTACK, inner=[], reason="wrong password", **session)
    world.emit("bgp.down", neighbour="2001:db8:f7::1", reason="hold timer expired")
    world.emit("config.commit", commit=47, author="local:root", comment=None)


def samples(page):
    """What the page has measured: of each sample, bits received and sent, and packets lost."""
    return page.evaluate("import('/view/live.js').then(({ live }) => live.samples.map((s) => [s.received.bits, s.sent.bits, s.lost]))")


def moments(page):
    """When the page has measured, as seconds since the epoch."""
    return page.evaluate("import('/view/live.js').then(({ live }) => live.samples.map((s) => s.at / 1000))")


def toasts_stay(page):
    """A toast goes away by itself; these do not, however long a test takes to get to look at them."""
    page.evaluate("""() => {
      const remove = Element.prototype.remove;
      Element.prototype.remove = function () { if (!this.matches(".toast")) remove.call(this); };
    }""")


def until(test, seconds=60):
    """Waits until it is true; for what the page does not show."""
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.1)
