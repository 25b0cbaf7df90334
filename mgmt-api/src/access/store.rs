//! Tokens: `swgw_ID_SECRET`. The file has what takes to know one again, an argon2id hash of each whole token, and nothing
//! that makes one. Since argon2 is slow on purpose, a token that was right once is known by its SHA-256 from then on, in memory.
//!
//! The secret has 256 random bits: nobody finds it by trying, however fast the hash. One is computed at a time, which
//! bounds the memory and the core that strangers can make us spend.

use super::Role;
use crate::file;
use anyhow::{Context, anyhow, ensure};
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Most tokens there are.
const TOKENS: usize = 1000;

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
    /// Told when there are others.
    changed: watch::Sender<()>,
}

/// Whose a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// Of the token.
    pub id: String,
    pub name: String,
    pub role: Role,
}

impl From<&Token> for Holder {
    fn from(token: &Token) -> Self {
        Self { id: token.id.clone(), name: token.name.clone(), role: token.role }
    }
}

/// Why a token is not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotMade {
    #[error("there is a token of this name")]
    Taken,
    #[error("there are {TOKENS} tokens: delete some that are not used")]
    TooMany,
    /// It cannot be kept.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
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
        let (hashing, writing) = (tokio::sync::Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { file, known, hashing, writing, changed: watch::Sender::default() })
    }

    /// Whose a token is that has been right before, and still is.
    pub fn seen(&self, token: &str, now: SystemTime) -> Option<Holder> {
        let known = self.known();
        let id = known.seen.get(&sha256(token))?;
        known.good(id, now).map(Holder::from)
    }

    /// Whether the token of this id is good still.
    pub fn is_good(&self, id: &str, now: SystemTime) -> bool {
        self.known().good(id, now).is_some()
    }

    /// Hears when tokens are made and taken back, from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whose a token is.
    pub async fn verify(&self, token: &str, now: SystemTime) -> Option<Holder> {
        let (id, _) = token.strip_prefix("swgw_")?.split_once('_')?;
        let hash = self.known().good(id, now)?.hash.clone();
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
        let found = known.good(id, now).map(Holder::from)?;
        known.seen.insert(sha256(token), id.to_owned());
        Some(found)
    }

    /// All of them, in the order in which they were made.
    pub fn list(&self) -> Vec<Token> {
        self.known().all.clone()
    }

    /// Makes one, and keeps its hash. Those that have expired by then are forgotten, so that their names are free again.
    ///
    /// # Errors
    /// If the name is taken, there are too many, or the file cannot be written; then there is no such token.
    pub async fn create(
        &self,
        name: &str,
        role: Role,
        created: SystemTime,
        expires: Option<SystemTime>,
    ) -> Result<(Token, Zeroizing<String>), NotMade> {
        let _one = self.writing.lock().await;
        let mut all = self.list();
        all.retain(|t| !t.expired(created));
        if all.iter().any(|t| t.name == name) {
            return Err(NotMade::Taken);
        }
        if all.len() >= TOKENS {
            return Err(NotMade::TooMany);
        }
        let id = std::iter::repeat_with(|| random::<5>().map(|id| BASE32_NOPAD.encode(&*id).to_ascii_lowercase()))
            .find(|id| !id.as_ref().is_ok_and(|id| all.iter().any(|t| t.id == *id)))
            .ok_or_else(|| anyhow!("no id is free"))??;
        let token = Zeroizing::new(format!("swgw_{id}_{}", BASE64URL_NOPAD.encode(&*random::<32>()?)));
        let secret = token.clone();
        let hash = {
            let _one = self.hashing.lock().await;
            let make = move || Argon2::default().hash_password(secret.as_bytes()).map(|hash| hash.to_string());
            let made = tokio::task::spawn_blocking(make).await.context("the token is not hashed")?;
            made.map_err(|e| anyhow!("the token cannot be hashed: {e}"))?
        };
        let made = Token { id, name: name.to_owned(), role, hash, created, expires };
        all.push(made.clone());
        self.replace(all).await?;
        Ok((made, token))
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
        let written = tokio::task::spawn_blocking(move || file::write(&file, &text)).await?;
        written.with_context(|| format!("cannot write {}", self.file.display()))?;
        let mut known = self.known();
        known.seen.retain(|_, id| all.iter().any(|t| t.id == *id));
        known.all = all;
        drop(known);
        self.changed.send_replace(());
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn good(&self, id: &str, now: SystemTime) -> Option<&Token> {
        self.all.iter().find(|t| t.id == id && !t.expired(now))
    }
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
        tokens.create(name, Role::Operate, NOW, expires).await.unwrap()
    }

    #[tokio::test]
    async fn a_token_is_known_again_and_no_other() {
        let dir = Scratch::new();
        let tokens = Tokens::open(dir.0.join("tokens.json")).unwrap();
        let (entry, token) = made(&tokens, "ci", None).await;
        let parts: Vec<_> = token.splitn(3, '_').collect();
        assert_eq!((parts[0], parts[1], parts[1].len(), parts[2].len()), ("swgw", entry.id.as_str(), 8, 43));
        let is = Some(Holder { id: entry.id.clone(), name: "ci".to_owned(), role: Role::Operate });
        assert_eq!(tokens.seen(&token, NOW), None);
        assert_eq!(tokens.verify(&token, NOW).await, is);
        assert_eq!(tokens.seen(&token, NOW), is);
        let (_, other) = made(&tokens, "other", None).await;
        let crossed = format!("swgw_{}_{}", entry.id, other.splitn(3, '_').nth(2).unwrap());
        for wrong in [&token[..token.len() - 1], "", "swgw_", "swgw_x", &format!("{}x", *token), &crossed, "swgw_ _ "] {
            assert_eq!(tokens.verify(wrong, NOW).await, None, "{wrong}");
            assert_eq!(tokens.seen(wrong, NOW), None, "{wrong}");
        }
        let again = tokens.create("ci", Role::Read, NOW, None).await;
        assert!(matches!(again, Err(NotMade::Taken)), "the name is taken");
    }

    /// As many as there may be, the first of which has expired then.
    fn full(expires: SystemTime) -> (Scratch, Tokens) {
        let dir = Scratch::new();
        let file = dir.0.join("tokens.json");
        let all: Vec<Token> = (0..TOKENS)
            .map(|n| Token {
                id: format!("t{n}"),
                name: format!("n{n}"),
                role: Role::Read,
                hash: String::new(),
                created: NOW,
                expires: (n == 0).then_some(expires),
            })
            .collect();
        std::fs::write(&file, serde_json::to_vec(&all).unwrap()).unwrap();
        (dir, Tokens::open(file).unwrap())
    }

    #[tokio::test]
    async fn there_are_a_thousand_at_most_and_those_that_have_expired_do_not_count() {
        let end = NOW + Duration::from_secs(60);
        let (dir, tokens) = full(end);
        assert!(matches!(tokens.create("more", Role::Read, NOW, None).await, Err(NotMade::TooMany)));
        assert!(matches!(tokens.create("n0", Role::Read, NOW, None).await, Err(NotMade::Taken)));
        assert_eq!(Tokens::open(dir.0.join("tokens.json")).unwrap().list()[0].name, "n0", "nobody has gone yet");
        // Two at once for one place, which has the name of who has left it.
        let [one, other] = ["n0", "more"].map(|name| tokens.create(name, Role::Read, end, None));
        let (one, other) = tokio::join!(one, other);
        assert!(one.is_ok() && matches!(other, Err(NotMade::TooMany)), "{:?} {:?}", one.err(), other.err());
        let kept = Tokens::open(dir.0.join("tokens.json")).unwrap().list();
        assert_eq!((kept.len(), kept[0].name.as_str(), kept[999].name.as_str()), (TOKENS, "n1", "n0"));
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
        std::fs::create_dir_all(dir.0.join(".tokens.json.new/in-the-way")).unwrap();
        assert!(tokens.create("more", Role::Read, NOW, None).await.is_err());
        assert!(tokens.delete(&entry.id).await.is_err());
        assert!(tokens.verify(&token, NOW).await.is_some());
        assert_eq!(tokens.list().len(), 1);
    }
}
