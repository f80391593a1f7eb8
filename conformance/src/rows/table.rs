//! Figures as a table of a document, between two marks.

use std::fmt::Write;

use super::{Line, Outcome};

/// Where the table begins.
pub(super) const BEGIN: &str = "<!-- figures: begin -->";
/// Where it ends.
pub(super) const END: &str = "<!-- figures: end -->";

/// The lines as a table.
pub fn table(lines: &[Line]) -> String {
    let mut text = String::from("| row | store | done | hits (at least) | violations | figures | |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    for line in lines {
        let hits = match line.least_hits {
            0 => "–".to_owned(),
            least => format!("{} ({least})", line.hits),
        };
        let broken = match line.expected {
            0 => line.violations.to_string(),
            expected => format!("{} (and {expected} documented)", line.violations),
        };
        // Where a history lies is of use on the machine that has it.
        let facts = line.facts.iter().filter(|(name, _)| name.as_str() != "history");
        let facts: Vec<String> = facts.map(|(name, value)| format!("{name} {value}")).collect();
        let verdict = if line.passes() { "passed" } else { "**failed**" };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} of {} | {hits} | {broken} | {} | {verdict}, {} s |",
            line.row,
            line.store,
            line.done,
            line.wanted,
            facts.join(", ").replace('|', "/"),
            line.seconds
        );
    }
    text
}

/// The document with the table between its marks.
///
/// # Errors
/// If it has no such marks.
pub fn put(document: &str, table: &str) -> Outcome<String> {
    let marks = || format!("no {BEGIN} followed by {END}");
    let (before, rest) = document.split_once(BEGIN).ok_or_else(marks)?;
    let (_, after) = rest.split_once(END).ok_or_else(marks)?;
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_takes_the_place_of_the_one_before_and_of_nothing_else() {
        let lines = [Line { done: 3, ..Line::new("killed", "file", 3) }];
        let once = put(&format!("above\n{BEGIN}\n{END}\nbelow"), &table(&lines)).unwrap();
        assert!(once.starts_with("above\n") && once.ends_with("\nbelow"), "{once}");
        assert!(once.contains("| killed | file | 3 of 3 | – | 0 |"), "{once}");
        assert_eq!(put(&once, &table(&lines)).unwrap(), once);
        put("no marks", "").unwrap_err();
    }
}
