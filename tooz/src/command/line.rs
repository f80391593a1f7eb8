//! Reading the command line, and saying in one line what is wrong with it.

use std::ffi::OsString;

use clap::Parser;
use clap::error::ErrorKind;

use super::args::Line;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;

/// The command line of this process. Help and version are printed here and end well.
pub(crate) fn read() -> Result<Line, Exit> {
    let words: Vec<OsString> = std::env::args_os().collect();
    Line::try_parse_from(&words).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Whoever closed the pipe has read enough.
            let _ = error.print();
            Exit::Done
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Exit::Usage
        }
        _ => {
            Output::new(wants_json(&words)).fail(&Failure::usage(one_line(&error.to_string(), error.kind())));
            Exit::Usage
        }
    })
}

/// Whether `--json` was asked for, as far as can be told of a line that cannot be read.
fn wants_json(words: &[OsString]) -> bool {
    words.iter().take_while(|word| *word != "--").any(|word| word == "--json")
}

/// Clap's report without its usage part, on one line.
fn one_line(report: &str, kind: ErrorKind) -> String {
    let report = report.strip_prefix("error: ").unwrap_or(report);
    let (what, _) = report.split_once("\n\nUsage:").unwrap_or((report, ""));
    let (what, _) = what.split_once("\n\nFor more information").unwrap_or((what, ""));
    // Whoever mistypes an option does not mean a value that looks like one.
    let lines = what.lines().filter(|line| !line.trim_start().starts_with("tip: to pass "));
    let words: Vec<String> = lines.flat_map(str::split_whitespace).map(without_secrets).collect();
    let what = words.join(" ");
    let hint = if kind == ErrorKind::UnknownArgument { " (a command to run stands after --)" } else { "" };
    format!("{what}{hint}; see tooz --help")
}

/// The word without what may be secret of a URL in it, which may stand where none is expected: user, password, options.
fn without_secrets(word: &str) -> String {
    let Some((head, url)) = word.split_once("://") else { return word.to_owned() };
    let (url, quote) = url.strip_suffix('\'').map_or((url, ""), |url| (url, "'"));
    let (user, host) = url.rsplit_once('@').map_or(("", url), |(_, host)| ("***@", host));
    let (host, options) = host.split_once('?').map_or((host, ""), |(host, _)| (host, "?***"));
    format!("{head}://{user}{host}{options}{quote}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &[&str]) -> String {
        let error = Line::try_parse_from(line).unwrap_err();
        one_line(&error.to_string(), error.kind())
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for line in [
            ["tooz", "lock"].as_slice(),
            &["tooz", "lokc", "a"],
            &["tooz", "lock", "a", "--timeout", "soon", "--", "true"],
            &["tooz", "lock", "a", "true"],
            &["tooz", "who", "a", "--nope"],
            &["tooz", "lock", "a", "--fail-fast", "--", "true"],
            &["tooz"],
        ] {
            let told = wrong(line);
            assert!(!told.contains('\n') && told.contains("--help"), "{told}");
            assert!(!told.contains("as a value"), "{told}");
        }
        let told = wrong(&["tooz", "doctor", "redis://u:sesame@host/?db=3"]);
        assert!(told.contains("'redis://***@host/?***' found"), "{told}");
        assert!(wrong(&["tooz", "who", "a", "--timeout", "soon"]).contains("5s"));
        assert!(wrong(&["tooz", "lock", "a", "--timout", "5s", "--", "true"]).contains("'--timeout'"));
    }

    #[test]
    fn json_is_recognised_before_the_dashes_only() {
        let words = |line: &[&str]| line.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(wants_json(&words(&["tooz", "--json", "lokc"])));
        assert!(!wants_json(&words(&["tooz", "lock", "--", "x", "--json"])));
    }
}
