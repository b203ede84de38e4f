//! Transactional producers of librdkafka, in one process, that do what a test tells them, step by step.

use crate::tools::client_command;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longer than a step may take in the process itself.
const DEADLINE: Duration = Duration::from_secs(90);

/// The process; it ends with its input, and so with this.
pub struct Transactor {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Transactor {
    /// Starts it; there are no producers yet.
    ///
    /// # Panics
    /// Panics when there is no such client here.
    pub fn start(bootstrap: &str) -> Self {
        let words = client_command("python/transactor.py", &[bootstrap]);
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python can be started");
        let output = child.stdout.take().expect("it is piped");
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            input: child.stdin.take(),
            child,
            answers,
        }
    }

    /// Lets the producer of this transactional id do something (`init`, `begin`, `produce TOPIC PARTITION VALUE`, `flush`, `commit`,
    /// `abort`).
    ///
    /// # Errors
    /// What librdkafka says.
    ///
    /// # Panics
    /// Panics when it does not answer.
    pub fn try_to(&mut self, id: &str, what: &str) -> Result<Duration, String> {
        let input = self.input.as_mut().expect("it is open until the end");
        writeln!(input, "{id} {what}").expect("the process reads");
        let answer = self.answers.recv_timeout(DEADLINE);
        let answer = answer.unwrap_or_else(|e| panic!("no answer to `{id} {what}`: {e}"));
        match answer.split_once(' ') {
            Some(("ok", ms)) => Ok(Duration::from_secs_f64(ms.parse::<f64>().unwrap_or(0.0) / 1e3)),
            Some(("error", why)) => Err(why.to_owned()),
            _ => panic!("`{id} {what}` is answered `{answer}`"),
        }
    }

    /// The same for what must succeed.
    ///
    /// # Panics
    /// Panics when it does not.
    pub fn does(&mut self, id: &str, what: &str) -> Duration {
        self.try_to(id, what).unwrap_or_else(|why| panic!("{id} {what}: {why}"))
    }
}

impl Drop for Transactor {
    fn drop(&mut self) {
        drop(self.input.take());
        // It may be waiting for brokers that are gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
