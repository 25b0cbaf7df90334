//! Files of lines that outlive the process: the accounting journal, and what pools remember. What is written survives this
//! process; what the machine has not yet brought to the disk when it fails is lost.
//!
//! A file that has become too long is written anew on a thread, beside the old one, which goes on meanwhile:
//!
//! ```text
//!   lines ──┬─► the old file, until then
//!           └─► kept ──► behind what the thread has written ──► renamed: the file
//! ```

use crate::gateway::{Gateway, Lines};
use anyhow::Context;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, IntoInnerError, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Until a file that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What a file has of the gateway.
pub(super) struct Content {
    /// In the log.
    what: &'static str,
    /// The setting that names it.
    pub path: &'static str,
    /// Takes what an earlier run has left.
    start: fn(&mut Gateway, Instant, &mut dyn Iterator<Item = &str>),
    line: fn(&mut Gateway) -> Option<String>,
    compact: fn(&mut Gateway) -> Option<Lines>,
    whole: fn(&mut Gateway) -> Lines,
}

/// Records that no server has taken.
pub(super) const ACCOUNTING: Content = Content {
    what: "the accounting journal",
    path: "aaa.accounting.journal",
    start: |gateway, now, lines| gateway.start_accounting(now, lines),
    line: Gateway::poll_journal,
    compact: Gateway::compact_journal,
    whole: Gateway::whole_journal,
};

/// Whose the blocks of pools were last.
const LEASES: Content = Content {
    what: "the file of leases",
    path: "api.state",
    start: |gateway, _, lines| gateway.restore_leases(lines),
    line: Gateway::poll_lease,
    compact: Gateway::compact_leases,
    whole: Gateway::whole_leases,
};

/// The file, open for more.
pub(super) struct Journal {
    content: &'static Content,
    path: PathBuf,
    file: File,
    /// Lines are missing in it, or torn: it is written anew then.
    broken: Option<Instant>,
    /// The one that is to take its place.
    next: Option<Next>,
}

/// A file that is being written on a thread of its own.
struct Next {
    thread: JoinHandle<std::io::Result<File>>,
    /// Lines that have come since.
    kept: String,
}

/// A file that nobody else reads.
fn owned() -> OpenOptions {
    let mut options = File::options();
    options.create(true).mode(0o600);
    options
}

impl Journal {
    /// Whether it could be opened.
    pub fn prepare(path: &Path) -> anyhow::Result<()> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        }
        owned().append(true).open(path).map(drop).with_context(|| path.display().to_string())
    }

    /// Gives the gateway what the last run has left.
    pub fn open(now: Instant, content: &'static Content, path: &Path, gateway: &mut Gateway) -> anyhow::Result<Self> {
        let context = || format!("{}: {}", content.path, path.display());
        Self::prepare(path).with_context(context)?;
        let before = match std::fs::read(path) {
            Ok(octets) => String::from_utf8_lossy(&octets).into_owned(),
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e).with_context(context),
        };
        if !before.is_empty() && !before.ends_with('\n') {
            tracing::warn!(path = %path.display(), "the last line was being written, and is left out");
        }
        (content.start)(gateway, now, &mut before.split_inclusive('\n').filter_map(|l| l.strip_suffix('\n')));
        let file = owned().append(true).open(path).with_context(context)?;
        let mut journal = Self { content, path: path.to_owned(), file, broken: None, next: None };
        let whole = write_anew(&journal.beside(), (content.whole)(gateway)).with_context(context)?;
        journal.replace(whole, "").with_context(context)?;
        Ok(journal)
    }

    /// The one of the leases. Nobody is kept from being served by it: without, addresses are not remembered.
    pub fn leases(now: Instant, state: &Path, gateway: &mut Gateway) -> Option<Self> {
        let opened = Self::open(now, &LEASES, &state.join("leases"), gateway);
        opened.inspect_err(|e| tracing::error!(error = format!("{e:#}"), "leases are not remembered")).ok()
    }

    /// Appends what is new.
    pub fn write(&mut self, now: Instant, gateway: &mut Gateway) {
        if self.next.is_none() && self.broken.is_some_and(|at| now < at) {
            return;
        }
        if let Err(error) = self.carry_on(gateway) {
            self.broken = Some(now + RETRY);
            tracing::error!(path = %self.path.display(), %error, "{} cannot be written", self.content.what);
        }
    }

    fn carry_on(&mut self, gateway: &mut Gateway) -> std::io::Result<()> {
        if let Some(next) = self.next.take_if(|next| next.thread.is_finished()) {
            let file = next.thread.join().unwrap_or_else(|_| Err(ErrorKind::Other.into()))?;
            self.replace(file, &next.kept)?;
        }
        let mut text = String::new();
        while let Some(line) = (self.content.line)(gateway) {
            text.push_str(&line);
            text.push('\n');
        }
        let lines = match &mut self.next {
            Some(next) => {
                next.kept.push_str(&text);
                None
            }
            None if self.broken.is_some() => Some((self.content.whole)(gateway)),
            None => (self.content.compact)(gateway),
        };
        if let Some(lines) = lines {
            let path = self.beside();
            let thread = std::thread::Builder::new().name("journal".into()).spawn(move || write_anew(&path, lines))?;
            self.next = Some(Next { thread, kept: String::new() });
        }
        if self.broken.is_none() && !text.is_empty() { self.file.write_all(text.as_bytes()) } else { Ok(()) }
    }

    fn beside(&self) -> PathBuf {
        self.path.with_extension("new")
    }

    /// Goes on with what has been written beside it, and more.
    fn replace(&mut self, mut file: File, more: &str) -> std::io::Result<()> {
        file.write_all(more.as_bytes())?;
        std::fs::rename(self.beside(), &self.path)?;
        (self.file, self.broken) = (file, None);
        Ok(())
    }
}

