//! What the operator does about a neighbour.

use super::Routing;
use super::view::of;
use crate::northbound::{BgpAction, BgpFamily, NotDone};
use bgp::message::{Family, Negotiated};
use std::net::IpAddr;
use std::time::Instant;

impl Routing {
    /// Does it, unless the state of the session leaves nothing to do it to.
    pub fn operate(&mut self, now: Instant, address: IpAddr, action: &BgpAction) -> Result<(), NotDone> {
        let id = self.speaker.neighbour_at(address).ok_or(NotDone::Unknown)?;
        let view = self.speaker.neighbour(id).ok_or(NotDone::Unknown)?;
        match action {
            BgpAction::Clear { .. } if !view.config.enabled => return Err(NotDone::State("the neighbour is disabled")),
            BgpAction::Clear { hard, message } => self.speaker.clear(now, id, message, *hard),
            BgpAction::SoftIn(family) => {
                if view.negotiated.is_some_and(|n| !n.route_refresh) {
                    return Err(NotDone::State("the neighbour cannot be asked for its routes again"));
                }
                for family in carried(view.negotiated, *family)? {
                    self.speaker.soft_refresh_in(now, id, family);
                }
            }
            BgpAction::SoftOut(family) => {
                for family in carried(view.negotiated, *family)? {
                    self.speaker.soft_refresh_out(now, id, family);
                }
            }
            BgpAction::Disable { message } => self.speaker.disable(now, id, message),
            BgpAction::Enable => self.speaker.enable(now, id),
        }
        Ok(())
    }
}

/// The family that is meant, or all that the session carries.
fn carried(session: Option<&Negotiated>, wanted: Option<BgpFamily>) -> Result<Vec<Family>, NotDone> {
    let families = &session.ok_or(NotDone::State("the session is not established"))?.families;
    let meant: Vec<_> = families.iter().copied().filter(|f| wanted.is_none_or(|wanted| wanted == of(*f))).collect();
    if meant.is_empty() { Err(NotDone::State("the session does not carry that family")) } else { Ok(meant) }
}
