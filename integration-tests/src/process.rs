//! Processes: long-running ones with a log file, and short ones whose words and status are wanted.
//!
//! Long-running ones get SIGKILL from the kernel when the test program dies (`setpriv --pdeathsig`), so that an aborted
//! run leaves nothing behind. The kernel ties that to the *thread* that started them, hence the one thread below that
//! lives as long as the program and does all the starting.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

type Start = (Command, Sender<std::io::Result<Child>>);

fn starter() -> &'static Sender<Start> {
    static STARTER: OnceLock<Sender<Start>> = OnceLock::new();
    STARTER.get_or_init(|| {
        let (sender, receiver) = channel::<Start>();
        std::thread::Builder::new()
            .name("starter".to_owned())
            .spawn(move || {
                for (mut command, answer) in receiver {
                    // The asker has gone only if its test has failed already.
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a thread can be started");
        sender
    })
}

/// A running program whose output goes to a file. Killed when dropped.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with both of its outputs appended to `log`.
    ///
    /// # Panics
    /// Panics when it cannot be started.
    pub fn start(name: &str, program: &[String], log: &Path) -> Self {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("the log file opens");
        let err = out.try_clone().expect("a file handle can be duplicated");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).args(program);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let (sender, answer) = channel();
        starter()
            .send((command, sender))
            .expect("the starter lives as long as the program");
        let child = answer.recv().expect("the starter answers");
        let child = child.unwrap_or_else(|e| panic!("{name}: `setpriv {}` does not start: {e}", program.join(" ")));
        Self {
            child,
            name: name.to_owned(),
            log: log.to_owned(),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has printed so far.
    pub fn log(&self) -> String {
        let mut text = Vec::new();
        File::open(&self.log)
            .and_then(|mut f| f.read_to_end(&mut text))
            .expect("the log file is readable");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// Panics when the process has been waited for already.
    pub fn signal(&mut self, signal: Signal) {
        assert!(
            self.ended().is_none(),
            "{}: has ended already, cannot get {signal:?}",
            self.name
        );
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id is positive");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// Waits for its end; panics with the end of its log after `seconds`.
    pub fn wait(&mut self, seconds: u64) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{}: still runs after {seconds} s\n{}",
                self.name,
                tail(&self.log(), 20)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL, and waits until the kernel has buried it.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::KILL);
            self.wait(20);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not `kill()`: a panic in here while a test panics would abort the whole run.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last `lines` lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// What a short program said and how it ended.
#[derive(Debug)]
pub struct Outcome {
    command: String,
    status: ExitStatus,
    /// What it wrote to its standard output.
    pub out: String,
    /// What it wrote to its standard error.
    pub err: String,
}

impl Outcome {
    /// Its standard output, provided that it ended with status 0.
    #[track_caller]
    pub fn succeeds(self) -> String {
        assert!(
            self.status.success(),
            "{}\nended with {}\n--- out\n{}\n--- err\n{}",
            self.command,
            self.status,
            self.out,
            self.err
        );
        self.out
    }

    /// Both of its outputs, provided that it did not end with status 0.
    #[track_caller]
    pub fn fails(self) -> String {
        assert!(
            !self.status.success(),
            "{}\nshould have failed\n--- out\n{}\n--- err\n{}",
            self.command,
            self.out,
            self.err
        );
        format!("{}{}", self.out, self.err)
    }

    /// Both of its outputs, however it ended: some stock tools report a refusal with status 0.
    pub fn says(self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// Runs a program to its end; panics with its words if that takes more than `seconds`.
pub fn run(program: &[String], seconds: u64) -> Outcome {
    run_with_input(program, &[], seconds)
}

/// As [`run`], with `input` on its standard input.
pub fn run_with_input(program: &[String], input: &[u8], seconds: u64) -> Outcome {
    let mut words = program.iter();
    let mut child = Command::new(words.next().expect("a program has a name"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("`{}` does not start: {e}", program.join(" ")));
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let input = scope.spawn(move || {
            // A program may end without reading all of its input: its status tells whether that was right.
            let _ = stdin.take().expect("was asked for").write_all(input);
        });
        let out = scope.spawn(move || read_all(stdout.expect("was asked for")));
        let err = scope.spawn(move || read_all(stderr.expect("was asked for")));
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let status = loop {
            match child.try_wait().expect("a child can be waited for") {
                Some(status) => break Some(status),
                None if Instant::now() >= deadline => {
                    let _ = child.kill();
                    let _ = child.wait();
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        input.join().expect("the writer does not panic");
        let (out, err) = (
            out.join().expect("the reader does not panic"),
            err.join().expect("the reader does not panic"),
        );
        let command = program.join(" ");
        match status {
            Some(status) => Outcome {
                command,
                status,
                out,
                err,
            },
            None => panic!("{command}\nhas not ended after {seconds} s\n--- out\n{out}\n--- err\n{err}"),
        }
    })
}

fn read_all(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("a pipe can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}
