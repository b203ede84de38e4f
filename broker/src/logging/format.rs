//! The form of a line.

use core::fmt::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// `[2021-04-02 19:33:20,598] INFO message key=value (target)`, in local time. Source: Kafka `config/log4j.properties`.
pub(super) struct KafkaFormat {
    time_zone: TimeZone,
}

impl KafkaFormat {
    pub(super) fn new() -> Self {
        Self {
            time_zone: TimeZone::system(),
        }
    }
}

impl<S, N> FormatEvent<S, N> for KafkaFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        write_time(&mut writer, Timestamp::now(), &self.time_zone)?;
        write!(writer, " {} ", metadata.level())?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        writer.write_str(&fields.message)?;
        writer.write_str(&fields.rest)?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && !fields.is_empty()
            {
                write!(Escaped(&mut writer), " {fields}")?;
            }
        }
        writeln!(writer, " ({})", metadata.target())
    }
}

fn write_time(writer: &mut impl Write, now: Timestamp, time_zone: &TimeZone) -> fmt::Result {
    let now = time_zone.to_datetime(now);
    write!(
        writer,
        "[{:04}-{:02}-{:02} {:02}:{:02}:{:02},{:03}]",
        now.year(),
        now.month(),
        now.day(),
        now.hour(),
        now.minute(),
        now.second(),
        now.millisecond()
    )
}

/// The message, and ` key=value` for each other field.
#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a `String` cannot fail.
        let _ = match field.name() {
            "message" => write!(Escaped(&mut self.message), "{value:?}"),
            name => write!(Escaped(&mut self.rest), " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Writes control characters as `\n`, `\u{1b}`: whoever chooses a client id must not write log lines.
struct Escaped<W>(W);

impl<W: Write> Write for Escaped<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(char::is_control) {
            self.0.write_str(&rest[..at])?;
            let mut after = rest[at..].chars();
            if let Some(control) = after.next() {
                write!(self.0, "{}", control.escape_default())?;
            }
            rest = after.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(KafkaFormat::new())
            .with_writer(move || writer.clone())
            .with_ansi(false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = sink.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_as_kafka_writes_it() {
        let check = |log: &dyn Fn(), after_time: &str| {
            let line = lines(log);
            let (time, rest) = line.split_at("[2021-04-02 19:33:20,598]".len());
            assert_eq!(rest, after_time);
            let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(shape, "[0000-00-00 00:00:00,000]");
        };
        check(
            &|| tracing::info!(target: "kafka.server.KafkaServer", "[KafkaServer id={}] started", 0),
            " INFO [KafkaServer id=0] started (kafka.server.KafkaServer)\n",
        );
        check(
            &|| tracing::warn!(target: "x", topic = "a\nb", count = 3, error = %"no\x1b[31m", "odd\r"),
            " WARN odd\\r topic=a\\nb count=3 error=no\\u{1b}[31m (x)\n",
        );
        check(
            &|| {
                tracing::info_span!("connection", peer = "10.0.0.1:5")
                    .in_scope(|| tracing::error!(target: "x", "closed"))
            },
            " ERROR closed peer=\"10.0.0.1:5\" (x)\n",
        );
    }

    #[test]
    fn time_is_local_and_has_milliseconds() {
        let mut text = String::new();
        let moment: Timestamp = "2021-04-02T17:33:20.598Z".parse().unwrap();
        let two_hours_east = TimeZone::fixed(jiff::tz::offset(2));
        write_time(&mut text, moment, &two_hours_east).unwrap();
        assert_eq!(text, "[2021-04-02 19:33:20,598]");
    }
}
