//! Answers before they are bytes on a connection, and the API's ways of saying no.

use serde::Serialize;

/// A status and, for most, a JSON body.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// What was wrong with a property of a request: its name and a sentence.
pub(super) type Detail = (&'static str, String);

#[derive(Serialize)]
struct ErrorOut {
    #[serde(rename = "errorCode")]
    code: u32,
    #[serde(rename = "errorMessage")]
    message: String,
    errors: Vec<DetailOut>,
}

#[derive(Serialize)]
struct DetailOut {
    property: &'static str,
    message: String,
}

impl Answer {
    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, body: Vec::new() }
    }

    /// A JSON answer.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status, body },
            Err(error) => Self::error(500, 10000, &format!("The answer cannot be written: {error}"), []),
        }
    }

    /// An error in the API's form.
    pub fn error(status: u16, code: u32, message: &str, details: impl IntoIterator<Item = Detail>) -> Self {
        let errors = details.into_iter().map(|(property, message)| DetailOut { property, message }).collect();
        Self::json(status, &ErrorOut { code, message: message.to_owned(), errors })
    }

    /// 404.
    pub fn not_found() -> Self {
        Self::error(404, 10001, "Entity not found", [])
    }

    /// 400: the body or query cannot be read at all.
    pub fn bad_request(message: &str) -> Self {
        Self::error(400, 10002, message, [])
    }

    /// 409: the state of things forbids it.
    pub fn conflict(message: &str) -> Self {
        Self::error(409, 10009, message, [])
    }

    /// 422: it can be read, but asks for what cannot be.
    pub fn unprocessable(details: impl IntoIterator<Item = Detail>) -> Self {
        Self::error(422, 10022, "Unprocessable content", details)
    }
}
