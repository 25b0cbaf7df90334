//! Tokens: `swgw_ID_SECRET`. The file has what takes to know one again, an argon2id hash of each whole token, and nothing
//! that makes one. Since argon2 is slow on purpose, a token that was right once is known by its SHA-256 from then on, in memory.
//!
//! The secret has 256 random bits: nobody finds it by trying, however fast the hash. One is computed at a time, which
//! bounds the memory and the core that strangers can make us spend.

use super::Role;
use anyhow::{Context, anyhow, ensure};
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use zeroize::Zeroizing;

/// What is kept of a token. Not `Debug`: a hash belongs in no log.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    pub id: String,
    pub name: String,
    pub role: Role,
    hash: String,
    #[serde(with = "rfc3339")]
    pub created: SystemTime,
    #[serde(with = "rfc3339::option", default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<SystemTime>,
}

impl Token {
    fn expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

pub(super) struct Tokens {
    file: PathBuf,
    known: Mutex<Known>,
    /// Held while a hash is computed.
    hashing: tokio::sync::Mutex<()>,
    /// Held while the file is written.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    all: Vec<Token>,
    /// Id of each token that has come and was right, by its SHA-256.
    seen: HashMap<[u8; 32], String>,
}

impl Tokens {
    /// Reads the file; without one, there are no tokens.
    pub fn open(file: PathBuf) -> anyhow::Result<Self> {
        let all = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?,
            Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e).with_context(|| file.display().to_string()),
        };
        let known = Mutex::new(Known { all, seen: HashMap::new() });
        Ok(Self { file, known, hashing: tokio::sync::Mutex::default(), writing: tokio::sync::Mutex::default() })
    }

    /// Name and role of a token that has been right before, and still is.
    pub fn seen(&self, token: &str, now: SystemTime) -> Option<(String, Role)> {
        let known = self.known();
        let id = known.seen.get(&sha256(token))?;
        known.all.iter().find(|t| t.id == *id && !t.expired(now)).map(|t| (t.name.clone(), t.role))
    }

    /// Name and role of a token.
    pub async fn verify(&self, token: &str, now: SystemTime) -> Option<(String, Role)> {
        let (id, _) = token.strip_prefix("swgw_")?.split_once('_')?;
        let hash = self.known().all.iter().find(|t| t.id == id && !t.expired(now))?.hash.clone();
        let secret = Zeroizing::new(token.to_owned());
        let right = {
            let _one = self.hashing.lock().await;
            let check = move || Argon2::default().verify_password(secret.as_bytes(), hash.as_str()).is_ok();
            tokio::task::spawn_blocking(check).await.unwrap_or(false)
        };
        if !right {
            return None;
        }
        let mut known = self.known();
        // It may have been taken back meanwhile.
        let found = known.all.iter().find(|t| t.id == id).map(|t| (t.name.clone(), t.role))?;
        known.seen.insert(sha256(token), id.to_owned());
        Some(found)
    }

    /// All of them, in the order in which they were made.
    pub fn list(&self) -> Vec<Token> {
        self.known().all.clone()
    }

    /// Makes one, and keeps its hash; `None` if there is one of this name.
    ///
    /// # Errors
    /// If the file cannot be written; then there is no such token.
    pub async fn create(
        &self,
        name: &str,
        role: Role,
        created: SystemTime,
        expires: Option<SystemTime>,
    ) -> anyhow::Result<Option<(Token, Zeroizing<String>)>> {
        let _one = self.writing.lock().await;
        let mut all = self.list();
        if all.iter().any(|t| t.name == name) {
            return Ok(None);
        }
        let id = std::iter::repeat_with(|| random::<5>().map(|id| BASE32_NOPAD.encode(&*id).to_ascii_lowercase()))
            .find(|id| !id.as_ref().is_ok_and(|id| all.iter().any(|t| t.id == *id)))
            .ok_or_else(|| anyhow!("no id is free"))??;
        let token = Zeroizing::new(format!("swgw_{id}_{}", BASE64URL_NOPAD.encode(&*random::<32>()?)));
        let secret = token.clone();
        let hash = {
            let _one = self.hashing.lock().await;
            let make = move || Argon2::default().hash_password(secret.as_bytes()).map(|hash| hash.to_string());
            tokio::task::spawn_blocking(make).await?.map_err(|e| anyhow!("the token cannot be hashed: {e}"))?
        };
        let made = Token { id, name: name.to_owned(), role, hash, created, expires };
        all.push(made.clone());
        self.replace(all).await?;
        Ok(Some((made, token)))
    }

    /// Takes one back; `None` if there is none of this id.
    ///
    /// # Errors
    /// If the file cannot be written; then the token is still good.
    pub async fn delete(&self, id: &str) -> anyhow::Result<Option<Token>> {
        let _one = self.writing.lock().await;
        let (gone, rest): (Vec<Token>, Vec<Token>) = self.list().into_iter().partition(|t| t.id == id);
        if let Some(gone) = gone.into_iter().next() {
            self.replace(rest).await?;
            return Ok(Some(gone));
        }
        Ok(None)
    }

    async fn replace(&self, all: Vec<Token>) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(&all)?;
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || write(&file, &text)).await?;
        written.with_context(|| format!("cannot write {}", self.file.display()))?;
        let mut known = self.known();
        known.seen.retain(|_, id| all.iter().any(|t| t.id == *id));
        known.all = all;
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a file that only its owner reads, whole or not at all.
pub(super) fn write(file: &Path, content: &[u8]) -> std::io::Result<()> {
    let new = file.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut out = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    out.write_all(content)?;
    out.sync_all()?;
    std::fs::rename(&new, file)?;
    file.parent().map_or(Ok(()), |dir| std::fs::File::open(dir)?.sync_all())
}

