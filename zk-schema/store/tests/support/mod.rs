//! A real ZooKeeper as a process of ours, and a proxy before it that can be cut.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A standalone server; killed when dropped.
pub(crate) struct ZooKeeper {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl ZooKeeper {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = StdListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        // Sessions time out between 1 and 10 s: twice to twenty times a tick.
        let config = format!(
            "tickTime=500\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
             maxClientCnxns=0\n",
            dir.path().display()
        );
        std::fs::write(dir.path().join("zoo.cfg"), config).unwrap();
        let child = Self::launch(dir.path());
        let server = Self { child, dir, port };
        server.ready().await;
        server
    }

    fn launch(dir: &Path) -> Child {
        let classpath = std::env::var("OTTLA_ZOOKEEPER_CLASSPATH").unwrap_or_else(|_| {
            assert!(
                Path::new("/usr/share/java/zookeeper.jar").exists(),
                "no ZooKeeper: install libzookeeper-java and a JRE, or set OTTLA_ZOOKEEPER_CLASSPATH"
            );
            "/usr/share/java/*".to_owned()
        });
        let log = std::fs::File::create(dir.join("zookeeper.log")).unwrap();
        Command::new("java")
            .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", &classpath])
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(dir.join("zoo.cfg"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("java starts")
    }

    async fn ready(&self) {
        for _ in 0..300 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("zookeeper has not started: see {}", self.dir.path().display());
    }

    /// Kill -9, and start again on the same data.
    pub(crate) async fn restart(&mut self, away: Duration) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        tokio::time::sleep(away).await;
        self.child = Self::launch(self.dir.path());
        self.ready().await;
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn connect(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Forwards to a server until it is cut.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// Connections live while it is even and unchanged; odd refuses new ones.
    era: watch::Sender<u64>,
}

impl Proxy {
    pub(crate) async fn before(server: &ZooKeeper) -> Arc<Self> {
        let target = (Ipv4Addr::LOCALHOST, server.port);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            era: watch::Sender::new(0),
        });
        let era = proxy.era.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut now = era.subscribe();
                if *now.borrow_and_update() % 2 == 1 {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(target).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = now.changed() => {}
                    }
                });
            }
        });
        proxy
    }

    /// Ends all connections; new ones are served.
    pub(crate) fn cut(&self) {
        self.era.send_modify(|era| *era += 2);
    }

    /// Ends all connections and serves none until [`Proxy::open`].
    pub(crate) fn close(&self) {
        self.era.send_modify(|era| *era |= 1);
    }

    pub(crate) fn open(&self) {
        self.era.send_modify(|era| *era = (*era | 1) + 1);
    }
}
