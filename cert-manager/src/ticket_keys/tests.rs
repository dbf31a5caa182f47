use super::*;
use crate::clock::ManualClock;
use crate::store::local::{LocalStorage, Rebuilds};

fn start() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

#[test]
fn each_ticket_is_read_for_a_day_and_no_key_lives_for_two() {
    let mut keys: Vec<TicketKey> = Vec::new();
    let mut made: Vec<(Timestamp, [u8; 16])> = Vec::new();
    let step = SignedDuration::from_mins(30);
    let mut now = start();
    for _ in 0..500 {
        if let Some(next) = rotated(&keys, now).unwrap() {
            keys = next;
        }
        made.push((now, keys[0].name));
        for (at, name) in &made {
            let age = now.duration_since(*at);
            let is_read = keys.iter().any(|key| key.name == *name);
            assert!(is_read || age >= SignedDuration::from_hours(24), "{age}");
            assert!(!is_read || age < WINDOW, "{age}");
        }
        assert!(keys.len() <= 3);
        now += step;
    }
    let mut names: Vec<_> = made.iter().map(|(_, name)| *name).collect();
    names.dedup();
    assert_eq!(names.len(), 21, "one each twelve hours");
}

#[test]
fn nothing_is_due_between_rotations() {
    let keys = rotated(&[], start()).unwrap().unwrap();
    let due = start() + ROTATION;
    assert_eq!(next_change(&keys, start()), due);
    let before = due - SignedDuration::from_secs(1);
    assert_eq!(rotated(&keys, before).unwrap(), None);
    assert_eq!(rotated(&keys, due).unwrap().unwrap().len(), 2);
}

#[test]
fn keys_of_a_clock_that_was_far_ahead_are_replaced() {
    let keys = rotated(&[], start() + SignedDuration::from_hours(48))
        .unwrap()
        .unwrap();
    let next = rotated(&keys, start()).unwrap().unwrap();
    assert_eq!(next.len(), 1);
    assert_ne!(next, keys);
}

#[tokio::test]
async fn keys_outlive_a_restart_and_are_rotated_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(start()));
    let load = async || {
        let storage = LocalStorage::open(folder.path(), Rebuilds::default()).await;
        TicketKeys::load(
            Arc::new(storage.unwrap()),
            Arc::<ManualClock>::clone(&clock),
        )
        .await
        .unwrap()
    };
    let keys = load().await;
    let first = Arc::clone(&keys.subscribe().borrow());
    assert_eq!(first.len(), 1);
    drop(keys);
    let keys = load().await;
    assert_eq!(*keys.subscribe().borrow(), first);

    let mut current = keys.subscribe();
    let rotation = tokio::spawn(keys.keep_rotated());
    clock.advance(ROTATION);
    current.changed().await.unwrap();
    let second = Arc::clone(&current.borrow_and_update());
    assert_eq!(second[1..], first[..]);
    assert_ne!(second[0].name, first[0].name);
    rotation.abort();
    let _ = rotation.await;
    assert_eq!(*load().await.subscribe().borrow(), second);
}

#[test]
fn secret_is_never_printed() {
    let key = TicketKey {
        name: [7; 16],
        secret: Zeroizing::new([99; 32]),
        created_at: start(),
    };
    assert!(!format!("{key:?}").contains("99"));
}
