//! Who the command is: as said, or if nobody says.

use tooz::ClaimId;

use super::failure::Failure;

/// Who we are by the command line, else by the environment.
pub(crate) fn named(given: &[String]) -> Result<Option<String>, Failure> {
    let named = match given {
        [] => std::env::var_os("TOOZ_MEMBER").map(std::ffi::OsString::into_string).transpose(),
        [one] => Ok(Some(one.clone())),
        _ => return Err(Failure::usage("--member is given more than once: who are we?")),
    };
    let named = named.map_err(|_| Failure::usage("TOOZ_MEMBER is no UTF-8 text"))?;
    Ok(named.filter(|id| !id.is_empty()))
}

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
    fn nobody_is_two_members() {
        let named =
            |given: &[&str]| super::named(&given.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
        assert_eq!(named(&["a"]), Ok(Some("a".to_owned())));
        assert_eq!(named(&[""]), Ok(None));
        assert!(named(&["a", "b"]).is_err());
    }

    #[test]
    fn two_defaults_differ_and_name_the_process() {
        let (a, b) = (super::default_id(), super::default_id());
        assert_ne!(a, b);
        assert!(a.contains(&format!("-{}-", std::process::id())), "{a}");
    }
}
