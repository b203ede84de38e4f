//! Kafka's grammar of configuration values: types, bounds and how a text becomes a value.
//!
//! Decides what `log.retention.ms=abc` means (nothing: it is refused with Kafka's words). Knows no key and reads no file.
//!
//! Source: Kafka 3.9 `ConfigDef.parseType` and its `Validator`s.

use core::fmt;

use super::protocol_version::ProtocolVersion;

/// The type of a configuration key, as `DescribeConfigs` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`, in any case.
    Boolean,
    /// Any text; surrounding blanks are dropped.
    String,
    /// A 32-bit integer.
    Int,
    /// A 16-bit integer.
    Short,
    /// A 64-bit integer.
    Long,
    /// A floating point number.
    Double,
    /// Texts separated by commas.
    List,
    /// The name of a Java class.
    Class,
    /// A text that is never shown.
    Password,
}

impl Type {
    /// The name in documentation and error messages: `INT`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }

    /// The number of this type in `DescribeConfigs` responses. Source: Kafka `DescribeConfigsResponse.ConfigType`.
    pub const fn wire_id(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    /// Reads `text` as a value of this type.
    ///
    /// # Errors
    /// What is wrong with it, in Kafka's words.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        let integer = |least: i64, most: i64| {
            let digits = text.strip_prefix('+').unwrap_or(text);
            match digits.parse::<i64>() {
                Ok(number) if (least..=most).contains(&number) && !digits.starts_with('+') => {
                    Ok(Value::Integer(number))
                }
                _ => Err(format!("Not a number of type {}", self.name())),
            }
        };
        match self {
            Self::Boolean if text.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
            Self::Boolean if text.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
            Self::Boolean => Err("Expected value to be either true or false".into()),
            Self::Short => integer(i64::from(i16::MIN), i64::from(i16::MAX)),
            Self::Int => integer(i64::from(i32::MIN), i64::from(i32::MAX)),
            Self::Long => integer(i64::MIN, i64::MAX),
            Self::Double => match text.parse::<f64>() {
                Ok(number) => Ok(Value::Double(number)),
                Err(_) => Err("Not a number of type DOUBLE".into()),
            },
            Self::List if text.is_empty() => Ok(Value::List(Vec::new())),
            Self::List => Ok(Value::List(
                text.split(',').map(|item| item.trim().to_owned()).collect(),
            )),
            Self::String | Self::Class | Self::Password => Ok(Value::String(text.to_owned())),
        }
    }
}

/// A value that has been read and checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Not set, and no default.
    Null,
    /// Of a BOOLEAN key.
    Boolean(bool),
    /// Of a SHORT, INT or LONG key.
    Integer(i64),
    /// Of a DOUBLE key.
    Double(f64),
    /// Of a STRING, CLASS or PASSWORD key.
    String(String),
    /// Of a LIST key.
    List(Vec<String>),
}

/// As Java prints it, so that `DescribeConfigs` shows the same text; a null prints nothing.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Double(value) => f.write_str(&java_double(*value)),
            Self::String(value) => f.write_str(value),
            Self::List(values) => f.write_str(&values.join(",")),
        }
    }
}

/// `Double.toString`: plain between 10⁻³ and 10⁷, otherwise `1.7976931348623157E308`.
fn java_double(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || (1e-3..1e7).contains(&magnitude) || !value.is_finite() {
        return format!("{value:?}");
    }
    let scientific = format!("{value:E}");
    match scientific.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => scientific,
    }
}

/// What a value must also satisfy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    /// Nothing more.
    Any,
    /// At least this much.
    AtLeast(i64),
    /// Between the two, both included.
    Between(i64, i64),
    /// At least this much, for DOUBLE.
    AtLeastReal(f64),
    /// Between the two, both included, for DOUBLE.
    BetweenReal(f64, f64),
    /// −1 or 1 to 9. Source: Kafka `GzipCompression.LevelValidator`.
    GzipLevel,
    /// −1 or 1 and more: a number of threads which may follow another key's.
    ThreadsOrDefault,
    /// One of these texts; for LIST every item must be one.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case.
    OneOfIgnoringCase(&'static [&'static str]),
    /// Not null.
    NonNull,
    /// Not the empty text (null passes).
    NonEmptyString,
    /// A list of listeners or voters: the check for emptiness belongs to KRaft, which this broker is not.
    KRaftList,
    /// A protocol version, in full (`3.9-IV0`) or short (`3.9`).
    ProtocolVersion,
}

