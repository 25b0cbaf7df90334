//! A RADIUS server that accepts everybody after a while, and takes every record.

use super::SECRET;
use anyhow::ensure;
use controlplane::gateway::Gateway;
use controlplane::gateway::servers::Purpose;
use radius::attribute::{ACCT_STATUS_TYPE, USER_NAME};
use radius::{AttributeList, Builder, Code, LinkId, Packet};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// From a request to its answer.
const DELAY: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Default)]
pub struct Servers {
    flight: VecDeque<(Instant, Purpose, LinkId, Vec<u8>)>,
    /// Access-Requests answered.
    pub accepted: usize,
    /// Records taken: those of a session's beginning, and of its end.
    pub records: [usize; 2],
}

impl Servers {
    /// When the next answer arrives.
    pub fn due(&self) -> Option<Instant> {
        self.flight.front().map(|f| f.0)
    }

    /// Takes what the gateway says.
    pub fn take(&mut self, now: Instant, gateway: &mut Gateway) -> anyhow::Result<()> {
        while gateway.poll_journal().is_some() {}
        while gateway.poll_radius_link().is_some() {}
        while let Some((purpose, link, octets)) = gateway.poll_radius() {
            let answer = self.answer(&octets)?;
            self.flight.push_back((now + DELAY, purpose, link, answer));
        }
        Ok(())
    }

    /// The next answer that has arrived.
    pub fn arrived(&mut self, now: Instant) -> Option<(Purpose, LinkId, Vec<u8>)> {
        let (_, purpose, link, octets) = self.flight.pop_front_if(|f| f.0 <= now)?;
        Some((purpose, link, octets))
    }

    fn answer(&mut self, octets: &[u8]) -> anyhow::Result<Vec<u8>> {
        let packet = Packet::parse(octets).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let attributes = packet.attributes();
        let code = match packet.code {
            Code::AccessRequest => {
                ensure!(attributes.octets(USER_NAME).is_some(), "an Access-Request without a name");
                self.accepted += 1;
                Code::AccessAccept
            }
            Code::StatusServer => Code::AccessAccept,
            _ => {
                match attributes.u32(ACCT_STATUS_TYPE) {
                    Ok(Some(1)) => self.records[0] += 1,
                    Ok(Some(2)) => self.records[1] += 1,
                    _ => {}
                }
                Code::AccountingResponse
            }
        };
        let reply = Builder::new(code, packet.id).attributes(&AttributeList::new());
        reply.reply(&packet.authenticator, SECRET).map_err(|e| anyhow::anyhow!("{e:?}"))
    }
}
