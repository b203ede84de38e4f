//! What every message looks like on the wire: its fields in order, their types, versions and tags.
//!
//! The tables are generated (`tools/shapes.py`); the types they are made of are here. Facts only: how to read them is
//! [`super::walk`]'s business.

mod requests;
mod responses;

/// A struct: the message itself, or an element of one of its arrays.
#[derive(Debug)]
pub struct Shape {
    /// Kafka's name of the struct.
    pub name: &'static str,
    /// Bytes of the decoded struct in memory, without what its strings and arrays point to; about right.
    pub memory: usize,
    /// The fields in the order of the wire.
    pub fields: &'static [Field],
    /// The fields that are written as tagged fields, ascending by tag.
    pub tagged: &'static [Field],
}

/// A field of a struct.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Kafka's name, in snake case.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The versions that have it.
    pub versions: Versions,
    /// The versions in which it may be null.
    pub nullable: Versions,
    /// Its tag; meaningful in [`Shape::tagged`] only.
    pub tag: u32,
}

/// An inclusive range of versions; empty if `from > to`.
#[derive(Debug, Clone, Copy)]
pub struct Versions {
    from: i8,
    to: i8,
}

impl Versions {
    const NONE: Versions = Versions { from: 1, to: 0 };

    /// Whether `version` is one of them.
    pub const fn contains(self, version: i16) -> bool {
        self.from as i16 <= version && version <= self.to as i16
    }
}

/// The type of a field.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // Kafka's own names for them.
pub enum Kind {
    Bool,
    Int8,
    Int16,
    UInt16,
    Int32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(&'static Shape),
    Array(&'static Kind),
}

impl Kind {
    /// Bytes on the wire, where every value of the type takes the same.
    pub const fn fixed_len(self) -> Option<usize> {
        match self {
            Kind::Bool | Kind::Int8 => Some(1),
            Kind::Int16 | Kind::UInt16 => Some(2),
            Kind::Int32 => Some(4),
            Kind::Int64 | Kind::Float64 => Some(8),
            Kind::Uuid => Some(16),
            Kind::String | Kind::Bytes | Kind::Records | Kind::Struct(_) | Kind::Array(_) => None,
        }
    }

    /// Bytes in memory of one decoded element of an array of this type.
    pub const fn memory(self) -> usize {
        match self {
            Kind::Bool | Kind::Int8 => 1,
            Kind::Int16 | Kind::UInt16 => 2,
            Kind::Int32 => 4,
            Kind::Int64 | Kind::Float64 => 8,
            Kind::Uuid => 16,
            Kind::String | Kind::Bytes | Kind::Records => 32,
            Kind::Struct(shape) => shape.memory,
            Kind::Array(_) => 24,
        }
    }
}

/// Shape of the request of the API with this key.
pub fn request(key: i16) -> Option<&'static Shape> {
    find(&requests::REQUESTS, key)
}

/// Shape of the response of the API with this key.
pub fn response(key: i16) -> Option<&'static Shape> {
    find(&responses::RESPONSES, key)
}

fn find(table: &'static [(i16, &'static Shape)], key: i16) -> Option<&'static Shape> {
    table
        .binary_search_by_key(&key, |(key, _)| *key)
        .ok()
        .map(|at| table[at].1)
}

/// A field of the tables.
const fn f(name: &'static str, kind: Kind, from: i8, to: i8) -> Field {
    Field {
        name,
        kind,
        versions: Versions { from, to },
        nullable: Versions::NONE,
        tag: 0,
    }
}

/// A tagged field of the tables.
const fn t(tag: u32, name: &'static str, kind: Kind, from: i8, to: i8) -> Field {
    Field {
        name,
        kind,
        versions: Versions { from, to },
        nullable: Versions::NONE,
        tag,
    }
}

impl Field {
    const fn null(self, from: i8, to: i8) -> Field {
        Field {
            nullable: Versions { from, to },
            ..self
        }
    }
}
