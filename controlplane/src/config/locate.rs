//! What a document says, whatever it means: which settings are written, and on which line.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::fmt;

/// A setting.
pub(super) struct Node {
    line: Option<u64>,
    pub tree: Tree,
}

/// What is below it.
pub(super) enum Tree {
    Map(BTreeMap<String, Node>),
    List(Vec<Node>),
    Leaf,
}

impl From<&Value> for Node {
    fn from(value: &Value) -> Self {
        let tree = match value {
            Value::Object(map) => Tree::Map(map.iter().map(|(k, v)| (k.clone(), v.into())).collect()),
            Value::Array(items) => Tree::List(items.iter().map(Self::from).collect()),
            _ => Tree::Leaf,
        };
        Self { line: None, tree }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Tree>::deserialize(d)?;
        Ok(Self { line: Some(spanned.referenced.line()), tree: spanned.value })
    }
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
                let mut out = BTreeMap::new();
                while let Some((key, node)) = m.next_entry()? {
                    out.insert(key, node);
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

/// Line of the deepest part of `path` (`ike.peers[1].psk`) that the document has.
pub(super) fn line(text: &str, path: &str) -> Option<u64> {
    let root: Node = super::yaml("", text).ok()?;
    let mut at = &root;
    let parts = path.split(['.', '[']).filter(|p| !p.is_empty());
    for part in parts {
        let next = match &at.tree {
            Tree::Map(m) => m.get(part),
            Tree::List(l) => part.trim_end_matches(']').parse::<usize>().ok().and_then(|i| l.get(i)),
            Tree::Leaf => None,
        };
        match next {
            Some(n) => at = n,
            None => break,
        }
    }
    at.line
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
