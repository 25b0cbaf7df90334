//! Which attributes there are: those of the IETF by their Type, a vendor's by its number and theirs.

use std::fmt;

/// The Type of an attribute; within Vendor-Specific, the vendor and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// Private enterprise number, 0: the IETF.
    pub vendor: u32,
    /// The number.
    pub number: u8,
}

impl fmt::Display for Kind {
    /// Its name where it is known, else `Attribute-N` or `Vendor-V-Attribute-N`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.vendor) {
            (Some(name), _) => f.write_str(name),
            (None, 0) => write!(f, "Attribute-{}", self.number),
            (None, vendor) => write!(f, "Vendor-{vendor}-Attribute-{}", self.number),
        }
    }
}

impl Kind {
    /// The name in RFCs and dictionaries.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().chain(crate::vendor::names()).find(|(kind, _)| *kind == self).map(|(_, name)| *name)
    }
}

/// Constants of a vendor's attributes, and the table of their names.
macro_rules! kinds {
    ($vendor:expr; $($constant:ident = $number:literal $name:literal, $doc:literal;)*) => {
        $(
            #[doc = concat!($name, " (", $number, "): ", $doc)]
            pub const $constant: Kind = Kind { vendor: $vendor, number: $number };
        )*
        pub(crate) const NAMES: &[(Kind, &str)] = &[$(($constant, $name)),*];
    };
}
pub(crate) use kinds;

