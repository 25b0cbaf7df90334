//! The program around the initiator: settings, sockets, the TUN interface, and the loop between them.

mod interface;
mod settings;
mod sockets;

pub(crate) use settings::Settings;

use anyhow::{Context, bail};
use interface::Interface;
use rand::{SeedableRng, TryRng, rngs::StdRng};
use sockets::Sockets;
use softwire_initiator::{Event, Initiator};
use std::time::{Duration, Instant, SystemTime};
use tokio::signal::unix::{SignalKind, signal};

/// The longest sleep without a timer.
const IDLE: Duration = Duration::from_secs(3600);
/// Time an orderly end may take.
const CLOSE: Duration = Duration::from_secs(5);

/// Brings the softwire up and keeps it until a signal or its end.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut seed = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut seed).context("the operating system gives no random numbers")?;
    let mut root = StdRng::from_seed(seed);
    let config = settings.initiator()?;
    let sockets = Sockets::open(&config)?;
    let mut interface = Interface::open(&settings).await?;
    let seeds = Box::new(move || -> Box<dyn rand_core::CryptoRng + Send> { Box::new(StdRng::from_rng(&mut root)) });
    let mut initiator = Initiator::new(Instant::now(), config, seeds)?;
    initiator.set_clock(Instant::now(), SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut rekey = signal(SignalKind::user_defined1())?;
    let mut closing: Option<Instant> = None;
    let (mut outer, mut inner) = (vec![0; 65536], vec![0; 65536]);
    loop {
        if let Some(why) = flush(&mut initiator, &sockets, &mut interface).await? {
            if closing.is_some() {
                return Ok(());
            }
            bail!("the softwire is down: {why}");
        }
        let due = initiator.poll_timeout().into_iter().chain(closing).min();
        let sleep = due.map_or(IDLE, |t| t.saturating_duration_since(Instant::now()));
        tokio::select! {
            got = sockets.receive(&mut outer) => {
                let (kind, from, range) = got?;
                let data = &outer[range];
                match kind {
                    Some(port) => initiator.handle_udp(Instant::now(), port, from, data),
                    None => initiator.handle_esp(Instant::now(), data),
                }
            }
            n = interface.receive(&mut inner) => {
                let n = n?;
                initiator.handle_inner(Instant::now(), &inner[..n]);
            }
            () = tokio::time::sleep(sleep) => {}
            _ = rekey.recv() => initiator.rekey_child(Instant::now()),
            _ = term.recv() => closing = Some(begin_close(&mut initiator)),
            _ = int.recv() => closing = Some(begin_close(&mut initiator)),
        }
        let now = Instant::now();
        if closing.is_some_and(|t| t <= now) {
            return Ok(());
        }
        if initiator.poll_timeout().is_some_and(|t| t <= now) {
            initiator.handle_timeout(now);
        }
    }
}

fn begin_close(initiator: &mut Initiator) -> Instant {
    let now = Instant::now();
    initiator.close(now);
    now + CLOSE
}

// Sends what is to be sent and acts on events; `Some` is the reason of the end.
async fn flush(
    initiator: &mut Initiator,
    sockets: &Sockets,
    interface: &mut Interface,
) -> anyhow::Result<Option<String>> {
    while let Some(d) = initiator.poll_datagram() {
        sockets.send(&d).await;
    }
    while let Some(packet) = initiator.poll_inner() {
        interface.send(&packet).await;
    }
    let mut down = None;
    while let Some(event) = initiator.poll_event() {
        match event {
            Event::IkeUp(id, suite, natt) => println!("ike up gateway={id} suite={suite} natt={natt}"),
            Event::ChildUp(i, o, suite) => println!("child up spi_in={i:08x} spi_out={o:08x} suite={suite}"),
            Event::SessionUp(t, s, pt, ps) => {
                println!("l2tp up tunnel={t} session={s} peer_tunnel={pt} peer_session={ps}");
            }
            Event::Mtu(mtu) => {
                println!("ppp up mtu={mtu}");
                interface.mtu(mtu)?;
            }
            Event::Ipv4(local, peer, dns) => {
                println!("ipv4 up address={local} peer={peer} dns={dns:?}");
                interface.ipv4(local).await?;
            }
            Event::Ipv6LinkLocal(a) => println!("ipv6 up link_local={a}"),
            Event::Ipv6(a, len, router) => {
                println!("ipv6 up address={a}/{len} router={router}");
                interface.ipv6(a, len).await?;
            }
            Event::Delegated(a, len) => println!("delegated prefix={a}/{len}"),
            Event::Down(why) => {
                println!("down reason={why:?}");
                down = Some(why);
            }
        }
    }
    Ok(down)
}
