//! Kills and damaged databases: nothing that was announced is lost.

use std::time::Duration;

use proto::certs::v1;

use crate::context::Place;
use crate::proxy::{Proxy, internal, serial};

#[tokio::test]
async fn killed_at_random_moments_keeps_what_was_announced() {
    let place = Place::new();
    let names: Vec<_> = (0..8).map(|i| format!("a{i}.localhost")).collect();
    let subjects: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), internal()))
        .collect();
    let mut announced = std::collections::BTreeMap::new();
    for round in 0..6_u64 {
        let server = place.start().await;
        let proxy = Proxy::connect(&place, &subjects).await;
        let received = proxy.wait(|_| true).await;
        for (name, before) in &announced {
            // A newer one may have been stored without having been announced yet.
            let now = received.certificates.get(name).map(not_after);
            assert!(now >= Some(*before), "{name} in round {round}");
        }
        // Renewals are under way when the end comes.
        for name in &names[..usize::try_from(round).unwrap()] {
            let request = v1::RenewRequest { name: name.clone() };
            let _ = place.admin().renew(request).await;
        }
        tokio::time::sleep(Duration::from_millis(7 * round)).await;
        server.kill();
        let received = proxy.wait(|received| received.ended).await;
        for (name, certificate) in received.certificates {
            announced.insert(name, not_after(&certificate));
        }
    }
    assert!(!announced.is_empty());
}

/// Kills the program while it signs, opens, and seals what is there: at the end everything that a
/// proxy was ever sent is there, in the database and in the files alone.
#[tokio::test]
async fn killed_again_and_again_it_keeps_everything_in_files_and_database() {
    let mut place = crate::sealing::place("correct horse battery staple");
    let flags = std::mem::take(&mut place.flags);
    let names: Vec<_> = (0..150).map(|i| format!("a{i}.localhost")).collect();
    let subjects: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), internal()))
        .collect();
    let mut announced = std::collections::BTreeMap::new();
    for round in 0..16_usize {
        // Turned on halfway, so that some of the kills fall into the sealing.
        if round == 8 {
            place.flags.clone_from(&flags);
        }
        if round > 0 && round % 2 == 0 {
            let opening = place.spawn(place.listen, place.status_listen, place.admin);
            let pause = u64::try_from(round * 11).unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            opening.kill();
        }
        let server = place.start().await;
        let some = &subjects[..10 * round.min(14) + 10];
        let proxy = Proxy::connect_unsynchronized(&place, some).await;
        let wanted = announced.len() + 4;
        proxy
            .wait(|received| received.certificates.len() >= wanted.min(some.len()))
            .await;
        server.kill();
        let received = proxy.wait(|received| received.ended).await;
        for (name, certificate) in received.certificates {
            announced.insert(name, not_after(&certificate));
        }
    }
    assert!(announced.len() > 60, "{}", announced.len());
    for without_database in [false, true] {
        if without_database {
            std::fs::remove_dir_all(place.data().join("db")).unwrap();
        }
        let server = place.start().await;
        let proxy = Proxy::connect(&place, &subjects).await;
        let received = proxy.wait(|_| true).await;
        for (name, before) in &announced {
            let now = received.certificates.get(name).map(not_after);
            assert!(now >= Some(*before), "{name}, {without_database}");
        }
        let (log, _, _) = server.terminate();
        assert!(!log.contains("DAMAGED"), "{log}");
    }
}

fn not_after(certificate: &v1::Certificate) -> i64 {
    certificate.not_after.unwrap().seconds
}

#[tokio::test]
async fn a_damaged_database_is_rebuilt_from_the_files() {
    let place = Place::new();
    let server = place.start().await;
    let subjects = [("a.localhost", internal()), ("b.localhost", internal())];
    let proxy = Proxy::connect(&place, &subjects).await;
    let before = [
        serial(&proxy.certificate("a.localhost", None).await),
        serial(&proxy.certificate("b.localhost", None).await),
    ];
    let root = place.internal_root();
    server.terminate();
    let database = place.data().join("db").join("db");
    std::fs::write(&database, [0xa5; 100_000]).unwrap();

    let server = place.start().await;
    let proxy = Proxy::connect(&place, &subjects).await;
    let received = proxy.wait(|_| true).await;
    assert_eq!(serial(&received.certificates["a.localhost"]), before[0]);
    assert_eq!(serial(&received.certificates["b.localhost"]), before[1]);
    assert_eq!(place.internal_root(), root);
    let (log, _, _) = server.terminate();
    // Which of the two depends on what sled makes of it.
    let set_aside = log.contains("THE DATABASE DOES NOT OPEN");
    assert!(set_aside || log.contains("the database held less"), "{log}");
}
