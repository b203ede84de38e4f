//! Stock clients at work, in processes of their own: a group whose members print what they read, a producer.
//!
//! A record may be read twice, when the group moves on before a commit. What is read must never change, and nothing that was
//! acknowledged may be missing in the end.

use crate::process::{Process, tail};
use crate::tools::client_command;
use crate::writer::Written;
use crate::{Scene, eventually};
use rustix::process::Signal;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Members of one group of one topic.
pub struct Group {
    members: Vec<Process>,
    topic: String,
}

impl Group {
    /// Starts so many members of the group `<topic>-group`.
    pub fn start(scene: &Scene, bootstrap: &str, topic: &str, members: usize) -> Self {
        let group = format!("{topic}-group");
        let members = (0..members)
            .map(|n| {
                let words = client_command("python/group.py", &[bootstrap, topic, &group]);
                Process::start(
                    &format!("member {n}"),
                    &words,
                    &scene.directory().join(format!("{group}-{n}")),
                )
            })
            .collect();
        Self {
            members,
            topic: topic.to_owned(),
        }
    }

    /// Keys by partition and offset, of all that was read so far.
    ///
    /// # Errors
    /// Fails when a record has changed between two readings.
    pub fn read(&self) -> Result<HashMap<(i32, i64), String>, String> {
        let mut found: HashMap<(i32, i64), String> = HashMap::new();
        for member in &self.members {
            let log = member.log();
            // The last line may not be whole yet.
            let whole = log.rfind('\n').map_or("", |end| &log[..end]);
            for line in whole.lines() {
                let words: Vec<&str> = line.split(' ').collect();
                let [partition, offset, key] = words[..] else { continue };
                let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse()) else {
                    continue;
                };
                if let Some(before) = found.insert((partition, offset), key.to_owned())
                    && before != key
                {
                    return Err(format!(
                        "{}-{partition}, offset {offset}: {before}, then {key}",
                        self.topic
                    ));
                }
            }
        }
        Ok(found)
    }

    /// Waits until the group has read so many records.
    pub fn wait_for(&self, records: usize, seconds: u64) {
        eventually(seconds, "the group reads", || match self.read()?.len() {
            read if read >= records => Ok(()),
            read => Err(format!("{read} of {records} records")),
        });
    }

    /// Waits until all that was acknowledged has been read, lets the members leave, and checks that they end in order.
    pub fn check(mut self, written: &Written, seconds: u64) {
        eventually(seconds, "the group reads all that was acknowledged", || {
            let read = self.read()?;
            for (partition, offsets) in &written.offsets {
                for (n, offset) in offsets.iter().enumerate() {
                    let key = format!("{partition}-{n}");
                    let found = read.get(&(*partition, *offset));
                    if found != Some(&key) {
                        return Err(format!(
                            "{}-{partition}, offset {offset}: {found:?} instead of {key}",
                            self.topic
                        ));
                    }
                }
            }
            match read.len() {
                count if count == written.records() => Ok(()),
                count => Err(format!("{count} records read, {} acknowledged", written.records())),
            }
        });
        for member in &mut self.members {
            assert!(
                member.ended().is_none(),
                "a member has ended by itself:\n{}",
                tail(&member.log(), 10)
            );
            member.signal(Signal::TERM);
        }
        for member in &mut self.members {
            let begin = Instant::now();
            while member.ended().is_none() && begin.elapsed() < Duration::from_secs(30) {
                std::thread::sleep(Duration::from_millis(20));
            }
            if member.ended().is_none() {
                // It says where it hangs.
                member.signal(Signal::USR1);
                std::thread::sleep(Duration::from_millis(500));
            }
            let status = member.wait(1);
            assert!(status.success(), "{status}\n{}", tail(&member.log(), 10));
        }
    }
}

/// librdkafka's idempotent producer at work, with five requests in flight, in a process of its own.
pub struct StockWriter {
    process: Process,
}

impl StockWriter {
    /// Starts writing to each of the partitions of a topic.
    pub fn start(scene: &Scene, bootstrap: &str, topic: &str, partitions: i32) -> Self {
        let words = client_command("python/writer.py", &[bootstrap, topic, &partitions.to_string()]);
        let log = scene.directory().join(format!("{topic}-writer"));
        Self {
            process: Process::start("writer", &words, &log),
        }
    }

    /// Lets it end what it has begun, and tells what was acknowledged.
    ///
    /// # Panics
    /// Panics when it was told of anything but success in the end.
    pub fn stop(mut self) -> Written {
        assert!(
            self.process.ended().is_none(),
            "it has ended by itself:\n{}",
            tail(&self.process.log(), 10)
        );
        self.process.signal(Signal::TERM);
        let status = self.process.wait(100);
        let log = self.process.log();
        assert!(status.success(), "{status}\n{}", tail(&log, 10));
        let mut written = Written::default();
        for line in log.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [partition, offset, key] = words[..] else { continue };
            let (Ok(partition), Ok(offset)) = (partition.parse::<i32>(), offset.parse()) else {
                continue;
            };
            let offsets: &mut Vec<i64> = written.offsets.entry(partition).or_default();
            assert_eq!(
                key,
                format!("{partition}-{}", offsets.len()),
                "acknowledged in the order of sending"
            );
            offsets.push(offset);
        }
        assert!(written.records() > 0, "{}", tail(&log, 10));
        written
    }
}
