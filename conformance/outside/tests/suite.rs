//! The whole test of a driver: a harness and two lines.

use std::sync::Arc;

use conformance::{Harness, async_trait, unique};
use desk_driver::DeskDriver;
use tooz_core::backend::Driver;
use tooz_core::{Name, SessionId};

struct AtADesk(String);

impl AtADesk {
    fn new() -> Self {
        Self(unique("desk"))
    }
}

#[async_trait]
impl Harness for AtADesk {
    fn driver(&self) -> Arc<dyn Driver> {
        Arc::new(DeskDriver)
    }

    fn url(&self) -> String {
        format!("desk://{}", self.0)
    }

    async fn expire(&self, _member: &Name, _session: SessionId) {
        unreachable!("sessions at a desk have no lease");
    }

    async fn leftovers(&self) -> Vec<String> {
        desk_driver::leftovers(&self.0)
    }
}

mod clear {
    use super::AtADesk;
    conformance::suite!(AtADesk::new());
}

mod behind_a_bad_network {
    use super::AtADesk;
    conformance::suite_faulty!(AtADesk::new());
}
