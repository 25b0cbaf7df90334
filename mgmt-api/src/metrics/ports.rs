//! Metrics of ports, by name.

use controlplane::northbound::PortInfo;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Labels = [(&'static str, String); 1];

/// A counter of ports: name, help, value.
type Counted = (&'static str, &'static str, fn(&PortInfo) -> u64);

const COUNTED: &[Counted] = &[
    ("received_packets", "Packets that ports have received", |p| p.rx_packets),
    ("received_octets", "Octets that ports have received", |p| p.rx_octets),
    ("sent_packets", "Packets that ports have sent", |p| p.tx_packets),
    ("sent_octets", "Octets that ports have sent", |p| p.tx_octets),
    ("missed_packets", "Packets that ports have dropped because workers left no room in their queues", |p| p.rx_missed),
    ("receive_errors", "Erroneous packets that ports have received", |p| p.rx_errors),
    ("no_buffer_packets", "Packets that ports have not received for want of a buffer", |p| p.rx_no_buffer),
    ("send_errors", "Packets that ports have not sent for an error", |p| p.tx_errors),
];

pub(super) fn register(registry: &mut Registry, ports: &[PortInfo]) {
    let registry = registry.sub_registry_with_prefix("port");
    let name = |p: &PortInfo| [("port", p.name.clone())];
    let (up, speed) = (Family::<Labels, Gauge>::default(), Family::<Labels, Gauge>::default());
    registry.register("up", "Ports that have a link", up.clone());
    registry.register("speed_bits_per_second", "Speed of ports' links, where it is known", speed.clone());
    for p in ports {
        up.get_or_create(&name(p)).set(i64::from(p.up));
        if let Some(mbit) = p.speed.and_then(|mbit| i64::try_from(mbit).ok()) {
            speed.get_or_create(&name(p)).set(mbit.saturating_mul(1_000_000));
        }
    }
    for (counter, help, value) in COUNTED {
        let family = Family::<Labels, Counter>::default();
        registry.register(*counter, *help, family.clone());
        for p in ports {
            family.get_or_create(&name(p)).inc_by(value(p));
        }
    }
}
