use std::sync::Arc;

use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use upstream::{SendErrorKind, Target, TlsOptions, Versions};

use crate::peer::{Upstream, client, get, run, spawn_send, text};

/// A self-signed certificate for `app.test`, and an acceptor with it.
fn acceptor(alpn: &[&str]) -> (CertificateDer<'static>, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed(["app.test".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config =
        rustls::ServerConfig::builder_with_provider(proto::sidecar::identity::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    (certificate, TlsAcceptor::from(Arc::new(config)))
}

fn target(upstream: &Upstream, tls: TlsOptions) -> Arc<Target> {
    let mut settings = upstream.settings();
    settings.tls = Some(tls);
    settings.versions = Versions::Any;
    Target::new(settings).unwrap()
}

#[test]
fn the_certificate_is_checked_against_name_and_roots() {
    run(async {
        let (certificate, acceptor) = acceptor(&["http/1.1"]);
        let trusted = TlsOptions {
            server_name: Some("app.test".into()),
            roots: vec![certificate],
            ..TlsOptions::default()
        };
        let cases = [
            (trusted.clone(), true),
            (
                TlsOptions {
                    server_name: Some("other.test".into()),
                    ..trusted.clone()
                },
                false,
            ),
            (
                TlsOptions {
                    server_name: None,
                    ..trusted.clone()
                },
                false,
            ),
            (
                TlsOptions {
                    roots: Vec::new(),
                    ..trusted.clone()
                },
                false,
            ),
            (
                TlsOptions {
                    insecure_skip_verify: true,
                    ..TlsOptions::default()
                },
                true,
            ),
        ];
        for (options, is_accepted) in cases {
            let upstream = Upstream::bind().await;
            let target = target(&upstream, options.clone());
            let sending = spawn_send(&client(), &target, get("/"));
            let stream = upstream.accept().await.stream;
            match acceptor.accept(stream).await {
                Ok(mut stream) => {
                    let mut head = [0; 5];
                    if stream.read_exact(&mut head).await.is_ok() {
                        stream
                            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                            .await
                            .unwrap();
                        stream.flush().await.unwrap();
                    }
                }
                Err(_refused) => assert!(!is_accepted, "{options:?}"),
            }
            match sending.await.unwrap() {
                Ok(response) => {
                    assert!(is_accepted, "{options:?}");
                    assert_eq!(text(response).await, "ok");
                }
                Err(error) => {
                    assert!(!is_accepted, "{options:?}: {error:?}");
                    assert_eq!(error.kind, SendErrorKind::Tls);
                    assert!(error.unsent.is_some());
                }
            }
        }
    });
}

#[test]
fn http2_is_spoken_where_it_is_negotiated() {
    run(async {
        let (certificate, acceptor) = acceptor(&["h2"]);
        let upstream = Upstream::bind().await;
        let target = target(
            &upstream,
            TlsOptions {
                server_name: Some("app.test".into()),
                roots: vec![certificate],
                ..TlsOptions::default()
            },
        );
        let client = client();
        let first = spawn_send(&client, &target, get("/1"));
        let second = spawn_send(&client, &target, get("/2"));
        let stream = acceptor
            .accept(upstream.accept().await.stream)
            .await
            .unwrap();
        crate::http2::serve(stream);
        // Both on one connection: nobody accepts a second one.
        assert_eq!(text(first.await.unwrap().unwrap()).await, "/1 app.test");
        assert_eq!(text(second.await.unwrap().unwrap()).await, "/2 app.test");
    });
}
