//! The stock tools and clients, run to their end with a deadline.
//!
//! Each run is a line on standard error, past the test framework's capturing: the log of a passed suite shows who was at work.

use crate::process::{Outcome, run_with_input};
use crate::repository;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// No stock tool takes longer than this on a machine with two busy cores, unless something hangs.
const DEADLINE_SECONDS: u64 = 90;

fn words(program: &str, arguments: &[&str]) -> Vec<String> {
    std::iter::once(program)
        .chain(arguments.iter().copied())
        .map(str::to_owned)
        .collect()
}

/// Runs `all`, which the log knows as `name` with `arguments`.
fn run_and_tell(name: &str, arguments: &[&str], all: &[String], input: &[u8]) -> Outcome {
    let begin = Instant::now();
    let outcome = run_with_input(all, input, DEADLINE_SECONDS);
    let mut line = format!("    {name} {}", arguments.join(" ")).replace('\n', " ");
    if let Some((cut, _)) = line.char_indices().nth(150) {
        line.truncate(cut);
        line.push('…');
    }
    // Nobody can be told if this fails, and nothing depends on it.
    let _ = writeln!(std::io::stderr(), "{line}  [{:.1} s]", begin.elapsed().as_secs_f32());
    outcome
}

/// Runs one of Kafka's own tools: `kafka("kafka-topics", &["--list", …])`.
pub fn kafka(tool: &str, arguments: &[&str]) -> Outcome {
    kafka_with_input(tool, arguments, &[])
}

/// As [`kafka`], with something on its standard input.
pub fn kafka_with_input(tool: &str, arguments: &[&str], input: &[u8]) -> Outcome {
    let launcher = repository().join("integration-tests/tools/kafka").display().to_string();
    let mut all = words(&launcher, &[tool]);
    all.extend(arguments.iter().map(|a| (*a).to_owned()));
    run_and_tell(tool, arguments, &all, input)
}

/// Runs one of Kafka 2.8's own tools, the last ones that write to ZooKeeper by themselves.
pub fn kafka_2_8(tool: &str, arguments: &[&str]) -> Outcome {
    let launcher = repository().join("integration-tests/tools/kafka").display().to_string();
    let mut all = words(&launcher, &["2.8", tool]);
    all.extend(arguments.iter().map(|a| (*a).to_owned()));
    run_and_tell(&format!("2.8 {tool}"), arguments, &all, &[])
}

/// Runs one of Kafka 0.10's own tools, with something on its standard input: clients that know no record batches.
pub fn kafka_0_10(tool: &str, arguments: &[&str], input: &[u8]) -> Outcome {
    let launcher = repository().join("integration-tests/tools/kafka").display().to_string();
    let mut all = words(&launcher, &["0.10", tool]);
    all.extend(arguments.iter().map(|a| (*a).to_owned()));
    run_and_tell(&format!("0.10 {tool}"), arguments, &all, input)
}

/// Runs kcat.
pub fn kcat(arguments: &[&str]) -> Outcome {
    kcat_with_input(arguments, &[])
}

/// Everything in a topic, from its beginning to its end, with checksums looked at; each record as kcat's `format` says.
///
/// # Panics
/// Panics unless kcat then ends well.
pub fn kcat_reads_all(bootstrap: &str, topic: &str, format: &str) -> String {
    let all = ["-b", bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q"];
    let looks = ["-X", "check.crcs=true", "-f", format];
    kcat(&[&all[..], &looks[..]].concat()).succeeds()
}

/// As [`kcat`], with something on its standard input.
pub fn kcat_with_input(arguments: &[&str], input: &[u8]) -> Outcome {
    // Metadata is asked for again and again while something is waited for.
    if arguments.contains(&"-L") {
        return run_with_input(&words("kcat", arguments), input, DEADLINE_SECONDS);
    }
    run_and_tell("kcat", arguments, &words("kcat", arguments), input)
}

/// Runs one of the clients of `tools/clients`: `python/confluent.py`, `python/pure.py`, `node/client.js` or `go`.
///
/// # Panics
/// Panics when what it needs has not been set up, or for another name.
pub fn client(name: &str, arguments: &[&str]) -> Outcome {
    run_and_tell(name, arguments, &client_command(name, arguments), &[])
}

/// The command of such a client.
pub(crate) fn client_command(name: &str, arguments: &[&str]) -> Vec<String> {
    let cache = cache();
    let source = repository()
        .join("integration-tests/tools/clients")
        .join(name)
        .display()
        .to_string();
    let (program, script) = match name.split('/').next() {
        Some("python") => (cache.join("python/bin/python"), Some(source)),
        Some("node") => (PathBuf::from("node"), Some(source)),
        Some("go") => (cache.join("go/franz"), None),
        _ => panic!("no client named {name}"),
    };
    let marker = cache.join(name.split('/').next().unwrap_or(name)).join(".complete");
    assert!(
        marker.exists(),
        "{name} has not been set up: run integration-tests/tools/set-up"
    );
    // Node looks for modules beside the script; ours are in the cache.
    let modules = format!("NODE_PATH={}", cache.join("node/node_modules").display());
    let mut all = vec!["env".to_owned(), modules, program.display().to_string()];
    all.extend(script);
    all.extend(arguments.iter().map(|a| (*a).to_owned()));
    all
}

/// Kafka's own client library: the schemas of all requests are in it.
///
/// # Panics
/// Panics when it has not been set up.
pub fn kafka_jar() -> PathBuf {
    let jar = cache().join("kafka-3.9.1/libs/kafka-clients-3.9.1.jar");
    assert!(
        jar.exists(),
        "Kafka's jars have not been set up: run integration-tests/tools/set-up kafka"
    );
    jar
}

/// Where `tools/set-up` puts what it fetches; see `tools/lib.sh`.
fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("OTTLA_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|c| c.join("ottla")))
        .or_else(|| set("HOME").map(|h| h.join(".cache/ottla")))
        .expect("one of OTTLA_CACHE, XDG_CACHE_HOME and HOME is set")
}
