use std::os::unix::fs::PermissionsExt as _;

use rustls::server::ProducesTickets as _;

use super::*;

fn given(octet: u8) -> v1::TicketKey {
    v1::TicketKey {
        name: vec![octet; 16],
        secret: vec![octet; 32],
    }
}

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn load(data: &Path, now: SystemTime) -> Tickets {
    Tickets::load(data, now).unwrap()
}

fn ticket(tickets: &Tickets) -> Vec<u8> {
    tickets.shared().encrypt(b"session").unwrap()
}

fn reads(tickets: &Tickets, ticket: &[u8]) -> bool {
    tickets.shared().decrypt(ticket).is_some()
}

#[test]
fn keys_are_kept_over_a_restart_for_their_owner_alone() {
    let data = tempfile::tempdir().unwrap();
    let first = load(data.path(), start());
    let own = ticket(&first);
    first.take(&[given(1), given(2)], start());
    let made = ticket(&first);
    assert_eq!(made[..16], [1; 16]);
    assert!(reads(&first, &own), "sessions from before go on");
    let path = data.path().join("session-tickets.json");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = load(data.path(), start());
    assert_eq!(ticket(&again)[..16], [1; 16]);
    assert!(reads(&again, &made));
    assert!(!reads(&again, &own));
}

#[test]
fn keys_are_wiped_after_their_window_also_without_cert_manager() {
    let data = tempfile::tempdir().unwrap();
    let tickets = load(data.path(), start());
    tickets.take(&[given(1)], start());
    let old = ticket(&tickets);
    let later = start() + WINDOW / 2;
    tickets.take(&[given(2), given(1)], later);
    tickets.tend(start() + WINDOW - Duration::from_secs(1));
    assert!(reads(&tickets, &old));
    tickets.tend(start() + WINDOW);
    assert!(!reads(&tickets, &old));
    assert_eq!(ticket(&tickets)[..16], [2; 16]);
    let text = fs::read_to_string(&tickets.path).unwrap();
    assert!(!text.contains(&STANDARD.encode([1; 32])), "{text}");

    tickets.tend(later + WINDOW);
    assert_ne!(ticket(&tickets)[..16], [2; 16], "one of our own again");
    assert!(
        !load(data.path(), later + WINDOW)
            .shared()
            .encrypt(b"")
            .unwrap()
            .starts_with(&[2; 16])
    );
}

#[test]
fn keys_that_cert_manager_drops_are_dropped() {
    let data = tempfile::tempdir().unwrap();
    let tickets = load(data.path(), start());
    tickets.take(&[given(1)], start());
    let old = ticket(&tickets);
    tickets.take(&[given(2)], start());
    assert!(!reads(&tickets, &old));
    for unusable in [vec![], vec![given(3), v1::TicketKey::default()]] {
        tickets.take(&unusable, start());
        assert_eq!(ticket(&tickets)[..16], [2; 16]);
    }
}

#[test]
fn our_own_key_is_rotated_while_there_is_no_other() {
    let data = tempfile::tempdir().unwrap();
    let tickets = load(data.path(), start());
    let first = ticket(&tickets);
    tickets.tend(start() + ROTATION - Duration::from_secs(1));
    assert_eq!(ticket(&tickets)[..16], first[..16]);
    tickets.tend(start() + ROTATION);
    assert_ne!(ticket(&tickets)[..16], first[..16]);
    assert!(reads(&tickets, &first));
    tickets.tend(start() + WINDOW);
    assert!(!reads(&tickets, &first));
}

#[test]
fn damaged_file_is_no_obstacle() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("session-tickets.json"), "{").unwrap();
    ticket(&load(data.path(), start()));
}
