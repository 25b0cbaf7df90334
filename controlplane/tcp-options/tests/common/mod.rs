//! Connections over the loopback interface.

use ipnet::IpNet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Long enough for the loopback interface, where what does not come at once does not come.
pub const SHORT: Duration = Duration::from_millis(300);
pub const LONG: Duration = Duration::from_secs(5);

pub const HOSTS: [&str; 2] = ["127.0.0.1", "::1"];

pub fn host(address: &str) -> IpNet {
    IpNet::from(address.parse::<IpAddr>().unwrap())
}

pub fn listener(address: &str) -> TcpListener {
    TcpListener::bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap()
}

/// A connecting socket, prepared by `prepare`.
pub fn connect(
    to: &TcpListener,
    timeout: Duration,
    prepare: impl FnOnce(&socket2::Socket),
) -> std::io::Result<TcpStream> {
    let to = to.local_addr().unwrap();
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None).unwrap();
    prepare(&socket);
    socket.connect_timeout(&to.into(), timeout)?;
    Ok(socket.into())
}

pub fn talks(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    to.set_read_timeout(Some(SHORT)).unwrap();
    from.write_all(b"x").unwrap();
    to.read(&mut [0; 8]).is_ok_and(|n| n > 0)
}
