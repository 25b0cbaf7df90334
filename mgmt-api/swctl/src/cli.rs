//! The command line. From it come `--help`, completions and manual pages.

use crate::settings::Gateway;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

const AFTER: &str = "\
FILES:
  ~/.config/swctl.toml        gateways by name: [gateways.west] with host, fingerprint or ca, token_file; default = \"west\"
  ~/.local/state/swctl/       candidates, one per gateway

EXIT STATUS:
  0  done
  1  the gateway refused, or is not done in time
  2  the command, or a file of yours, is wrong
  3  no gateway answers

EXAMPLES:
  swctl set subscribers alice secret -          asks for the secret
  swctl set listeners secure address 192.0.2.1
  swctl diff
  swctl commit --confirm 5m --comment 'new listener'
  swctl confirm
  swctl --host west show bgp";

/// Operates a softwire gateway.
///
/// Without --host, and without a default in ~/.config/swctl.toml, it is the gateway on this machine.
#[derive(Debug, Parser)]
#[command(name = "swctl", version, after_help = AFTER)]
pub struct Cli {
    #[command(flatten)]
    pub gateway: Gateway,
    /// Print the API's answer as it is
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what the gateway does
    #[command(subcommand)]
    Show(Show),
    /// Set a value in the candidate configuration
    ///
    /// PATH is words, or slashes in the first one: subscribers alice secret, subscribers/alice/secret. Items of lists go by
    /// name; one that is not there is made. VALUE is a word, a number, a list like [a, b], or a map like {a: 1}, which is
    /// merged; `-` reads it from the terminal without showing it, or from standard input.
    Set {
        /// Where, and the value
        #[arg(required = true, num_args = 2.., value_names = ["PATH", "VALUE"], allow_negative_numbers = true)]
        words: Vec<String>,
    },
    /// Delete from the candidate configuration
    Delete {
        /// Where
        #[arg(required = true, value_name = "PATH")]
        words: Vec<String>,
    },
    /// Show what the candidate changes
    Diff,
    /// Forget the candidate
    Discard,
    /// Make the candidate's edits again on what is running now
    Update,
    /// Ask the gateway whether it would take the candidate
    Check,
    /// Make the candidate the running configuration
    Commit {
        /// Roll back unless confirmed within this time: 5m, 90s; a number is minutes
        #[arg(long, value_name = "TIME", value_parser = confirm)]
        confirm: Option<Duration>,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
    },
    /// Confirm a commit that would be rolled back
    Confirm,
    /// Make the configuration of an earlier commit the running one
    Rollback {
        /// Its number, see show commits
        commit: u64,
        /// Put back what was there unless confirmed within this time
        #[arg(long, value_name = "TIME", value_parser = confirm)]
        confirm: Option<Duration>,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
    },
    /// Disconnect a subscriber
    Disconnect {
        /// TUNNEL.SESSION, or a user
        id: String,
    },
    /// Rekey an SA
    #[command(subcommand)]
    Rekey(Rekey),
    /// Reset something
    #[command(subcommand)]
    Clear(Clear),
    /// Shut something down
    #[command(subcommand)]
    Disable(Disable),
    /// Start what was shut down
    #[command(subcommand)]
    Enable(Enable),
    /// Take no new sessions
    ///
    /// With --wait it returns when no session is left: with --teardown half a minute after the time for that at the latest,
    /// with exit status 1 if there are some still; without --teardown whenever that is.
    Drain {
        /// End those that are there, too
        #[arg(long)]
        teardown: bool,
        /// Evenly within this time: 10m, 90s
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "teardown")]
        within: Option<Duration>,
        /// Wait until no session is left
        #[arg(long)]
        wait: bool,
    },
    /// Take new sessions again
    Undrain,
    /// Load, rates and drops, live (q quits, p pauses, s sorts)
    Top {
        /// Seconds between samples
        #[arg(long, short, default_value = "1", value_parser = clap::value_parser!(u64).range(1..=60))]
        interval: u64,
    },
    /// Follow packets through the gateway
    Trace(Trace),
    /// Print events as they come
    Monitor {
        /// Only these: session, ike, child, bgp, softwire, config, drain
        #[arg(value_name = "KIND")]
        kinds: Vec<String>,
    },
    /// Bearer tokens of the API
    #[command(subcommand)]
    Token(Token),
    /// Print a completion script
    Completion {
        /// For this shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// Into this directory; swctl(1) on standard output without one
        directory: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Show {
    /// Subscribers with their softwires
    Subscribers {
        /// One of them: TUNNEL.SESSION
        id: Option<String>,
        #[command(flatten)]
        filter: SubscriberFilter,
        #[command(flatten)]
        page: Page,
    },
    /// L2TP sessions
    Sessions {
        #[command(flatten)]
        page: Page,
    },
    /// L2TP tunnels
    Tunnels {
        #[command(flatten)]
        page: Page,
    },
    /// IKE SAs
    Ike {
        #[command(flatten)]
        filter: IkeFilter,
        #[command(flatten)]
        page: Page,
    },
    /// Child SAs
    Child {
        /// Of this IKE peer, by its number
        #[arg(long)]
        peer: Option<u32>,
        #[command(flatten)]
        page: Page,
    },
    /// Softwires to other AFBRs
    Softwires {
        #[command(flatten)]
        page: Page,
    },
    /// IPsec profiles of the mesh
    Profiles,
    /// BGP neighbours and routes
    Bgp {
        #[command(subcommand)]
        what: Option<ShowBgp>,
    },
    /// BFD sessions
    Bfd,
    /// RPKI caches
    Rtr,
    /// RADIUS servers and accounting
    Radius,
    /// The security policy database
    Spd,
    /// Ports: link, addresses, packets, errors
    Ports,
    /// Counters that are not zero
    Counters {
        /// Those that are, too
        #[arg(long)]
        all: bool,
    },
    /// Version, totals, listeners
    Status,
    /// The running configuration
    Config {
        /// Part of it
        #[arg(value_name = "PATH")]
        path: Vec<String>,
        /// With settings that are not written
        #[arg(long)]
        defaults: bool,
        /// As set commands
        #[arg(long)]
        commands: bool,
    },
    /// The history of the configuration
    Commits {
        /// What this one has changed
        commit: Option<u64>,
        /// Most lines
        #[arg(long, default_value = "50", value_parser = limit)]
        limit: usize,
    },
    /// Whether new sessions are taken
    Drain,
    /// Bearer tokens of the API
    Tokens,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct Page {
    /// Most lines
    #[arg(long, default_value = "1000", value_parser = limit)]
    pub limit: usize,
}

#[derive(Debug, Args)]
pub struct SubscriberFilter {
    /// PPP user
    #[arg(long)]
    user: Option<String>,
    /// Name of the listener
    #[arg(long)]
    listener: Option<String>,
    /// tunnel, lcp, authorizing, network, open, closing
    #[arg(long)]
    state: Option<String>,
    /// Inner or outer address
    #[arg(long)]
    address: Option<IpAddr>,
}

impl SubscriberFilter {
    /// Of the query.
    pub fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("user", self.user.clone()),
            ("listener", self.listener.clone()),
            ("state", self.state.clone()),
            ("address", self.address.map(|a| a.to_string())),
        ]
    }
}

