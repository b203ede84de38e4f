//! The program `coordinator`, which holds the controller's office apart from the brokers. Kafka has no such program.

use crate::process::{Process, tail};
use crate::{Scene, eventually, free_port, program};
use rustix::process::Signal;
use std::path::PathBuf;
use std::process::ExitStatus;

/// A running coordinator; ended when dropped.
pub struct Coordinator {
    process: Process,
    id: u32,
    port: u16,
    directory: PathBuf,
}

impl Coordinator {
    /// Starts one in this scene with a port of its own, and these keys beside the usual ones.
    pub fn start(scene: &Scene, id: u32, configs: &[(&str, &str)]) -> Self {
        let directory = scene.directory().join(format!("coordinator-{id}"));
        std::fs::create_dir_all(&directory).expect("a directory can be made");
        let port = free_port();
        let mut text = format!(
            "zookeeper.connect={}\nzookeeper.session.timeout.ms=6000\ncoordinator.id={id}\nport={port}\n",
            scene.zookeeper_connect(),
        );
        for (key, value) in configs {
            text += &format!("{key}={value}\n");
        }
        std::fs::write(directory.join("coordinator.properties"), text).expect("a file can be written");
        Self {
            process: launch(id, &directory),
            id,
            port,
            directory,
        }
    }

    /// Where it takes requests.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its id, also as the controller.
    pub fn id(&self) -> i32 {
        i32::try_from(self.id).expect("ids are small")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Any signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end.
    pub fn wait(&mut self, seconds: u64) -> ExitStatus {
        self.process.wait(seconds)
    }

    /// SIGTERM, and its orderly end.
    ///
    /// # Panics
    /// Panics unless it then ends with status 0.
    pub fn stop(&mut self) {
        self.process.signal(Signal::TERM);
        let status = self.process.wait(30);
        assert_eq!(
            status.code(),
            Some(0),
            "coordinator {}: {status}\n{}",
            self.id,
            tail(&self.log(), 20)
        );
    }

    /// Starts it again after its end.
    pub fn start_again(&mut self) {
        assert!(self.process.ended().is_some(), "coordinator {} still runs", self.id);
        self.process = launch(self.id, &self.directory);
    }

    /// Waits until it has announced itself, so that brokers leave the race to it.
    pub fn wait_until_announced(&mut self, scene: &Scene) {
        let path = format!("/cluster/ottla/coordinators/{}", self.id);
        eventually(20, "the coordinator has announced itself", || {
            if let Some(status) = self.process.ended() {
                panic!(
                    "coordinator {} ended with {status}:\n{}",
                    self.id,
                    tail(&self.log(), 20)
                );
            }
            let znode = crate::Znodes::open(scene.zookeeper_connect())
                .and_then(|mut z| z.exists(&path))
                .map_err(|e| e.to_string())?;
            znode.map(|_| ()).ok_or_else(|| format!("there is no {path}"))
        });
    }
}

fn launch(id: u32, directory: &std::path::Path) -> Process {
    let words = [
        program("coordinator").display().to_string(),
        directory.join("coordinator.properties").display().to_string(),
    ];
    Process::start(&format!("coordinator {id}"), &words, &directory.join("log"))
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- the end of the log of coordinator {}\n{}\n---",
                self.id,
                tail(&self.log(), 15)
            );
        }
    }
}
