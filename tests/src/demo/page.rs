//! The page for people, and the answer to unknown paths.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{Html, IntoResponse};

use super::{App, photos};

const PAGE: &str = include_str!("../../assets/demo/index.html");

/// The page, with the uploads so far and what the edge told about the request.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Html<String>, (StatusCode, String)> {
    let uploads = photos::list(&app.media).await.map_err(|error| {
        let message = format!("cannot read {}: {error}\n", app.media.display());
        (StatusCode::INTERNAL_SERVER_ERROR, message)
    })?;
    let page = PAGE
        .replace("{style}", &app.assets.style)
        .replace("{script}", &app.assets.script)
        .replace("{logo}", &app.assets.logo)
        .replace("{uploads}", &gallery(&uploads))
        .replace("{facts}", &facts(&headers));
    Ok(Html(page))
}

/// 404 with the path that was asked for, as the app saw it.
pub(super) async fn not_found(uri: Uri) -> impl IntoResponse {
    (StatusCode::NOT_FOUND, format!("no page at {uri}\n"))
}

fn gallery(uploads: &[String]) -> String {
    if uploads.is_empty() {
        return "<p class=\"empty\">Nothing uploaded yet.</p>".to_owned();
    }
    let mut html = String::from("<ul class=\"gallery\">");
    for name in uploads {
        let (name, image) = (escape(name), photos::is_image(name));
        let shown = if image {
            format!("<img src=\"/media/{name}\" alt=\"{name}\">")
        } else {
            format!("<span>{name}</span>")
        };
        write!(html, "<li><a href=\"/media/{name}\">{shown}</a></li>")
            .expect("writing to a string cannot fail");
    }
    html.push_str("</ul>");
    html
}

fn facts(headers: &HeaderMap) -> String {
    let mut html = String::new();
    for name in [
        "host",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "user-agent",
    ] {
        let value = headers.get(name).map_or_else(
            || "(not sent)".into(),
            |value| String::from_utf8_lossy(value.as_bytes()),
        );
        write!(html, "<dt>{name}</dt><dd>{}</dd>", escape(&value))
            .expect("writing to a string cannot fail");
    }
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
