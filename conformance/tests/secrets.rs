//! Passwords stay out of every error, every `Debug` and every line of the log, whatever goes wrong, in every driver.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test
#![allow(clippy::print_stdout)] // which one it was, for whoever looks

mod talk;

use std::net::TcpListener;
use std::sync::Arc;

use conformance::servers::{Certificates, Etcd, Redis, Zookeeper};
use conformance::within;
use tooz_core::{Coordinator, Error, Registry, memory};

/// In every URL of this test, as a password or where one would be by mistake.
const CANARY: &str = "c4n4ry";
/// The password that is right.
const RIGHT: &str = "n1ght1ng4l3";

fn registry() -> Registry {
    Registry::new()
        .with(memory::driver())
        .with(tooz_file::FileDriver::new())
        .with(tooz_redis::RedisDriver::new())
        .with(tooz_etcd::EtcdDriver::new())
        .with(tooz_zookeeper::ZookeeperDriver::new())
}

fn assert_silent(url: &str, error: &Error) {
    let texts = talk::in_full(error);
    assert!(!texts.contains(CANARY) && !texts.contains(RIGHT), "{url}: {texts}");
}

/// Connects to what cannot be connected to, or takes a lock where it can.
async fn fails(url: &str) {
    println!("{url}");
    let registry = registry();
    let connected =
        within(&format!("connect to {url}"), registry.builder(url).member("worker-1").connect()).await;
    let error = match connected {
        Err(error) => error,
        Ok(coord) => match within(&format!("try at {url}"), coord.lock("nightly").try_acquire()).await {
            Err(error) => error,
            Ok(_) => panic!("{url} works"),
        },
    };
    assert_silent(url, &error);
}

async fn works(url: &str) -> Coordinator {
    let coord = within("connect", registry().builder(url).member("worker-1").connect()).await.unwrap();
    let guard = within("acquire", coord.lock("nightly").acquire()).await.unwrap();
    within("release", guard.release()).await.unwrap();
    assert!(!format!("{coord:?} {coord:#?}").contains(RIGHT));
    coord
}

