//! Reaching the servers: credentials, TLS, the time to live, and the directories that must be there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tooz_core::backend::Opening;
use tooz_core::{Error, ErrorKind, Moment, Result};
use zookeeper_client::{Acls, Client, Connector, CreateMode, Error as Fault, Permission, TlsOptions};

use crate::config::{Config, TlsFiles};
use crate::error::{failed, unread};
use crate::keys::Keys;

/// The version of everything below our own root. A later one is refused, an earlier one read.
const LAYOUT: u32 = 1;
const LAYOUT_WORD: &str = "tooz-zookeeper";
/// A scheme of credentials that there is not.
const NO_SCHEME: &str = "tooz-closed";

/// A fresh connection.
pub(crate) struct Line {
    pub(crate) client: Client,
    /// Read before the session's creation was sent.
    pub(crate) sent: Moment,
    pub(crate) warnings: Vec<String>,
}

/// Opens a session and makes the directories it needs.
pub(crate) async fn open(
    config: &Config,
    opening: &Opening,
    keys: &Keys,
    acls: Acls<'static>,
) -> Result<Line> {
    if opening.ttl != opening.membership_ttl {
        let text = format!(
            "lock_timeout {:?} and membership_timeout {:?} differ: on zookeeper both are the session's",
            opening.ttl, opening.membership_ttl
        );
        return Err(Error::new(ErrorKind::InvalidOption, text));
    }
    let mut line = session(config, opening, opening.ttl).await?;
    let granted = line.client.session_timeout();
    // The least a server grants is two ticks unless it was told otherwise; the proof of life needs four.
    let least = match granted > rounded(opening.ttl) {
        true => granted,
        // A session that is closed again at once: is half as long granted too, or raised to the least?
        false => session(config, opening, granted / 2).await?.client.session_timeout(),
    };
    if granted < least * 2 {
        line = session(config, opening, least * 2).await?;
        let granted = line.client.session_timeout();
        line.warnings.push(format!(
            "a time to live of {:?} is below this server's minimum of four ticks: {granted:?} was granted",
            opening.ttl
        ));
        if granted < least * 2 {
            line.warnings.push(format!(
                "this server's maximum of {granted:?} may be less than four of its ticks: set maxSessionTimeout to \
                 {:?} or more, or a guard may be held while another is granted",
                least * 2
            ));
        }
    }
    let furnished = timeout(opening.timeout, furnish(&mut line, config, keys, acls)).await;
    furnished.unwrap_or_else(|_| Err(silent(opening.timeout)))?;
    Ok(line)
}

/// As the protocol carries it: whole milliseconds, of which there may be so many. The server grants what it allows.
fn rounded(ttl: Duration) -> Duration {
    const MOST: u128 = i32::MAX as u128;
    Duration::from_millis(u64::try_from(ttl.as_millis().min(MOST)).unwrap_or_default())
}

fn silent(limit: Duration) -> Error {
    Error::new(ErrorKind::Unavailable, format!("connect to zookeeper: no answer within {limit:?}"))
}

/// With the credentials of the URL.
fn connector(config: &Config, ttl: Duration) -> Result<Connector> {
    let mut connector = Client::connector().with_session_timeout(rounded(ttl)).with_fail_eagerly();
    if let Some(digest) = &config.digest {
        connector = connector.with_auth("digest", digest.reveal().as_bytes());
    }
    if let Some(files) = &config.tls {
        // Fails where the program has chosen a provider before, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        connector = connector.with_tls(tls(files)?);
    }
    Ok(connector)
}

async fn session(config: &Config, opening: &Opening, ttl: Duration) -> Result<Line> {
    let connector = connector(config, ttl)?;
    let sent = opening.clock.now();
    match timeout(opening.timeout, connector.connect(&config.cluster)).await {
        Err(_) => Err(silent(opening.timeout)),
        Ok(Err(Fault::NoHosts)) => {
            let text = format!("connect to zookeeper at {}: nobody answers there", config.cluster);
            Err(Error::new(ErrorKind::Unavailable, text))
        }
        Ok(Err(fault)) => Err(unread("connect to zookeeper", fault)),
        Ok(Ok(client)) => Ok(Line { client, sent, warnings: Vec::new() }),
    }
}

/// Ends a session whose connection is still held: by calls that were begun and are polled no more. Of credentials that no
/// server takes the client library gives the connection up for good; then the session is closed on another.
pub(crate) async fn close_elsewhere(config: &Config, held: Arc<Client>) -> Result<()> {
    let (info, ttl) = (held.session().clone(), held.session_timeout());
    // Whatever comes of it, the session is taken over.
    let _ = held.auth(NO_SCHEME, b"").await;
    drop(held);
    match connector(config, ttl)?.with_session(info).connect(&config.cluster).await {
        Ok(client) => {
            let mut states = client.state_watcher();
            drop(client);
            let mut state = states.state();
            while !state.is_terminated() {
                state = states.changed().await;
            }
            Ok(())
        }
        Err(Fault::SessionExpired) => Ok(()),
        Err(fault) => Err(failed("close the session", fault)),
    }
}

