//! What can go wrong, and whose fault it is: a packet that is discarded ([`Discard`], counted, nobody disturbed), a
//! request of our own side that cannot be met ([`SessionError`]).

macro_rules! discard {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a packet was discarded. Each is counted, see [`Stats`](crate::Stats).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Discard { $($(#[$doc])* $name,)* }

        impl Discard {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Name of the counter.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

discard! {
    /// Neither port 3784 nor 4784.
    Port = "port",
    /// A single-hop packet whose TTL or Hop Limit is not 255 (RFC 5881, section 5).
    Ttl = "ttl",
    /// Shorter than its mandatory section, by Length or in fact.
    Short = "short",
    /// Length is beyond the end of the datagram.
    Length = "length",
    /// Not version 1.
    Version = "version",
    /// Detect Mult is zero.
    DetectMult = "detect_mult",
    /// The Multipoint bit is set.
    Multipoint = "multipoint",
    /// My Discriminator is zero.
    MyDiscriminator = "my_discriminator",
    /// Your Discriminator is zero, but the peer is in Init or Up.
    State = "state",
    /// Your Discriminator is of no session.
    UnknownDiscriminator = "unknown_discriminator",
    /// Your Discriminator is zero, and there is no session between these addresses.
    UnknownAddress = "unknown_address",
    /// The session has other addresses, or is single-hop where the packet is multihop.
    Address = "address",
    /// Authenticated, but the session is not.
    AuthUnexpected = "auth_unexpected",
    /// Not authenticated, but the session is.
    AuthMissing = "auth_missing",
    /// Auth Type is not that of the session; simple passwords and MD5 never are.
    AuthType = "auth_type",
    /// Auth Len does not fit the packet or the Auth Type.
    AuthLength = "auth_length",
    /// Auth Key ID is of no key.
    AuthKey = "auth_key",
    /// Sequence Number is outside of the window: a replay.
    AuthSequence = "auth_sequence",
    /// The hash is wrong.
    AuthHash = "auth_hash",
    /// The session is administratively down: the packet's variables are taken, its state is not.
    AdminDown = "admin_down",
}

/// Why a session cannot be had as requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// There is one between these addresses.
    #[error("there is a session between these addresses")]
    Duplicate,
    /// As many as there may be.
    #[error("no more sessions: the limit is reached")]
    Full,
    /// Of two families, or not of one host each.
    #[error("local and remote address must be unicast and of one family")]
    Addresses,
    /// Not between the configured minimum and 4294 s.
    #[error("an interval must be between the configured minimum and 4294 s")]
    Interval,
    /// Zero.
    #[error("the detection multiplier must not be zero")]
    DetectMult,
    /// No key, two with one id, or one that is empty or longer than 20 octets.
    #[error("authentication takes keys of 1 to 20 octets with different ids, at least one")]
    Keys,
    /// It does not exist.
    #[error("no such session")]
    Unknown,
}
