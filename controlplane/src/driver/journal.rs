//! The file of the accounting journal. What is written survives this process; what the machine has not yet brought to the disk
//! when it fails is lost.

use crate::gateway::Gateway;
use anyhow::Context;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Until a file that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The journal, open for more.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Lines are missing in it, or torn: it is written anew then.
    broken: Option<Instant>,
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
    pub fn open(now: Instant, path: &Path, gateway: &mut Gateway) -> anyhow::Result<Self> {
        let context = || format!("aaa.accounting.journal: {}", path.display());
        Self::prepare(path).with_context(context)?;
        let before = match std::fs::read(path) {
            Ok(octets) => String::from_utf8_lossy(&octets).into_owned(),
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e).with_context(context),
        };
        // A line without an end was being written.
        gateway.start_accounting(now, before.split_inclusive('\n').filter_map(|l| l.strip_suffix('\n')));
        let mut journal =
            Self { path: path.to_owned(), file: owned().append(true).open(path).with_context(context)?, broken: None };
        journal.replace(gateway).with_context(context)?;
        Ok(journal)
    }

    /// Appends what is new.
    pub fn write(&mut self, now: Instant, gateway: &mut Gateway) {
        if self.broken.is_some_and(|at| now < at) {
            return;
        }
        let mut text = String::new();
        while let Some(line) = gateway.poll_journal() {
            text.push_str(&line);
            text.push('\n');
        }
        let result = match (self.broken, gateway.compact_journal()) {
            (Some(_), _) => self.replace(gateway),
            (None, Some(lines)) => self.rewrite(&lines),
            (None, None) if text.is_empty() => Ok(()),
            (None, None) => self.file.write_all(text.as_bytes()),
        };
        self.broken = result.is_err().then(|| now + RETRY);
        if let Err(error) = result {
            tracing::error!(path = %self.path.display(), %error, "the accounting journal cannot be written");
        }
    }

    fn replace(&mut self, gateway: &mut Gateway) -> std::io::Result<()> {
        let lines = gateway.whole_journal();
        self.rewrite(&lines)
    }

    /// Writes it anew, whole or not at all.
    fn rewrite(&mut self, lines: &[String]) -> std::io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = owned().write(true).truncate(true).open(&new)?;
        file.write_all(lines.iter().map(|l| format!("{l}\n")).collect::<String>().as_bytes())?;
        file.sync_data()?;
        std::fs::rename(&new, &self.path)?;
        self.file = file;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use dataplane_api::{Counters, MacAddr};
    use std::sync::Arc;

    fn gateway(now: Instant) -> Gateway {
        let text = "ports: [{ name: a, device: d, zone: trusted, addresses: [10.0.0.1/24] }]\n\
                    listeners: [{ name: l, address: 10.0.0.1, protection: none }]\n\
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

    #[test]
    fn what_cannot_be_read_does_not_keep_the_gateway_from_starting() {
        let dir = std::env::temp_dir().join(format!("journal-{}", std::process::id()));
        let path = dir.join("sub").join("journal");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A record, octets that are no text, one that is torn.
        std::fs::write(&path, b"+ 7 stop s 2802\n\xff\xfe\n+ 8 stop s 28").unwrap();
        let now = Instant::now();
        let mut g = gateway(now);
        let mut journal = Journal::open(now, &path, &mut g).unwrap();
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
        std::fs::rename(&hidden, path.parent().unwrap()).unwrap();
        journal.write(now + RETRY, &mut g);
        assert_eq!(lines(&path).len(), 2);
        journal.write(now + RETRY * 2, &mut g);
        assert_eq!(lines(&path), ["+ 7 stop", "+ 8 start", "+ 9 start"]);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
