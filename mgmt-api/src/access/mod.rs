//! Who may use the API, and for what.

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Who.
    pub name: String,
}
