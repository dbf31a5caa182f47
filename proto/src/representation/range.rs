//! Byte ranges (RFC 9110 section 14).
//!
//! What is asked of one file with one field is bounded (section 14.2: a server may ignore it): no
//! field costs more to answer than the whole file, in bytes and in pieces.

use std::ops::Range;

/// What a `Range` field asks of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it: no field, a unit that is not known, nothing that could be asked of it, or more
    /// than is sensible.
    Whole,
    /// One part of it, in bytes; never empty.
    Part(Range<u64>),
    /// Two parts or more, in the order in which they were asked for; they neither overlap nor
    /// touch.
    Parts(Vec<Range<u64>>),
    /// Nothing that there is, or nothing that can be understood: 416.
    Unsatisfiable,
}

/// One range as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    From { first: u64, last: Option<u64> },
    Suffix { length: u64 },
}

/// Ranges that one field may ask for. Readers of PDF files ask for some dozens at a time.
const MOST_RANGES: usize = 100;
/// Ranges that may begin inside another one: a client that wants bytes twice has no good reason
/// (RFC 9110 section 14.2).
const MOST_OVERLAPS: usize = 2;
/// What a part of its own costs, about, beside its bytes: ranges that are closer than this are
/// sent as one (RFC 9110 section 15.3.7.2).
const PART_OVERHEAD: u64 = 128;

/// Evaluates the value of a `Range` field for a representation of `size` bytes.
///
/// Ranges that overlap or lie close are made one. The whole is selected instead of more than 100
/// ranges, of more than two that overlap, and of parts that together cost more than the whole. As
/// in Caddy, a malformed `bytes` range is refused, and a range of an empty file is ignored, since
/// some clients send one with every request.
pub fn select(value: &[u8], size: u64) -> Selection {
    let Some(set) = byte_range_set(value) else {
        return Selection::Whole;
    };
    let Some(specs) = parse(set) else {
        return Selection::Unsatisfiable;
    };
    if size == 0 || specs.len() > MOST_RANGES {
        return Selection::Whole;
    }
    let asked: Vec<Range<u64>> = specs.iter().filter_map(|spec| spec.within(size)).collect();
    match coalesce(asked) {
        None => Selection::Whole,
        Some(parts) => match parts.as_slice() {
            [] => Selection::Unsatisfiable,
            // Whoever asks for one range of everything is told so, which is how resuming works.
            [part] if specs.len() == 1 || *part != (0..size) => Selection::Part(part.clone()),
            parts if cost(parts) >= size => Selection::Whole,
            _ => Selection::Parts(parts),
        },
    }
}

/// Joins what overlaps or lies close. Each joined part comes where the first of its ranges was
/// asked for. `None` when too many overlap.
fn coalesce(asked: Vec<Range<u64>>) -> Option<Vec<Range<u64>>> {
    let mut by_start: Vec<(usize, Range<u64>)> = asked.into_iter().enumerate().collect();
    by_start.sort_by_key(|(_, range)| range.start);
    let mut joined: Vec<(usize, Range<u64>)> = Vec::with_capacity(by_start.len());
    let mut overlaps = 0;
    for (place, range) in by_start {
        match joined.last_mut() {
            Some((first, last)) if range.start <= last.end.saturating_add(PART_OVERHEAD) => {
                overlaps += usize::from(range.start < last.end);
                *first = place.min(*first);
                last.end = last.end.max(range.end);
            }
            _ => joined.push((place, range)),
        }
    }
    joined.sort_by_key(|(place, _)| *place);
    (overlaps <= MOST_OVERLAPS).then(|| joined.into_iter().map(|(_, range)| range).collect())
}

fn cost(parts: &[Range<u64>]) -> u64 {
    let cost = |part: &Range<u64>| part.end - part.start + PART_OVERHEAD;
    parts.iter().map(cost).fold(0, u64::saturating_add)
}

