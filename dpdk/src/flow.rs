//! Rules by which a device chooses the queue of a frame (`rte_flow`), where its receive-side scaling does not tell apart what
//! we do.
//!
//! Every driver takes some rules and refuses others, and none says beforehand which; [`Port::steer`](crate::Port::steer)
//! asks. Rules go with the port when it is closed.

use crate::error::{Errno, Error, Result};
use crate::port::PortInner;
use dpdk_sys::sw_flow_rule;

/// `RTE_ETH_RSS_ESP`
const BY_SPI: u64 = 1 << 27;
/// `RTE_ETH_RSS_IP`, `_UDP` and `_TCP` of one version.
const BY_ADDRESSES: [u64; 2] =
    [1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 7, 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 13];

/// What a rule is about, behind an IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// ESP.
    Esp,
    /// ESP in UDP, port 4500 (RFC 3948).
    EspInUdp,
    /// IP in IP (protocols 4 and 41).
    IpInIp {
        /// IPv6 inside.
        v6: bool,
    },
    /// UDP to this port.
    Udp(u16),
}

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To one queue.
    Queue(u16),
    /// To one of the queues from 0 to below this number, by a hash of the SPI.
    BySpi(u16),
    /// Likewise, by a hash of the inner addresses, and ports where there are any.
    ByInner(u16),
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The outer IP is IPv6.
    pub v6: bool,
    /// What is in it.
    pub traffic: Traffic,
    /// Of ESP, only SPIs that have this value under this mask; a mask of 0 is any.
    pub spi: (u32, u32),
    /// Where it goes.
    pub target: Target,
}

impl Rule {
    fn raw(&self) -> sw_flow_rule {
        let version = |v6| if v6 { 6 } else { 4 };
        let (traffic, inner, udp_port) = match self.traffic {
            Traffic::Esp => (dpdk_sys::SW_FLOW_ESP, 0, 0),
            Traffic::EspInUdp => (dpdk_sys::SW_FLOW_ESP_IN_UDP, 0, 0),
            Traffic::IpInIp { v6 } => (dpdk_sys::SW_FLOW_IP_IN_IP, version(v6), 0),
            Traffic::Udp(port) => (dpdk_sys::SW_FLOW_UDP, 0, port),
        };
        let (queue, rss, rss_level) = match self.target {
            Target::Queue(queue) => (queue, 0, 0),
            Target::BySpi(queues) => (queues, BY_SPI, 0),
            Target::ByInner(queues) => (queues, BY_ADDRESSES[usize::from(inner == 6)], 2),
        };
        let (outer, (spi, spi_mask)) = (version(self.v6), self.spi);
        sw_flow_rule { traffic, outer, inner, udp_port, spi, spi_mask, rss, rss_level, queue }
    }
}

/// Gives the device all rules, or none.
pub(crate) fn steer(port: &PortInner, rules: &[Rule]) -> Result<()> {
    let mut given = Vec::with_capacity(rules.len());
    for rule in rules {
        // SAFETY: the port is started, and the rule is read during the call.
        let flow = unsafe { dpdk_sys::sw_flow_create(port.id(), &rule.raw()) };
        if flow.is_null() {
            let errno = Errno::last();
            for flow in given {
                // SAFETY: made above on this port, and destroyed nowhere else. One that stays all the same ends with the port.
                unsafe { dpdk_sys::sw_flow_destroy(port.id(), flow) };
            }
            return Err(Error::driver(port.name(), "giving it a rule", -errno.0));
        }
        given.push(flow);
    }
    Ok(())
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
