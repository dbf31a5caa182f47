//! `proxy reload`, `purge`, `status` and `health`: what asks a running proxy.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use comfy_table::{ContentArrangement, Table, presets};
use proto::edge::v1::status_client::StatusClient;
use proto::edge::v1::{GetStatusRequest, GetStatusResponse, PurgeRequest, ReloadRequest};
use proto::sidecar::admin;
use proto::sidecar::cli::{AdminAddress, Exit};
use proto::sidecar::grpc::admin_channel;
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::{complain, print};

/// How long a running proxy may take to answer. A reload that binds ports and reads certificates
/// takes far less.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a command on a runtime of its own.
pub(super) fn block_on(command: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            complain(&format!("error: cannot start: {error}\n"));
            Exit::Failed
        }
    }
}

pub(super) async fn health(address: AdminAddress) -> Exit {
    match admin::health(&address).await {
        Ok(()) => Exit::Done,
        Err(message) => {
            complain(&format!("{message}\n"));
            Exit::Failed
        }
    }
}

pub(super) async fn reload(address: AdminAddress) -> Exit {
    let response = match call(&address, async |mut client| {
        client.reload(ReloadRequest {}).await
    })
    .await
    {
        Ok(response) => response,
        Err(exit) => return exit,
    };
    complain(&response.report);
    if response.is_applied {
        complain("Reloaded\n");
        Exit::Done
    } else {
        complain("Not reloaded: the running configuration stays\n");
        Exit::Usage
    }
}

pub(super) async fn purge(address: AdminAddress, request: PurgeRequest) -> Exit {
    match call(&address, async |mut client| client.purge(request).await).await {
        Ok(response) => {
            let responses = match response.removed {
                1 => "1 response".to_owned(),
                count => format!("{count} responses"),
            };
            print(&format!("Removed {responses} from the cache\n"));
            Exit::Done
        }
        Err(exit) => exit,
    }
}

/// What is to be removed for a URL, which may end in `*`; without a scheme it is one as browsers
/// take it.
///
/// # Errors
/// In words, when it is none.
pub(super) fn purge_of(url: &str) -> Result<PurgeRequest, String> {
    if url.starts_with('/') {
        return Err(format!(
            "`{url}` names no site: write the host before it, such as `example.com{url}`"
        ));
    }
    let is_complete = url.contains("://");
    let text = if is_complete {
        url.to_owned()
    } else {
        format!("https://{url}")
    };
    let parsed = url::Url::parse(&text).map_err(|error| format!("`{url}` is no URL: {error}"))?;
    let host = parsed
        .host_str()
        .filter(|_| matches!(parsed.scheme(), "http" | "https"))
        .ok_or_else(|| format!("`{url}` is no URL of a site"))?;
    let host = match parsed.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let path = match parsed.query() {
        Some(query) => format!("{}?{query}", parsed.path()),
        None => parsed.path().to_owned(),
    };
    Ok(PurgeRequest {
        everything: false,
        host,
        path,
    })
}

pub(super) async fn status(address: AdminAddress, json: bool) -> Exit {
    let response = match call(&address, async |mut client| {
        client.get_status(GetStatusRequest {}).await
    })
    .await
    {
        Ok(response) => response,
        Err(exit) => return exit,
    };
    if json {
        print(&format!("{:#}\n", as_json(&response)));
    } else {
        print(&as_tables(&response, SystemTime::now()));
    }
    Exit::Done
}

async fn call<T>(
    address: &AdminAddress,
    call: impl AsyncFnOnce(StatusClient<Channel>) -> Result<tonic::Response<T>, tonic::Status>,
) -> Result<T, Exit> {
    let failed = |message: &str| {
        complain(&format!(
            "error: cannot reach the proxy at {address} (--admin): {message}; is it running?\n"
        ));
        Exit::Failed
    };
    let channel = admin_channel(address).map_err(|error| failed(&error.to_string()))?;
    match tokio::time::timeout(TIMEOUT, call(StatusClient::new(channel))).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(failed(status.message())),
        Err(_) => Err(failed(&format!("no answer within {TIMEOUT:?}"))),
    }
}

