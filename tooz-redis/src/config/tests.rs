//! What URLs mean and which are refused.

use super::*;

fn read(url: &str) -> Result<Config> {
    Config::read(&Endpoint::parse(url)?)
}

fn tcp(host: &str, port: u16) -> Place {
    Place::Tcp { host: host.to_owned(), port }
}

#[track_caller]
fn refused(url: &str, kind: ErrorKind, said: &str) {
    let error = read(url).unwrap_err();
    assert_eq!(error.kind(), kind, "{url}: {error}");
    assert!(error.to_string().contains(said), "{url}: {error}");
}

#[test]
fn one_server_by_host_port_and_options() {
    let config = read("redis://localhost").unwrap();
    assert_eq!(config.topology, Topology::Standalone(tcp("localhost", 6379)));
    assert_eq!((config.db, config.namespace.as_str(), config.wait_replicas), (0, "_tooz", 0));
    assert!(config.foreign && config.tls.is_none() && config.login == Login::default());

    let url = "redis://al%40ice:p%2Fw@127.0.0.1:7/?db=5&namespace=blue&wait_replicas=2&foreign=false";
    let config = read(url).unwrap();
    assert_eq!(config.topology, Topology::Standalone(tcp("127.0.0.1", 7)));
    assert_eq!((config.db, config.namespace.as_str(), config.wait_replicas), (5, "blue", 2));
    assert_eq!(config.login.user.as_deref(), Some("al@ice"));
    assert_eq!(config.login.password.unwrap().reveal(), "p/w");
    assert!(!config.foreign);
    assert_eq!(read("redis://[::1]:7").unwrap().topology, Topology::Standalone(tcp("::1", 7)));
}

#[test]
fn a_socket_by_its_scheme_or_as_python_writes_it() {
    for url in ["redis+unix:///run/my%20redis.sock?db=1", "redis:///run/my%20redis.sock?db=1"] {
        let config = read(url).unwrap();
        assert_eq!(config.topology, Topology::Standalone(Place::Unix("/run/my redis.sock".into())));
        assert_eq!(config.db, 1);
    }
    for url in ["redis+unix://", "redis+unix:///", "redis+unix://run/redis.sock", "redis+unix:///a%00b"] {
        refused(url, ErrorKind::InvalidUrl, "three slashes");
    }
    refused("redis+unix:///run/redis.sock?ssl=true", ErrorKind::InvalidOption, "no TLS");
}

#[test]
fn sentinels_as_hosts_and_as_python_writes_them() {
    let sentinels = vec![tcp("a", 1), tcp("b", 26379), tcp("::1", 3)];
    for url in [
        "redis+sentinel://a:1,b,[::1]:3?sentinel=blue",
        "redis://a:1?sentinel=blue&sentinel_fallback=b:26379&sentinel_fallback=[::1]:3",
        "redis://a:1?sentinel=blue&sentinel_fallback=b,[::1]:3",
    ] {
        let Topology::Sentinel { name, sentinels: read, login, tls } = read(url).unwrap().topology else {
            panic!("{url} names sentinels");
        };
        assert_eq!((name.as_str(), &read, login, tls), ("blue", &sentinels, Login::default(), None), "{url}");
    }
    refused("redis+sentinel://a:1", ErrorKind::InvalidUrl, "?sentinel=NAME");
    refused("redis+sentinel://a:1/blue", ErrorKind::InvalidUrl, "?sentinel=NAME");
    refused("redis+sentinel://?sentinel=blue", ErrorKind::InvalidUrl, "no host");
    for bad in ["b:x", "", "u:canary@b:1", "b:1/x"] {
        let url = format!("redis://a?sentinel=blue&sentinel_fallback={bad}");
        refused(&url, ErrorKind::InvalidOption, "HOST:PORT");
    }
}

#[test]
fn sentinels_have_a_login_and_tls_of_their_own() {
    let url = "redis+sentinel://u:p@127.0.0.1?sentinel=blue&sentinel_username=s&sentinel_password=q&sentinel_ssl=true\
               &ssl_ca_certs=/ca.pem";
    let config = read(url).unwrap();
    let Topology::Sentinel { login, tls, .. } = config.topology else { panic!("sentinels") };
    assert_eq!((login.user.as_deref(), login.password.unwrap().reveal()), (Some("s"), "q"));
    assert_eq!((config.login.user.as_deref(), config.login.password.unwrap().reveal()), (Some("u"), "p"));
    assert!(tls.is_some() && config.tls.is_none());
}

