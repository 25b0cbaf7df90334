"""What the tests against the made-up gateway share."""
from answers import ATTACK


def cells(page, label):
    """Rows of the table of that name."""
    return page.get_by_role("table", name=label).locator("tbody tr")


def events(world):
    """A few things happen, one of them to a user whose name is markup."""
    session = {"ike_id": None, "listener": "secure", "outer": "198.51.100.7:4500", "seconds": 0, "in_octets": 0, "out_octets": 0}
    world.emit("session.up", id="1.0", user="alice", inner=["10.100.0.0", "2001:db8:100::/64"], reason=None, **session)
    world.emit("session.reject", id="1.9", user=ATTACK, inner=[], reason="wrong password", **session)
    world.emit("bgp.down", neighbour="2001:db8:f7::1", reason="hold timer expired")
    world.emit("config.commit", commit=47, author="local:root", comment=None)