fn random<const N: usize>() -> anyhow::Result<Zeroizing<[u8; N]>> {
    let mut out = Zeroizing::new([0; N]);
    let filled = aws_lc_rs::rand::fill(&mut *out);
    ensure!(filled.is_ok(), "there are no random numbers");
    Ok(out)
}

pub(super) fn sha256(octets: impl AsRef<[u8]>) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, octets.as_ref()).as_ref());
    out
}

/// Times as RFC 3339 has them, to the second.
pub(super) mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::SystemTime;

    pub fn serialize<S: Serializer>(at: &SystemTime, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&humantime::format_rfc3339_seconds(*at))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<SystemTime, D::Error> {
        humantime::parse_rfc3339(&String::deserialize(d)?).map_err(D::Error::custom)
    }

    pub mod option {
        use super::{Deserialize, Deserializer, Error, Serializer, SystemTime};

        pub fn serialize<S: Serializer>(at: &Option<SystemTime>, s: S) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => super::serialize(at, s),
                None => s.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SystemTime>, D::Error> {
            let text = Option::<String>::deserialize(d)?;
            text.map(|text| humantime::parse_rfc3339(&text)).transpose().map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tests::Scratch;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    async fn made(tokens: &Tokens, name: &str, expires: Option<SystemTime>) -> (Token, Zeroizing<String>) {
        tokens.create(name, Role::Operate, NOW, expires).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_token_is_known_again_and_no_other() {
        let dir = Scratch::new();
        let tokens = Tokens::open(dir.0.join("tokens.json")).unwrap();
        let (entry, token) = made(&tokens, "ci", None).await;
        let parts: Vec<_> = token.splitn(3, '_').collect();
        assert_eq!((parts[0], parts[1], parts[1].len(), parts[2].len()), ("swgw", entry.id.as_str(), 8, 43));
        let is = Some(("ci".to_owned(), Role::Operate));
        assert_eq!(tokens.seen(&token, NOW), None);
        assert_eq!(tokens.verify(&token, NOW).await, is);
        assert_eq!(tokens.seen(&token, NOW), is);
        let (_, other) = made(&tokens, "other", None).await;
        let crossed = format!("swgw_{}_{}", entry.id, other.splitn(3, '_').nth(2).unwrap());
        for wrong in [&token[..token.len() - 1], "", "swgw_", "swgw_x", &format!("{}x", *token), &crossed, "swgw_ _ "] {
            assert_eq!(tokens.verify(wrong, NOW).await, None, "{wrong}");
            assert_eq!(tokens.seen(wrong, NOW), None, "{wrong}");
        }
        assert!(tokens.create("ci", Role::Read, NOW, None).await.unwrap().is_none(), "the name is taken");
    }

    #[tokio::test]
    async fn the_file_has_hashes_and_is_for_its_owner() {
        let dir = Scratch::new();
        let file = dir.0.join("tokens.json");
        let tokens = Tokens::open(file.clone()).unwrap();
        let (entry, token) = made(&tokens, "ci", None).await;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("$argon2id$v=19$") && text.contains(&entry.id), "{text}");
        assert!(!text.contains(token.splitn(3, '_').nth(2).unwrap()));
        // A restart knows it, and one that is taken back is gone from the file.
        let again = Tokens::open(file.clone()).unwrap();
        assert!(again.verify(&token, NOW).await.is_some());
        assert!(again.delete(&entry.id).await.unwrap().is_some());
        assert!(again.delete(&entry.id).await.unwrap().is_none());
        assert!(!std::fs::read_to_string(&file).unwrap().contains(&entry.id));
        std::fs::write(&file, "{").unwrap();
        assert!(Tokens::open(file).is_err());
    }

    #[tokio::test]
    async fn expired_and_revoked_tokens_are_forgotten_at_once() {
        let dir = Scratch::new();
        let tokens = Tokens::open(dir.0.join("tokens.json")).unwrap();
        let end = NOW + Duration::from_secs(60);
        let (_, token) = made(&tokens, "short", Some(end)).await;
        assert!(tokens.verify(&token, end - Duration::from_secs(1)).await.is_some());
        assert!(tokens.seen(&token, end - Duration::from_secs(1)).is_some());
        assert!(tokens.seen(&token, end).is_none() && tokens.verify(&token, end).await.is_none());
        let (entry, token) = made(&tokens, "revoked", None).await;
        assert!(tokens.verify(&token, NOW).await.is_some());
        tokens.delete(&entry.id).await.unwrap();
        assert!(tokens.seen(&token, NOW).is_none() && tokens.verify(&token, NOW).await.is_none());
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_not_done() {
        let dir = Scratch::new();
        let tokens = Tokens::open(dir.0.join("tokens.json")).unwrap();
        let (entry, token) = made(&tokens, "ci", None).await;
        // A directory in the way of the new file.
        std::fs::create_dir_all(dir.0.join("tokens.new/in-the-way")).unwrap();
        assert!(tokens.create("more", Role::Read, NOW, None).await.is_err());
        assert!(tokens.delete(&entry.id).await.is_err());
        assert!(tokens.verify(&token, NOW).await.is_some());
        assert_eq!(tokens.list().len(), 1);
    }
}