kinds! { 0;
    USER_NAME = 1 "User-Name", "text, RFC 2865.";
    USER_PASSWORD = 2 "User-Password", "hidden, RFC 2865; [`crate::Request::user_password`] makes it.";
    CHAP_PASSWORD = 3 "CHAP-Password", "CHAP identifier and 16 octets, RFC 2865.";
    NAS_IP_ADDRESS = 4 "NAS-IP-Address", "IPv4 address, RFC 2865.";
    NAS_PORT = 5 "NAS-Port", "integer, RFC 2865.";
    SERVICE_TYPE = 6 "Service-Type", "integer, RFC 2865: 2 Framed, 8 Authenticate Only, 17 Authorize Only (RFC 5176).";
    FRAMED_PROTOCOL = 7 "Framed-Protocol", "integer, RFC 2865: 1 PPP.";
    FRAMED_IP_ADDRESS = 8 "Framed-IP-Address", "IPv4 address, RFC 2865; all ones: the user's choice, all ones but the last: ours.";
    FRAMED_IP_NETMASK = 9 "Framed-IP-Netmask", "IPv4 mask, RFC 2865.";
    FILTER_ID = 11 "Filter-Id", "text, RFC 2865.";
    FRAMED_MTU = 12 "Framed-MTU", "integer, RFC 2865.";
    REPLY_MESSAGE = 18 "Reply-Message", "text, RFC 2865.";
    FRAMED_ROUTE = 22 "Framed-Route", "text, RFC 2865: [`crate::Route`].";
    STATE = 24 "State", "octets, RFC 2865: to be sent back to the server that sent it.";
    CLASS = 25 "Class", "octets, RFC 2865: to be sent back in accounting.";
    VENDOR_SPECIFIC = 26 "Vendor-Specific", "RFC 2865; seen only when its contents are no attributes.";
    SESSION_TIMEOUT = 27 "Session-Timeout", "integer, seconds, RFC 2865.";
    IDLE_TIMEOUT = 28 "Idle-Timeout", "integer, seconds, RFC 2865.";
    TERMINATION_ACTION = 29 "Termination-Action", "integer, RFC 2865: 1 RADIUS-Request.";
    CALLED_STATION_ID = 30 "Called-Station-Id", "text, RFC 2865.";
    CALLING_STATION_ID = 31 "Calling-Station-Id", "text, RFC 2865.";
    NAS_IDENTIFIER = 32 "NAS-Identifier", "text, RFC 2865.";
    PROXY_STATE = 33 "Proxy-State", "octets, RFC 2865.";
    ACCT_STATUS_TYPE = 40 "Acct-Status-Type", "integer, RFC 2866: 1 Start, 2 Stop, 3 Interim-Update, 7 Accounting-On, 8 Accounting-Off, 9 to 14 of tunnels (RFC 2867).";
    ACCT_DELAY_TIME = 41 "Acct-Delay-Time", "integer, seconds, RFC 2866.";
    ACCT_INPUT_OCTETS = 42 "Acct-Input-Octets", "integer, the low 32 bits, RFC 2866.";
    ACCT_OUTPUT_OCTETS = 43 "Acct-Output-Octets", "integer, the low 32 bits, RFC 2866.";
    ACCT_SESSION_ID = 44 "Acct-Session-Id", "text, RFC 2866.";
    ACCT_AUTHENTIC = 45 "Acct-Authentic", "integer, RFC 2866: 1 RADIUS, 2 local.";
    ACCT_SESSION_TIME = 46 "Acct-Session-Time", "integer, seconds, RFC 2866.";
    ACCT_INPUT_PACKETS = 47 "Acct-Input-Packets", "integer, RFC 2866.";
    ACCT_OUTPUT_PACKETS = 48 "Acct-Output-Packets", "integer, RFC 2866.";
    ACCT_TERMINATE_CAUSE = 49 "Acct-Terminate-Cause", "integer, RFC 2866.";
    ACCT_MULTI_SESSION_ID = 50 "Acct-Multi-Session-Id", "text, RFC 2866.";
    ACCT_LINK_COUNT = 51 "Acct-Link-Count", "integer, RFC 2866.";
    ACCT_INPUT_GIGAWORDS = 52 "Acct-Input-Gigawords", "integer, the high 32 bits, RFC 2869.";
    ACCT_OUTPUT_GIGAWORDS = 53 "Acct-Output-Gigawords", "integer, the high 32 bits, RFC 2869.";
    EVENT_TIMESTAMP = 55 "Event-Timestamp", "integer, seconds since 1970, RFC 2869.";
    CHAP_CHALLENGE = 60 "CHAP-Challenge", "octets, RFC 2865.";
    NAS_PORT_TYPE = 61 "NAS-Port-Type", "integer, RFC 2865: 5 Virtual.";
    PORT_LIMIT = 62 "Port-Limit", "integer, RFC 2865.";
    TUNNEL_TYPE = 64 "Tunnel-Type", "tagged integer, RFC 2868: 3 L2TP, 9 ESP.";
    TUNNEL_MEDIUM_TYPE = 65 "Tunnel-Medium-Type", "tagged integer, RFC 2868: 1 IPv4, 2 IPv6.";
    TUNNEL_CLIENT_ENDPOINT = 66 "Tunnel-Client-Endpoint", "tagged text, RFC 2868.";
    TUNNEL_SERVER_ENDPOINT = 67 "Tunnel-Server-Endpoint", "tagged text, RFC 2868.";
    ACCT_TUNNEL_CONNECTION = 68 "Acct-Tunnel-Connection", "text, RFC 2867.";
    TUNNEL_PASSWORD = 69 "Tunnel-Password", "tagged, hidden with a salt, RFC 2868: [`crate::Reply::tunnel_password`].";
    CONNECT_INFO = 77 "Connect-Info", "text, RFC 2869.";
    EAP_MESSAGE = 79 "EAP-Message", "a piece of an EAP packet, RFC 3579: [`Attributes::eap_message`](crate::Attributes::eap_message).";
    MESSAGE_AUTHENTICATOR = 80 "Message-Authenticator", "16 octets, RFC 3579.";
    TUNNEL_PRIVATE_GROUP_ID = 81 "Tunnel-Private-Group-Id", "tagged text, RFC 2868.";
    TUNNEL_ASSIGNMENT_ID = 82 "Tunnel-Assignment-Id", "tagged text, RFC 2868.";
    TUNNEL_PREFERENCE = 83 "Tunnel-Preference", "tagged integer, RFC 2868.";
    ACCT_INTERIM_INTERVAL = 85 "Acct-Interim-Interval", "integer, seconds, RFC 2869.";
    ACCT_TUNNEL_PACKETS_LOST = 86 "Acct-Tunnel-Packets-Lost", "integer, RFC 2867.";
    NAS_PORT_ID = 87 "NAS-Port-Id", "text, RFC 2869.";
    FRAMED_POOL = 88 "Framed-Pool", "text, RFC 2869.";
    CHARGEABLE_USER_IDENTITY = 89 "Chargeable-User-Identity", "octets, RFC 4372; one zero asks for it.";
    TUNNEL_CLIENT_AUTH_ID = 90 "Tunnel-Client-Auth-Id", "tagged text, RFC 2868.";
    TUNNEL_SERVER_AUTH_ID = 91 "Tunnel-Server-Auth-Id", "tagged text, RFC 2868.";
    NAS_IPV6_ADDRESS = 95 "NAS-IPv6-Address", "IPv6 address, RFC 3162.";
    FRAMED_INTERFACE_ID = 96 "Framed-Interface-Id", "8 octets, RFC 3162.";
    FRAMED_IPV6_PREFIX = 97 "Framed-IPv6-Prefix", "IPv6 prefix, RFC 3162.";
    FRAMED_IPV6_ROUTE = 99 "Framed-IPv6-Route", "text, RFC 3162: [`crate::Route`].";
    FRAMED_IPV6_POOL = 100 "Framed-IPv6-Pool", "text, RFC 3162.";
    ERROR_CAUSE = 101 "Error-Cause", "integer, RFC 5176: [`crate::dynauth::ErrorCause`].";
    DELEGATED_IPV6_PREFIX = 123 "Delegated-IPv6-Prefix", "IPv6 prefix, RFC 4818.";
    OPERATOR_NAME = 126 "Operator-Name", "text with the namespace before it, RFC 5580.";
    FRAMED_IPV6_ADDRESS = 168 "Framed-IPv6-Address", "IPv6 address, RFC 6911.";
    DNS_SERVER_IPV6_ADDRESS = 169 "DNS-Server-IPv6-Address", "IPv6 address, RFC 6911.";
    ROUTE_IPV6_INFORMATION = 170 "Route-IPv6-Information", "IPv6 prefix, RFC 6911.";
    DELEGATED_IPV6_PREFIX_POOL = 171 "Delegated-IPv6-Prefix-Pool", "text, RFC 6911.";
    STATEFUL_IPV6_ADDRESS_POOL = 172 "Stateful-IPv6-Address-Pool", "text, RFC 6911.";
}
