//! The place where one test plays: a directory, and a chroot of the ZooKeeper that all tests share.

use crate::broker::BrokerSetup;
use crate::zookeeper::ZooKeeper;
use crate::{free_port, repository};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// One test's directory and ZooKeeper chroot. The directory goes when the test passes and stays when it fails.
pub struct Scene {
    name: String,
    directory: PathBuf,
    zookeeper_connect: String,
    own_zookeeper: Option<ZooKeeper>,
}

fn run_directory() -> PathBuf {
    repository().join(format!("target/outside/{}", std::process::id()))
}

fn shared_zookeeper() -> &'static ZooKeeper {
    static SHARED: OnceLock<ZooKeeper> = OnceLock::new();
    SHARED.get_or_init(|| {
        sweep();
        ZooKeeper::start(&run_directory().join("zookeeper"))
    })
}

/// Removes what earlier runs could not remove themselves: the shared ZooKeeper, which lives until the program ends.
/// What their failed tests have kept stays.
fn sweep() {
    let all = run_directory();
    for run in std::fs::read_dir(all.parent().expect("it has one"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let pid = run.file_name();
        if !Path::new("/proc").join(&pid).exists() {
            // Both may fail: it is gone already, or something else is in there, which is then kept.
            let _ = std::fs::remove_dir_all(run.path().join("zookeeper"));
            let _ = std::fs::remove_dir(run.path());
        }
    }
}

impl Scene {
    /// A scene below its own chroot of the shared ZooKeeper.
    pub fn new(name: &str) -> Self {
        let zookeeper_connect = format!("{}/{name}", shared_zookeeper().connect());
        Self {
            name: name.to_owned(),
            directory: new_directory(name),
            zookeeper_connect,
            own_zookeeper: None,
        }
    }

    /// A scene with a ZooKeeper of its own, without chroot: for tests that stop it, or look at its root.
    pub fn with_own_zookeeper(name: &str) -> Self {
        let directory = new_directory(name);
        let zookeeper = ZooKeeper::start(&directory.join("zookeeper"));
        Self {
            name: name.to_owned(),
            directory,
            zookeeper_connect: zookeeper.connect(),
            own_zookeeper: Some(zookeeper),
        }
    }

    /// Where brokers of this scene find ZooKeeper: `host:port[/chroot]`.
    pub fn zookeeper_connect(&self) -> &str {
        &self.zookeeper_connect
    }

    /// The ZooKeeper of this scene alone.
    ///
    /// # Panics
    /// Panics if the scene shares one.
    pub fn zookeeper(&mut self) -> &mut ZooKeeper {
        self.own_zookeeper
            .as_mut()
            .expect("the scene was made with a ZooKeeper of its own")
    }

    /// Where files of this scene lie.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the stock `zookeeper-shell` answers, inside the chroot.
    pub fn zookeeper_shell(&self, commands: &[&str]) -> String {
        ZooKeeper::shell(&self.zookeeper_connect, commands)
    }

    /// A broker to be configured and started.
    pub fn broker(&self, id: u32) -> BrokerSetup {
        BrokerSetup::new(&self.directory, &self.zookeeper_connect, id, free_port())
    }
}

fn new_directory(name: &str) -> PathBuf {
    let directory = run_directory().join(name);
    std::fs::create_dir_all(&directory).expect("a directory can be made");
    directory
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: what happened is kept in {}", self.name, self.directory.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}
