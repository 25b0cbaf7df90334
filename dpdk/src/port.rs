//! Ports: a PCI NIC, an ordinary interface through `net_af_packet` or `net_af_xdp`, a file, an in-memory ring.
//!
//! A port is attached by its *devargs*, for example `net_af_packet0,iface=g0`, `net_af_xdp0,iface=g0`,
//! `net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap`, `net_null0` or the PCI address `0000:3b:00.0`; then configured once,
//! started, and its queues go to the workers. It is stopped and closed when the `Port` and all its queues are dropped.

use crate::error::{Errno, Error, Result, c_name};
use crate::flow::Rule;
use crate::mempool::Mempool;
use crate::queue::{RxQueue, TxQueue};
use dpdk_sys::{rte_eth_conf, rte_eth_dev_info};
use std::any::Any;
use std::collections::BTreeSet;
use std::ffi::{CStr, c_uint};
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Ports that have a [`Port`] or queues; also serialises attaching and closing, which DPDK does not.
static IN_USE: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Spread by addresses and ports, and by SPI where the NIC can (`RTE_ETH_RSS_*`: IPv4 and IPv6 with and without
/// fragments, TCP, UDP, other, ESP).
const RSS: u64 = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 13 | 1 << 27;

/// `RTE_ETH_TX_OFFLOAD_MULTI_SEGS`
const TX_MULTI_SEGS: u64 = 1 << 15;
/// `RTE_ETH_TX_OFFLOAD_UDP_CKSUM`.
const TX_UDP_CKSUM: u64 = 1 << 2;

/// How a port is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Receive and transmit queues, one pair per worker.
    pub queues: u16,
    /// Descriptors per receive queue; adjusted to what the driver can do.
    pub rx_descriptors: u16,
    /// Descriptors per transmit queue; adjusted to what the driver can do.
    pub tx_descriptors: u16,
    /// Largest IP packet, in octets; `None` leaves the device as it is.
    pub mtu: Option<u16>,
    /// Receive frames to any Ethernet address. Drivers that cannot change it are let be.
    pub promiscuous: bool,
}

impl Default for PortConfig {
    fn default() -> Self {
        Self { queues: 1, rx_descriptors: 1024, tx_descriptors: 1024, mtu: None, promiscuous: false }
    }
}

/// Counters of a port, from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Octets received.
    pub rx_octets: u64,
    /// Octets sent.
    pub tx_octets: u64,
    /// Packets that the device dropped since the receive queue was full.
    pub rx_missed: u64,
    /// Erroneous packets received.
    pub rx_errors: u64,
    /// Packets not sent for an error.
    pub tx_errors: u64,
    /// Packets not received for want of a buffer.
    pub rx_no_buffer: u64,
}

/// State of the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether there is one.
    pub up: bool,
    /// Mbit/s; `u32::MAX` where it is not known.
    pub speed: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Attached,
    Configured(u16),
    Started(u16),
    QueuesTaken,
}

/// A port. Dropping it does not close it while there are queues.
#[derive(Debug)]
pub struct Port {
    inner: Arc<PortInner>,
    state: State,
    /// Whether it computes UDP checksums.
    sums_udp: bool,
}

/// Keeps the port open; shared by the `Port` and its queues.
#[derive(Debug)]
pub(crate) struct PortInner {
    id: u16,
    name: String,
    /// Rings of an in-memory port: freed after it is closed.
    _rings: Option<Box<dyn Any + Send + Sync>>,
}

impl PortInner {
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn info(&self) -> Result<rte_eth_dev_info> {
        let mut info = MaybeUninit::zeroed();
        // SAFETY: `info` has room for the structure.
        let ret = unsafe { dpdk_sys::rte_eth_dev_info_get(self.id, info.as_mut_ptr()) };
        self.check("asking for its capabilities", ret)?;
        // SAFETY: filled, and zeroes are a valid value of it.
        Ok(unsafe { info.assume_init() })
    }

    fn check(&self, what: &'static str, ret: i32) -> Result<()> {
        if ret < 0 { Err(Error::driver(&self.name, what, ret)) } else { Ok(()) }
    }
}