/// What no server is needed for: URLs that mean nothing or too much.
fn nonsense(scheme: &str) -> Vec<String> {
    [
        "://u:c4n4ry@",
        "://u:c4n4ry@127.0.0.1:port",
        "://u:c4n4ry@127.0.0.1:1/path/of?odd=c4n4ry",
        "://u:c4n4ry@127.0.0.1:1?timeout=never",
        "://u:c4n4ry@10.0.0.1:1?timeout=200ms",
        "://u:c4n4ry/more@127.0.0.1",
        "://u:c4n4ry?more@127.0.0.1",
        "://u:c4n4ry#more@127.0.0.1",
        "://u:12/c4n4ry@127.0.0.1",
        "://u:12@34/c4n4ry@127.0.0.1",
        "://u:12@34?timeout=c4n4ry@127.0.0.1",
        ":/u:c4n4ry@127.0.0.1",
        "://u:c4n4ry%ff@127.0.0.1:1",
        "://u:c4n4ry@127.0.0.1:1?timeout=1ms&timeout=2ms",
    ]
    .into_iter()
    .map(|rest| format!("{scheme}{rest}"))
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_show_in_no_error_and_no_log_of_any_driver() {
    talk::listen();
    for scheme in [
        "memory",
        "file",
        "redis",
        "rediss",
        "redis+sentinel",
        "redis+cluster",
        "redis+unix",
        "etcd",
        "zookeeper",
        "kazoo",
        "nothing",
    ] {
        for url in nonsense(scheme) {
            println!("{url}");
            let outcome = registry().builder(&url).connect().await;
            // A store within the process asks nobody for a password.
            if let Err(error) = outcome {
                assert_silent(&url, &error);
            }
        }
    }

    // Nobody there; somebody who never answers; somebody who speaks another language.
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let hole_at = hole.local_addr().unwrap();
    let certificates = Arc::new(Certificates::new());
    let authority = certificates.authority();
    let redis = Redis::plan().password(RIGHT).start();
    let (redis_tls, etcd, etcd_tls, zookeeper, zookeeper_tls) = (
        Redis::plan().tls(&certificates, false).password(RIGHT).start(),
        Etcd::start(),
        Etcd::plan().tls(&certificates, false).start(),
        Zookeeper::start(),
        Zookeeper::plan().tls(&certificates, true).start(),
    );
    etcd.authenticate(RIGHT);
    etcd_tls.authenticate(RIGHT);
    let ca = authority.display();
    for url in [
        format!("redis://u:{CANARY}@127.0.0.1:1?timeout=1s"),
        format!("redis://:{CANARY}@{hole_at}?timeout=300ms"),
        format!("redis://:{CANARY}@{}?timeout=1s", etcd.addresses()),
        format!("redis://:{CANARY}@{}", redis.address()),
        format!("rediss://:{CANARY}@{}?timeout=1s", redis.address()),
        format!("rediss://:{CANARY}@{}", redis_tls.address()),
        format!("rediss://:{CANARY}@{}?ssl_ca_certs={ca}", redis_tls.address()),
        format!("etcd://root:{CANARY}@127.0.0.1:1?timeout=1s"),
        format!("etcd://root:{CANARY}@{hole_at}?timeout=300ms"),
        format!("etcd://root:{CANARY}@{}?timeout=1s", redis.address()),
        format!("etcd://root:{CANARY}@{}", etcd.addresses()),
        format!("etcds://root:{CANARY}@{}?timeout=1s", etcd.addresses()),
        format!("etcds://root:{CANARY}@{}?timeout=1s", etcd_tls.addresses()),
        format!("zookeeper://u:{CANARY}@127.0.0.1:1?timeout=1s"),
        format!("zookeeper://u:{CANARY}@{hole_at}?timeout=300ms"),
        format!("zookeeper://u:{CANARY}@{}?timeout=1s", redis.address()),
        format!("zookeeper://u:{CANARY}@{}?timeout=1s&use_ssl=true", zookeeper.addresses()),
        format!("zookeeper://u:{CANARY}@{}?timeout=1s&use_ssl=true", zookeeper_tls.secure_addresses()),
        format!(
            "zookeeper://u:{CANARY}@{}?timeout=1s&use_ssl=true&ca={ca}",
            zookeeper_tls.secure_addresses()
        ),
    ] {
        fails(&url).await;
    }

    // What belongs to one password is denied to another.
    let owner =
        works(&format!("zookeeper://u:{RIGHT}@{}?namespace=mine&timeout=3s", zookeeper.addresses())).await;
    fails(&format!("zookeeper://u:{CANARY}@{}?namespace=mine&timeout=3s", zookeeper.addresses())).await;

    // Those that work, until their server dies.
    let redis_coord = works(&format!("redis://:{RIGHT}@{}?timeout=3s", redis.address())).await;
    let etcd_coord = works(&format!("etcd://root:{RIGHT}@{}?timeout=3s", etcd.addresses())).await;
    redis.kill();
    etcd.node().process().kill();
    zookeeper.process().kill();
    for coord in [redis_coord, etcd_coord, owner] {
        let error = within(&format!("a dead server's answer to {coord:?}"), coord.lock("nightly").acquire())
            .await
            .unwrap_err();
        assert_silent("dead", &error);
        assert!(!format!("{coord:?}").contains(RIGHT));
    }

    let log = talk::said();
    // What speaks to etcd is h2.
    for speaker in ["redis", "h2", "zookeeper"] {
        assert!(log.contains(speaker), "nothing was logged about {speaker}");
    }
    for (nth, line) in log.lines().enumerate() {
        assert!(!line.contains(CANARY) && !line.contains(RIGHT), "line {nth}: {line}");
    }
}
