//! Conversations. Each file of `scripts/` is commands (`> `), and under each what happened; `#` begins a comment.
//!
//! `UPDATE_SCRIPTS=1 cargo test -p coordinator scripts` writes what happens now; read the difference before keeping it.

use std::fmt::Write as _;
use std::path::Path;

use super::stage::Stage;

#[test]
fn scripts_happen_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/group/tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 6, "scripts are missing");
    for path in paths {
        let written = std::fs::read_to_string(&path).unwrap();
        let happened = play(&written);
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            std::fs::write(&path, &happened).unwrap();
        } else {
            for (number, (happened, written)) in happened.lines().zip(written.lines()).enumerate() {
                assert_eq!(happened, written, "{}:{}", path.display(), number + 1);
            }
            assert_eq!(happened.len(), written.len(), "{}", path.display());
        }
    }
}

/// Each story, begun by a line of `===`, has a stage of its own.
fn play(script: &str) -> String {
    let mut out = String::new();
    let mut stage = Stage::new();
    for line in script.lines() {
        if line.starts_with("===") {
            stage = Stage::new();
            writeln!(out, "{line}").unwrap();
        } else if let Some(command) = line.strip_prefix("> ") {
            stage.trace.clear();
            stage.run(command);
            writeln!(out, "> {command}\n{}", stage.trace.trim_end()).unwrap();
            if stage.trace.is_empty() {
                out.pop();
            }
        } else if line.starts_with('#') || line.is_empty() {
            writeln!(out, "{line}").unwrap();
        }
    }
    out
}
