//! What can be wrong with the attributes of an UPDATE, and what is made of it (RFC 7606).
//!
//! ```text
//!   session reset        the NLRI cannot be found with certainty: a Notification
//!   treat-as-withdraw    what was announced counts as withdrawn: a Fault
//!   attribute discard    the attribute counts as absent: a Fault
//! ```
//!
//! The strongest of the faults of a message decides (section 3 h).

use std::fmt;

/// What is made of a fault, the weaker first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// The attribute, or the field, counts as absent.
    AttributeDiscard,
    /// All announced routes of the message count as withdrawn.
    TreatAsWithdraw,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Optional or Transitive conflicts with the type.
    #[error("flags conflict with the type")]
    Flags,
    /// The length does not fit the type.
    #[error("length does not fit the type")]
    Length,
    /// The value is not defined or out of range.
    #[error("value is not valid")]
    Value,
    /// It runs over the end of the attributes (RFC 7606, section 4).
    #[error("runs over the end of the attributes")]
    Overrun,
    /// Mandatory and not there.
    #[error("mandatory and missing")]
    Missing,
    /// There before in the message.
    #[error("repeated")]
    Duplicate,
    /// Of no meaning between these two speakers: LOCAL_PREF over eBGP, AS4_PATH among speakers of four octets.
    #[error("not for this session")]
    Unexpected,
    /// Routes of a family that was not agreed on.
    #[error("family is not negotiated")]
    Family,
}

/// A fault of an UPDATE that did not end the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Type code of the attribute; 0 is the NLRI or Withdrawn Routes field, or an attribute too short to have one.
    pub attribute: u8,
    /// What was made of it.
    pub action: Action,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::AttributeDiscard => "attribute discard",
            Action::TreatAsWithdraw => "treat-as-withdraw",
        };
        write!(f, "{action}: attribute {}: {}", self.attribute, self.reason)
    }
}
