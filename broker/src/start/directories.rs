//! Whose log directories these are: `meta.properties` of each, against the cluster and the broker id.
//!
//! Decides which directories can be used, and whether this broker may use them. A directory that cannot be read or
//! written counts as failed and is left to `broker-log`, which takes it offline; one of another cluster or broker ends
//! the start. Source: Kafka 3.9 `MetaPropertiesEnsemble.verify`, `KafkaServer.startup`.

use std::path::{Path, PathBuf};

use broker_log::Disk;
use broker_log::meta_properties::{self, FILE, MetaProperties};
use model::{BrokerId, Millis};
use tracing::{info, warn};

/// A directory is not this broker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// It was formatted by a KRaft broker.
    #[error(
        "Found unexpected version in {}. ZK-based brokers that are not migrating only support version 0 (which is implicit when the `version` field is missing).",
        .0.display()
    )]
    Version(PathBuf),
    /// It belongs to another cluster.
    #[error("Invalid cluster.id in: {}. Expected {expected}, but read {found}", path.display())]
    Cluster {
        /// Its `meta.properties`.
        path: PathBuf,
        /// This cluster.
        expected: String,
        /// What it says.
        found: String,
    },
    /// It belongs to another broker.
    #[error(
        "Stored node id {found} doesn't match previous node id {expected} in {}. If you moved your data, make sure your configured node id matches. If you intend to create a new node, you should remove all data in your data directories.",
        path.display()
    )]
    Broker {
        /// Its `meta.properties`.
        path: PathBuf,
        /// Our id, or that of another directory.
        expected: BrokerId,
        /// What it says.
        found: BrokerId,
    },
}

/// What the `meta.properties` files say; directories that cannot be read are left out.
#[derive(Debug)]
pub(super) struct Directories {
    found: Vec<(PathBuf, Option<MetaProperties>)>,
}

impl Directories {
    pub(super) fn read(disk: &Disk, dirs: &[PathBuf]) -> Self {
        let mut found = Vec::new();
        for dir in dirs {
            match meta_properties::read(disk, dir) {
                Ok(properties) => found.push((dir.clone(), properties)),
                Err(error) => warn!(dir = %dir.display(), %error, "cannot read meta.properties"),
            }
        }
        Self { found }
    }

    /// Checks every directory against the cluster and, if it is known already, the broker id; answers the id that the
    /// directories know.
    pub(super) fn verify(&self, cluster_id: &str, id: Option<BrokerId>) -> Result<Option<BrokerId>, DirectoryError> {
        let mut expected_id = id;
        for (dir, properties) in &self.found {
            let Some(properties) = properties else { continue };
            let path = dir.join(FILE);
            if properties.version != 0 {
                return Err(DirectoryError::Version(path));
            }
            if let Some(found) = &properties.cluster_id
                && found != cluster_id
            {
                return Err(DirectoryError::Cluster {
                    path,
                    expected: cluster_id.to_owned(),
                    found: found.clone(),
                });
            }
            match (properties.broker_id, expected_id) {
                (Some(found), Some(expected)) if found != expected => {
                    return Err(DirectoryError::Broker { path, expected, found });
                }
                (Some(found), None) => expected_id = Some(found),
                _ => {}
            }
        }
        Ok(expected_id)
    }

    /// Completes `meta.properties` where something is missing, creating the directory if need be.
    pub(super) fn complete(&self, disk: &Disk, cluster_id: &str, id: BrokerId, now: Millis) {
        for (dir, properties) in &self.found {
            let before = properties.clone();
            let mut after = before.clone().unwrap_or_default();
            after.broker_id = Some(id);
            after.cluster_id = Some(cluster_id.to_owned());
            if before.as_ref() == Some(&after) {
                continue;
            }
            info!("Rewriting {}", dir.join(FILE).display());
            if let Err(error) = write(disk, dir, &after, now) {
                // `Logs::open` meets the same disk, takes the directory offline and ends the start if none is left.
                warn!(dir = %dir.display(), %error, "cannot write meta.properties");
            }
        }
    }
}

