//! One softwire with a cryptographic manager of its own.

use crate::{Config, Datagram, Event, Softwire, StartError};
use ipsec_mb::Manager;
use rand_core::CryptoRng;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A [`Softwire`] that runs by itself: calls and their order are those of the softwire.
pub struct Initiator {
    softwire: Softwire,
    manager: Manager,
}

impl Initiator {
    /// Starts to connect at once. `seeds` makes independent random generators.
    pub fn new(
        now: Instant,
        config: Config,
        seeds: Box<dyn FnMut() -> Box<dyn CryptoRng + Send> + Send>,
    ) -> Result<Self, StartError> {
        let mut manager = Manager::new()?;
        Ok(Self { softwire: Softwire::new(now, &mut manager, config, seeds)?, manager })
    }

    /// Tells the time of day, by which the gateway's certificate is judged.
    pub fn set_clock(&mut self, now: Instant, since_epoch: Duration) {
        self.softwire.set_clock(now, since_epoch);
    }

    /// A UDP datagram from the gateway to our `port`.
    pub fn handle_udp(&mut self, now: Instant, port: u16, from: SocketAddr, data: &[u8]) {
        self.softwire.handle_udp(now, &mut self.manager, port, from, data);
    }

    /// An ESP packet, from its SPI on.
    pub fn handle_esp(&mut self, now: Instant, packet: &[u8]) {
        self.softwire.handle_esp(now, &mut self.manager, packet);
    }

    /// An inner IP packet for the softwire.
    pub fn handle_inner(&mut self, _now: Instant, packet: &[u8]) {
        self.softwire.handle_inner(&mut self.manager, packet);
    }

    /// Time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.softwire.handle_timeout(now, &mut self.manager);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.softwire.poll_timeout()
    }

    /// Next packet for the outer network.
    pub fn poll_datagram(&mut self) -> Option<Datagram> {
        self.softwire.poll_datagram()
    }

    /// Next inner packet from the softwire.
    pub fn poll_inner(&mut self) -> Option<Vec<u8>> {
        self.softwire.poll_inner()
    }

    /// Next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.softwire.poll_event()
    }

    /// Begins an orderly end: PPP, L2TP, then IKE. [`Event::Down`] follows.
    pub fn close(&mut self, now: Instant) {
        self.softwire.close(now, &mut self.manager);
    }

    /// Rekeys the child SA in use.
    pub fn rekey_child(&mut self, now: Instant) {
        self.softwire.rekey_child(now, &mut self.manager);
    }
}
