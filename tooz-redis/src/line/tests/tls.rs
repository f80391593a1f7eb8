//! Servers that prove who they are, and ask us to.

use std::sync::Arc;

use conformance::servers::{Certificates, Redis};
use tooz_core::ErrorKind;

use super::*;

fn url(redis: &Redis, host: &str, more: &str) -> String {
    let authority = redis.certificates().unwrap().authority();
    format!("rediss://{host}:{}?ssl_ca_certs={}{more}", redis.port(), authority.display())
}

fn own(certificates: &Certificates) -> String {
    let (certificate, key) = certificates.client();
    format!("&ssl_certfile={}&ssl_keyfile={}", certificate.display(), key.display())
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_named() {
    let certificates = Arc::new(Certificates::new());
    let redis = Redis::plan().tls(&certificates, false).start();
    for host in ["127.0.0.1", "localhost"] {
        let line = open(&url(&redis, host, "")).await.unwrap();
        assert_eq!(line.run(echo("k", "a")).await.unwrap(), bulk("a"));
        let (ear, _heard) = line.listen().await.unwrap();
        ear.subscribe(b"mine").await.unwrap();
        assert_eq!(line.confirm(echo("k", "a"), 0).await.unwrap(), (bulk("a"), 0));
    }
    let python = url(&redis, "127.0.0.1", "&ssl=true").replace("rediss", "redis");
    open(&python).await.unwrap();
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_refused() {
    let certificates = Arc::new(Certificates::new());
    let redis = Redis::plan().tls(&certificates, false).start();

    let unknown = refusal(&format!("rediss://127.0.0.1:{}", redis.port())).await;
    println!("{unknown}");
    let other = Certificates::new();
    let stranger =
        refusal(&format!("rediss://127.0.0.1:{}?ssl_ca_certs={}", redis.port(), other.authority().display()))
            .await;
    println!("{stranger}");
    for error in [unknown, stranger] {
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let certificates = Arc::new(Certificates::new());
    let redis = Redis::plan().tls(&certificates, false).option("bind", "127.0.0.2").start();
    let error = refusal(&url(&redis, "127.0.0.2", "")).await;
    println!("{error}");
    assert!(error.to_string().contains("not valid for name"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let certificates = Arc::new(Certificates::new());
    let redis = Redis::plan().tls(&certificates, true).start();

    let line = open(&url(&redis, "localhost", &own(&certificates))).await.unwrap();
    assert_eq!(line.run(echo("k", "a")).await.unwrap(), bulk("a"));

    let error = refusal(&url(&redis, "localhost", "")).await;
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    let stranger = Certificates::new();
    let error = refusal(&url(&redis, "localhost", &own(&stranger))).await;
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn files_that_are_missing_or_hold_something_else_are_named() {
    let missing = refusal("rediss://localhost:1?ssl_ca_certs=/nowhere/ca.pem").await;
    println!("{missing}");
    assert_eq!(missing.kind(), ErrorKind::InvalidOption);
    assert!(missing.to_string().contains("/nowhere/ca.pem"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&path, text).unwrap();
        let error = refusal(&format!("rediss://localhost:1?ssl_ca_certs={}", path.display())).await;
        println!("{error}");
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }
}

#[tokio::test]
async fn a_plain_port_and_an_encrypted_one_do_not_understand_each_other() {
    let certificates = Arc::new(Certificates::new());
    let redis = Redis::plan().tls(&certificates, false).start();
    let plain = refusal(&format!("redis://127.0.0.1:{}", redis.port())).await;
    println!("{plain}");
    assert_eq!(plain.kind(), ErrorKind::Unavailable);
    let other = Redis::start();
    let encrypted = refusal(&format!("rediss://127.0.0.1:{}", other.port())).await;
    println!("{encrypted}");
    assert_eq!(encrypted.kind(), ErrorKind::Unavailable);
}
