//! Uploads: a form's file goes to the media folder, and something else serves it from there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use axum::response::Redirect;
use tokio::io::AsyncWriteExt as _;

use super::App;

/// Stores every file of the form under a safe form of its own name, and goes back to the page.
pub(super) async fn upload(
    State(app): State<Arc<App>>,
    mut form: Multipart,
) -> Result<Redirect, (StatusCode, String)> {
    let mut stored = 0;
    while let Some(mut field) = form
        .next_field()
        .await
        .map_err(|error| (error.status(), error.body_text()))?
    {
        let Some(name) = field.file_name().and_then(safe_name) else {
            continue;
        };
        let path = app.media.join(name);
        let mut file = Upload::create(&path).await.map_err(cannot_store)?;
        while let Some(bytes) = field
            .chunk()
            .await
            .map_err(|error| (error.status(), error.body_text()))?
        {
            file.write(&bytes).await.map_err(cannot_store)?;
        }
        file.publish(&path).await.map_err(cannot_store)?;
        stored += 1;
    }
    if stored == 0 {
        let message = "choose a file whose name has a letter or a digit\n".to_owned();
        return Err((StatusCode::BAD_REQUEST, message));
    }
    Ok(Redirect::to("/"))
}

/// The names of all uploads, sorted.
///
/// # Errors
/// When the media folder cannot be read.
pub(super) async fn list(media: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut entries = tokio::fs::read_dir(media).await?;
    while let Some(entry) = entries.next_entry().await? {
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
            && entry.file_type().await?.is_file()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Whether browsers show files of this name as an image.
pub(super) fn is_image(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| {
        matches!(
            extension.to_ascii_lowercase().as_str(),
            "avif" | "gif" | "jpeg" | "jpg" | "png" | "svg" | "webp"
        )
    })
}

/// A file that gets its name once it is whole, so that nobody is served half of it.
struct Upload {
    file: tokio::fs::File,
    path: PathBuf,
}

impl Upload {
    async fn create(target: &Path) -> io::Result<Self> {
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(".part");
        let path = target.with_file_name(name);
        let file = tokio::fs::File::create(&path).await?;
        Ok(Self { file, path })
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    async fn publish(mut self, target: &Path) -> io::Result<()> {
        self.file.flush().await?;
        tokio::fs::rename(&self.path, target).await
    }
}

/// The last segment of a client's file name, reduced to characters that need no quoting.
fn safe_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next()?;
    let safe: String = last
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') {
                c
            } else {
                '_'
            }
        })
        .collect();
    let safe = safe.trim_start_matches('.');
    safe.contains(|c: char| c.is_ascii_alphanumeric())
        .then(|| safe.to_owned())
}

fn cannot_store(error: io::Error) -> (StatusCode, String) {
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        format!("cannot store the upload: {error}\n"),
    )
}

#[cfg(test)]
mod tests {
    use super::safe_name;

    #[test]
    fn file_names_stay_inside_the_folder() {
        assert_eq!(safe_name("a b.png").as_deref(), Some("a_b.png"));
        assert_eq!(safe_name("../../etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(safe_name("C:\\photos\\x.jpg").as_deref(), Some("x.jpg"));
        assert_eq!(safe_name(".htaccess").as_deref(), Some("htaccess"));
        assert_eq!(safe_name(".."), None);
        assert_eq!(safe_name(""), None);
    }
}
