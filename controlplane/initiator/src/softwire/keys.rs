//! IKE's events: the concentrator, EAP with it, and the child SAs that carry L2TP.

use super::{Event, GRACE, Sender, Softwire};
use dataplane_api::id::Slot;
use dataplane_api::{EspKey, EspSuite, Lifetime, Mode, PeerId, SaOutId, Selector, Spi, UdpEncap, WorkerId};
use ipsec_mb::Manager;
use std::time::Instant;

impl Softwire {
    pub(super) fn ike_event(&mut self, now: Instant, manager: &Manager, event: ike::Event) {
        match event {
            ike::Event::PeerUp { remote_id, suite, natt, .. } => {
                self.events.push_back(Event::IkeUp(remote_id.to_string(), suite, natt));
            }
            ike::Event::ChildUp { peer, child, select } => match self.install(manager, peer, &child) {
                Some(name) => {
                    self.events.push_back(Event::ChildUp(child.spi_in, child.spi_out, name));
                    if select {
                        self.selected = Some(child.spi_in);
                    }
                    if child.replaces.is_none() && self.session.is_none() && select && !self.config.ike_only {
                        self.connect(now, Some(peer.0));
                    }
                }
                None => self.events.push_back(Event::Down("child SA with unusable algorithms".into())),
            },
            ike::Event::ChildSelect { spi_in, .. } => self.selected = Some(spi_in),
            // The IKE SA stands, but carries nothing (RFC 7296, section 1.2).
            ike::Event::ChildDown { reason: ike::ChildDownReason::Refused(why), .. } if self.outbound.is_empty() => {
                self.events.push_back(Event::Down(format!("child SA: {why}")));
            }
            ike::Event::ChildDown { spi_in, .. } => {
                self.outbound.retain(|s| s.spi_in != spi_in);
                if self.selected == Some(spi_in) {
                    self.selected = self.outbound.first().map(|s| s.spi_in);
                }
                self.grace.insert((now + GRACE, spi_in), ());
            }
            ike::Event::PeerMoved { .. } => {}
            ike::Event::EapRequest { peer, packet } => self.eap(now, peer, &packet),
            // We never ask.
            ike::Event::EapStart { .. } | ike::Event::EapResponse { .. } | ike::Event::EapEnd { .. } => {}
            ike::Event::PeerDown { peer, reason, .. } => {
                self.l2tp.close_binding(now, peer.0);
                self.outbound.clear();
                self.inbound.clear();
                self.selected = None;
                self.session = None;
                self.events.push_back(Event::Down(format!("IKE: {reason:?}")));
            }
            ike::Event::AuthFailed { reason, .. } => self.events.push_back(Event::Down(format!("IKE: {reason}"))),
        }
    }

    /// EAP in IKE: a request of the concentrator's, or its success.
    fn eap(&mut self, now: Instant, handle: ike::PeerHandle, packet: &[u8]) {
        let (Some(ike), Some((name, password))) = (&mut self.ike, &self.config.eap) else { return };
        let methods = [eap::Method::MsChapV2, eap::Method::Md5Challenge];
        let peer = self.eap.get_or_insert_with(|| eap::Peer::new(name, password.expose(), &methods));
        let answer = peer.handle(packet, &mut *(self.seeds)());
        let said = match (answer, peer.state()) {
            (Some(response), _) => ike.eap_response(now, handle, &response),
            (None, eap::State::Success) => {
                let msk = peer.msk().map(|k| zeroize::Zeroizing::new(k.to_vec()));
                ike.eap_key(now, handle, msk)
            }
            (None, eap::State::Running | eap::State::Failure(_)) => Ok(()),
        };
        if let Err(error) = said {
            self.events.push_back(Event::Down(format!("EAP: {error}")));
        }
    }

    fn install(&mut self, manager: &Manager, peer: ike::PeerHandle, child: &ike::Child) -> Option<String> {
        let suite = EspSuite::from_transforms(child.suite.encr, child.suite.integ)?;
        let key = |k: &ike::ChildKey| EspKey::of(suite, &k.encr, &k.integ);
        let encap = child.encap.then(|| UdpEncap { local_port: child.local.port(), remote_port: child.remote.port() });
        let (local, remote) = (child.local.ip(), child.remote.ip());
        let inbound = dataplane_api::SaIn {
            spi: Spi(child.spi_in),
            peer: PeerId(peer.0),
            suite,
            key: key(&child.inbound)?,
            esn: child.suite.esn,
            replay_window: 1024,
            mode: Mode::Transport,
            local,
            remote,
            encap,
            selector: Selector::ANY,
            lifetime: Lifetime::default(),
        };
        let outbound = dataplane_api::SaOut {
            id: SaOutId(Slot::new(WorkerId(0), 0, 1)?),
            spi: child.spi_out,
            peer: PeerId(peer.0),
            suite,
            key: key(&child.outbound)?,
            esn: child.suite.esn,
            mode: Mode::Transport,
            local,
            remote,
            encap,
            selector: Selector::ANY,
            lifetime: Lifetime::default(),
        };
        self.inbound.push((child.spi_in, esp::SaIn::new(manager, &inbound)?));
        let sa = esp::SaOut::new(manager, &outbound)?;
        self.outbound.push(Sender { spi_in: child.spi_in, sa, encap: child.encap });
        Some(suite.to_string())
    }
}
