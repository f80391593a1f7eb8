//! The proof that ends every case: nothing is left behind.

use super::time::{eventually, within};
use super::{World, fail, locked};

impl World {
    /// Proves that nothing is left behind: every seat that was named is free and nobody waits for it, every
    /// group that was named is empty or gone, all while coordinators are still open; then, with all of them
    /// closed, the store itself is empty.
    pub async fn finish(self) {
        let sessions = std::mem::take(&mut *locked(&self.sessions));
        for (_, backend) in sessions {
            // Fails where the case ended the session before; what that leaves is looked for below.
            let _ = within("close a session", backend.close()).await;
        }
        self.settled().await;

        let coordinators = std::mem::take(&mut *locked(&self.coordinators));
        for coord in coordinators {
            within("close a coordinator", coord.close()).await.unwrap_or_else(fail("close a coordinator"));
        }
        self.land().await;
        eventually("leave nothing behind", async || {
            let left = self.harness.leftovers().await;
            if left.is_empty() { Ok(()) } else { Err(left.join("; ")) }
        })
        .await;
    }

    /// Waits until nobody holds or waits for any seat that was named, and nobody is in any group.
    pub async fn settled(&self) {
        self.land().await;
        let visitor = self.visitor().await;
        if visitor.backend.locks().is_some() {
            for seat in self.traffic.seats() {
                eventually("free every seat", async || {
                    let queue = visitor.queue(&seat).await;
                    let free = queue.holders.is_empty() && queue.waiting.is_empty();
                    if free { Ok(()) } else { Err(format!("{seat}: {queue:?}")) }
                })
                .await;
            }
        }
        if visitor.backend.groups().is_some() {
            for group in self.traffic.groups() {
                eventually("empty every group", async || match visitor.members(&group).await {
                    Some(roster) if !roster.members.is_empty() => {
                        Err(format!("group \"{group}\": {roster:?}"))
                    }
                    _ => Ok(()),
                })
                .await;
            }
        }
        visitor.closed().await;
    }

    /// Carries out what the bad network still holds back.
    async fn land(&self) {
        let late = locked(&self.opened.late).clone();
        for late in late {
            late.land().await;
        }
    }
}
