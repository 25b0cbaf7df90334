//! Manual pages, made from the command line's own description.

use crate::cli::Cli;
use crate::error::Error;
use clap::CommandFactory;
use std::io::Write;
use std::path::Path;

/// Writes a page for each command into a directory, or swctl(1) to standard output.
pub fn man(directory: Option<&Path>) -> Result<(), Error> {
    let command = Cli::command();
    match directory {
        Some(directory) => clap_mangen::generate_to(command, directory).map_err(|e| Error::file(directory, e)),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            write(&page)
        }
    }
}

/// To standard output, as it is.
pub fn write(octets: &[u8]) -> Result<(), Error> {
    Ok(std::io::stdout().lock().write_all(octets)?)
}
