//! Futures dropped at their awaits, one after the other and while others do the same.
//!
//! * [`drop_acquires`]: many acquires of one lock, each dropped at an await drawn from a seed, among others.
//! * [`CALLS`]: every future that a coordinator offers. [`sweep`] drops one of them after one poll, after two, and so
//!   on until it ends by itself, and looks each time whether anything stayed.

mod acquires;
mod beside;
mod calls;
mod elections;
mod groups;
mod left;
mod locks;
mod mail;
mod sessions;
mod site;
mod topics;

pub use self::acquires::{Dropped, drop_acquires};
pub use self::calls::{CALLS, Call, Swept, sweep};
pub use self::left::{files_left, open_files, remains, threads};
pub use self::site::Site;
