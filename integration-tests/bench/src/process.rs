//! Processes that the benchmark starts, and what `/proc` says of them.
//!
//! Each gets SIGKILL from the kernel when the benchmark ends, however it ends (`setpriv --pdeathsig`); the kernel ties that
//! to the thread that started it, hence only the main thread starts any. What a process has cost is counted with its
//! children: a broker may keep a helper beside itself.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::{Add, Sub};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::error::{BenchError, Doing, Result};

/// A running program whose output goes to a file. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts a program with these words, with additions to the environment.
    pub(crate) fn start(name: &str, words: &[String], env: &[(&str, &str)], log: &Path) -> Result<Self> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .doing(|| format!("opening {}", log.display()))?;
        let err = out.try_clone().doing(|| format!("opening {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .args(words)
            .envs(env.iter().copied());
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command
            .spawn()
            .doing(|| format!("starting {name} (`{}`)", words.join(" ")))?;
        Ok(Self {
            child,
            name: name.to_owned(),
        })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end(&mut self, signal: Signal, seconds: u64) -> Result<()> {
        if self
            .child
            .try_wait()
            .doing(|| format!("looking after {}", self.name))?
            .is_some()
        {
            return Ok(());
        }
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| BenchError::Malformed(format!("{} has no process id", self.name)))?;
        kill_process(id, signal)
            .map_err(std::io::Error::from)
            .doing(|| format!("sending {signal:?} to {}", self.name))?;
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while self
            .child
            .try_wait()
            .doing(|| format!("looking after {}", self.name))?
            .is_none()
        {
            if Instant::now() > deadline {
                return Err(BenchError::Late {
                    what: format!("the end of {}", self.name),
                    seconds,
                    last: None,
                });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Fails if it has ended by itself.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        match self.child.try_wait().doing(|| format!("looking after {}", self.name))? {
            None => Ok(()),
            Some(status) => Err(BenchError::Broken(format!("{} has ended: {status}", self.name))),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already: that is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every limit on open files as high as it may be: 10,000 partitions have that many files.
pub(crate) fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, most)
        .map_err(std::io::Error::from)
        .doing(|| "raising the limit on open files".to_owned())
}

/// What processes have used since they began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system time.
    pub(crate) cpu_seconds: f64,
    /// Resident memory.
    pub(crate) rss_mb: f64,
    /// The most that it has been.
    pub(crate) peak_mb: f64,
    /// How many threads run.
    pub(crate) threads: f64,
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds + other.cpu_seconds,
            rss_mb: self.rss_mb + other.rss_mb,
            peak_mb: self.peak_mb + other.peak_mb,
            threads: self.threads + other.threads,
        }
    }
}

impl Usage {
    /// Of these processes and their children. A process that has ended counts nothing.
    pub(crate) fn of(ids: &[u32]) -> Self {
        let parents = parents();
        let family = |id: u32| {
            let mut id = Some(id);
            // A chain that is no longer than there are generations; the init process has no parent in the map's sense.
            while let Some(at) = id.filter(|it| !ids.contains(it)) {
                id = parents.get(&at).copied();
            }
            id.is_some()
        };
        let members = parents.keys().copied().filter(|id| family(*id));
        members.filter_map(of_one).fold(Self::default(), Add::add)
    }
}

/// CPU time of this program itself.
pub(crate) fn own_cpu_seconds() -> f64 {
    of_one(std::process::id()).map_or(0.0, |it| it.cpu_seconds)
}

fn of_one(id: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let field = |key: &str| -> f64 {
        let line = status.lines().find_map(|it| it.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|it| it.split_whitespace().next()?.parse().ok())
            .unwrap_or(0.0)
    };
    Some(Usage {
        cpu_seconds: cpu_ticks(&stat)? / rustix::param::clock_ticks_per_second() as f64,
        rss_mb: field("VmRSS") / 1024.0,
        peak_mb: field("VmHWM") / 1024.0,
        threads: field("Threads"),
    })
}

/// User and system time in `/proc/PID/stat`. The program's name, in parentheses, may hold blanks and parentheses.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Every process with its parent.
fn parents() -> BTreeMap<u32, u32> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|it| it.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            all.insert(id, parent);
        }
    }
    all
}

/// A stretch of time, and what was used in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Spent {
    /// Wall clock.
    pub(crate) seconds: f64,
    /// CPU time of the brokers.
    pub(crate) brokers: f64,
    /// CPU time of the load generator.
    pub(crate) load: f64,
}

/// The measured part of a run, from [`Window::open`] to [`Window::close`].
pub(crate) struct Window {
    ids: Vec<u32>,
    begin: Instant,
    brokers: f64,
    load: f64,
}

impl Window {
    /// Begins to count what these processes use.
    pub(crate) fn open(ids: &[u32]) -> Self {
        Self {
            ids: ids.to_owned(),
            begin: Instant::now(),
            brokers: Usage::of(ids).cpu_seconds,
            load: own_cpu_seconds(),
        }
    }

    /// When it was opened.
    pub(crate) fn begin(&self) -> Instant {
        self.begin
    }

    /// What has been used since.
    pub(crate) fn close(&self) -> Spent {
        Spent {
            seconds: self.begin.elapsed().as_secs_f64(),
            brokers: Usage::of(&self.ids).cpu_seconds.sub(self.brokers),
            load: own_cpu_seconds() - self.load,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn cpu_time_stands_behind_a_name_that_may_hold_anything() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 9";
        assert_eq!(cpu_ticks(stat), Some(300.0));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
        assert_eq!(cpu_ticks(""), None);
    }

    #[test]
    fn a_process_is_counted_with_its_children() {
        let script = "sleep 5 & echo ready; wait";
        let mut parent = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        parent.stdout.take().unwrap().read_exact(&mut ready).unwrap();
        assert_eq!(of_one(parent.id()).unwrap().threads, 1.0);
        assert_eq!(Usage::of(&[parent.id()]).threads, 2.0);
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert_eq!(Usage::of(&[]), Usage::default());
    }
}
