//! What an operation answers: a status with JSON or nothing, and the API's kind of error.

use serde::Serialize;

/// A status and a body, which is empty or JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// JSON, or nothing.
    pub body: Vec<u8>,
}

impl Answer {
    pub(super) fn empty(status: u16) -> Self {
        Self { status, body: Vec::new() }
    }

    pub(super) fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status, body },
            Err(error) => Self { status: 500, body: error.to_string().into_bytes() },
        }
    }
}

/// A refusal with the API's error object.
#[derive(Debug)]
pub(super) struct Problem {
    status: u16,
    /// `errorCode`, if it differs from the default of the status.
    code: Option<u32>,
    message: &'static str,
    details: Vec<Detail>,
}

#[derive(Debug, Serialize)]
pub(super) struct Detail {
    property: String,
    message: String,
}

impl Detail {
    pub fn new(property: impl Into<String>, message: impl Into<String>) -> Self {
        Self { property: property.into(), message: message.into() }
    }
}

#[derive(Serialize)]
struct ErrorOut<'a> {
    #[serde(rename = "errorCode")]
    code: u32,
    #[serde(rename = "errorMessage")]
    message: &'a str,
    errors: &'a [Detail],
}

impl Problem {
    pub fn new(status: u16, message: &'static str, details: Vec<Detail>) -> Self {
        Self { status, code: None, message, details }
    }

    /// Returns the problem with another `errorCode`.
    pub fn with_code(self, code: u32) -> Self {
        Self { code: Some(code), ..self }
    }

    /// 404: the API has no such object.
    pub fn not_found() -> Self {
        Self::new(404, "Entity not found", Vec::new())
    }

    pub fn invalid(property: &str, message: &str) -> Self {
        Self::new(422, "Validation failed", vec![Detail::new(property, message)])
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        let code = problem.code.unwrap_or(match problem.status {
            404 => 10_001,
            400 => 10_002,
            409 => 10_009,
            _ => 10_022,
        });
        let error = ErrorOut { code, message: problem.message, errors: &problem.details };
        Self::json(problem.status, &error)
    }
}
