//! Crate `ppp`.
