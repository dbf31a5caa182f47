//! Reading expressions: recursive descent in CEL's order of precedence.

use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::{Map, Value as Json, json};

use super::super::MatcherSets;
use super::{Comparison, Function, Node, Operator, Value};
use crate::compile::Scope;
use crate::matcher::regexp;
use crate::placeholder::Key;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Number(Value<'static>),
    Placeholder(String),
    Sign(&'static str),
    Text(String),
}

struct Parser<'a> {
    tokens: Peekable<IntoIter<Token>>,
    /// Name of the matcher, which regular expressions without one have.
    name: &'a str,
    scope: &'a mut Scope,
    depth: u8,
}

type Result<T> = std::result::Result<T, String>;

/// Signs, longer ones first.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", "{", "}", ",", ".", ":",
    "?", "+", "-", "*", "/", "%",
];

/// Parentheses within parentheses, at most.
const DEPTH: u8 = 64;

pub(super) fn parse(text: &str, name: &str, scope: &mut Scope) -> Result<Node> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: tokens.into_iter().peekable(),
        name,
        scope,
        depth: 0,
    };
    let node = parser.expression()?;
    match parser.tokens.next() {
        None => Ok(node),
        Some(token) => Err(unexpected(Some(token))),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length;
        if let Some(name) = placeholder(rest) {
            length = name.len() + 2;
            tokens.push(Token::Placeholder(name.to_owned()));
        } else if matches!(first, '"' | '\'' | '`') {
            let text;
            (text, length) = quoted(rest, first)?;
            tokens.push(Token::Text(text));
        } else if first.is_ascii_digit() {
            length = span(rest, |letter| letter.is_ascii_digit() || letter == '.');
            tokens.push(Token::Number(number(&rest[..length])?));
        } else if first.is_ascii_alphabetic() || first == '_' {
            length = span(rest, |letter| {
                letter.is_ascii_alphanumeric() || letter == '_'
            });
            tokens.push(Token::Name(rest[..length].to_owned()));
        } else {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
            let sign = sign.ok_or_else(|| format!("`{first}` means nothing in it"))?;
            length = sign.len();
            tokens.push(Token::Sign(sign));
        }
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// A number as CEL reads it: with a dot it has a fraction.
fn number(text: &str) -> Result<Value<'static>> {
    let number = if text.contains('.') {
        text.parse().ok().map(Value::Double)
    } else {
        text.parse().ok().map(Value::Int)
    };
    number.ok_or_else(|| format!("`{text}` is no number"))
}

fn span(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|letter| !is_part(letter)).unwrap_or(text.len())
}

/// The name of the placeholder that the text begins with.
fn placeholder(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
    is_name.then_some(name)
}

/// The quoted text at the begin, and how long it is with its quotes.
fn quoted(text: &str, quote: char) -> Result<(String, usize)> {
    let mut value = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            letter if letter == quote => return Ok((value, at + 1)),
            '\\' if quote != '`' => match letters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, escaped @ ('\\' | '"' | '\'' | '`' | '?'))) => value.push(escaped),
                _ => return Err("an escape in a text is not known".to_owned()),
            },
            letter => value.push(letter),
        }
    }
    Err("a text has no end".to_owned())
}

fn unexpected(token: Option<Token>) -> String {
    match token {
        None => "it ends too early".to_owned(),
        Some(Token::Name(name)) => format!("`{name}` is not known or not expected"),
        Some(Token::Number(number)) => match number.into_text() {
            Some(text) => format!("`{text}` is not expected"),
            None => "a list is not expected".to_owned(),
        },
        Some(Token::Placeholder(name)) => format!("`{{{name}}}` is not expected"),
        Some(Token::Sign(sign)) => format!("`{sign}` is not expected"),
        Some(Token::Text(text)) => format!("`{text}` is not expected"),
    }
}

/// Functions that are called with a value and not on it.
fn conversion(name: &str) -> Option<Function> {
    Some(match name {
        "double" => Function::Double,
        "int" => Function::Int,
        "size" => Function::Size,
        "string" => Function::String,
        _ => return None,
    })
}

