//! What the operator does through the management plane. Each thing that is done leaves an audit line.

use super::Gateway;
use crate::audit::{Record, Verb};
use crate::northbound::{BgpAction, NotDone};
use dataplane_api::softwire::Protection;
use std::net::IpAddr;
use std::time::Instant;

impl Gateway {
    pub(super) fn bgp_act(&mut self, now: Instant, address: IpAddr, action: &BgpAction) -> Result<(), NotDone> {
        self.routing.as_mut().ok_or(NotDone::Unknown)?.operate(now, address, action)?;
        self.operated(true, || match action {
            BgpAction::Clear { hard, message } => {
                let how = if *hard { "hard clear" } else { "clear" };
                format!("{how} of BGP neighbour {address}, message {message:?}")
            }
            BgpAction::SoftIn(_) => format!("routes of BGP neighbour {address} asked for again"),
            BgpAction::SoftOut(_) => format!("routes sent to BGP neighbour {address} again"),
            BgpAction::Disable { message } => format!("BGP neighbour {address} disabled, message {message:?}"),
            BgpAction::Enable => format!("BGP neighbour {address} enabled"),
        });
        Ok(())
    }

    /// Replaces the SAs in use by new ones; one that is being replaced already does not keep the others from it.
    pub(super) fn rekey_softwire(&mut self, now: Instant, id: u16) -> Result<(), NotDone> {
        let view = self.mesh.softwires().find(|v| v.softwire.id.0 == id).ok_or(NotDone::Unknown)?;
        let peer = match view.softwire.protection {
            Protection::Clear => return Err(NotDone::State("the softwire is not protected")),
            Protection::Esp(None) => return Err(NotDone::State("the softwire has no SA")),
            Protection::Esp(Some((peer, _))) => peer,
        };
        let in_use: Vec<u32> = self.peers.get(&peer).into_iter().flat_map(|p| p.selected.values().copied()).collect();
        if in_use.is_empty() {
            return Err(NotDone::State("the softwire has no SA"));
        }
        let mut begun = false;
        for spi in in_use {
            begun |= matches!(self.ike.rekey_child(now, spi), Ok(true));
        }
        if !begun {
            return Err(NotDone::State("the SA is being rekeyed or deleted"));
        }
        self.operated(true, || format!("rekey of softwire {id}"));
        Ok(())
    }

    /// Notes what was done.
    pub(super) fn operated(&mut self, done: bool, what: impl FnOnce() -> String) {
        self.audit.extend(done.then(|| Record::new(Verb::Operate, what())));
    }
}
