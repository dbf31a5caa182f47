//! Cloudflare's addresses, for `trusted_proxies cloudflare`.
//!
//! A list is built in; where a configuration uses it, the present one is fetched when the program
//! starts and once a day. A fetch that fails leaves the list that is there.

use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use proto::sidecar::error_chain::Chain;
use tokio::sync::Notify;

/// Where Cloudflare says which addresses it has, one range in a line.
const SOURCES: [&str; 2] = [
    "https://www.cloudflare.com/ips-v4",
    "https://www.cloudflare.com/ips-v6",
];

/// What these say since 2023-09-28.
const BUILT_IN: [&str; 22] = [
    "173.245.48.0/20",
    "103.21.244.0/22",
    "103.22.200.0/22",
    "103.31.4.0/22",
    "141.101.64.0/18",
    "108.162.192.0/18",
    "190.93.240.0/20",
    "188.114.96.0/20",
    "197.234.240.0/22",
    "198.41.128.0/17",
    "162.158.0.0/15",
    "104.16.0.0/13",
    "104.24.0.0/14",
    "172.64.0.0/13",
    "131.0.72.0/22",
    "2400:cb00::/32",
    "2606:4700::/32",
    "2803:f800::/32",
    "2405:b500::/32",
    "2405:8100::/32",
    "2a06:98c0::/29",
    "2c0f:f248::/32",
];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read; the lists are some hundred bytes.
const LONGEST_ANSWER: usize = 64 << 10;

static RANGES: LazyLock<ArcSwap<Vec<IpNet>>> = LazyLock::new(|| {
    ArcSwap::from_pointee(BUILT_IN.iter().flat_map(|range| range.parse()).collect())
});
static IS_USED: AtomicBool = AtomicBool::new(false);
static FIRST_USE: Notify = Notify::const_new();

/// Notes that a configuration uses the list.
pub(crate) fn note_use() {
    if !IS_USED.swap(true, Relaxed) {
        FIRST_USE.notify_one();
    }
}

/// Whether `ip` is one of Cloudflare's.
pub(crate) fn contains(ip: IpAddr) -> bool {
    RANGES.load().iter().any(|range| range.contains(&ip))
}

/// Keeps the list fresh from when a configuration first uses it. Ends never.
pub(crate) async fn keep_fresh() {
    while !IS_USED.load(Relaxed) {
        FIRST_USE.notified().await;
    }
    loop {
        match fetch().await {
            Ok(ranges) => {
                tracing::debug!(ranges = ranges.len(), "fetched Cloudflare's addresses");
                RANGES.store(ranges.into());
            }
            Err(error) => tracing::warn!(
                %error,
                "Cloudflare's addresses cannot be fetched: the list that is there stays in use"
            ),
        }
        tokio::time::sleep(DAY).await;
    }
}

async fn fetch() -> Result<Vec<IpNet>, String> {
    let client = client()?;
    let mut ranges = Vec::new();
    for source in SOURCES {
        let failed = |error: reqwest::Error| Chain(&error).to_string();
        let answer = client.get(source).send().await.map_err(failed)?;
        let mut answer = answer.error_for_status().map_err(failed)?;
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            text.extend_from_slice(&piece);
            if text.len() > LONGEST_ANSWER {
                return Err(format!("{source} answers with more than a list"));
            }
        }
        let text = String::from_utf8_lossy(&text);
        ranges.extend(parse(&text).ok_or_else(|| format!("{source} answers with no list"))?);
    }
    Ok(ranges)
}

fn client() -> Result<reqwest::Client, String> {
    let roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let tls = rustls::ClientConfig::builder_with_provider(proto::sidecar::identity::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(FETCH_TIMEOUT)
        .build()
        .map_err(|error| error.to_string())
}

/// The ranges in a list; `None` if there is none, or anything else in it.
fn parse(text: &str) -> Option<Vec<IpNet>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let ranges: Vec<IpNet> = lines.map(|line| line.parse().ok()).collect::<Option<_>>()?;
    // All addresses would make every client a trusted proxy.
    let is_sound = !ranges.is_empty() && ranges.iter().all(|range| range.prefix_len() >= 8);
    is_sound.then_some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_list_is_whole() {
        assert_eq!(RANGES.load().len(), BUILT_IN.len());
        assert!(contains("104.16.1.1".parse().unwrap()));
        assert!(contains("2606:4700::1".parse().unwrap()));
        assert!(!contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn only_a_list_of_ranges_is_taken() {
        assert_eq!(
            parse("192.0.2.0/24\n2001:db8::/32\n").map(|list| list.len()),
            Some(2)
        );
        for text in ["", "<html>", "192.0.2.0/24\nfoo", "0.0.0.0/0"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
