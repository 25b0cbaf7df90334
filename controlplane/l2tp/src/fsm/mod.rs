//! The state machines of RFC 2661, section 7.2 and 7.4, with what a softwire leaves of them: tunnels that the SI
//! opens, and one incoming call in each (RFC 5571, section 5.1). They are pure: a state and an event give a state and
//! an action, and [`endpoint`](crate::endpoint) carries the action out.

pub mod session;
pub mod tunnel;

#[cfg(test)]
mod tests;
