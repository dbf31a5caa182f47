//! Where a path names a script and where it goes on behind it.

use crate::compile::Scope;

/// Extensions of scripts, in lower case (Caddy: `split_path`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SplitPath(Box<[Box<str>]>);

impl SplitPath {
    pub(crate) fn compile(extensions: &[String], scope: &mut Scope) -> Self {
        for extension in extensions {
            if !extension.is_ascii() {
                // Caddy: letters that look like others must not make a script of an upload.
                scope.error(format!(
                    "`{extension}` has other characters than ASCII, which no path is split at"
                ));
            }
        }
        let extensions = extensions.iter().map(|text| text.to_ascii_lowercase());
        Self(extensions.map(String::into_boxed_str).collect())
    }

    /// Whether paths are left as they are.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The path up to and with the first extension, and what follows; `None` without any.
    ///
    /// An extension may stand anywhere, as in Caddy's transport: without the `file` matcher before
    /// it, that is how `/upload.jpg/x.php` gets run by a php-fpm whose `security.limit_extensions`
    /// is off.
    pub(crate) fn anywhere<'a>(&self, path: &'a str) -> Option<(&'a str, &'a str)> {
        self.ends(path).next().map(|end| path.split_at(end))
    }

    /// As [`Self::anywhere`], but the extension has to end a segment, as in Caddy's `file`
    /// matcher.
    pub(crate) fn at_segment<'a>(&self, path: &'a str) -> Option<(&'a str, &'a str)> {
        // Caddy: of each extension, the first place decides.
        let mut firsts = self.0.iter().filter_map(|extension| find(path, extension));
        let end = firsts.find(|end| matches!(path.as_bytes().get(*end), None | Some(b'/')))?;
        Some(path.split_at(end))
    }

    fn ends<'a>(&'a self, path: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.0.iter().filter_map(|extension| find(path, extension))
    }
}

/// Where `extension` ends in `path`. Only ASCII letters have two cases here.
fn find(path: &str, extension: &str) -> Option<usize> {
    let (path, extension) = (path.as_bytes(), extension.as_bytes());
    if extension.is_empty() {
        return None;
    }
    let mut places = path.windows(extension.len());
    let start = places.position(|place| place.eq_ignore_ascii_case(extension))?;
    Some(start + extension.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn php() -> SplitPath {
        SplitPath::compile(&[".PHP".to_owned()], &mut Scope::default())
    }

    #[test]
    fn paths_are_split_behind_the_extension() {
        for (path, split) in [
            ("/index.php", Some(("/index.php", ""))),
            ("/index.php/a/b", Some(("/index.php", "/a/b"))),
            ("/INDEX.Php/a", Some(("/INDEX.Php", "/a"))),
            ("/a.php.php", Some(("/a.php", ".php"))),
            ("/ä.php/ö", Some(("/ä.php", "/ö"))),
            ("/a.ph\u{ff50}", None),
            ("/a", None),
            ("", None),
        ] {
            assert_eq!(php().anywhere(path), split, "{path}");
        }
        assert_eq!(SplitPath::default().anywhere("/a.php"), None);
    }

    #[test]
    fn files_are_split_between_segments() {
        assert_eq!(php().at_segment("/a.php/b"), Some(("/a.php", "/b")));
        assert_eq!(php().at_segment("/a.php"), Some(("/a.php", "")));
        assert_eq!(php().at_segment("/a.phpx/b.php"), None);
    }

    #[test]
    fn extensions_are_ascii() {
        let mut scope = Scope::default();
        SplitPath::compile(&[".phä".to_owned()], &mut scope);
        assert_eq!(scope.into_errors().len(), 1);
    }
}
