//! Messages made from the shape tables: valid ones of every kind, and ways to spoil them.

use broker_wire::guard::shapes::{Kind, Shape};

/// xorshift64*: reproducible from its seed, which a failing test prints.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Writes messages along shapes.
pub(crate) struct Maker<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) version: i16,
    pub(crate) flexible: bool,
    pub(crate) out: Vec<u8>,
}

impl Maker<'_> {
    /// A valid message; with unknown tags now and then if it is flexible.
    pub(crate) fn message(&mut self, shape: &Shape) {
        for field in shape.fields {
            if field.versions.contains(self.version) {
                self.value(field.kind, field.nullable.contains(self.version));
            }
        }
        if self.flexible {
            self.tags(shape);
        }
    }

    fn tags(&mut self, shape: &Shape) {
        let mut sections: Vec<(u32, Vec<u8>)> = Vec::new();
        for field in shape.tagged {
            if field.versions.contains(self.version) && self.random.one_in(2) {
                let before = std::mem::take(&mut self.out);
                self.value(field.kind, field.nullable.contains(self.version));
                sections.push((field.tag, std::mem::replace(&mut self.out, before)));
            }
        }
        if self.random.one_in(8) {
            let tag = 100 + self.random.below(1000) as u32;
            sections.push((tag, vec![7; self.random.below(20)]));
        }
        self.varint(sections.len() as u32);
        for (tag, bytes) in sections {
            self.varint(tag);
            self.varint(bytes.len() as u32);
            self.out.extend(bytes);
        }
    }

    fn value(&mut self, kind: Kind, nullable: bool) {
        if let Some(len) = kind.fixed_len() {
            for at in 0..len {
                let byte = if matches!(kind, Kind::Bool) {
                    self.random.below(2)
                } else {
                    self.random.below(256)
                };
                // Floats that are not numbers compare unequal to themselves.
                self.out.push(if matches!(kind, Kind::Float64) && at == 0 {
                    0x40
                } else {
                    byte as u8
                });
            }
            return;
        }
        let null = nullable && self.random.one_in(4);
        match kind {
            Kind::String => {
                let len = self.random.below(12);
                self.length(2, (!null).then_some(len));
                if !null {
                    self.out.extend((0..len).map(|at| b'a' + (at % 26) as u8));
                }
            }
            Kind::Bytes | Kind::Records => {
                let len = self.random.below(30);
                self.length(4, (!null).then_some(len));
                if !null {
                    self.out.extend((0..len).map(|at| at as u8));
                }
            }
            Kind::Array(element) => {
                let count = self.random.below(4);
                self.length(4, (!null).then_some(count));
                if !null {
                    for _ in 0..count {
                        self.value(*element, false);
                    }
                }
            }
            Kind::Struct(shape) => {
                if nullable {
                    self.out.push(if null { 0xff } else { 1 });
                }
                if !null {
                    self.message(shape);
                }
            }
            _ => unreachable!("all others have a fixed length"),
        }
    }

    fn length(&mut self, wide: usize, len: Option<usize>) {
        match (self.flexible, len) {
            (true, len) => self.varint(len.map_or(0, |len| len as u32 + 1)),
            (false, len) => {
                let len = len.map_or(-1, |len| len as i32);
                self.out.extend(&len.to_be_bytes()[4 - wide..]);
            }
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

/// A valid message of this shape and version.
pub(crate) fn message(random: &mut Random, shape: &Shape, version: i16, flexible: bool) -> Vec<u8> {
    let mut maker = Maker {
        random,
        version,
        flexible,
        out: Vec::new(),
    };
    maker.message(shape);
    maker.out
}

/// Spoils a message as a bad network, a broken client or an attacker would.
pub(crate) fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    const HUGE: [&[u8]; 9] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xfe],
        &[0x80, 0, 0, 0],
        &[0x00, 0x00, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x81, 0x80, 0x80, 0x80, 0x08],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xfe, 0x7f],
    ];
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 | 4 => {
                let huge = HUGE[random.below(HUGE.len())];
                let end = (at + huge.len()).min(bytes.len());
                bytes.splice(at..end, huge.iter().copied());
            }
            5 => {
                let from = random.below(at + 1);
                let piece = bytes[from..at].to_vec();
                for _ in 0..1 + random.below(3) {
                    bytes.extend(&piece);
                }
            }
            _ => bytes.extend((0..random.below(16)).map(|_| random.next() as u8)),
        }
    }
}
