//! How many connections strangers may hold.

use super::*;
use tokio::net::TcpSocket;

/// Whether the gateway has closed it; a handshake that nobody begins would take ten seconds.
async fn closed(stream: &mut TcpStream) -> bool {
    timeout(Duration::from_secs(5), stream.read(&mut [0]))
        .await
        .is_ok_and(|read| read.is_err() || read.is_ok_and(|n| n == 0))
}

/// Whether somebody at `from` is answered.
async fn answered(gw: &Running, from: &str) -> bool {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let stream = socket.connect(gw.address).await.unwrap();
    let Ok(stream) = secured(stream, store::sha256(gw.certificate()), None).await else { return false };
    exchange(stream, "GET", "/api/v1/health", &[], "").await.is_ok()
}

#[tokio::test]
async fn a_source_holds_thirty_two_connections_and_leaves_the_rest_to_others() {
    let gw = running(|_, _| {}).await;
    let mut held = Vec::new();
    for _ in 0..32 {
        held.push(TcpStream::connect(gw.address).await.unwrap());
    }
    for _ in 0..3 {
        assert!(closed(&mut TcpStream::connect(gw.address).await.unwrap()).await);
    }
    assert!(answered(&gw, "127.0.0.2").await, "another source");
    let open =
        |stream: &TcpStream| stream.try_read(&mut [0]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
    assert!(held.iter().all(open), "those that were there stay");
    // A place that is given back is free.
    held.pop();
    let free = async {
        while !answered(&gw, "127.0.0.1").await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), free).await.unwrap();
    assert!(held.iter().all(open));
    gw.stop().await;
}
