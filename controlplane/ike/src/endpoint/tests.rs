//! Two endpoints and a perfect link, for what an honest peer never sends: a test may have an end say anything.

mod eap;
mod mobike;
mod resource;
mod v1;

use super::*;
use crate::auth::{IdMatch, LocalAuth, RemoteAuth};
use crate::config::{ChildPolicy, PadEntry};
use crate::proposal::IkeProposal;
use rand::SeedableRng;
use rand::rngs::StdRng;

struct Pair {
    ends: [Endpoint; 2],
    now: Instant,
    /// The handle of the responder at the initiator.
    peer: PeerHandle,
}

fn address(side: usize) -> SocketAddr {
    ([192, 0, 2, 1 + side as u8], 500).into()
}

fn endpoint(side: usize, eap: bool) -> Endpoint {
    let id = |side: usize| ["a.example", "b.example"][side].parse::<Identity>().unwrap();
    let psk = b"correct horse";
    let (mut local_auth, mut remote_auth) = (LocalAuth::psk(psk), RemoteAuth::psk(psk));
    match (eap, side) {
        (true, 0) => local_auth = LocalAuth::Eap,
        (true, _) => remote_auth = RemoteAuth::Eap,
        (false, _) => {}
    }
    let entry = PadEntry {
        name: "peer".to_owned(),
        remote: IdMatch::Exact(id(1 - side)),
        remote_auth,
        local_id: id(side),
        local_auth,
        ike_proposals: IkeProposal::defaults(),
        child: ChildPolicy::l2tp(side == 1),
        ike_rekey_after: None,
        dpd_delay: None,
        mlkem: false,
        force_encap: false,
        mobike: true,
        return_routability: true,
    };
    let config = Config { pad: vec![Arc::new(entry)], ..Config::default() };
    Endpoint::new(config.into(), Box::new(StdRng::seed_from_u64(side as u64)), Box::new(|_, _| Some(0x0100_0000)))
}

impl Pair {
    /// The first message is out.
    fn new(eap: bool) -> Self {
        let now = Instant::now();
        let mut ends = [0, 1].map(|side| endpoint(side, eap));
        let peer = ends[0].initiate(now, "peer", address(0), address(1)).unwrap();
        Self { ends, now, peer }
    }

    /// Carries datagrams until there are no more; gives the events.
    fn deliver(&mut self) -> [Vec<Event>; 2] {
        let mut events = [Vec::new(), Vec::new()];
        while self.carry(&mut events, |meta| meta) {}
        events
    }

    /// Carries the datagrams there are, as `change` shows where they come from. False: there were none.
    fn carry(&mut self, events: &mut [Vec<Event>; 2], change: fn(Meta) -> Meta) -> bool {
        let mut carried = false;
        for side in [0, 1] {
            events[side].extend(std::iter::from_fn(|| self.ends[side].poll_event()));
            while let Some(t) = self.ends[side].poll_transmit() {
                carried = true;
                let meta = change(Meta { local: t.remote, remote: t.local });
                self.ends[1 - side].handle_input(self.now, meta, &t.data);
            }
        }
        carried
    }
}
