//! Files for the operator's eyes only: packets in the clear, tokens.

use std::fs::{File, OpenOptions, Permissions, remove_file, rename, symlink_metadata};
use std::io::{Result, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Makes a file that nobody else can read; there must be none yet.
pub fn create(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Writes a file that nobody else can read. One that was there is replaced, and so are its mode and its owner.
pub fn write(path: &Path, octets: &[u8]) -> Result<()> {
    if symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return through(path, octets);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let written = create(&new)?.write_all(octets).and_then(|()| rename(&new, path));
    written.inspect_err(|_| drop(remove_file(&new)))
}

// A pipe, a terminal, or a link: whoever has put it there wants it to stay. What the link leads to may be a file.
fn through(path: &Path, octets: &[u8]) -> Result<()> {
    let mut out = OpenOptions::new().write(true).truncate(true).open(path)?;
    if out.metadata()?.is_file() {
        out.set_permissions(Permissions::from_mode(0o600))?;
    }
    out.write_all(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("swctl-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        /// A file that others may read, with this in it.
        fn open_to_all(&self, name: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, "what was there before, and was longer").unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
            path
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_that_others_could_read_is_another_one_afterwards() {
        let directory = Directory::new("replaced");
        let path = directory.open_to_all("trace");
        let mut reader = File::open(&path).unwrap();
        write(&path, b"secret").unwrap();
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"secret"[..], 0o600));
        // Who had opened it before sees what it was.
        let before = std::io::read_to_string(&mut reader).unwrap();
        assert!(before.starts_with("what was there before"), "{before}");
        write(&directory.0.join("new"), b"secret").unwrap();
        assert_eq!(mode(&directory.0.join("new")), 0o600);
        assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 2, "nothing is left beside them");
        assert!(write(&directory.0.join("nowhere/x"), b"secret").is_err() && write(Path::new("/"), b"secret").is_err());
    }

    #[test]
    fn what_is_no_file_stays_what_it_is() {
        let directory = Directory::new("stays");
        let (path, link) = (directory.open_to_all("trace"), directory.0.join("link"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write(&link, b"secret").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"secret"[..], 0o600));
        let null = directory.0.join("null");
        std::os::unix::fs::symlink("/dev/null", &null).unwrap();
        let before = mode(Path::new("/dev/null"));
        write(&null, b"secret").unwrap();
        assert_eq!(mode(Path::new("/dev/null")), before);
    }

    #[test]
    fn what_is_there_is_not_made() {
        let directory = Directory::new("made");
        let path = directory.open_to_all("token");
        assert!(create(&path).is_err());
        create(&directory.0.join("new")).unwrap();
        assert_eq!(mode(&directory.0.join("new")), 0o600);
    }
}
