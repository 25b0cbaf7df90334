//! The configuration's JSON Schema, made from its types: their comments are the descriptions, their defaults the defaults. The
//! tests make the reference of it (docs/configuration.md), and hold it against what is accepted and refused.

use super::Config;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// JSON Schema (2020-12) of the configuration, as the file and the API's bodies have it.
pub fn schema() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>().to_value()
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
