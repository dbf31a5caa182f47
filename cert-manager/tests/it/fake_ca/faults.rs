//! What goes wrong.

use axum::response::Response;
use serde_json::json;

use super::serve::{problem, respond};

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The nonce is refused.
    BadNonce,
    /// There is never an answer.
    Hang,
    /// A page for people with this status and `Retry-After` in seconds.
    Html(u16, Option<u64>),
    /// Half a document.
    Malformed,
    /// The answer is lost: the request is followed all the same.
    Lost,
    /// A problem of this kind with a status and `Retry-After` in seconds.
    Problem(u16, &'static str, Option<u64>),
}

impl Fault {
    /// The answer, if the fault is one.
    pub(super) fn answer(self) -> Option<Response> {
        let mut answer = match self {
            Self::Hang | Self::Lost => return None,
            Self::BadNonce => problem(400, "badNonce", "this nonce is not one of ours"),
            Self::Malformed => respond(200, &json!("half a document"), &[]),
            Self::Html(status, _) => respond(status, &json!(null), &[]),
            Self::Problem(status, kind, _) => problem(status, kind, "as the test wants it"),
        };
        match self {
            Self::Malformed => *answer.body_mut() = "{ \"status\": \"pen".into(),
            Self::Html(..) => {
                let headers = answer.headers_mut();
                headers.insert("content-type", "text/html".parse().unwrap());
                *answer.body_mut() = "<html>sorry</html>".into();
            }
            _ => {}
        }
        if let Self::Html(_, Some(seconds)) | Self::Problem(_, _, Some(seconds)) = self {
            let headers = answer.headers_mut();
            headers.insert("retry-after", seconds.to_string().parse().unwrap());
        }
        Some(answer)
    }
}
