//! A driver with less than everything: exclusive locks at a desk inside this process. No shared locks, no
//! groups; its profile says so, and the suite checks both what it declares and what it does not.

mod desk;
mod driver;

pub use driver::DeskDriver;

/// What is left at the desk of this name: for its harness.
pub fn leftovers(name: &str) -> Vec<String> {
    desk::Desk::named(name).leftovers()
}
