//! From the path of a setting (`ike.peers[1].psk`) to its line in the file, for messages about
//! settings that are well-formed YAML but wrong.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

enum Tree {
    Map(Vec<(String, Spanned<Tree>)>),
    List(Vec<Spanned<Tree>>),
    Leaf,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Tree;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any YAML")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut m: A) -> Result<Tree, A::Error> {
                let mut out = Vec::new();
                while let Some(entry) = m.next_entry()? {
                    out.push(entry);
                }
                Ok(Tree::Map(out))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut s: A) -> Result<Tree, A::Error> {
                let mut out = Vec::new();
                while let Some(item) = s.next_element()? {
                    out.push(item);
                }
                Ok(Tree::List(out))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
        }
        d.deserialize_any(V)
    }
}

/// Line of the deepest part of `path` that the document has.
pub(super) fn line(text: &str, path: &str) -> Option<u64> {
    let root: Spanned<Tree> = serde_saphyr::from_str(text).ok()?;
    let mut at = &root;
    let parts = path.split(['.', '[']).filter(|p| !p.is_empty());
    for part in parts {
        let next = match &at.value {
            Tree::Map(m) => m.iter().find(|(k, _)| k == part).map(|(_, v)| v),
            Tree::List(l) => part.trim_end_matches(']').parse::<usize>().ok().and_then(|i| l.get(i)),
            Tree::Leaf => None,
        };
        match next {
            Some(n) => at = n,
            None => break,
        }
    }
    Some(at.referenced.line() as u64)
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn finds_lines() {
        let y = "a: 1\nb:\n  - x: 1\n  - x: 2\n    y: three\n";
        assert_eq!(line(y, "a"), Some(1));
        assert_eq!(line(y, "b[1].y"), Some(5));
        assert_eq!(line(y, "b[1].missing"), Some(4));
    }
}
