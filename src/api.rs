//! The FlexVM API's client: authentication, paging, limits, retries. It can only read.

pub mod error;

pub use error::{Error, Reason};