/// Writes a whole file, of which nothing is to be seen under its name yet.
fn write_anew(path: &Path, lines: Lines) -> std::io::Result<File> {
    let mut out = BufWriter::new(owned().write(true).truncate(true).open(path)?);
    for line in lines {
        writeln!(out, "{line}")?;
    }
    let file = out.into_inner().map_err(IntoInnerError::into_error)?;
    file.sync_data()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use dataplane_api::{Counters, MacAddr};
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::{Arc, Mutex};

    fn gateway(now: Instant) -> Gateway {
        let text = "ports: [{ name: a, device: d, zone: trusted, addresses: [10.0.0.1/24] }]\n\
                    listeners: [{ name: l, address: 10.0.0.1, protection: none }]\n\
                    ppp: { local_ipv4: 10.0.0.1 }\n\
                    pools: { ipv4: [10.9.0.0/24] }\n\
                    aaa: { servers: [{ name: r, address: 127.0.0.1, secret: s }] }\n";
        let config = Arc::new(Config::from_yaml("t", text).unwrap_or_else(|e| panic!("{e}")));
        Gateway::new(config, now, &[MacAddr([2; 6])], vec![Arc::new(Counters::new(1, 1))], [7; 32]).unwrap()
    }

    fn lines(path: &Path) -> Vec<String> {
        std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(|l| l.split(' ').take(3).collect::<Vec<_>>().join(" "))
            .collect()
    }

    /// Until the file that is being written has taken its place, or has failed to.
    fn settle(journal: &mut Journal, now: Instant, g: &mut Gateway) {
        while journal.next.is_some() {
            std::thread::sleep(Duration::from_millis(1));
            journal.write(now, g);
        }
    }

    static QUEUE: Mutex<VecDeque<&str>> = Mutex::new(VecDeque::new());
    static LONG: AtomicBool = AtomicBool::new(false);
    static DISK: Mutex<()> = Mutex::new(());

    /// Nothing is written anew while the test holds the disk.
    fn slow(_: &mut Gateway) -> Lines {
        Box::new(["whole"].into_iter().map(|line| {
            drop(DISK.lock());
            line.to_owned()
        }))
    }

    const SLOW: Content = Content {
        what: "a file",
        path: "api.state",
        start: |_, _, _| {},
        line: |_| QUEUE.lock().unwrap().pop_front().map(str::to_owned),
        compact: |g| LONG.swap(false, Relaxed).then(|| slow(g)),
        whole: slow,
    };

    #[test]
    fn a_file_is_written_anew_while_lines_go_on() {
        let dir = std::env::temp_dir().join(format!("slow-{}", std::process::id()));
        let (path, now) = (dir.join("file"), Instant::now());
        let mut g = gateway(now);
        let mut journal = Journal::open(now, &SLOW, &path, &mut g).unwrap();
        let mut write = |journal: &mut Journal, line| {
            QUEUE.lock().unwrap().push_back(line);
            journal.write(now, &mut g);
            std::fs::read_to_string(&path).unwrap()
        };
        assert_eq!(write(&mut journal, "a"), "whole\na\n");
        let disk = DISK.lock().unwrap();
        LONG.store(true, Relaxed);
        // What comes while it is written is in the old file and in the new one.
        assert_eq!(write(&mut journal, "b"), "whole\na\nb\n");
        assert_eq!(write(&mut journal, "c"), "whole\na\nb\nc\n");
        drop(disk);
        settle(&mut journal, now, &mut gateway(now));
        assert_eq!(write(&mut journal, "d"), "whole\nc\nd\n");
        // Nor is anything lost when the old one fails meanwhile.
        let disk = DISK.lock().unwrap();
        LONG.store(true, Relaxed);
        write(&mut journal, "e");
        journal.file = File::open(&path).unwrap();
        assert_eq!(write(&mut journal, "f"), "whole\nc\nd\ne\n");
        drop(disk);
        settle(&mut journal, now, &mut gateway(now));
        assert_eq!(write(&mut journal, "g"), "whole\nf\ng\n");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_cannot_be_read_does_not_keep_the_gateway_from_starting() {
        let dir = std::env::temp_dir().join(format!("journal-{}", std::process::id()));
        let path = dir.join("sub").join("journal");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A record, octets that are no text, one that is torn.
        std::fs::write(&path, b"+ 7 stop s 2802\n\xff\xfe\n+ 8 stop s 28").unwrap();
        let now = Instant::now();
        let mut g = gateway(now);
        let mut journal = Journal::open(now, &ACCOUNTING, &path, &mut g).unwrap();
        // The record is kept, and Accounting-On is a new one.
        assert_eq!(lines(&path), ["+ 7 stop", "+ 8 start"]);

        // The disk is gone for a while: nothing is lost.
        let hidden = dir.join("hidden");
        journal.file = File::open(&path).unwrap();
        g.close_all(now);
        journal.write(now, &mut g);
        assert_eq!(lines(&path).len(), 2);
        std::fs::rename(path.parent().unwrap(), &hidden).unwrap();
        journal.write(now + RETRY, &mut g);
        settle(&mut journal, now + RETRY, &mut g);
        std::fs::rename(&hidden, path.parent().unwrap()).unwrap();
        journal.write(now + RETRY, &mut g);
        assert_eq!(lines(&path).len(), 2);
        journal.write(now + RETRY * 2, &mut g);
        settle(&mut journal, now + RETRY * 2, &mut g);
        assert_eq!(lines(&path), ["+ 7 stop", "+ 8 start", "+ 9 start"]);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn leases_are_kept_for_the_next_run_whatever_is_in_the_file() {
        let dir = std::env::temp_dir().join(format!("leases-{}", std::process::id()));
        let (state, path) = (dir.join("state"), dir.join("state").join("leases"));
        let now = Instant::now();
        let whole = "- 10.9.0.7/32 alice\n- 10.9.0.8/32 bob\n";
        // There is none, one whose end is missing, garbage, and one that was written by a gateway that was killed.
        let files: [(&[u8], &str); 4] = [
            (b"", ""),
            (b"- 10.9.0.7/32 alice\n- 10.9.0.8/32 bob\n+ 10.9.0.9/32 ca", whole),
            (b"\0\0\0\n+ 10.9.0.8/32 bob\n\xff\xfe - \n- 10.9.0.7/32 alice\n- 10.9.0\n", whole),
            (b"+ 10.9.0.8/32 bob\n- 10.9.0.7/32 alice\n+ 10.8.0.1/32 of other pools\n", whole),
        ];
        for (octets, after) in files {
            if !octets.is_empty() {
                std::fs::write(&path, octets).unwrap();
            }
            let mut g = gateway(now);
            let mut journal = Journal::leases(now, &state, &mut g).unwrap();
            journal.write(now, &mut g);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
            let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        // Where it cannot be, the gateway serves without.
        std::fs::remove_dir_all(&dir).unwrap();
        std::fs::write(&dir, "in the way").unwrap();
        assert!(Journal::leases(now, &state, &mut gateway(now)).is_none());
        std::fs::remove_file(&dir).unwrap();
    }
}