fn tls(files: &TlsFiles) -> Result<TlsOptions> {
    let read = |path: &String| {
        std::fs::read_to_string(path)
            .map_err(|cause| Error::new(ErrorKind::InvalidOption, format!("read {path:?}: {cause}")))
    };
    let refused = |what: &str| {
        let what = what.to_owned();
        // The cause could quote a key.
        move |_: Fault| Error::new(ErrorKind::InvalidOption, format!("{what}: no valid PEM"))
    };
    let mut options = TlsOptions::new();
    if let Some(path) = &files.authorities {
        options = options.with_pem_ca(&read(path)?).map_err(refused(path))?;
    }
    if let Some((cert, key)) = &files.identity {
        options = options.with_pem_identity(&read(cert)?, &read(key)?).map_err(refused(cert))?;
    }
    Ok(options)
}

/// Moves below the chroot and makes sure of every directory.
async fn furnish(line: &mut Line, config: &Config, keys: &Keys, acls: Acls<'static>) -> Result<()> {
    let options = CreateMode::Persistent.with_acls(acls);
    if let Some(chroot) = &config.chroot {
        if line
            .client
            .check_stat(chroot)
            .await
            .map_err(|fault| unread("look for the chroot", fault))?
            .is_none()
        {
            line.client.mkdir(chroot, &options).await.map_err(|fault| failed("make the chroot", fault))?;
            line.warnings.push(format!("the chroot {chroot:?} was missing and has been made"));
        }
        line.client = line.client.clone().chroot(chroot.as_str()).map_err(|_| {
            Error::new(ErrorKind::InvalidOption, format!("option chroot={chroot:?} is no path of a node"))
        })?;
    }
    let client = &line.client;
    match client.get_data(keys.own()).await {
        Ok((data, _)) => check_layout(&data)?,
        Err(Fault::NoNode) => {
            let (parent, _) = keys.own().rsplit_once('/').unwrap_or_default();
            client.mkdir(parent, &options).await.map_err(|fault| failed("make our root", fault))?;
            for directory in keys.directories() {
                let made = match directory.starts_with(keys.own()) {
                    // Ours come once the version stands, so that nobody sees them without.
                    true => continue,
                    false => client.mkdir(&directory, &options).await,
                };
                made.map_err(|fault| failed("make a directory", fault))?;
            }
            let version = format!("{LAYOUT_WORD} {LAYOUT}");
            match client.create(keys.own(), version.as_bytes(), &options).await {
                Ok(_) | Err(Fault::NodeExists) => {}
                Err(fault) => return Err(failed("make our root", fault)),
            }
        }
        Err(fault) => return Err(unread("look for our root", fault)),
    }
    let stats = keys.directories();
    let looks: Vec<_> = stats.iter().map(|path| client.check_stat(path)).collect();
    for (path, look) in stats.iter().zip(looks) {
        if look.await.map_err(|fault| unread("look for a directory", fault))?.is_none() {
            client.mkdir(path, &options).await.map_err(|fault| failed("make a directory", fault))?;
        }
    }
    if config.digest.is_some() {
        line.warnings.extend(open_doors(&line.client, keys).await?);
    }
    Ok(())
}

pub(crate) fn check_layout(data: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(data);
    let version = text.strip_prefix(LAYOUT_WORD).and_then(|rest| rest.trim().parse::<u32>().ok());
    match version {
        Some(version) if version <= LAYOUT => Ok(()),
        Some(version) => {
            let text = format!(
                "the store has layout {version} of tooz, this program knows {LAYOUT}: update it first"
            );
            Err(Error::new(ErrorKind::Unsupported, text))
        }
        None => {
            Err(Error::new(ErrorKind::Corrupt, "our root in zookeeper holds something else: see docs/wire"))
        }
    }
}

/// Directories that anyone may write to although credentials are used.
async fn open_doors(client: &Client, keys: &Keys) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for path in keys.directories().into_iter().chain(keys.channels()) {
        let (acls, _) = match client.get_acl(&path).await {
            Ok(found) => found,
            Err(Fault::NoNode) => continue,
            Err(fault) => return Err(unread("read an access list", fault)),
        };
        let writes = [Permission::CREATE, Permission::DELETE, Permission::WRITE, Permission::ADMIN];
        let is_open = |acl: &zookeeper_client::Acl| {
            acl.scheme() == "world" && writes.iter().any(|write| acl.permission().has(*write))
        };
        if acls.iter().any(is_open) {
            warnings
                .push(format!("anyone may change {path:?}: it was there before with a wider access list"));
        }
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_layout_and_earlier_ones_are_read_later_and_foreign_ones_refused() {
        assert!(check_layout(b"tooz-zookeeper 1").is_ok());
        assert_eq!(check_layout(b"tooz-zookeeper 2").unwrap_err().kind(), ErrorKind::Unsupported);
        for foreign in [b"".as_slice(), b"x", b"tooz-zookeeper x", b"\xff"] {
            assert_eq!(check_layout(foreign).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
