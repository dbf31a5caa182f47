//! The `expression` matcher: the part of CEL that Caddyfiles use.
//!
//! Placeholders, numbers, texts, lists, comparisons, arithmetic, `in`, `&&`, `||`, `!`, `? :`, the
//! conversions (`int` and the like), the text functions (`startsWith` and the like) and Caddy's
//! matchers as functions (`path('/a*')`). Anything else is an error when the document is compiled.
//! What cannot be evaluated at a request is an error that the request ends with.

mod parse;
mod value;

use caddyfile::document;
use http::StatusCode;
use regex::Regex;

use self::value::{Comparison, Operator, Value};
use super::MatcherSets;
use crate::compile::Scope;
use crate::error::{Error, Side};
use crate::exchange::Exchange;
use crate::placeholder::Key;
use crate::placeholder::key::ErrorKey;

/// An expression that is true for the requests that match.
#[derive(Debug)]
pub(super) struct ExpressionMatcher {
    root: Node,
    /// As it was written.
    text: Box<str>,
}

/// A part of an expression.
#[derive(Debug)]
enum Node {
    And(Box<Self>, Box<Self>),
    Calculate(Operator, Box<Self>, Box<Self>),
    Call(Function, Box<Self>),
    Compare(Comparison, Box<Self>, Box<Self>),
    /// The second part if the first is true, else the third.
    Conditional(Box<[Self; 3]>),
    In(Box<Self>, Box<Self>),
    List(Vec<Self>),
    Literal(Value<'static>),
    Matcher(MatcherSets),
    Negative(Box<Self>),
    Not(Box<Self>),
    Or(Box<Self>, Box<Self>),
    Placeholder(Key),
}

/// A function of a value; what it takes beside it are parts themselves.
#[derive(Debug)]
enum Function {
    Contains(Box<Node>),
    Double,
    EndsWith(Box<Node>),
    Int,
    LowerAscii,
    Matches(Regex),
    Size,
    StartsWith(Box<Node>),
    String,
    UpperAscii,
}

impl ExpressionMatcher {
    pub(super) fn compile(document: &document::Expression, scope: &mut Scope) -> Option<Self> {
        match parse::parse(&document.expr, &document.name, scope) {
            Ok(root) => Some(Self {
                root,
                text: document.expr.as_str().into(),
            }),
            Err(problem) => {
                scope.error_with_hint(
                    format!(
                        "the expression `{}` is not supported: {problem}",
                        document.expr
                    ),
                    "write it with the other matchers: `path`, `header`, `not`, ...",
                );
                None
            }
        }
    }

    /// # Errors
    /// When it cannot be evaluated, as `int({query.n})` without a number.
    pub(super) fn matches(&self, exchange: &mut Exchange) -> Result<bool, Error> {
        match self.root.value(exchange) {
            Some(value) => Ok(matches!(value, Value::Bool(true))),
            None => Err(Error::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                Side::Internal,
                format!("the expression `{}` cannot be evaluated", self.text),
            )),
        }
    }
}

impl Node {
    /// The truth of a part; `None` where it has none.
    fn is_true(&self, exchange: &mut Exchange) -> Option<bool> {
        match self.value(exchange)? {
            Value::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    fn value<'a>(&'a self, exchange: &mut Exchange) -> Option<Value<'a>> {
        Some(match self {
            // CEL: one side alone may decide, even if the other cannot be evaluated.
            Self::And(left, right) => Value::Bool(match left.is_true(exchange) {
                Some(false) => false,
                Some(true) => right.is_true(exchange)?,
                None if right.is_true(exchange) == Some(false) => false,
                None => return None,
            }),
            Self::Or(left, right) => Value::Bool(match left.is_true(exchange) {
                Some(true) => true,
                Some(false) => right.is_true(exchange)?,
                None if right.is_true(exchange) == Some(true) => true,
                None => return None,
            }),
            Self::Not(inner) => Value::Bool(!inner.is_true(exchange)?),
            Self::Matcher(matcher) => Value::Bool(matcher.matches(exchange).ok()?),
            Self::Literal(value) => value.clone(),
            Self::Placeholder(key) => placeholder(key, exchange),
            Self::Calculate(operator, left, right) => {
                operator.apply(left.value(exchange)?, right.value(exchange)?)?
            }
            Self::Compare(comparison, left, right) => {
                let (left, right) = (left.value(exchange)?, right.value(exchange)?);
                Value::Bool(comparison.holds(&left, &right)?)
            }
            Self::Conditional(parts) => {
                let [condition, consequence, alternative] = &**parts;
                if condition.is_true(exchange)? {
                    consequence.value(exchange)?
                } else {
                    alternative.value(exchange)?
                }
            }
            Self::In(member, list) => {
                let member = member.value(exchange)?;
                let Value::List(list) = list.value(exchange)? else {
                    return None;
                };
                Value::Bool(list.contains(&member))
            }
            Self::List(parts) => {
                let parts = parts.iter().map(|part| part.value(exchange));
                Value::List(parts.collect::<Option<_>>()?)
            }
            Self::Negative(inner) => inner.value(exchange)?.negated()?,
            Self::Call(function, target) => {
                let target = target.value(exchange)?;
                function.apply(target, exchange)?
            }
        })
    }
}

impl Function {
    fn apply<'a>(&self, target: Value<'a>, exchange: &mut Exchange) -> Option<Value<'a>> {
        match self {
            Self::Double => return target.as_double().map(Value::Double),
            Self::Int => return target.as_int().map(Value::Int),
            Self::String => return target.into_text().map(Value::Text),
            _ => {}
        }
        let text = match target {
            Value::Text(text) => text,
            Value::List(list) if matches!(self, Self::Size) => {
                return i64::try_from(list.len()).ok().map(Value::Int);
            }
            _ => return None,
        };
        let mut holds = |part: &Node, test: fn(&str, &str) -> bool| match part.value(exchange)? {
            Value::Text(part) => Some(Value::Bool(test(&text, &part))),
            _ => None,
        };
        Some(match self {
            Self::Contains(part) => holds(part, |text, part| text.contains(part))?,
            Self::EndsWith(part) => holds(part, |text, part| text.ends_with(part))?,
            Self::StartsWith(part) => holds(part, |text, part| text.starts_with(part))?,
            Self::LowerAscii => Value::Text(text.to_ascii_lowercase().into()),
            Self::UpperAscii => Value::Text(text.to_ascii_uppercase().into()),
            Self::Matches(regex) => Value::Bool(regex.is_match(&text)),
            Self::Size => Value::Int(i64::try_from(text.chars().count()).ok()?),
            Self::Double | Self::Int | Self::String => return None,
        })
    }
}

/// A placeholder's value, a number where Caddy has one.
fn placeholder(key: &Key, exchange: &Exchange) -> Value<'static> {
    let text = key.resolve(exchange, None).unwrap_or_default();
    let is_number = match key {
        Key::Error(ErrorKey::StatusCode) | Key::LocalPort | Key::Port | Key::RemotePort => true,
        Key::DurationMs => true,
        Key::ReverseProxy(name) => &**name == "status_code",
        Key::Replacement(name) => &**name == "http.intercept.status_code",
        _ => false,
    };
    if is_number {
        if let Ok(number) = text.parse() {
            return Value::Int(number);
        }
        if let Ok(number) = text.parse() {
            return Value::Double(number);
        }
    }
    Value::Text(text.into_owned().into())
}

#[cfg(test)]
mod tests;
