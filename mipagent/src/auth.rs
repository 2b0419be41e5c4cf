//! Authentication extensions: HMAC-MD5 over all up to and with the extension's SPI.
//!
//! Spec: RFC 5944 3.5.1 (default algorithm, key size), 3.5.2 to 3.5.4.

use hmac::{Hmac, Mac};
use md5::Md5;

use crate::extension::{self, Bad};

const LEN: u8 = 20; // SPI and authenticator

/// What two parties share (RFC 5944 1.6: a mobility security association).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The security parameter index; 0 to 255 are reserved.
    pub spi: u32,
    /// The secret.
    pub secret: Vec<u8>,
}

/// What a message has to say for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// There is such an extension and it is right.
    Sound,
    /// There is one and it is not right, or its SPI is another.
    Wrong,
    /// There is none.
    Missing,
}

impl Key {
    /// HMAC-MD5 by this key.
    pub fn hmac(&self, parts: &[&[u8]]) -> [u8; 16] {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Md5>::new_from_slice(&self.secret) else {
            return [0; 16];
        };
        parts.iter().for_each(|p| mac.update(p));
        mac.finalize().into_bytes().into()
    }

    /// Appends an authentication of this type.
    pub fn sign(&self, mut b: Vec<u8>, ty: u8) -> Vec<u8> {
        b.extend([ty, LEN]);
        b.extend(self.spi.to_be_bytes());
        let mac = self.hmac(&[&b]);
        b.extend(mac);
        b
    }

    /// Is the message with extensions behind `from` authenticated by this key?
    ///
    /// # Errors
    /// The extensions are bad.
    pub fn check(&self, b: &[u8], from: usize, ty: u8) -> Result<Proof, Bad> {
        let list = extension::ordered(b, from)?;
        let Some(e) = list.iter().find(|e| e.ty == ty) else {
            return Ok(Proof::Missing);
        };
        let (Some(spi), Some(mac)) = (e.data.first_chunk::<4>(), e.data.get(4..)) else {
            return Ok(Proof::Wrong);
        };
        let want = self.hmac(&[&b[..e.at + 6]]);
        // Every byte is compared: how far they agree takes the same time.
        let differ =
            mac.len() != want.len() || mac.iter().zip(want).fold(0, |d, (a, b)| d | (a ^ b)) != 0;
        let right = !differ && *spi == self.spi.to_be_bytes();
        Ok(if right { Proof::Sound } else { Proof::Wrong })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extension::{MOBILE_FOREIGN, MOBILE_HOME};

    #[test]
    fn the_function_is_that_of_rfc_2104() {
        // RFC 2104, appendix: test vectors 1 and 2
        let one = Key {
            spi: 256,
            secret: vec![0x0b; 16],
        };
        assert_eq!(one.hmac(&[b"Hi There"])[..4], [0x92, 0x94, 0x72, 0x7a]);
        let two = Key {
            spi: 256,
            secret: b"Jefe".to_vec(),
        };
        let mac = two.hmac(&[b"what do ya ", b"want for nothing?"]);
        assert_eq!(mac[..4], [0x75, 0x0c, 0x78, 0x3e]);
    }

    #[test]
    fn each_bit_counts_and_what_comes_behind_does_not() {
        // RFC 5944 3.5.1
        let key = Key {
            spi: 300,
            secret: vec![7; 16],
        };
        let b = key.sign(vec![1; 24], MOBILE_HOME);
        assert_eq!(key.check(&b, 24, MOBILE_HOME), Ok(Proof::Sound));
        assert_eq!(key.check(&b, 24, MOBILE_FOREIGN), Ok(Proof::Missing));
        for at in (0..b.len()).filter(|at| !(24..26).contains(at)) {
            let mut bad = b.clone();
            bad[at] ^= 1;
            assert_eq!(key.check(&bad, 24, MOBILE_HOME), Ok(Proof::Wrong), "{at}");
        }
        let other = Key {
            spi: 301,
            ..key.clone()
        };
        let both = other.sign(b.clone(), MOBILE_FOREIGN);
        assert_eq!(key.check(&both, 24, MOBILE_HOME), Ok(Proof::Sound));
        assert_eq!(other.check(&both, 24, MOBILE_FOREIGN), Ok(Proof::Sound));
        assert_eq!(other.check(&both, 24, MOBILE_HOME), Ok(Proof::Wrong));
    }
}