fn as_json(status: &GetStatusResponse) -> Value {
    json!({
        "started_at": status.started_at.as_ref().map(rfc3339),
        "configured_at": status.configured_at.as_ref().map(rfc3339),
        "config_file": status.config_file,
        "cert_manager_connected": status.cert_manager_connected,
        "connections": status.connections,
        "tunnels": status.tunnels,
        "requests": status.requests,
        "sites": status.sites.iter().map(|site| json!({
            "host": site.host,
            "listen": site.listen,
            "tls": site.tls,
            "certificate_not_after": site.certificate_not_after.as_ref().map(rfc3339),
        })).collect::<Vec<_>>(),
        "upstreams": status.upstreams.iter().map(|upstream| json!({
            "address": upstream.address,
            "is_healthy": upstream.is_healthy,
            "requests_in_flight": upstream.requests_in_flight,
            "failures": upstream.failures,
            "last_failure": upstream.last_failure,
            "health_check": upstream.health_check,
        })).collect::<Vec<_>>(),
    })
}

fn as_tables(status: &GetStatusResponse, now: SystemTime) -> String {
    let mut sites = table(&["SITE", "LISTEN", "TLS", "CERTIFICATE"]);
    for site in &status.sites {
        let certificate = match &site.certificate_not_after {
            Some(end) => validity(end, now),
            None if site.tls => "none yet".to_owned(),
            None => "-".to_owned(),
        };
        let tls = if site.tls { "yes" } else { "no" };
        sites.add_row([&site.host, &site.listen.join(" "), tls, &certificate]);
    }
    let mut upstreams = table(&[
        "UPSTREAM",
        "HEALTHY",
        "IN FLIGHT",
        "FAILURES",
        "LAST FAILURE",
        "HEALTH CHECK",
    ]);
    for upstream in &status.upstreams {
        upstreams.add_row([
            upstream.address.as_str(),
            if upstream.is_healthy { "yes" } else { "no" },
            &upstream.requests_in_flight.to_string(),
            &upstream.failures.to_string(),
            &upstream.last_failure,
            &upstream.health_check,
        ]);
    }
    let connected = if status.cert_manager_connected {
        "connected"
    } else {
        "not connected"
    };
    let configured = status
        .configured_at
        .as_ref()
        .map(rfc3339)
        .unwrap_or_default();
    let mut text = format!(
        "{}, in force since {configured}\ncert-manager {connected}; {} connections, {} tunnels, {} \
         requests since start\n\n{sites}\n",
        status.config_file, status.connections, status.tunnels, status.requests,
    );
    if !status.upstreams.is_empty() {
        text.push_str(&format!("\n{upstreams}\n"));
    }
    text
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.iter().copied());
    table
}

/// How long a certificate is still good.
fn validity(end: &prost_types::Timestamp, now: SystemTime) -> String {
    let seconds = u64::try_from(end.seconds).unwrap_or_default();
    let end = UNIX_EPOCH + Duration::from_secs(seconds);
    match end.duration_since(now) {
        Ok(left) if left >= Duration::from_secs(2 * 86_400) => {
            format!("{} days left", left.as_secs() / 86_400)
        }
        Ok(left) => format!("{} hours left", left.as_secs() / 3600),
        Err(_) => "expired".to_owned(),
    }
}

fn rfc3339(timestamp: &prost_types::Timestamp) -> String {
    jiff::Timestamp::from_second(timestamp.seconds)
        .map(|at| at.to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_what_to_purge() {
        for (url, host, path) in [
            ("https://example.com/a/b?c=d#e", "example.com", "/a/b?c=d"),
            ("http://Example.com:8080/a*", "example.com:8080", "/a*"),
            ("example.com/*", "example.com", "/*"),
            ("example.com", "example.com", "/"),
            ("https://example.com:443/\u{fc}", "example.com", "/%C3%BC"),
            ("https://[::1]:8443/", "[::1]:8443", "/"),
        ] {
            let request = purge_of(url).unwrap();
            assert_eq!((request.host.as_str(), request.path.as_str()), (host, path));
        }
        for url in ["", "ftp://example.com/", "https://", "/path"] {
            assert!(purge_of(url).is_err(), "{url}");
        }
    }
}
