//! Removing a bucket that nobody asks for any more.

use tooz_core::{MessageId, Result};
use zookeeper_client::{Client, Error as Fault, MultiWriteError};

use crate::channel::{Bucket, ChannelKeys, place_of};
use crate::entry::Entry;
use crate::error::{failed, unread};
use crate::look::found;

/// Messages removed by one transaction, each with its id.
const MESSAGES: usize = 64;

/// Removes the messages of a bucket, each together with its id, so that an id that is known has its message; then
/// the large bodies, those that never came to a message included. What others put there stays.
pub(crate) async fn remove(client: &Client, keys: &ChannelKeys, bucket: Bucket) -> Result<()> {
    let directory = keys.bucket(bucket);
    let messages: Vec<_> = children(client, &directory).await?;
    let messages: Vec<_> = messages.into_iter().filter(|name| place_of(name).is_some()).collect();
    for some in messages.chunks(MESSAGES) {
        let paths = some.iter().map(|name| format!("{directory}/{name}"));
        let reads: Vec<_> = paths.map(|path| (client.get_data(&path), path)).collect();
        let mut doomed = Vec::new();
        for (read, path) in reads {
            let Some((data, _)) = found(read.await)? else { continue };
            doomed.extend(Entry::decode(&data).map(|entry| (path, entry.id)));
        }
        delete(client, keys, &doomed).await?;
    }
    let bodies = keys.parts(bucket);
    let parts: Vec<_> = children(client, &bodies).await?.into_iter().filter(|name| is_part(name)).collect();
    let parts = parts.iter().map(|name| format!("{bodies}/{name}"));
    delete_each(client, parts.chain([bodies.clone(), directory])).await
}

/// One transaction, or each by itself where something of it is gone already.
async fn delete(client: &Client, keys: &ChannelKeys, doomed: &[(String, MessageId)]) -> Result<()> {
    let mut writer = client.new_multi_writer();
    let mut add = || {
        doomed.iter().try_for_each(|(path, id)| {
            writer.add_delete(&keys.id(*id), None)?;
            writer.add_delete(path, None)
        })
    };
    add().map_err(|fault| failed("remove messages", fault))?;
    match writer.commit().await {
        Ok(_) => Ok(()),
        Err(MultiWriteError::OperationFailed { source: Fault::NoNode | Fault::NotEmpty, .. }) => {
            let paths = doomed.iter().flat_map(|(path, id)| [keys.id(*id), path.clone()]);
            delete_each(client, paths).await
        }
        Err(fault) => Err(failed("remove messages", fault.into())),
    }
}

async fn delete_each(client: &Client, paths: impl Iterator<Item = String>) -> Result<()> {
    let deletions: Vec<_> = paths.map(|path| client.delete(&path, None)).collect();
    for deletion in deletions {
        match deletion.await {
            // Somebody else's nodes are in it.
            Ok(()) | Err(Fault::NoNode | Fault::NotEmpty) => {}
            Err(fault) => return Err(failed("remove a bucket", fault)),
        }
    }
    Ok(())
}

async fn children(client: &Client, directory: &str) -> Result<Vec<String>> {
    match client.list_children(directory).await {
        Ok(names) => Ok(names),
        Err(Fault::NoNode) => Ok(Vec::new()),
        Err(fault) => Err(unread("list a bucket", fault)),
    }
}

/// Whether a node is part of a body of ours.
fn is_part(name: &str) -> bool {
    let parsed = name.split_once('-').map(|(id, part)| (MessageId::parse(id), part));
    matches!(parsed, Some((Some(_), "0" | "1")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_ours_are_told_from_what_others_put_there() {
        let id = MessageId::random();
        assert!(is_part(&format!("{id}-0")) && is_part(&format!("{id}-1")));
        for foreign in ["x-0", "", "-0", &format!("{id}"), &format!("{id}-2"), &format!("{id}-x")] {
            assert!(!is_part(foreign), "{foreign}");
        }
    }
}
