//! What a program tells its guardian over the pipe between them: lines of JSON, each in place of the one before.

use serde::{Deserialize, Serialize};
use zk_schema_store::StoreConfig;

use crate::estate::Estate;

/// Longer than any line of ours, which may hold the certificates of a trust store.
const LINE_MAX: usize = 4 << 20;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Notice {
    /// What the death of the program would leave from now on.
    Will(Will),
    /// The program ends in order and leaves nothing; the guardian is not needed any more.
    Dismissed,
}

/// What is to be done upon the death of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Will {
    /// Whose it is, for the log: `broker 1`.
    pub(crate) name: String,
    /// How to reach ZooKeeper.
    pub(crate) zookeeper: StoreConfig,
    /// What is to be removed there.
    pub(crate) estate: Estate,
}

impl Notice {
    /// The line, with its end.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// Puts lines together from what a pipe gives. A line that the program did not live to finish is none.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    unfinished: Vec<u8>,
    last: Option<Notice>,
}

impl Inbox {
    /// Takes bytes. What is no notice is ignored: only our own program writes here.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.unfinished.extend_from_slice(&bytes[..end]);
            if let Ok(notice) = serde_json::from_slice(&self.unfinished) {
                self.last = Some(notice);
            }
            self.unfinished.clear();
            bytes = &bytes[end + 1..];
        }
        if self.unfinished.len() + bytes.len() <= LINE_MAX {
            self.unfinished.extend_from_slice(bytes);
        }
    }

    /// The latest notice.
    pub(crate) fn last(&self) -> Option<&Notice> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn will(session_id: i64) -> Notice {
        Notice::Will(Will {
            name: "broker 1".into(),
            zookeeper: StoreConfig::new("a:1,b:2/kafka"),
            estate: Estate {
                session_id,
                paths: vec!["/brokers/ids/1".into()],
            },
        })
    }

    #[test]
    fn the_latest_whole_line_counts() {
        let (one, two) = (will(1).encode().unwrap(), will(-2).encode().unwrap());
        let check = |pieces: &[&[u8]], expected: Option<Notice>| {
            let mut inbox = Inbox::default();
            for piece in pieces {
                inbox.take(piece);
            }
            assert_eq!(inbox.last(), expected.as_ref());
        };
        check(&[], None);
        check(&[&one], Some(will(1)));
        check(&[&one, &two], Some(will(-2)));
        check(&[&[one.clone(), two.clone()].concat()], Some(will(-2)));
        check(&[&one, &two[..two.len() - 1]], Some(will(1)));
        check(&[&one[..7], &one[7..], b"\n", b"no json\n"], Some(will(1)));
        check(&[&one, &Notice::Dismissed.encode().unwrap()], Some(Notice::Dismissed));
        let endless = vec![b'x'; 3 * LINE_MAX];
        check(&[&endless, &endless, b"\n", &two], Some(will(-2)));
    }
}
