//! Values of expressions, and what can be done with them.

use std::borrow::Cow;
use std::cmp::Ordering;

/// What a part of an expression is.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Bool(bool),
    Double(f64),
    Int(i64),
    List(Vec<Self>),
    Text(Cow<'a, str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    NotEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Divide,
    Multiply,
    Remainder,
    Subtract,
}

impl<'a> Value<'a> {
    /// The whole part of a number, or what a text says; `None` where that is no number.
    pub(super) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            // Beyond these, doubles hold no whole numbers.
            Self::Double(number) if number.abs() < 9e15 => Some(number.trunc() as i64),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A number as one with a fraction.
    pub(super) fn as_double(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A value in words.
    pub(super) fn into_text(self) -> Option<Cow<'a, str>> {
        Some(match self {
            Self::Bool(truth) => truth.to_string().into(),
            Self::Double(number) => number.to_string().into(),
            Self::Int(number) => number.to_string().into(),
            Self::Text(text) => text,
            Self::List(_) => return None,
        })
    }

    /// The number with the other sign.
    pub(super) fn negated(self) -> Option<Self> {
        match self {
            Self::Int(number) => number.checked_neg().map(Self::Int),
            Self::Double(number) => Some(Self::Double(-number)),
            _ => None,
        }
    }

    fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(right)),
            (Self::Int(_) | Self::Double(_), Self::Int(_) | Self::Double(_)) => {
                self.as_double()?.partial_cmp(&other.as_double()?)
            }
            (Self::Text(left), Self::Text(right)) => Some(left.cmp(right)),
            (Self::Bool(left), Self::Bool(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(left), Self::List(right)) => left == right,
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }
}

impl Comparison {
    /// Whether it holds; `None` for values that have no order.
    pub(super) fn holds(self, left: &Value<'_>, right: &Value<'_>) -> Option<bool> {
        Some(match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Greater => left.order(right)?.is_gt(),
            Self::GreaterOrEqual => left.order(right)?.is_ge(),
            Self::Less => left.order(right)?.is_lt(),
            Self::LessOrEqual => left.order(right)?.is_le(),
        })
    }
}

impl Operator {
    /// The result; `None` for values that it is not for, on overflow, and for a division by zero.
    pub(super) fn apply<'a>(self, left: Value<'a>, right: Value<'a>) -> Option<Value<'a>> {
        match (left, right) {
            (Value::Int(left), Value::Int(right)) => match self {
                Self::Add => left.checked_add(right),
                Self::Divide => left.checked_div(right),
                Self::Multiply => left.checked_mul(right),
                Self::Remainder => left.checked_rem(right),
                Self::Subtract => left.checked_sub(right),
            }
            .map(Value::Int),
            (Value::Double(left), Value::Double(right)) => match self {
                Self::Add => Some(left + right),
                Self::Divide => Some(left / right),
                Self::Multiply => Some(left * right),
                Self::Remainder => None,
                Self::Subtract => Some(left - right),
            }
            .map(Value::Double),
            (Value::Text(left), Value::Text(right)) if self == Self::Add => {
                Some(Value::Text(left + right))
            }
            (Value::List(mut left), Value::List(right)) if self == Self::Add => {
                left.extend(right);
                Some(Value::List(left))
            }
            // CEL: numbers of two kinds are not converted by themselves.
            _ => None,
        }
    }
}
