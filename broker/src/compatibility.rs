//! `docs/compatibility.md`: what of Kafka 3.9 this broker speaks, reads and keeps, from the tables in the code.
//!
//! `broker docs compatibility` prints it; a test holds the committed page to it.

use std::fmt::Write;

use broker_wire::apis;

use crate::api;
use crate::config::{DYNAMIC_ONLY_KEYS, KEYS, OWN_KEYS};

/// The page, in Markdown.
pub fn page() -> String {
    let mut page = String::from(
        "# Compatibility with Apache Kafka 3.9\n\n\
         Generated from the tables in the code by `broker docs compatibility`; do not edit.\n",
    );
    requests(&mut page);
    configurations(&mut page);
    znodes(&mut page);
    page
}

/// Writing to a `String` cannot fail.
macro_rules! line {
    ($page:expr, $($text:tt)*) => {
        let _ = writeln!($page, $($text)*);
    };
}

fn requests(page: &mut String) {
    line!(page, "\n## Requests\n");
    line!(
        page,
        "ApiVersions lists exactly these {} kinds at these versions.\n",
        api::APIS.len()
    );
    line!(
        page,
        "| key | request | versions served | Kafka 3.9 in ZooKeeper mode |\n|---:|---|---|---|"
    );
    for known in &apis::APIS {
        let served = match api::served(known.key) {
            Some(api) => versions(api.min_version, api.max_version),
            None => "—".to_owned(),
        };
        line!(
            page,
            "| {} | {} | {served} | {} |",
            known.key,
            known.name,
            versions(known.min_version, known.max_version)
        );
    }
}

fn versions(min: i16, max: i16) -> String {
    if min == max {
        min.to_string()
    } else {
        format!("{min}–{max}")
    }
}

fn configurations(page: &mut String) {
    let acted_on = KEYS.iter().filter(|key| key.acted_on).count();
    line!(page, "\n## Broker configurations\n");
    line!(
        page,
        "All {} keys of Kafka 3.9.1 are known: their values are checked, and a bad one ends the start. {acted_on} are acted \
         upon; the others are accepted and, when set, named in one warning. Dynamic only: {}. Our own: {}.\n",
        KEYS.len(),
        names(DYNAMIC_ONLY_KEYS.iter().copied()),
        names(OWN_KEYS.iter().map(|key| key.name))
    );
    line!(
        page,
        "| key | type | default | may change | acted upon | meaning |\n|---|---|---|---|---|---|"
    );
    for key in KEYS.iter().chain(OWN_KEYS) {
        let default = match key.default {
            None => "null".to_owned(),
            Some("") => "\"\"".to_owned(),
            Some(text) => format!("`{text}`"),
        };
        let (of, mode) = (key.of.name(), key.update_mode.name());
        let acted_on = if key.acted_on { "yes" } else { "no" };
        line!(
            page,
            "| `{}` | {of} | {default} | {mode} | {acted_on} | {} |",
            key.name,
            key.doc
        );
    }
}

fn names<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    keys.map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

fn znodes(page: &mut String) {
    line!(page, "\n## Znodes\n");
    line!(
        page,
        "Written byte for byte as Kafka 3.9 writes them; every older version is read.\n"
    );
    line!(page, "| znode | written by | content |\n|---|---|---|");
    for znode in zk_schema::ZNODES {
        line!(page, "| `{}` | {} | {} |", znode.path, znode.written_by, znode.doc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the committed page is; `OTTLA_UPDATE_DOCS=1 cargo test -p broker compatibility` writes it anew.
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/compatibility.md");

    #[test]
    fn the_committed_page_is_the_generated_one() {
        let page = page();
        if std::env::var_os("OTTLA_UPDATE_DOCS").is_some() {
            std::fs::write(PATH, &page).unwrap();
        }
        let committed = std::fs::read_to_string(PATH).unwrap_or_default();
        assert!(
            committed == page,
            "docs/compatibility.md is not current: run `broker docs compatibility` into it"
        );
    }

    #[test]
    fn the_page_has_every_table() {
        let page = page();
        for part in [
            "| 18 | ApiVersions | ",
            "| `log.retention.hours` | INT | `168` | read-only | yes | ",
            "| `/controller` | ",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(
            page.lines()
                .filter(|line| line.starts_with('|'))
                .all(|line| line.ends_with('|'))
        );
    }
}