fn write(disk: &Disk, dir: &Path, properties: &MetaProperties, now: Millis) -> Result<(), String> {
    std::fs::create_dir_all(dir).map_err(|error| error.to_string())?;
    meta_properties::write(disk, dir, properties, now).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "30U8ch2kTnukcgvJ2SXjYQ";

    fn directory(content: Option<&str>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        if let Some(content) = content {
            std::fs::write(dir.path().join(FILE), content).unwrap();
        }
        dir
    }

    fn verify(contents: &[Option<&str>], id: Option<i32>) -> Result<Option<i32>, String> {
        let dirs: Vec<_> = contents.iter().map(|content| directory(*content)).collect();
        let paths: Vec<_> = dirs.iter().map(|dir| dir.path().to_owned()).collect();
        let verified = Directories::read(&Disk::real(), &paths).verify(CLUSTER, id.map(BrokerId));
        verified.map(|id| id.map(|id| id.0)).map_err(|error| {
            paths.iter().enumerate().fold(error.to_string(), |text, (i, path)| {
                text.replace(&path.display().to_string(), &format!("DIR{i}"))
            })
        })
    }

    #[test]
    fn directories_are_checked_as_kafka_checks_them() {
        let ours = "#\n#Sat Nov 21 08:39:11 UTC 2026\nbroker.id=7\nversion=0\ncluster.id=30U8ch2kTnukcgvJ2SXjYQ\n";
        let check = |contents: &[Option<&str>], id: Option<i32>, expected: Result<Option<i32>, &str>| {
            assert_eq!(
                verify(contents, id),
                expected.map_err(str::to_owned),
                "{contents:?} {id:?}"
            );
        };
        check(&[None], None, Ok(None));
        check(&[None], Some(3), Ok(Some(3)));
        check(&[Some(ours), None], None, Ok(Some(7)));
        check(&[Some(ours)], Some(7), Ok(Some(7)));
        check(&[Some("version=0\n")], Some(7), Ok(Some(7)));
        check(
            &[Some(ours)],
            Some(8),
            Err(
                "Stored node id 7 doesn't match previous node id 8 in DIR0/meta.properties. If you moved your data, make sure your configured node id matches. If you intend to create a new node, you should remove all data in your data directories.",
            ),
        );
        check(
            &[Some(ours), Some("broker.id=9\n")],
            None,
            Err(
                "Stored node id 9 doesn't match previous node id 7 in DIR1/meta.properties. If you moved your data, make sure your configured node id matches. If you intend to create a new node, you should remove all data in your data directories.",
            ),
        );
        check(
            &[Some("version=0\ncluster.id=AAAAAAAAAAAAAAAAAAAAAA\n")],
            Some(7),
            Err(
                "Invalid cluster.id in: DIR0/meta.properties. Expected 30U8ch2kTnukcgvJ2SXjYQ, but read AAAAAAAAAAAAAAAAAAAAAA",
            ),
        );
        check(
            &[Some("version=1\nnode.id=7\ncluster.id=30U8ch2kTnukcgvJ2SXjYQ\n")],
            Some(7),
            Err(
                "Found unexpected version in DIR0/meta.properties. ZK-based brokers that are not migrating only support version 0 (which is implicit when the `version` field is missing).",
            ),
        );
    }

    #[test]
    fn a_fresh_directory_gets_kafkas_file_and_a_complete_one_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("new/data");
        let disk = Disk::real();
        let complete = |now| {
            Directories::read(&disk, std::slice::from_ref(&dir)).complete(&disk, CLUSTER, BrokerId(7), Millis(now));
            std::fs::read_to_string(dir.join(FILE)).unwrap()
        };
        let kafkas = "#\n#Sat Nov 21 08:39:11 UTC 2026\nbroker.id=7\nversion=0\ncluster.id=30U8ch2kTnukcgvJ2SXjYQ\n";
        assert_eq!(complete(1_795_250_351_000), kafkas);
        assert_eq!(complete(1_895_250_351_000), kafkas);
    }
}