impl Drop for PortInner {
    fn drop(&mut self) {
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let device = self.info().map(|i| i.device).unwrap_or(std::ptr::null_mut());
        // SAFETY: no queue and no Port is left, so nobody uses the port; `device` was read from it just now, and
        // stays valid until it is removed. Errors leave it as it is, which is all that can be done.
        unsafe {
            dpdk_sys::rte_eth_dev_stop(self.id);
            dpdk_sys::rte_eth_dev_close(self.id);
            if !device.is_null() {
                dpdk_sys::rte_dev_remove(device);
            }
        }
        in_use.remove(&self.id);
    }
}

impl Port {
    /// Attaches a device (see the module's text for examples).
    pub fn attach(devargs: &str) -> Result<Self> {
        crate::eal::require()?;
        let c = c_name(devargs, 4096)?;
        let name = devargs.split(',').next().unwrap_or(devargs);
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = find(name)? {
            // probed when the EAL was initialised, or attached before
            return Self::claim(&mut in_use, id, name, None);
        }
        if let Some(interface) = devargs.split(',').find_map(|a| a.strip_prefix("iface="))
            && !devargs.starts_with("net_tap") // which makes it
            && !Path::new("/sys/class/net").join(interface).exists()
        {
            return Err(Error::NoInterface { devargs: devargs.to_owned(), interface: interface.to_owned() });
        }
        // SAFETY: the EAL runs, `c` is a C string that is copied, and IN_USE keeps other attachers away.
        let ret = unsafe { dpdk_sys::rte_dev_probe(c.as_ptr()) };
        if ret < 0 {
            return Err(match Errno(-ret) {
                Errno(1 | 13) if devargs.starts_with("net_af") => Error::Permission {
                    what: format!("attaching {devargs:?}"),
                    capabilities: "CAP_NET_RAW and CAP_NET_ADMIN (net_af_xdp: also CAP_BPF, CAP_SYS_ADMIN), or see the \
                                   EAL's log for another reason",
                },
                errno => Error::NoDevice { devargs: devargs.to_owned(), errno },
            });
        }
        let id = find(name)?.ok_or_else(|| Error::NoDevice { devargs: devargs.to_owned(), errno: Errno(19) })?;
        Self::claim(&mut in_use, id, name, None)
    }

    /// Takes a port that was found when the EAL was initialised.
    pub fn by_name(name: &str) -> Result<Self> {
        crate::eal::require()?;
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let id = find(name)?.ok_or_else(|| Error::NoDevice { devargs: name.to_owned(), errno: Errno(19) })?;
        Self::claim(&mut in_use, id, name, None)
    }

    /// Takes a port that `create` makes over rings, and keeps the rings until it is closed.
    pub(crate) fn over_rings(
        name: &str,
        rings: Box<dyn Any + Send + Sync>,
        create: impl FnOnce() -> Result<u16>,
    ) -> Result<Self> {
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let id = create()?;
        Self::claim(&mut in_use, id, name, Some(rings))
    }

    fn claim(
        in_use: &mut BTreeSet<u16>,
        id: u16,
        name: &str,
        rings: Option<Box<dyn Any + Send + Sync>>,
    ) -> Result<Self> {
        if !in_use.insert(id) {
            return Err(Error::PortInUse(name.to_owned()));
        }
        let inner = Arc::new(PortInner { id, name: name.to_owned(), _rings: rings });
        Ok(Self { inner, state: State::Attached, sums_udp: false })
    }

    /// Number by which DPDK knows it.
    pub fn id(&self) -> u16 {
        self.inner.id
    }

    /// Name of the device.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Name of the driver, such as `net_af_packet`.
    pub fn driver(&self) -> Result<String> {
        let info = self.inner.info()?;
        if info.driver_name.is_null() {
            return Ok(String::new());
        }
        // SAFETY: a C string that belongs to the driver, which is loaded.
        Ok(unsafe { CStr::from_ptr(info.driver_name) }.to_string_lossy().into_owned())
    }

    /// Most queue pairs that it can have.
    pub fn max_queues(&self) -> Result<u16> {
        self.inner.info().map(|i| i.max_rx_queues.min(i.max_tx_queues))
    }

