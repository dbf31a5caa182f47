use upstream::{Target, TargetSettings};

use super::*;
use crate::reverse_proxy::address;
use crate::reverse_proxy::state::UpstreamState;
use crate::reverse_proxy::upstreams::Endpoint;

fn upstreams(dials: &[&str]) -> Vec<Upstream> {
    let upstream = |dial: &&str| {
        let settings = TargetSettings::new(address::parse(dial).unwrap());
        let target = Target::new(settings).unwrap();
        let state = UpstreamState::of(dial);
        Upstream::fixed(dial, Endpoint { target, state }, None, None)
    };
    dials.iter().map(upstream).collect()
}

#[test]
fn each_has_its_turn_and_the_next_stands_in() {
    let upstreams = upstreams(&["turn-a:1", "turn-b:1", "turn-c:1"]);
    let all = Candidates {
        upstreams: &upstreams,
        available: &|_| true,
    };
    let chosen: Vec<_> = (0..4).filter_map(|turn| in_turn(&all, turn)).collect();
    assert_eq!(chosen, [0, 1, 2, 0]);
    let some = Candidates {
        upstreams: &upstreams,
        available: &|index| index != 1,
    };
    assert_eq!(in_turn(&some, 1), Some(2));
    let none = Candidates {
        upstreams: &upstreams,
        available: &|_| false,
    };
    assert_eq!(in_turn(&none, 1), None);
    assert_eq!(random(&none), None);
}

#[test]
fn weights_are_shares() {
    let upstreams = upstreams(&["weight-a:1", "weight-b:1", "weight-c:1"]);
    let all = Candidates {
        upstreams: &upstreams,
        available: &|_| true,
    };
    let chosen: Vec<_> = (0..4)
        .filter_map(|turn| weighted(&all, &[3, 0, 1], turn))
        .collect();
    assert_eq!(chosen, [0, 0, 0, 2]);
    let last = Candidates {
        upstreams: &upstreams,
        available: &|index| index > 0,
    };
    assert_eq!(weighted(&last, &[3, 0, 1], 0), Some(2));
    assert_eq!(weighted(&all, &[0, 0, 0], 0), None);
}

#[test]
fn the_least_busy_is_chosen() {
    let upstreams = upstreams(&["least-a:1", "least-b:1", "least-c:1"]);
    let busy: Vec<_> = [0, 2]
        .map(|index: usize| UpstreamState::of(&upstreams[index].dial).begin_request())
        .into();
    let all = Candidates {
        upstreams: &upstreams,
        available: &|_| true,
    };
    assert_eq!(least(&all, all.indices()), Some(1));
    drop(busy);
    let some = Candidates {
        upstreams: &upstreams,
        available: &|index| index == 2,
    };
    assert_eq!(least(&some, some.indices()), Some(2));
}

#[test]
fn a_hash_moves_only_what_was_at_the_upstream_that_left() {
    let upstreams = upstreams(&["hash-a:1", "hash-b:1", "hash-c:1"]);
    let all = Candidates {
        upstreams: &upstreams,
        available: &|_| true,
    };
    let fewer = Candidates {
        upstreams: &upstreams,
        available: &|index| index != 2,
    };
    let mut counts = [0; 3];
    for client in 0..300 {
        let client = format!("10.0.0.{client}");
        let before = by_hash(&all, &client).unwrap();
        counts[before] += 1;
        let after = by_hash(&fewer, &client).unwrap();
        assert!(after == before || before == 2);
    }
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}