#[derive(Debug, Args)]
pub struct IkeFilter {
    /// The peer's identity
    #[arg(long)]
    id: Option<String>,
    /// The peer's address
    #[arg(long)]
    address: Option<IpAddr>,
    /// Entry of the PAD
    #[arg(long)]
    pad: Option<String>,
}

impl IkeFilter {
    /// Of the query.
    pub fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        vec![("id", self.id.clone()), ("address", self.address.map(|a| a.to_string())), ("pad", self.pad.clone())]
    }
}

#[derive(Debug, Subcommand)]
pub enum ShowBgp {
    /// Neighbours, a line each
    Summary,
    /// All about neighbours
    #[command(visible_alias = "neighbors")]
    Neighbours {
        /// One of them
        address: Option<IpAddr>,
    },
    /// Routes
    Routes(RouteFilter),
}

#[derive(Debug, Args)]
pub struct RouteFilter {
    /// A prefix, or an address
    prefix: Option<String>,
    /// And what is within it
    #[arg(long, requires = "prefix", conflicts_with = "covering")]
    longer: bool,
    /// And what is around it
    #[arg(long, requires = "prefix")]
    covering: bool,
    /// Of one family
    #[arg(long)]
    family: Option<Family>,
    /// As received from this neighbour
    #[arg(long, value_name = "NEIGHBOUR", conflicts_with = "advertised")]
    pub received: Option<IpAddr>,
    /// As sent to this neighbour
    #[arg(long, value_name = "NEIGHBOUR")]
    pub advertised: Option<IpAddr>,
    #[command(flatten)]
    pub page: Page,
}

