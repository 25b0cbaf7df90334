//! A secret of the configuration: read, used, never shown.

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::Cell;
use std::fmt;
use zeroize::Zeroizing;

/// Key of the object that stands for a secret in what is serialized within [`marked`].
pub(super) const MARK: &str = "\0secret";

thread_local! {
    static MARKED: Cell<bool> = const { Cell::new(false) };
}

/// What `f` serializes has its secrets in the clear, each as an object with the one key [`MARK`].
pub(super) fn marked<T>(f: impl FnOnce() -> T) -> T {
    struct Unmark;
    impl Drop for Unmark {
        fn drop(&mut self) {
            MARKED.set(false);
        }
    }
    let _unmark = Unmark;
    MARKED.set(true);
    f()
}

/// A shared secret or a password. Answers and logs show it as `***`; in what the API is sent, `***` keeps the one that is there.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", title = "secret", extend("format" = "password"))]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The octets of the secret.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        // The library's own message would have the value in it.
        String::deserialize(d).map(Self::new).map_err(|_| D::Error::custom("expected a text"))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if MARKED.get() { s.collect_map([(MARK, self.0.as_str())]) } else { s.serialize_str("***") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shown() {
        let s = Secret::new("wonderland");
        assert_eq!(format!("{s:?}"), "***");
        assert_eq!(s.bytes(), b"wonderland");
        assert_eq!(serde_json::to_string(&s).unwrap(), "\"***\"");
        for wrong in ["4711", "-4711", "47.11", "true", "[4711]", "{\"4711\":4711}"] {
            let e = serde_json::from_str::<Secret>(wrong).unwrap_err().to_string();
            assert!(!e.contains("47") && !e.contains("true"), "{e}");
        }
    }

    #[test]
    fn shown_only_where_that_is_asked_for() {
        let s = Secret::new("wonderland");
        assert_eq!(marked(|| serde_json::to_value(&s).unwrap())[MARK], "wonderland");
        assert!(std::panic::catch_unwind(|| marked::<()>(|| panic!("in between"))).is_err());
        assert_eq!(serde_json::to_value(&s).unwrap(), "***");
    }
}
