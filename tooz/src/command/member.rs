//! Who the command is, if nobody says.

use tooz::ClaimId;

/// `host-process-random`: readable in a queue, and unique even where containers share host and process ids.
pub(crate) fn default_id() -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let host: String = host.chars().take(64).collect();
    let host = if host.is_empty() { "localhost" } else { &host };
    let random = ClaimId::random().to_string();
    format!("{host}-{}-{}", std::process::id(), random.get(..4).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_defaults_differ_and_name_the_process() {
        let (a, b) = (super::default_id(), super::default_id());
        assert_ne!(a, b);
        assert!(a.contains(&format!("-{}-", std::process::id())), "{a}");
    }
}
