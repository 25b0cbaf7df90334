//! Names of TCP connections, given by the speaker for those that it asks for and those that it accepts.

use crate::neighbour::NeighbourId;
use std::collections::BTreeMap;

/// A TCP connection, or an attempt to open one. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// The connections that exist, and whose they are.
#[derive(Debug, Default)]
pub(crate) struct Conns {
    last: u64,
    owners: BTreeMap<ConnId, NeighbourId>,
}

impl Conns {
    /// A new connection of a neighbour.
    pub fn open(&mut self, neighbour: NeighbourId) -> ConnId {
        self.last += 1;
        let conn = ConnId(self.last);
        self.owners.insert(conn, neighbour);
        conn
    }

    /// It is no more.
    pub fn close(&mut self, conn: ConnId) {
        self.owners.remove(&conn);
    }

    /// Whose it is.
    pub fn owner(&self, conn: ConnId) -> Option<NeighbourId> {
        self.owners.get(&conn).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.owners.len()
    }
}
