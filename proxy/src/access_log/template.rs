//! Entries as lines of text by a template: the common log format and its like, which fail2ban,
//! goaccess and others read (`caddyserver/transform-encoder`, `caddyserver/format-encoder`).

use std::borrow::Cow;

use super::Node;

/// A line with fields in it.
#[derive(Debug)]
pub(super) struct LineTemplate {
    parts: Box<[Part]>,
    /// What stands for a field that an entry does not have.
    placeholder: String,
    /// Whether texts have JSON's escapes, so that none can end its quotes or its line.
    escapes: bool,
}

#[derive(Debug)]
enum Part {
    /// Fields of which the first that is there is written; each is a path from the outside in.
    Field(Box<[Box<[String]>]>),
    Text(String),
}

/// The common log format of Apache and nginx.
const COMMON: &str = "{request>remote_ip} - {user_id} [{ts}] \
                      \"{request>method} {request>uri} {request>proto}\" {status} {size}";

/// The combined log format: the common one, with referrer and user agent.
const COMBINED: &str = "{request>remote_ip} - {user_id} [{ts}] \
                        \"{request>method} {request>uri} {request>proto}\" {status} {size} \
                        \"{request>headers>Referer>[0]}\" \"{request>headers>User-Agent>[0]}\"";

impl LineTemplate {
    /// Compiles a template; empty is the common log format.
    pub(super) fn compile(template: &str, placeholder: &str, escapes: bool) -> Self {
        let template = if template.is_empty() {
            "{common_log}"
        } else {
            template
        };
        let template = template
            .replace("{common_log}", COMMON)
            .replace("{combined_log}", COMBINED);
        let mut parts = Vec::new();
        let mut rest = template.as_str();
        while let Some((text, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                break;
            };
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
            let paths = name.split(':').map(|path| {
                let path = path.split('>').map(str::to_owned);
                path.collect()
            });
            parts.push(Part::Field(paths.collect()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let placeholder = if placeholder.is_empty() {
            "-"
        } else {
            placeholder
        };
        Self {
            parts: parts.into(),
            placeholder: placeholder.to_owned(),
            escapes,
        }
    }

    /// Writes an entry, whose usual fields are among `fields`.
    pub(super) fn write(&self, line: &mut Vec<u8>, fields: &Node) {
        for part in &self.parts {
            match part {
                Part::Text(text) => line.extend_from_slice(text.as_bytes()),
                Part::Field(paths) => {
                    let found = paths.iter().find_map(|path| find(fields, path));
                    match found.and_then(|node| self.text(node)) {
                        Some(text) => line.extend_from_slice(text.as_bytes()),
                        None => line.extend_from_slice(self.placeholder.as_bytes()),
                    }
                }
            }
        }
    }

    /// A value in words; `None` for what counts as missing.
    fn text<'a>(&self, node: &'a Node) -> Option<Cow<'a, str>> {
        let text: Cow<'a, str> = match node {
            Node::Text(text) => Cow::Borrowed(&**text),
            Node::Raw(serde_json::Value::String(text)) => Cow::Borrowed(text),
            // Every key of an entry is text.
            other => return serde_json::to_string(other).ok().map(Cow::Owned),
        };
        if text.is_empty() {
            return None;
        }
        if !self.escapes
            || text
                .bytes()
                .all(|byte| byte >= b' ' && !b"\"\\".contains(&byte))
        {
            return Some(text);
        }
        let quoted = serde_json::to_string(&*text).ok()?;
        quoted
            .strip_prefix('"')?
            .strip_suffix('"')
            .map(|inner| Cow::Owned(inner.to_owned()))
    }
}

/// The field at `path`; `[0]` is a place in a list.
fn find<'a>(node: &'a Node, path: &[String]) -> Option<&'a Node> {
    path.iter().try_fold(node, |node, name| match node {
        Node::List(values) => {
            let place: usize = name.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
            values.get(place)
        }
        node => {
            let mut fields = node.fields().iter();
            fields
                .find(|(known, _)| *known == *name)
                .map(|(_, value)| value)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Node {
        let request = Node::Object(vec![
            ("remote_ip".into(), Node::text("192.0.2.1")),
            ("method".into(), Node::text("GET")),
            ("uri".into(), Node::text("/a\"b\n")),
            ("proto".into(), Node::text("HTTP/1.1")),
            (
                "headers".into(),
                Node::Object(vec![(
                    "User-Agent".into(),
                    Node::List(vec![Node::text("agent")]),
                )]),
            ),
        ]);
        Node::Object(vec![
            ("ts".into(), Node::text("01/Jan/2026:00:00:00 +0000")),
            ("request".into(), request),
            ("user_id".into(), Node::text("")),
            ("size".into(), Node::Integer(5)),
            ("status".into(), Node::Integer(200)),
        ])
    }

    fn line(template: &str, escapes: bool) -> String {
        let mut line = Vec::new();
        LineTemplate::compile(template, "", escapes).write(&mut line, &entry());
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn common_and_combined_lines_are_those_of_apache() {
        assert_eq!(
            line("", true),
            r#"192.0.2.1 - - [01/Jan/2026:00:00:00 +0000] "GET /a\"b\n HTTP/1.1" 200 5"#
        );
        assert_eq!(
            line("{combined_log}", true),
            r#"192.0.2.1 - - [01/Jan/2026:00:00:00 +0000] "GET /a\"b\n HTTP/1.1" 200 5 "-" "agent""#
        );
    }

    #[test]
    fn templates_have_fields_lists_and_alternatives() {
        assert_eq!(
            line(
                "{request>headers>X>[0]:request>headers>User-Agent>[0]} {none} {",
                true
            ),
            "agent - {"
        );
        assert_eq!(line("{request>uri}", false), "/a\"b\n");
        assert_eq!(line("{request>headers>User-Agent>[1]}", true), "-");
    }
}