impl Spec {
    fn parse(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let dash = text.iter().position(|octet| *octet == b'-')?;
        let (first, last) = (&text[..dash], &text[dash + 1..]);
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Self::Suffix {
                length: number(last)?,
            }),
            (false, true) => Some(Self::From {
                first: number(first)?,
                last: None,
            }),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From {
                    first,
                    last: Some(last),
                })
            }
        }
    }

    /// The part of `size` bytes that it selects, if any.
    fn within(self, size: u64) -> Option<Range<u64>> {
        let part = match self {
            Self::From { first, last } => {
                first..last.map_or(size, |last| last.saturating_add(1).min(size))
            }
            Self::Suffix { length } => size.saturating_sub(length)..size,
        };
        (part.start < part.end).then_some(part)
    }
}

fn byte_range_set(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let equals = value.iter().position(|octet| *octet == b'=')?;
    let unit = value[..equals].trim_ascii();
    unit.eq_ignore_ascii_case(b"bytes")
        .then_some(&value[equals + 1..])
}

fn parse(set: &[u8]) -> Option<Vec<Spec>> {
    let mut specs = Vec::with_capacity(1);
    for text in set.split(|octet| *octet == b',') {
        // Empty list elements are to be ignored (RFC 9110 section 5.6.1.2).
        if !text.trim_ascii().is_empty() {
            specs.push(Spec::parse(text)?);
        }
    }
    (!specs.is_empty()).then_some(specs)
}

