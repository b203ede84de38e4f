//! A real ZooKeeper, one server, data below the test's directory.

use crate::process::Process;
use crate::{eventually, free_port, kafka_with_input, repository};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A running ZooKeeper; ended when dropped.
pub struct ZooKeeper {
    process: Process,
    directory: PathBuf,
    environment: Vec<String>,
    port: u16,
}

impl ZooKeeper {
    /// Starts one with its data, configuration and log in `directory`, and waits until it answers.
    ///
    /// A tick is 500 ms, so that sessions from one second on are possible and dead brokers are noticed soon.
    pub fn start(directory: &Path) -> Self {
        Self::start_with(directory, "", Vec::new())
    }

    /// The same with more lines in its configuration, and `NAME=value` in its environment.
    pub fn start_with(directory: &Path, lines: &str, environment: Vec<String>) -> Self {
        std::fs::create_dir_all(directory).expect("a directory can be made");
        let port = free_port();
        let configuration = format!(
            "tickTime=500\nminSessionTimeout=1000\nmaxSessionTimeout=60000\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
             maxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=*\nforceSync=no\n{lines}",
            directory.join("data").display()
        );
        std::fs::write(directory.join("zoo.cfg"), configuration).expect("a file can be written");
        let mut zookeeper = Self {
            process: launch(directory, &environment),
            directory: directory.to_owned(),
            environment,
            port,
        };
        zookeeper.wait_until_it_answers();
        zookeeper
    }

    /// `host:port` without a chroot.
    pub fn connect(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same data and port.
    pub fn start_again(&mut self) {
        self.process.kill();
        self.process = launch(&self.directory, &self.environment);
        self.wait_until_it_answers();
    }

    /// Answer to a four-letter command.
    ///
    /// # Errors
    /// Fails when there is no connection or no answer.
    pub fn four_letters(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(command.as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// What the stock `zookeeper-shell` answers to these commands, at `connect` (with its chroot).
    pub fn shell(connect: &str, commands: &[&str]) -> String {
        kafka_with_input(
            "zookeeper-shell",
            &[connect],
            (commands.join("\n") + "\nquit\n").as_bytes(),
        )
        .says()
    }

    fn wait_until_it_answers(&mut self) {
        eventually(60, "ZooKeeper answers", || {
            if let Some(status) = self.process.ended() {
                panic!("ZooKeeper ended with {status}:\n{}", self.process.log());
            }
            match self.four_letters("ruok") {
                Ok(answer) if answer == "imok" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
}

fn launch(directory: &Path, environment: &[String]) -> Process {
    let program = repository().join("integration-tests/tools/zookeeper");
    let mut words = vec!["env".to_owned()];
    words.extend_from_slice(environment);
    words.push(program.display().to_string());
    words.push(directory.join("zoo.cfg").display().to_string());
    Process::start("zookeeper", &words, &directory.join("log"))
}