impl Parser<'_> {
    fn takes(&mut self, sign: &'static str) -> bool {
        self.tokens
            .next_if(|token| *token == Token::Sign(sign))
            .is_some()
    }

    fn expect(&mut self, sign: &'static str) -> Result<()> {
        if self.takes(sign) {
            Ok(())
        } else {
            Err(unexpected(self.tokens.next()))
        }
    }

    /// A whole expression, which may be a choice between two.
    fn expression(&mut self) -> Result<Node> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("it is nested too deeply".to_owned());
        }
        let mut node = self.or()?;
        if self.takes("?") {
            let consequence = self.or()?;
            self.expect(":")?;
            let alternative = self.expression()?;
            node = Node::Conditional(Box::new([node, consequence, alternative]));
        }
        self.depth -= 1;
        Ok(node)
    }

    fn or(&mut self) -> Result<Node> {
        let mut node = self.and()?;
        while self.takes("||") {
            node = Node::Or(Box::new(node), Box::new(self.and()?));
        }
        Ok(node)
    }

    fn and(&mut self) -> Result<Node> {
        let mut node = self.relation()?;
        while self.takes("&&") {
            node = Node::And(Box::new(node), Box::new(self.relation()?));
        }
        Ok(node)
    }

    fn relation(&mut self) -> Result<Node> {
        let left = self.sum()?;
        if self
            .tokens
            .next_if(|token| *token == Token::Name("in".to_owned()))
            .is_some()
        {
            return Ok(Node::In(Box::new(left), Box::new(self.sum()?)));
        }
        for (sign, comparison) in [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ] {
            if self.takes(sign) {
                let right = self.sum()?;
                return Ok(Node::Compare(comparison, Box::new(left), Box::new(right)));
            }
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Node> {
        let operators = [("+", Operator::Add), ("-", Operator::Subtract)];
        self.operations(&operators, Self::product)
    }

    fn product(&mut self) -> Result<Node> {
        let operators = [
            ("*", Operator::Multiply),
            ("/", Operator::Divide),
            ("%", Operator::Remainder),
        ];
        self.operations(&operators, Self::unary)
    }

    /// Operands with operators of one rank between them, from left to right.
    fn operations(
        &mut self,
        operators: &[(&'static str, Operator)],
        operand: fn(&mut Self) -> Result<Node>,
    ) -> Result<Node> {
        let mut node = operand(self)?;
        while let Some((_, operator)) = operators.iter().find(|(sign, _)| self.takes(sign)) {
            node = Node::Calculate(*operator, Box::new(node), Box::new(operand(self)?));
        }
        Ok(node)
    }

    fn unary(&mut self) -> Result<Node> {
        for (sign, wrap) in [
            ("!", Node::Not as fn(Box<Node>) -> Node),
            ("-", Node::Negative),
        ] {
            if self.takes(sign) {
                self.depth += 1;
                if self.depth > DEPTH {
                    return Err("it is nested too deeply".to_owned());
                }
                let inner = self.unary()?;
                self.depth -= 1;
                return Ok(wrap(Box::new(inner)));
            }
        }
        let mut node = self.primary()?;
        while self.takes(".") {
            node = self.method(node)?;
        }
        Ok(node)
    }

    fn primary(&mut self) -> Result<Node> {
        match self.tokens.next() {
            Some(Token::Number(number)) => Ok(Node::Literal(number)),
            Some(Token::Text(text)) => Ok(Node::Literal(Value::Text(text.into()))),
            Some(Token::Placeholder(name)) => match Key::parse(&name) {
                Some(key) => Ok(Node::Placeholder(key)),
                None if self.scope.mapped.contains(&name) => {
                    Ok(Node::Placeholder(Key::Replacement(name.into())))
                }
                None => Err(format!("the placeholder `{{{name}}}` is not known")),
            },
            Some(Token::Sign("(")) => {
                let node = self.expression()?;
                self.expect(")")?;
                Ok(node)
            }
            Some(Token::Sign("[")) => Ok(Node::List(self.list("]")?)),
            Some(Token::Name(name)) if name == "true" || name == "false" => {
                Ok(Node::Literal(Value::Bool(name == "true")))
            }
            Some(Token::Name(name)) if self.takes("(") => match conversion(&name) {
                Some(function) => {
                    let argument = self.expression()?;
                    self.expect(")")?;
                    Ok(Node::Call(function, Box::new(argument)))
                }
                None => self.matcher(&name),
            },
            token => Err(unexpected(token)),
        }
    }

    /// Values up to a sign.
    fn list(&mut self, end: &'static str) -> Result<Vec<Node>> {
        let mut list = Vec::new();
        while !self.takes(end) {
            if !list.is_empty() {
                self.expect(",")?;
            }
            list.push(self.expression()?);
        }
        Ok(list)
    }

    fn method(&mut self, target: Node) -> Result<Node> {
        let Some(Token::Name(name)) = self.tokens.next() else {
            return Err("a `.` has no function behind it".to_owned());
        };
        self.expect("(")?;
        let mut arguments = self.list(")")?;
        let argument = arguments.pop();
        if !arguments.is_empty() {
            return Err(format!("`{name}` takes one value"));
        }
        let function = match (name.as_str(), argument) {
            ("contains", Some(part)) => Function::Contains(Box::new(part)),
            ("endsWith", Some(part)) => Function::EndsWith(Box::new(part)),
            ("startsWith", Some(part)) => Function::StartsWith(Box::new(part)),
            ("matches", Some(Node::Literal(Value::Text(pattern)))) => Function::Matches(
                regexp::regex(&pattern, self.scope).ok_or("its regular expression is none")?,
            ),
            ("matches", Some(_)) => return Err("`matches` takes a text as it is".to_owned()),
            ("lowerAscii", None) => Function::LowerAscii,
            ("upperAscii", None) => Function::UpperAscii,
            ("size", None) => Function::Size,
            _ => return Err(format!("the function `{name}` is not known")),
        };
        Ok(Node::Call(function, Box::new(target)))
    }

    /// One of Caddy's matchers, with its arguments.
    fn matcher(&mut self, name: &str) -> Result<Node> {
        let set = match name {
            "host" | "method" | "path" => json!({name: self.texts()?}),
            "client_ip" | "remote_ip" => json!({name: {"ranges": self.texts()?}}),
            "protocol" => {
                let [protocol] = self.exactly()?;
                json!({name: protocol.to_lowercase()})
            }
            "header" | "query" | "vars" => json!({name: self.map()?}),
            "path_regexp" => {
                let (name, [pattern]) = self.named()?;
                json!({"path_regexp": {"name": name, "pattern": pattern}})
            }
            "header_regexp" | "vars_regexp" => {
                let (regexp, [field, pattern]) = self.named()?;
                json!({name: {field: {"name": regexp, "pattern": pattern}}})
            }
            _ => return Err(format!("the function `{name}` is not known")),
        };
        let set = serde_json::from_value(set).map_err(|error| error.to_string())?;
        Ok(Node::Matcher(MatcherSets::compile(&[set], self.scope)))
    }

    /// Texts up to the closing parenthesis.
    fn texts(&mut self) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        while !self.takes(")") {
            if !texts.is_empty() {
                self.expect(",")?;
            }
            match self.tokens.next() {
                Some(Token::Text(text)) => texts.push(text),
                token => return Err(unexpected(token)),
            }
        }
        Ok(texts)
    }

    fn exactly<const N: usize>(&mut self) -> Result<[String; N]> {
        self.texts()?
            .try_into()
            .map_err(|_| format!("a function takes {N} texts"))
    }

    /// Texts with a name in front, which may be missing.
    fn named<const N: usize>(&mut self) -> Result<(String, [String; N])> {
        let mut texts = self.texts()?;
        let name = if texts.len() > N {
            texts.remove(0)
        } else {
            String::new()
        };
        let name = if name.is_empty() {
            self.name.to_owned()
        } else {
            name
        };
        let texts = texts
            .try_into()
            .map_err(|_| format!("a function takes {N} texts"))?;
        Ok((name, texts))
    }

    /// A map of texts to texts or lists of texts, up to the closing parenthesis.
    fn map(&mut self) -> Result<Json> {
        let mut map = Map::new();
        self.expect("{")?;
        while !self.takes("}") {
            if !map.is_empty() {
                self.expect(",")?;
            }
            let Some(Token::Text(key)) = self.tokens.next() else {
                return Err("a map has a key that is no text".to_owned());
            };
            self.expect(":")?;
            let values = if self.takes("[") {
                self.list("]")?
            } else {
                vec![self.primary()?]
            };
            let values = values.into_iter().map(|value| match value {
                Node::Literal(Value::Text(text)) => Ok(Json::String(text.into_owned())),
                _ => Err("a map has a value that is no text".to_owned()),
            });
            map.insert(key, Json::Array(values.collect::<Result<_>>()?));
        }
        self.expect(")")?;
        Ok(Json::Object(map))
    }
}