/// A decimal number; one too big for the type is as good as the biggest.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        digit.is_ascii_digit().then(|| {
            number
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::{MOST_RANGES, PART_OVERHEAD, Selection, select};

    #[test]
    fn single_ranges_select_a_part() {
        for (value, expected) in [
            ("bytes=0-9", 0..10),
            ("bytes=0-0", 0..1),
            ("bytes=290-", 290..300),
            ("bytes=290-999", 290..300),
            ("bytes=-10", 290..300),
            ("bytes=-999", 0..300),
            ("BYTES = 1-2", 1..3),
            ("bytes=, 1-2 ,", 1..3),
            ("bytes=0-99999999999999999999999999", 0..300),
            ("bytes=0-1,500-", 0..2),
        ] {
            assert_eq!(
                select(value.as_bytes(), 300),
                Selection::Part(expected),
                "{value}"
            );
        }
    }

    #[test]
    fn what_cannot_be_satisfied_is_refused() {
        for value in [
            "bytes=300-",
            "bytes=300-400",
            "bytes=5-2",
            "bytes=-0",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=0-1-2",
            "bytes=0x1-2",
            "bytes=+1-2",
            "bytes=0-1,x",
        ] {
            assert_eq!(
                select(value.as_bytes(), 300),
                Selection::Unsatisfiable,
                "{value}"
            );
        }
    }

    #[test]
    fn other_units_and_empty_files_give_the_whole() {
        for value in ["lines=0-2", "bytes", ""] {
            assert_eq!(select(value.as_bytes(), 300), Selection::Whole, "{value}");
        }
        assert_eq!(select(b"bytes=0-1", 0), Selection::Whole);
        assert_eq!(select(b"bytes=0-1,4-5", 0), Selection::Whole);
    }

    #[test]
    fn several_ranges_keep_their_order_and_join_what_is_close() {
        let parts = |value: &str| select(value.as_bytes(), 10_000);
        let several = |parts: &[Range<u64>]| Selection::Parts(parts.to_vec());
        for (value, expected) in [
            ("bytes=0-9,1000-1009", several(&[0..10, 1000..1010])),
            ("bytes=1000-1009,0-9", several(&[1000..1010, 0..10])),
            ("bytes=5000-,0-9", several(&[5000..10_000, 0..10])),
            ("bytes=0-0,-1", several(&[0..1, 9999..10_000])),
            ("bytes=0-9,1000-1009,20000-", several(&[0..10, 1000..1010])),
            ("bytes=0-9,10-19", Selection::Part(0..20)),
            ("bytes=0-9,100-109", Selection::Part(0..110)),
            ("bytes=100-109,0-9", Selection::Part(0..110)),
            ("bytes=0-9,5-19", Selection::Part(0..20)),
            ("bytes=0-", Selection::Part(0..10_000)),
            ("bytes=0-,0-", Selection::Whole),
            (
                "bytes=5000-5009,300-309,0-9,200-209",
                several(&[5000..5010, 200..310, 0..10]),
            ),
            ("bytes=0-9,20000-", Selection::Part(0..10)),
            ("bytes=20000-,30000-", Selection::Unsatisfiable),
            ("bytes=0-9,x", Selection::Unsatisfiable),
        ] {
            assert_eq!(parts(value), expected, "{value}");
        }
    }

    #[test]
    fn floods_of_ranges_give_the_whole() {
        let list = |count: u64, step: u64, length: u64| {
            let ranges: Vec<String> = (0..count)
                .map(|at| format!("{}-{}", at * step, at * step + length - 1))
                .collect();
            format!("bytes={}", ranges.join(","))
        };
        let size = 1 << 30;
        let select = |value: String| select(value.as_bytes(), size);
        assert!(
            matches!(select(list(100, 1000, 10)), Selection::Parts(parts) if parts.len() == 100)
        );
        assert_eq!(select(list(101, 1000, 10)), Selection::Whole, "too many");
        assert_eq!(
            select(list(1300, 0, 1)),
            Selection::Whole,
            "the same one again and again"
        );
        assert_eq!(
            select(list(4, 1000, 2000)),
            Selection::Whole,
            "too many overlap"
        );
        assert_eq!(select("bytes=0-,0-,0-,0-".to_owned()), Selection::Whole);
        let most = format!("bytes=0-{},{}-", size / 2 - 100, size / 2 + 100);
        assert_eq!(select(most), Selection::Whole, "no cheaper than the whole");
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_nor_outside(value in "bytes=[0-9]{0,21}-[0-9]{0,21}", size: u64) {
            if let Selection::Part(part) = select(value.as_bytes(), size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }

        #[test]
        fn a_part_is_what_was_asked(first in 0_u64..1000, length in 1_u64..1000, size in 1_u64..1500) {
            let value = format!("bytes={first}-{}", first + length - 1);
            let expected = if first < size {
                Selection::Part(first..size.min(first + length))
            } else {
                Selection::Unsatisfiable
            };
            prop_assert_eq!(select(value.as_bytes(), size), expected);
        }

        #[test]
        fn several_parts_hold_all_that_was_asked_and_cost_less_than_the_whole(
            asked in proptest::collection::vec((0_u64..5000, 1_u64..400), 2..12),
            size in 1_u64..20_000,
        ) {
            let ranges: Vec<String> = asked
                .iter()
                .map(|(first, length)| format!("{first}-{}", first + length - 1))
                .collect();
            let value = format!("bytes={}", ranges.join(","));
            if let Selection::Parts(parts) = select(value.as_bytes(), size) {
                prop_assert!((2..=MOST_RANGES).contains(&parts.len()));
                let bytes: u64 = parts.iter().map(|part| part.end - part.start).sum();
                prop_assert!(bytes < size);
                for (first, length) in asked {
                    let end = size.min(first + length);
                    let is_in = |part: &Range<u64>| part.start <= first && end <= part.end;
                    prop_assert!(first >= size || parts.iter().any(is_in));
                }
                let mut sorted = parts;
                sorted.sort_by_key(|part| part.start);
                for pair in sorted.windows(2) {
                    prop_assert!(pair[0].end + PART_OVERHEAD < pair[1].start);
                }
            }
        }

        #[test]
        fn anything_is_evaluated(value: Vec<u8>, size: u64) {
            select(&value, size);
        }
    }
}
