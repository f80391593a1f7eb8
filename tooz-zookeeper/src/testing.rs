//! What tests of this driver need and no program does.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use tooz_core::SessionId;
use zookeeper_client::{Client, Error as Fault, SessionInfo};

use crate::config::Config;
use crate::session::locked;

/// The sessions that were opened, with what it takes to end them.
#[derive(Clone, Default)]
pub(crate) struct Opened(Arc<Mutex<HashMap<SessionId, (String, SessionInfo)>>>);

impl Opened {
    pub(crate) fn note(&self, session: SessionId, config: &Config, info: SessionInfo) {
        locked(&self.0).insert(session, (config.cluster.clone(), info));
    }

    /// Takes the session over and closes it, as the store itself does when its time is up.
    pub(crate) async fn expire(&self, session: SessionId) {
        let Some((cluster, info)) = locked(&self.0).remove(&session) else { return };
        // The owner comes back as soon as it is pushed off, and may push back before the session is closed.
        loop {
            let connector = Client::connector().with_fail_eagerly().with_session(info.clone());
            match connector.connect(&cluster).await {
                Ok(client) => {
                    let mut states = client.state_watcher();
                    let mut state = states.state();
                    drop(client);
                    while !state.is_terminated() {
                        state = states.changed().await;
                    }
                }
                Err(Fault::SessionExpired) => return,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({})", locked(&self.0).len())
    }
}
