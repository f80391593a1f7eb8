//! The guide says what the code does.

#![allow(clippy::expect_used)] // a failed assumption here is a failed test

use tooz_core::backend::Driver;

const GUIDE: &str = include_str!("../../docs/guide/redis.md");
const RULES: &str = include_str!("../src/acl.rules");

#[test]
fn the_guide_lists_the_permissions_the_suite_runs_with() {
    assert!(GUIDE.contains(&format!("```text\n{RULES}```")), "copy src/acl.rules into docs/guide/redis.md");
}

#[test]
fn the_guide_names_every_option() {
    for option in tooz_redis::RedisDriver::new().options() {
        assert!(GUIDE.contains(&format!("`{}", option.name)), "the guide does not name {}", option.name);
    }
}
