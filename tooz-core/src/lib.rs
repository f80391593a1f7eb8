//! Core of tooz.

pub mod backend;
mod capability;
mod claim;
mod clock;
pub mod endpoint;
mod error;
mod lost;
pub mod memory;
mod name;

pub use backend::Requirement;
pub use capability::{Capabilities, MAX_CAPABILITIES_BYTES, MAX_CAPABILITIES_DEPTH};
pub use claim::{Claim, ClaimId, FencingToken, Mode, Seat, SessionId};
pub use clock::{BootClock, Clock, Moment, TokioClock};
pub use endpoint::Endpoint;
pub use error::{Effect, Error, ErrorKind, Result};
pub use lost::Cause;
pub use name::{MAX_NAME_BYTES, Name};
