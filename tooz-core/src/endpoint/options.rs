//! Options of a URL: their types, and what of them is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Endpoint, Secret, decoded, misplaced};
use crate::backend::{OptionKind, OptionSpec};
use crate::error::{Error, ErrorKind, Result};

/// Options every driver knows, because core acts on them.
pub const COMMON_OPTIONS: &[OptionSpec] = &[
    OptionSpec { name: "timeout", kind: OptionKind::Span, help: "longest wait for the store's answer" },
    OptionSpec { name: "lock_timeout", kind: OptionKind::Span, help: "time to live of locks" },
    OptionSpec { name: "membership_timeout", kind: OptionKind::Span, help: "time to live of memberships" },
    OptionSpec {
        name: "claim_margin",
        kind: OptionKind::Span,
        help: "how long before the store a guard gives up",
    },
];

impl Endpoint {
    /// Checks every option against the common ones and the driver's.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] for an unknown option (listing the known ones), an ill-typed value, or an
    /// option given twice that is no [`Texts`](OptionKind::Texts).
    pub fn check_options(&self, driver: &str, known: &[OptionSpec]) -> Result<()> {
        for (name, values) in &self.options {
            let spec = COMMON_OPTIONS.iter().chain(known).find(|spec| spec.name == name);
            let Some(spec) = spec else {
                let list: Vec<String> = known
                    .iter()
                    .chain(COMMON_OPTIONS)
                    .map(|spec| format!("{} ({})", spec.name, spec.help))
                    .collect();
                return Err(Error::new(
                    ErrorKind::InvalidOption,
                    format!(
                        "URL option {name:?} is unknown to the {driver} driver; it knows: {}",
                        list.join(", ")
                    ),
                ));
            };
            if values.len() > 1 && spec.kind != OptionKind::Texts {
                let text = format!("URL option {name:?} is given twice: give it once");
                return Err(Error::new(ErrorKind::InvalidOption, text));
            }
            let fits = |value: &&String| match spec.kind {
                OptionKind::Flag => parse_flag(value).is_some(),
                OptionKind::Span => parse_span(value).is_some(),
                OptionKind::Count => value.parse::<u64>().is_ok(),
                OptionKind::Text | OptionKind::Texts | OptionKind::Secret => true,
            };
            if let Some(value) = values.iter().find(|value| !fits(value)) {
                return Err(ill_typed(name, value, spec.kind));
            }
        }
        Ok(())
    }

    /// A [`Flag`](OptionKind::Flag) option, `false` if absent.
    pub fn flag(&self, name: &str) -> Result<bool> {
        let Some(value) = self.text(name) else { return Ok(false) };
        parse_flag(value).ok_or_else(|| ill_typed(name, value, OptionKind::Flag))
    }

    /// A [`Span`](OptionKind::Span) option.
    pub fn span(&self, name: &str) -> Result<Option<Duration>> {
        let Some(value) = self.text(name) else { return Ok(None) };
        parse_span(value).map(Some).ok_or_else(|| ill_typed(name, value, OptionKind::Span))
    }

    /// A [`Count`](OptionKind::Count) option.
    pub fn count(&self, name: &str) -> Result<Option<u64>> {
        let Some(value) = self.text(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| ill_typed(name, value, OptionKind::Count))
    }

    /// A [`Text`](OptionKind::Text) option.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.options.get(name).and_then(|values| values.last()).map(String::as_str)
    }

    /// Every value of a [`Texts`](OptionKind::Texts) option, in the URL's order.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.options.get(name).into_iter().flatten().map(String::as_str)
    }

    /// A [`Secret`](OptionKind::Secret) option.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }
}

/// The options of a query, each with its values in their order.
pub(super) fn read(query: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut options = BTreeMap::<_, Vec<_>>::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name.contains('@') {
            return Err(misplaced("name of an option", "'?' in a user or password as %3F"));
        }
        let name = decoded(name, "option name")?;
        let value = decoded(value, "option value")?;
        options.entry(name).or_default().push(value);
    }
    Ok(options)
}

fn ill_typed(name: &str, value: &str, kind: OptionKind) -> Error {
    if value.contains('@') {
        return misplaced("options", "'?' in a user or password as %3F");
    }
    let wanted = match kind {
        OptionKind::Flag => "true or false",
        OptionKind::Span => "a time above zero: seconds (30, 0.5) or with a unit (500ms, 2m)",
        OptionKind::Count => "a whole number",
        OptionKind::Text | OptionKind::Texts | OptionKind::Secret => "text",
    };
    Error::new(ErrorKind::InvalidOption, format!("URL option {name}={value:?} is not {wanted}"))
}

fn parse_flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Reads seconds (`30`, `0.5`) or a span with a unit (`500ms`, `2m`); more than zero, at most 366 days.
pub fn parse_span(text: &str) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
    let span = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => humantime::parse_duration(text).ok()?,
    };
    (Duration::ZERO < span && span <= LONGEST).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_repeated_only_where_it_may_be() {
        let known = [OptionSpec { name: "also", kind: OptionKind::Texts, help: "another host" }];
        let e = Endpoint::parse("redis://h?also=a:1&also=b:2").unwrap();

        e.check_options("redis", &known).unwrap();
        assert_eq!(e.texts("also").collect::<Vec<_>>(), ["a:1", "b:2"]);
        assert_eq!(e.texts("other").count(), 0);
        let once = [OptionSpec { kind: OptionKind::Text, ..known[0] }];
        assert!(e.check_options("redis", &once).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn unknown_and_ill_typed_options_are_refused_with_what_is_known() {
        let known = [OptionSpec { name: "db", kind: OptionKind::Count, help: "database" }];
        let check =
            |query: &str| Endpoint::parse(&format!("redis://h?{query}"))?.check_options("redis", &known);

        check("db=3&timeout=5&lock_timeout=500ms").unwrap();
        let unknown = check("dbb=3").unwrap_err();
        assert!(unknown.to_string().contains("db (database), timeout"), "{unknown}");
        for query in [
            "db=x",
            "db=-1",
            "timeout=0",
            "timeout=-1",
            "timeout=soon",
            "timeout=nan",
            "timeout=1e300",
            "db=1&db=2",
        ] {
            assert_eq!(check(query).unwrap_err().kind(), ErrorKind::InvalidOption, "{query}");
        }
    }
}
