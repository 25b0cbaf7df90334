//! The accounting identity: what came in went somewhere.
//!
//! ```text
//!   received + injected + handed_in + generated = sent + punted + handed_out + joined + dropped + in flight
//! ```
//!
//! In flight is what waits in a lane or a TX burst between two polls; an idle worker has none.

use dataplane_api::WorkerCounters;

/// Packets that came into a worker.
pub fn arrived(c: &WorkerCounters) -> u64 {
    c.received.get() + c.injected.get() + c.handed_in.get() + c.generated.get()
}

/// Packets that left it, in any way.
pub fn departed(c: &WorkerCounters) -> u64 {
    let punted: u64 = c.punted.iter().map(|p| p.get()).sum();
    let dropped: u64 = c.drops.iter().map(|d| d.get()).sum();
    c.sent.get() + punted + c.handed_out.get() + c.joined.get() + dropped
}