    /// Sets it up, once. All receive queues take their buffers from `pool`.
    pub fn configure(&mut self, config: &PortConfig, pool: &Mempool) -> Result<()> {
        self.expect_state(State::Attached, "is configured already")?;
        let (id, inner) = (self.inner.id, &self.inner);
        let info = inner.info()?;
        let most = info.max_rx_queues.min(info.max_tx_queues);
        if config.queues == 0 || config.queues > most {
            let (asked, most) = (u64::from(config.queues), u64::from(most));
            return Err(Error::TooMany { what: "queues", name: inner.name.clone(), asked, most });
        }
        // SAFETY: integers, unions of integers and pointers that may be null: zeroes are a valid value.
        let mut conf: rte_eth_conf = unsafe { MaybeUninit::zeroed().assume_init() };
        conf.txmode.offloads = (TX_MULTI_SEGS | TX_UDP_CKSUM) & info.tx_offload_capa;
        self.sums_udp = conf.txmode.offloads & TX_UDP_CKSUM != 0;
        let rss = RSS & info.flow_type_rss_offloads;
        if config.queues > 1 && rss != 0 {
            conf.rxmode.mq_mode = dpdk_sys::RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = rss;
        }
        // SAFETY: the port exists and is not started; the configuration is copied.
        let ret = unsafe { dpdk_sys::rte_eth_dev_configure(id, config.queues, config.queues, &conf) };
        inner.check("configuring it", ret)?;
        if let Some(mtu) = config.mtu.filter(|&wanted| self.mtu().ok() != Some(wanted)) {
            // SAFETY: a call by number.
            let ret = unsafe { dpdk_sys::rte_eth_dev_set_mtu(id, mtu) };
            inner.check("setting its MTU", ret)?;
        }
        let (mut rx, mut tx) = (config.rx_descriptors, config.tx_descriptors);
        // SAFETY: both numbers are writable.
        let ret = unsafe { dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &mut rx, &mut tx) };
        inner.check("choosing descriptors", ret)?;
        // SAFETY: a call by number.
        let socket = unsafe { dpdk_sys::rte_eth_dev_socket_id(id) } as c_uint;
        for queue in 0..config.queues {
            // SAFETY: the port is configured with this queue and not started; the pool lives for ever; null asks for
            // the driver's defaults.
            let ret =
                unsafe { dpdk_sys::rte_eth_rx_queue_setup(id, queue, rx, socket, std::ptr::null(), pool.as_ptr()) };
            inner.check("setting up a receive queue", ret)?;
            // SAFETY: as above.
            let ret = unsafe { dpdk_sys::rte_eth_tx_queue_setup(id, queue, tx, socket, std::ptr::null()) };
            inner.check("setting up a transmit queue", ret)?;
        }
        self.state = State::Configured(config.queues);
        self.set_promiscuous(config.promiscuous).or_else(|e| match e {
            Error::Driver { errno, .. } if errno.0 == nix::errno::Errno::ENOTSUP as i32 => Ok(()),
            e => Err(e),
        })
    }

    /// Starts it.
    pub fn start(&mut self) -> Result<()> {
        let State::Configured(queues) = self.state else {
            return Err(self.wrong("is not configured, or started already"));
        };
        // SAFETY: the port is configured with all its queues.
        let ret = unsafe { dpdk_sys::rte_eth_dev_start(self.inner.id) };
        self.inner.check("starting it", ret)?;
        self.state = State::Started(queues);
        Ok(())
    }

    /// The queues of a started port, once: one pair per worker.
    pub fn take_queues(&mut self) -> Result<Vec<(RxQueue, TxQueue)>> {
        let State::Started(queues) = self.state else {
            return Err(self.wrong("is not started, or its queues were taken already"));
        };
        self.state = State::QueuesTaken;
        let pair = |q| (RxQueue::new(self.inner.clone(), q), TxQueue::new(self.inner.clone(), q, self.sums_udp));
        Ok((0..queues).map(pair).collect())
    }

    /// Its Ethernet address.
    pub fn mac(&self) -> Result<[u8; 6]> {
        let mut mac = dpdk_sys::rte_ether_addr { addr_bytes: [0; 6] };
        // SAFETY: `mac` is writable.
        let ret = unsafe { dpdk_sys::rte_eth_macaddr_get(self.inner.id, &mut mac) };
        self.inner.check("reading its Ethernet address", ret)?;
        Ok(mac.addr_bytes)
    }

    /// Largest IP packet, in octets.
    pub fn mtu(&self) -> Result<u16> {
        let mut mtu = 0;
        // SAFETY: `mtu` is writable.
        let ret = unsafe { dpdk_sys::rte_eth_dev_get_mtu(self.inner.id, &mut mtu) };
        self.inner.check("reading its MTU", ret)?;
        Ok(mtu)
    }

    /// Receives frames to any Ethernet address, or only to its own and to groups.
    pub fn set_promiscuous(&mut self, on: bool) -> Result<()> {
        let id = self.inner.id;
        // SAFETY: calls by number.
        let ret = unsafe {
            if on { dpdk_sys::rte_eth_promiscuous_enable(id) } else { dpdk_sys::rte_eth_promiscuous_disable(id) }
        };
        self.inner.check("changing promiscuous mode", ret)
    }

    /// Receives frames to all groups: IPv6 neighbour discovery needs it where the NIC filters.
    pub fn set_all_multicast(&mut self, on: bool) -> Result<()> {
        let id = self.inner.id;
        // SAFETY: calls by number.
        let ret = unsafe {
            if on { dpdk_sys::rte_eth_allmulticast_enable(id) } else { dpdk_sys::rte_eth_allmulticast_disable(id) }
        };
        self.inner.check("changing reception of multicast", ret)
    }

    /// State of the link, without waiting.
    pub fn link(&self) -> Result<Link> {
        let mut link = MaybeUninit::zeroed();
        // SAFETY: `link` has room for the structure.
        let ret = unsafe { dpdk_sys::rte_eth_link_get_nowait(self.inner.id, link.as_mut_ptr()) };
        self.inner.check("reading the link's state", ret)?;
        // SAFETY: integers, zeroed and then filled.
        let link = unsafe { link.assume_init() };
        Ok(Link { up: link.link_status() != 0, speed: link.link_speed })
    }

    /// Counters.
    pub fn stats(&self) -> Result<PortStats> {
        let mut stats = MaybeUninit::zeroed();
        // SAFETY: `stats` has room for the structure.
        let ret = unsafe { dpdk_sys::rte_eth_stats_get(self.inner.id, stats.as_mut_ptr()) };
        self.inner.check("reading its counters", ret)?;
        // SAFETY: integers, zeroed and then filled.
        let s: dpdk_sys::rte_eth_stats = unsafe { stats.assume_init() };
        Ok(PortStats {
            rx_packets: s.ipackets,
            tx_packets: s.opackets,
            rx_octets: s.ibytes,
            tx_octets: s.obytes,
            rx_missed: s.imissed,
            rx_errors: s.ierrors,
            tx_errors: s.oerrors,
            rx_no_buffer: s.rx_nombuf,
        })
    }

    /// Gives the device rules for a started port, all of them or none.
    pub fn steer(&mut self, rules: &[Rule]) -> Result<()> {
        if !matches!(self.state, State::Started(_) | State::QueuesTaken) {
            return Err(self.wrong("is not started"));
        }
        crate::flow::steer(&self.inner, rules)
    }

    fn expect_state(&self, state: State, otherwise: &'static str) -> Result<()> {
        if self.state == state { Ok(()) } else { Err(self.wrong(otherwise)) }
    }

    fn wrong(&self, what: &'static str) -> Error {
        Error::PortState { port: self.inner.name.clone(), what }
    }
}

/// The number of a port.
fn find(name: &str) -> Result<Option<u16>> {
    let c = c_name(name, 256)?;
    let mut id = 0;
    // SAFETY: a C string, and `id` is writable.
    let ret = unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(c.as_ptr(), &mut id) };
    Ok((ret == 0).then_some(id))
}

#[cfg(test)]
#[path = "port_tests.rs"]
mod tests;
