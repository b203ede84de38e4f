//! `broker SERVER.PROPERTIES [--override KEY=VALUE]…`, as `kafka-server-start` takes it, and two things beside it.

use std::path::PathBuf;

use broker::config::Sources;
use clap::{Args, Parser, Subcommand};

/// What the program is asked to do.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// Run a broker.
    Run(Run),
    /// Say whether a broker would start with this configuration.
    CheckConfig(Run),
    /// Print the page of what is compatible with Kafka.
    Compatibility,
}

/// Reads the command line; `--help`, `--version` and mistakes end the process.
pub(crate) fn read() -> Command {
    let CommandLine { command, run } = CommandLine::parse();
    match (command, run) {
        (Some(Other::CheckConfig(run)), _) => Command::CheckConfig(run),
        (
            Some(Other::Docs {
                page: Page::Compatibility,
            }),
            _,
        ) => Command::Compatibility,
        (None, Some(run)) => Command::Run(run),
        (None, None) => unreachable!("clap asks for the file where there is no command"),
    }
}

/// A message broker that speaks Apache Kafka's protocol (3.9), keeps its file formats, and coordinates through ZooKeeper.
///
/// Configuration comes from defaults, SERVER.PROPERTIES, the environment (KAFKA_X_Y or KAFKA_CFG_X_Y for x.y; __ for -,
/// ___ for _) and --override, later ones first. OTTLA_LOG sets what is logged, for example info,broker::net=debug.
#[derive(Debug, Parser)]
#[command(
    name = "broker",
    version = concat!(env!("CARGO_PKG_VERSION"), " (ottla; compatible with Apache Kafka 3.9)"),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Other>,
    #[command(flatten)]
    run: Option<Run>,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Check a configuration without starting anything.
    CheckConfig(Run),
    /// Print documentation that is generated from the program.
    Docs {
        /// Which page.
        page: Page,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Page {
    /// API keys and versions, configuration keys, znodes: docs/compatibility.md.
    Compatibility,
}

/// Where the configuration is.
#[derive(Args, Clone, Debug)]
pub(crate) struct Run {
    /// The properties file.
    #[arg(value_name = "SERVER.PROPERTIES")]
    file: PathBuf,
    /// A setting that counts before all others; may be repeated.
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = pair)]
    overrides: Vec<(String, String)>,
}

impl Run {
    /// With the environment of this process; a variable that is not UTF-8 spells no key.
    pub(crate) fn into_sources(self) -> Sources {
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Sources {
            file: Some(self.file),
            environment: environment.collect(),
            overrides: self.overrides,
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("not of the form KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Result<CommandLine, String> {
        let all = ["broker"].iter().chain(arguments);
        CommandLine::try_parse_from(all).map_err(|error| error.kind().to_string())
    }

    #[test]
    fn the_command_line_is_kafkas() {
        CommandLine::command().debug_assert();
        let run = parse(&["server.properties", "--override", "broker.id=3", "--override", "a=b=c"])
            .unwrap()
            .run
            .unwrap();
        assert_eq!(run.file, PathBuf::from("server.properties"));
        assert_eq!(
            run.overrides,
            [("broker.id".into(), "3".into()), ("a".into(), "b=c".into())]
        );
        assert!(parse(&[]).is_err());
        assert!(parse(&["server.properties", "--override", "nonsense"]).is_err());
        assert!(parse(&["server.properties", "other.properties"]).is_err());
    }

    #[test]
    fn there_are_two_things_beside_it() {
        assert!(matches!(
            parse(&["check-config", "server.properties"]).unwrap().command,
            Some(Other::CheckConfig(Run { .. }))
        ));
        assert!(matches!(
            parse(&["docs", "compatibility"]).unwrap().command,
            Some(Other::Docs {
                page: Page::Compatibility
            })
        ));
    }
}
