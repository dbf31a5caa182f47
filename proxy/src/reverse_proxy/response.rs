//! The head of the upstream's response as the client gets it.

use http::header::{CONTENT_LENGTH, VIA};
use http::{Response, Version};
use upstream::UpstreamBody;

use super::hop_by_hop::{self, Framing, UnsupportedCoding};
use super::request::via;
use crate::body::ResponseBody;

/// Takes the fields out that are not forwarded.
pub(super) fn prepare(
    response: Response<UpstreamBody>,
) -> Result<Response<ResponseBody>, UnsupportedCoding> {
    let mut response = response.map(ResponseBody::from);
    let headers = response.headers_mut();
    match hop_by_hop::remove(headers).framing {
        Framing::Plain => {}
        // RFC 9112 section 6.3: chunks go before a length, which must not be forwarded.
        Framing::Chunked => {
            headers.remove(CONTENT_LENGTH);
        }
        Framing::Unsupported => return Err(UnsupportedCoding),
    }
    Ok(response)
}

/// Reads up to `limit` bytes of the body before it is passed on; all of it if that is negative.
pub(super) async fn buffered(
    mut response: Response<ResponseBody>,
    limit: i64,
) -> Response<ResponseBody> {
    response.body_mut().buffer(u64::try_from(limit).ok()).await;
    response
}

/// Signs the response, and frees it from the version that it came in.
pub(super) fn finish(response: &mut Response<ResponseBody>) {
    let received = std::mem::replace(response.version_mut(), Version::HTTP_11);
    response.headers_mut().append(VIA, via(received));
}
