//! Which page of a list is asked for.

use controlplane::northbound::{Cursor, Select};
use serde::Deserialize;
use utoipa::IntoParams;

/// Rows of a page, where the request does not say.
const PAGE: u32 = 100;
/// Most rows of a page.
const MAX_PAGE: u32 = 1000;

/// The page alone, of a list without filters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// `next` of the page before.
    #[param(value_type = Cursor, inline, required = false)]
    after: Option<Cursor>,
    /// Most items: 100 where absent, 1000 where more.
    #[param(value_type = u32, maximum = 4294967295_u32, required = false)]
    limit: Option<u32>,
}

impl PageParams {
    pub(crate) fn select(self) -> Select<()> {
        select(self.after, self.limit, ())
    }
}

/// What a list with a filter is asked for.
pub(crate) fn select<F>(after: Option<Cursor>, limit: Option<u32>, filter: F) -> Select<F> {
    Select { filter, after, limit: rows(limit) }
}

/// Rows of the page that is meant.
pub(crate) fn rows(limit: Option<u32>) -> usize {
    limit.unwrap_or(PAGE).clamp(1, MAX_PAGE) as usize
}
