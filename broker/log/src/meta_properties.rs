//! `meta.properties`: to which broker of which cluster a log directory belongs.
//!
//! ```text
//! #
//! #Sat Nov 21 08:39:11 UTC 2026
//! broker.id=7
//! version=0
//! cluster.id=30U8ch2kTnukcgvJ2SXjYQ
//! ```
//! Read by the broker at start, which refuses a directory of another broker or cluster. Keys that are not known are
//! kept. Source: Kafka 3.9 `MetaProperties`, `PropertiesUtils`, Java's `Properties.store`.

use std::collections::BTreeMap;
use std::path::Path;

use model::{BrokerId, Millis};

use crate::disk::{Disk, DiskError};

/// The file's name.
pub const FILE: &str = "meta.properties";

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaProperties {
    /// 0 in ZooKeeper mode.
    pub version: i32,
    /// `broker.id`
    pub broker_id: Option<BrokerId>,
    /// `cluster.id`
    pub cluster_id: Option<String>,
    /// Everything else.
    pub others: BTreeMap<String, String>,
}

/// The file's content, as of `now`.
pub fn encode(properties: &MetaProperties, now: Millis) -> String {
    let mut text = format!("#\n#{}\n", date(now));
    if let Some(id) = properties.broker_id {
        text += &format!("broker.id={id}\n");
    }
    text += &format!("version={}\n", properties.version);
    if let Some(id) = &properties.cluster_id {
        text += &format!("cluster.id={id}\n");
    }
    for (key, value) in &properties.others {
        text += &format!("{key}={value}\n");
    }
    text
}

/// What the file's content says.
///
/// # Errors
/// The line that cannot be understood.
pub fn decode(content: &str) -> Result<MetaProperties, String> {
    let mut properties = MetaProperties::default();
    for line in content.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let end = line.find(['=', ':']).ok_or_else(|| line.to_owned())?;
        let (key, value) = (line[..end].trim(), line[end + 1..].trim());
        // Java escapes ':' and '=' in values.
        let value = value.replace('\\', "");
        match key {
            "version" => properties.version = value.parse().map_err(|_| line.to_owned())?,
            "broker.id" => properties.broker_id = Some(BrokerId(value.parse().map_err(|_| line.to_owned())?)),
            "cluster.id" => properties.cluster_id = Some(value),
            _ => {
                properties.others.insert(key.to_owned(), value);
            }
        }
    }
    Ok(properties)
}

/// What `meta.properties` in `dir` says; `None` if there is none.
///
/// # Errors
/// Also for a file that cannot be understood.
pub fn read(disk: &Disk, dir: &Path) -> Result<Option<MetaProperties>, DiskError> {
    let path = dir.join(FILE);
    let Some(content) = disk.read(&path, 1 << 20)? else {
        return Ok(None);
    };
    match decode(&String::from_utf8_lossy(&content)) {
        Ok(properties) => Ok(Some(properties)),
        Err(line) => Err(DiskError {
            doing: "read",
            path,
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, format!("malformed line '{line}'")),
        }),
    }
}

/// Writes `meta.properties` in `dir`.
///
/// # Errors
/// When the disk fails; then the old file is still there.
pub fn write(disk: &Disk, dir: &Path, properties: &MetaProperties, now: Millis) -> Result<(), DiskError> {
    disk.replace(&dir.join(FILE), encode(properties, now).as_bytes(), true)
}

/// A moment as Java's `Date.toString` writes it, in UTC.
fn date(now: Millis) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let seconds = now.0.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a date of the Gregorian calendar, in years that begin in March so that leap days come last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        DAYS[days.rem_euclid(7) as usize],
        MONTHS[month as usize],
        second / 3600,
        second / 60 % 60,
        second % 60,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_is_kafkas() {
        let kafkas = "#\n#Sat Nov 21 08:39:11 UTC 2026\nbroker.id=7\nversion=0\ncluster.id=30U8ch2kTnukcgvJ2SXjYQ\n";
        assert_eq!(kafkas.len(), 88);
        let properties = decode(kafkas).unwrap();
        assert_eq!(properties.broker_id, Some(BrokerId(7)));
        assert_eq!(encode(&properties, Millis(1_795_250_351_000)), kafkas);
    }

    #[test]
    fn dates_are_javas() {
        let check = |ms: i64, text: &str| assert_eq!(date(Millis(ms)), text);
        check(0, "Thu Jan 01 00:00:00 UTC 1970");
        check(951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000");
        check(1_735_689_599_999, "Tue Dec 31 23:59:59 UTC 2024");
    }

    #[test]
    fn other_keys_are_kept_and_nonsense_is_refused() {
        let text = "version=1\nnode.id=3\ndirectory.id=abc\n";
        let properties = decode(text).unwrap();
        assert_eq!(properties.version, 1);
        assert_eq!(properties.others["node.id"], "3");
        assert!(encode(&properties, Millis(0)).contains("directory.id=abc\n"));
        assert!(decode("broker.id=x\n").is_err());
        assert!(decode("nonsense\n").is_err());
    }
}