#[test]
fn nodes_of_a_cluster() {
    let config = read("redis+cluster://a:1,b").unwrap();
    assert_eq!(config.topology, Topology::Cluster(vec![tcp("a", 1), tcp("b", 6379)]));
    refused("redis+cluster://", ErrorKind::InvalidUrl, "no host");
    refused("redis+cluster://a?db=1", ErrorKind::InvalidOption, "numbered databases");
}

/// Python ignores the path, so that a database in it would exclude nobody.
#[test]
fn a_database_in_the_path_is_refused_with_the_hint() {
    for url in ["redis://h/5", "rediss://h/5", "redis+cluster://h/5"] {
        refused(url, ErrorKind::InvalidUrl, "?db=5");
    }
    refused("redis://h/blue", ErrorKind::InvalidUrl, "?db=N");
    refused("redis://h?db=65536", ErrorKind::InvalidOption, "too large");
    refused("redis://h?db=-1", ErrorKind::InvalidOption, "whole number");
}

#[test]
fn tls_by_scheme_or_option_and_never_unchecked() {
    let tls = |url: &str| read(url).unwrap().tls;
    assert!(tls("rediss://h").is_some() && tls("redis://h?ssl=true").is_some() && tls("redis://h").is_none());
    assert!(tls("rediss://h?ssl_cert_reqs=required&ssl_check_hostname=true").is_some());
    assert!(tls("rediss://h?ssl_certfile=/c&ssl_keyfile=/k&ssl_ca_certs=/a").is_some());

    for value in ["none", "optional", ""] {
        refused(&format!("rediss://h?ssl_cert_reqs={value}"), ErrorKind::InvalidOption, "always checked");
    }
    refused("rediss://h?ssl_check_hostname=false", ErrorKind::InvalidOption, "always checked");
    refused("rediss://h?ssl_certfile=/c", ErrorKind::InvalidOption, "belong together");
    refused("redis://h?ssl_ca_certs=/a", ErrorKind::InvalidOption, "rediss://");
}

#[test]
fn pythons_other_options_are_accepted_where_they_mean_the_same() {
    let url = "redis://h?socket_timeout=2&socket_connect_timeout=1&health_check_interval=3&socket_keepalive=true\
               &retry_on_timeout=true&encoding=utf8&timeout=5&lock_timeout=30&membership_timeout=20";
    let config = read(url).unwrap();
    assert_eq!(config.answer_timeout, Some(Duration::from_secs(2)));
    assert_eq!(config.connect_timeout, Some(Duration::from_secs(1)));
    assert_eq!(config.health_check, Some(Duration::from_secs(3)));
    refused("redis://h?encoding=latin1", ErrorKind::InvalidOption, "UTF-8");
    refused("redis://h?namespace=", ErrorKind::InvalidOption, "_tooz");
    refused("redis://h?sentinell=x", ErrorKind::InvalidOption, "sentinel_fallback");
}

#[test]
fn several_hosts_without_a_word_what_they_are_are_refused() {
    refused("redis://a,b", ErrorKind::InvalidUrl, "redis+cluster://");
    refused("redis://", ErrorKind::InvalidUrl, "no host");
}

#[test]
fn a_password_crosses_no_network_in_the_clear_unless_allowed() {
    for url in [
        "redis://:canary@10.0.0.1",
        "redis://u:canary@redis.example",
        "redis+cluster://:canary@127.0.0.1,10.0.0.1",
        "redis+sentinel://10.0.0.1?sentinel=blue&sentinel_password=canary",
    ] {
        refused(url, ErrorKind::Denied, "allow_plaintext_auth=true");
        assert!(!read(url).unwrap_err().to_string().contains("canary"));
        let allowed = format!("{url}{}allow_plaintext_auth=true", if url.contains('?') { '&' } else { '?' });
        read(&allowed).unwrap();
    }
    for url in ["rediss://:p@10.0.0.1", "redis://:p@localhost", "redis://:p@127.9.9.9", "redis://:p@[::1]"] {
        read(url).unwrap();
    }
    // What the sentinels name is checked when it is known.
    let config = read("redis+sentinel://:canary@127.0.0.1?sentinel=blue").unwrap();
    assert_eq!(config.check_login(&tcp("10.0.0.1", 1)).unwrap_err().kind(), ErrorKind::Denied);
    config.check_login(&tcp("::ffff:127.0.0.1", 1)).unwrap();
}

#[test]
fn passwords_never_show() {
    let url = "redis+sentinel://u:canary@127.0.0.1?sentinel=blue&sentinel_password=canary";
    assert!(!format!("{:?}", read(url).unwrap()).contains("canary"));
}
