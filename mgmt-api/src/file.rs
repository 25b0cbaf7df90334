//! How files are written: whole or not at all, and for nobody else to read.
//!
//! ```text
//! stage   .NAME.new beside it, 0600, all of it on the disk     an error leaves nothing
//! put     .NAME.new ─ rename ─► NAME                           from here on it is written, whatever comes after
//! ```

use std::fs::File;
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Writes a file beside `path`, all of it on the disk: to be renamed to it.
pub(crate) fn stage(path: &Path, octets: &[u8]) -> Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let beside = path.with_file_name(format!(".{}.new", name.to_string_lossy()));
    // What a crash has left there may be open to others.
    match std::fs::remove_file(&beside) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(octets).and_then(|()| file.sync_all()).inspect_err(|_| drop(std::fs::remove_file(&beside)))?;
    Ok(beside)
}

/// Puts what was staged in the place of `path`.
pub(crate) fn put(staged: &Path, path: &Path) -> Result<()> {
    put_and(staged, path, |dir| File::open(dir)?.sync_all())
}

/// Writes a file, whole or not at all.
pub(crate) fn write(path: &Path, octets: &[u8]) -> Result<()> {
    put(&stage(path, octets)?, path)
}

fn put_and(staged: &Path, path: &Path, sync: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    std::fs::rename(staged, path).inspect_err(|_| drop(std::fs::remove_file(staged)))?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The new name is there; that it is still there after a power failure is for the disk to say.
    if let Err(error) = sync(dir) {
        tracing::warn!(path = %path.display(), %error, "the directory cannot be synchronized");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tests::Scratch;
    use std::os::unix::fs::PermissionsExt;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_and_is_for_its_owner() {
        let dir = Scratch::new();
        let file = dir.0.join("a.json");
        std::fs::write(&file, "a long one that was there before").unwrap();
        // What a crash has left, open to others.
        std::fs::write(dir.0.join(".a.json.new"), "half").unwrap();
        write(&file, b"new").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(names(&dir.0), ["a.json"]);
    }

    #[test]
    fn what_cannot_be_put_in_place_is_not_left_behind() {
        let dir = Scratch::new();
        let file = dir.0.join("a.json");
        std::fs::create_dir_all(file.join("in-the-way")).unwrap();
        assert!(write(&file, b"new").is_err());
        assert_eq!(names(&dir.0), ["a.json"]);
        assert!(write(&dir.0.join("nowhere/a.json"), b"new").is_err());
        assert!(write(Path::new("/"), b"new").is_err());
    }

    #[test]
    fn what_has_its_name_is_written_though_the_directory_cannot_be_synchronized() {
        let dir = Scratch::new();
        let file = dir.0.join("a.json");
        let staged = stage(&file, b"new").unwrap();
        let mut told = None;
        let put = put_and(&staged, &file, |dir| {
            told = Some(dir.to_owned());
            Err(ErrorKind::Other.into())
        });
        assert!(put.is_ok() && told.as_deref() == Some(&*dir.0), "{put:?} {told:?}");
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
    }
}
