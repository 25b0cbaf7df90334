//! What a neighbour needs of its speaker to act.

use super::SpeakerConfig;
use super::conn::Conns;
use super::deferral::Deferral;
use super::event::{Event, Warning};
use crate::message::Family;
use crate::neighbour::NeighbourId;
use crate::rib::Rib;
use rand_core::Rng;
use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

pub(crate) struct Env<'a> {
    pub now: Instant,
    pub config: &'a SpeakerConfig,
    pub rng: &'a mut dyn Rng,
    pub conns: &'a mut Conns,
    pub events: &'a mut VecDeque<Event>,
    pub deferral: &'a mut Deferral,
    /// Families whose deferral is over, and is not told yet.
    pub converging: &'a mut BTreeSet<Family>,
    pub rib: &'a mut Rib,
}

impl Env<'_> {
    pub fn warn(&mut self, neighbour: NeighbourId, warning: Warning) {
        self.events.push_back(Event::Warning { neighbour, warning });
    }

    /// Our restart waits no longer for a neighbour's End-of-RIB.
    pub fn settle_deferral(&mut self, neighbour: NeighbourId, family: Family) {
        if self.deferral.settle(neighbour, family) {
            self.converging.insert(family);
        }
    }
}
