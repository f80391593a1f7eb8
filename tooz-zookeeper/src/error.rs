//! What ZooKeeper's client says, as kind and effect.

use tooz_core::{Error, ErrorKind};
use zookeeper_client::Error as Fault;

/// The error of a request: `deed` says what was tried.
pub(crate) fn failed(deed: &str, fault: Fault) -> Error {
    let (kind, reached) = judge(&fault);
    let error = Error::new(kind, format!("{deed}: {}", said(&fault)));
    if reached { error.effect_unknown() } else { error }.with_source(fault)
}

/// The error of a request that only reads.
pub(crate) fn unread(deed: &str, fault: Fault) -> Error {
    let (kind, _) = judge(&fault);
    Error::new(kind, format!("{deed}: {}", said(&fault))).with_source(fault)
}

/// Kind, and whether the request may have been carried out.
fn judge(fault: &Fault) -> (ErrorKind, bool) {
    match fault {
        Fault::SessionExpired | Fault::ClientClosed => (ErrorKind::SessionLost, false),
        Fault::NoAuth | Fault::AuthFailed | Fault::InvalidAcl => (ErrorKind::Denied, false),
        Fault::QuotaExceeded => (ErrorKind::Exhausted, false),
        Fault::NoHosts | Fault::Throttled | Fault::NotReadOnly | Fault::SessionMoved => {
            (ErrorKind::Unavailable, false)
        }
        Fault::NoNode | Fault::NodeExists | Fault::NotEmpty | Fault::BadVersion => {
            (ErrorKind::Unavailable, false)
        }
        Fault::NoChildrenForEphemerals => (ErrorKind::Corrupt, false),
        Fault::Unimplemented | Fault::ReconfigDisabled => (ErrorKind::Unsupported, false),
        Fault::BadArguments(_) | Fault::NoWatcher | Fault::MarshallingError => (ErrorKind::Internal, false),
        // Connection lost, a reset (`Custom`), no answer in time, and whatever a later version adds.
        _ => (ErrorKind::Unavailable, true),
    }
}

fn said(fault: &Fault) -> String {
    match fault {
        Fault::NoAuth => "not authorized: another user's access list is in the way".to_owned(),
        Fault::Timeout => "no answer in time".to_owned(),
        fault => fault.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tooz_core::Effect;

    use super::*;

    #[test]
    fn a_lost_connection_leaves_the_effect_open_and_a_refusal_does_not() {
        for fault in [Fault::ConnectionLoss, Fault::Timeout] {
            let error = failed("create", fault);
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown));
        }
        for (fault, kind) in [
            (Fault::NoAuth, ErrorKind::Denied),
            (Fault::SessionExpired, ErrorKind::SessionLost),
            (Fault::QuotaExceeded, ErrorKind::Exhausted),
        ] {
            let error = failed("create", fault);
            assert_eq!((error.kind(), error.effect()), (kind, Effect::None));
        }
        assert_eq!(unread("list", Fault::ConnectionLoss).effect(), Effect::None);
    }
}