impl RouteFilter {
    /// Of the query.
    pub fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        let scope = if self.longer { Some("longer") } else { self.covering.then_some("covering") };
        let family = self.family.map(|f| if f == Family::Ipv4 { "ipv4" } else { "ipv6" });
        vec![
            ("prefix", self.prefix.clone()),
            ("match", scope.map(str::to_owned)),
            ("family", family.map(str::to_owned)),
        ]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Family {
    Ipv4,
    Ipv6,
}

#[derive(Debug, Subcommand)]
pub enum Rekey {
    /// An IKE SA
    Ike {
        /// Number of the peer, see show ike
        peer: u32,
    },
    /// A child SA
    Child {
        /// Inbound SPI, hexadecimal, see show child
        spi: String,
    },
    /// The SA of a softwire
    Softwire {
        /// Its number, see show softwires
        id: u16,
    },
}

#[derive(Debug, Subcommand)]
pub enum Clear {
    /// A BGP session, or the routes that it has brought
    Bgp {
        /// The neighbour
        address: IpAddr,
        /// Keep the session: ask for the neighbour's routes again (in), or send it ours (out)
        #[arg(long, value_name = "DIRECTION", conflicts_with_all = ["hard", "message"])]
        soft: Option<Direction>,
        /// Keep no routes meanwhile
        #[arg(long)]
        hard: bool,
        /// For the neighbour's operator
        #[arg(long, value_name = "TEXT")]
        message: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    In,
    Out,
}

#[derive(Debug, Subcommand)]
pub enum Disable {
    /// The session with a BGP neighbour
    Bgp {
        /// The neighbour
        address: IpAddr,
        /// For the neighbour's operator
        #[arg(long, value_name = "TEXT")]
        message: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Enable {
    /// The session with a BGP neighbour
    Bgp {
        /// The neighbour
        address: IpAddr,
    },
}

#[derive(Debug, Args)]
pub struct Trace {
    /// From these addresses
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    pub source: Option<IpNet>,
    /// To these addresses
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    pub destination: Option<IpNet>,
    /// IP protocol: tcp, udp, icmp, icmpv6, esp, ipip, ipv6, or a number
    #[arg(long)]
    pub protocol: Option<String>,
    /// TCP or UDP port, either side
    #[arg(long)]
    pub port: Option<u16>,
    /// Of one subscriber: TUNNEL.SESSION
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// Received on this port
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// Only those that are dropped
    #[arg(long)]
    pub dropped: bool,
    /// One in this many
    #[arg(long, default_value = "1", value_name = "N")]
    pub sample: u32,
    /// Then it ends
    #[arg(long, short = 'c', default_value = "100", value_name = "N")]
    pub packets: u32,
    /// Write them to a file, decrypted, as pcapng
    #[arg(long, short, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make one; it is told once
    Create {
        /// Who it is for
        name: String,
        /// What it may do
        #[arg(long, default_value = "read")]
        role: Role,
        /// It is good for this time: 90d, 12h
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,
        /// Write it to a new file that only you can read, and not to standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List them
    List,
    /// Delete one
    Delete {
        /// Its id, see token list
        id: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// To see everything but secrets and packets
    Read,
    /// And to act: disconnect, rekey, clear, drain
    Operate,
    /// And to configure
    Admin,
}

// Minutes, as Junos has it, unless it says a unit.
fn confirm(text: &str) -> Result<Duration, String> {
    let time = match text.parse::<u64>() {
        Ok(minutes) => minutes.checked_mul(60).map(Duration::from_secs).ok_or("too long")?,
        Err(_) => humantime::parse_duration(text).map_err(|e| e.to_string())?,
    };
    if time.as_secs() == 0 { Err("at least a second".to_owned()) } else { Ok(time) }
}

fn limit(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "a number from 1".to_owned())
}

fn prefix(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map_err(|_| "neither a prefix nor an address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_of_commit_are_minutes_unless_they_say_otherwise() {
        assert_eq!([confirm("5"), confirm("90s"), confirm("1h")].map(|t| t.unwrap().as_secs()), [300, 90, 3600]);
        assert!(["0", "0s", "x", "99999999999999999999"].iter().all(|t| confirm(t).is_err()));
    }
}