impl Valid {
    /// Checks a value that has the right type.
    ///
    /// # Errors
    /// What is wrong with it, in Kafka's words.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let at_least = |least: &dyn fmt::Display| Err(format!("Value must be at least {least}"));
        let at_most = |most: &dyn fmt::Display| Err(format!("Value must be no more than {most}"));
        match (self, value) {
            (Self::NonNull, Value::Null) => Err("entry must be non null".into()),
            (_, Value::Null) => Ok(()),
            (Self::AtLeast(least), Value::Integer(value)) if value < least => at_least(least),
            (Self::Between(least, _), Value::Integer(value)) if value < least => at_least(least),
            (Self::Between(_, most), Value::Integer(value)) if value > most => at_most(most),
            (Self::AtLeastReal(least) | Self::BetweenReal(least, _), Value::Double(value))
                if value < least || value.is_nan() =>
            {
                at_least(least)
            }
            (Self::BetweenReal(_, most), Value::Double(value)) if value > most => at_most(most),
            (Self::GzipLevel, Value::Integer(value)) if *value != -1 && !(1..=9).contains(value) => {
                Err("Value must be between 1 and 9 or equal to -1".into())
            }
            (Self::ThreadsOrDefault, Value::Integer(value)) if *value != -1 && *value < 1 => {
                Err("Value can be -1 or greater than or equal to 1".into())
            }
            (Self::OneOf(names), Value::String(value)) if !names.contains(&value.as_str()) => {
                Err(format!("String must be one of: {}", names.join(", ")))
            }
            (Self::OneOf(names), Value::List(values)) => match values.iter().find(|v| !names.contains(&v.as_str())) {
                Some(_) => Err(format!("String must be one of: {}", names.join(", "))),
                None => Ok(()),
            },
            (Self::OneOfIgnoringCase(names), Value::String(value))
                if !names.iter().any(|name| name.eq_ignore_ascii_case(value)) =>
            {
                Err(format!(
                    "String must be one of (case insensitive): {}",
                    names.join(", ")
                ))
            }
            (Self::NonEmptyString, Value::String(value)) if value.is_empty() => Err("String must be non-empty".into()),
            (Self::ProtocolVersion, Value::String(value)) => match value.parse::<ProtocolVersion>() {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_kafka_reads_them() {
        let check = |of: Type, text: &str, expected: Result<Value, &str>| {
            assert_eq!(
                of.parse(text),
                expected.map_err(str::to_owned),
                "{} {text:?}",
                of.name()
            );
        };
        let list = |items: &[&str]| Ok(Value::List(items.iter().map(|&item| item.to_owned()).collect()));
        check(Type::Boolean, " TRUE ", Ok(Value::Boolean(true)));
        check(Type::Boolean, "False", Ok(Value::Boolean(false)));
        check(Type::Boolean, "1", Err("Expected value to be either true or false"));
        check(Type::Int, " 7 ", Ok(Value::Integer(7)));
        check(Type::Int, "+7", Ok(Value::Integer(7)));
        check(Type::Int, "++7", Err("Not a number of type INT"));
        check(Type::Int, "2147483648", Err("Not a number of type INT"));
        check(Type::Int, "", Err("Not a number of type INT"));
        check(Type::Int, "1_000", Err("Not a number of type INT"));
        check(Type::Short, "32768", Err("Not a number of type SHORT"));
        check(Type::Long, "9223372036854775807", Ok(Value::Integer(i64::MAX)));
        check(Type::Double, "0.5", Ok(Value::Double(0.5)));
        check(Type::Double, "half", Err("Not a number of type DOUBLE"));
        check(Type::List, "", list(&[]));
        check(Type::List, " compact , delete ", list(&["compact", "delete"]));
        check(Type::List, "a,,b", list(&["a", "", "b"]));
        check(Type::String, "  rack 1 ", Ok(Value::String("rack 1".into())));
    }

    #[test]
    fn bounds_are_checked_in_kafkas_words() {
        let check = |valid: Valid, value: Value, expected: Result<(), &str>| {
            assert_eq!(
                valid.check(&value),
                expected.map_err(str::to_owned),
                "{valid:?} {value:?}"
            );
        };
        let text = |text: &str| Value::String(text.to_owned());
        check(Valid::AtLeast(1), Value::Integer(0), Err("Value must be at least 1"));
        check(Valid::AtLeast(1), Value::Integer(1), Ok(()));
        check(Valid::AtLeast(1), Value::Null, Ok(()));
        check(
            Valid::Between(1, 17),
            Value::Integer(18),
            Err("Value must be no more than 17"),
        );
        check(
            Valid::BetweenReal(0.0, 1.0),
            Value::Double(1.5),
            Err("Value must be no more than 1"),
        );
        check(Valid::GzipLevel, Value::Integer(-1), Ok(()));
        check(
            Valid::GzipLevel,
            Value::Integer(0),
            Err("Value must be between 1 and 9 or equal to -1"),
        );
        check(Valid::OneOf(&["a", "b"]), text("c"), Err("String must be one of: a, b"));
        check(
            Valid::OneOf(&["a", "b"]),
            Value::List(vec!["a".into(), "c".into()]),
            Err("String must be one of: a, b"),
        );
        check(Valid::OneOfIgnoringCase(&["UPGRADE"]), text("upgrade"), Ok(()));
        check(Valid::NonNull, Value::Null, Err("entry must be non null"));
        check(Valid::ProtocolVersion, text("2.6"), Ok(()));
        check(
            Valid::ProtocolVersion,
            text("5.0"),
            Err("Version `5.0` is not a valid version"),
        );
    }

    #[test]
    fn numbers_print_as_java_prints_them() {
        let check = |value: f64, text: &str| assert_eq!(Value::Double(value).to_string(), text);
        check(0.9, "0.9");
        check(f64::MAX, "1.7976931348623157E308");
        check(1e10, "1.0E10");
        check(5.0, "5.0");
        check(0.0, "0.0");
        check(0.00001, "1.0E-5");
    }
}
