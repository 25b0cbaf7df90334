//! Changes of the worker's own tables, in the order the control plane numbered them, a bounded number per poll.

use crate::lane::Ctx;
use crate::sad::Sad;
use crate::session::Sessions;
use dataplane_api::{OpSeq, TableOp};
use rtrb::Consumer;
use std::sync::atomic::Ordering::Release;

/// Ops applied per poll: a burst of changes must not hold packets up.
pub const OPS_PER_POLL: usize = 16;

/// Applies what waits and publishes the number of the last one. Gives how many.
pub fn run(ctx: &mut Ctx, ring: &mut Consumer<(OpSeq, TableOp)>, sad: &mut Sad, sessions: &mut Sessions) -> usize {
    let mut last = None;
    let mut n = 0;
    while n < OPS_PER_POLL {
        let Ok((seq, op)) = ring.pop() else { break };
        if !apply(ctx, op, sad, sessions) {
            ctx.counters.worker.ops_refused.add(1);
        }
        last = Some(seq);
        n += 1;
    }
    if let Some(seq) = last {
        ctx.counters.worker.applied.store(seq, Release);
    }
    n
}

/// `false` when the slot is taken, or names nothing.
fn apply(ctx: &mut Ctx, op: TableOp, sad: &mut Sad, sessions: &mut Sessions) -> bool {
    match op {
        TableOp::SaInAdd(sa) => sad.sa_in_add(&ctx.counters, sa),
        TableOp::SaInDel(spi) => sad.sa_in_del(spi),
        TableOp::SaOutAdd(sa) => sad.sa_out_add(&ctx.counters, sa),
        TableOp::SaOutDel(id) => sad.sa_out_del(id),
        TableOp::PeerSelect { peer, sa } => sad.peer_select(peer, sa),
        TableOp::PeerMoved { peer, local, remote, encap } => {
            sad.peer_moved(peer, local, remote, encap);
            sessions.peer_moved(peer, local, remote);
            true
        }
        TableOp::SessionAdd(session) => sessions.add(&session, &ctx.counters, ctx.now),
        TableOp::SessionSet(session) => sessions.set(&session, ctx.now),
        TableOp::SessionDel(id) => sessions.delete(id),
        TableOp::Trace(spec) => {
            ctx.tracer.set(spec);
            true
        }
    }
}
