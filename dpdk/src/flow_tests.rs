use super::*;
use crate::{Error, sim};

const ESP: Rule = Rule { v6: false, traffic: Traffic::Esp, spi: (0, 0), target: Target::BySpi(2) };

#[test]
fn a_driver_without_rules_and_a_port_that_is_not_started_say_so() {
    let pool = sim::test_pool("flow", 255).expect("pool");
    let (mut port, _far) = sim::port("flow", 2, 63).expect("port");
    assert!(matches!(port.steer(&[ESP]), Err(Error::PortState { .. })));
    let _queues = sim::start(&mut port, 2, &pool).expect("queues");
    for traffic in [Traffic::Esp, Traffic::EspInUdp, Traffic::IpInIp { v6: true }, Traffic::Udp(1701)] {
        for target in [Target::Queue(1), Target::BySpi(2), Target::ByInner(2)] {
            let rule = Rule { v6: true, traffic, spi: (0x10_0000, 0xf0_0000), target };
            assert!(matches!(port.steer(&[rule]), Err(Error::Driver { .. })), "{rule:?}");
        }
    }
    assert!(port.steer(&[]).is_ok());
}
