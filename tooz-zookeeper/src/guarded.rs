//! Writes that go through only while a lock is held.

use tooz_core::{Endpoint, Name, Result, Seat};

use crate::config::Config;
use crate::keys::Keys;

/// The node in which the claims of this lock stand, as a client without a chroot calls it. The one of a
/// [`Guard`](tooz_core::Guard) is the child whose name begins with its [`claim_id`](tooz_core::Guard::claim_id).
///
/// Whoever keeps data in the same ZooKeeper gets true exclusion by it: a transaction that checks the claim's node is
/// carried out while the lock is held or not at all, also by a process that was paused in between.
///
/// ```no_run
/// # async fn run(coord: tooz_core::Coordinator, guard: tooz_core::Guard, client: zookeeper_client::Client)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tooz_zookeeper::lock_directory(coord.endpoint(), &guard.name())?;
/// let claim = guard.claim_id().to_string();
/// let claims = client.list_children(&directory).await?;
/// let own = claims.iter().find(|node| node.starts_with(&claim)).ok_or("the lock was lost")?;
///
/// let mut write = client.new_check_writer(&format!("{directory}/{own}"), None)?;
/// write.add_set_data("/apps/blue/report", b"done", None)?;
/// write.commit().await?; // fails if the node is gone, and then has written nothing
/// # Ok(()) }
/// ```
///
/// # Errors
/// If the URL is none of this driver's.
pub fn lock_directory(endpoint: &Endpoint, lock: &Name) -> Result<String> {
    let config = Config::read(endpoint)?;
    let keys = Keys::new(&config.namespace, config.python_elections);
    Ok(config.chroot.unwrap_or_default() + &keys.seat(&Seat::Lock(lock.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_lies_below_the_chroot_and_the_namespace_of_the_url() {
        let of =
            |url: &str, name: &str| lock_directory(&Endpoint::parse(url).unwrap(), &Name::new(name).unwrap());
        assert_eq!(of("zookeeper://h", "nightly").unwrap(), "/tooz/locks/nightly");
        assert_eq!(of("kazoo://h?chroot=/a/b&namespace=n", "x/y").unwrap(), "/a/b/n/locks/x%2Fy");
        assert!(of("zookeeper://h/path", "nightly").is_err());
    }
}
